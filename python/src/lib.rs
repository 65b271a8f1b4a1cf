//! The extension module behind `import runsd`.
//!
//! It owns the translation between Python's values and the engine's; it must
//! see the public API of the crate `runsd` alone. The Python package calls it,
//! and gives it the shape that users see. Panics become Python exceptions at
//! PyO3's border.

mod engine;
mod errors;
mod logs;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _runsd(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", runsd::VERSION)?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<logs::Logs>()?;
    module.add_function(wrap_pyfunction!(engine::start, module)?)
}
