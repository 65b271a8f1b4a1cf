//! The extension module behind `import runsd`.
//!
//! It owns the translation between Python's values and the engine's; it must
//! see the public API of the crate `runsd` alone. The Python package calls it,
//! and gives it the shape that users see. Panics become Python exceptions at
//! PyO3's border.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use runsd::{ErrorKind, State};
use std::time::Duration;

/// An engine.
#[pyclass(frozen, name = "Engine", module = "runsd._runsd")]
struct Engine(runsd::Engine);

/// The exception class for an error, by its name in `runsd.errors`.
fn class(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "ConfigError",
        ErrorKind::State | ErrorKind::Busy => "StateError",
        ErrorKind::Timeout => "StopTimeout",
        ErrorKind::AddrInUse | ErrorKind::Permission | ErrorKind::Io | ErrorKind::ResolvConf => {
            "BindError"
        }
        _ => "InternalError",
    }
}

/// The number of an error, the same as in the C interface.
fn code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::Config => 3,
        ErrorKind::State => 4,
        ErrorKind::Busy => 5,
        ErrorKind::Timeout => 7,
        ErrorKind::AddrInUse => 8,
        ErrorKind::Permission => 9,
        ErrorKind::Io => 10,
        ErrorKind::ResolvConf => 11,
        ErrorKind::Metadata => 12,
        _ => 99,
    }
}

/// Makes the exception; its classes are Python's, so that they can be pickled.
fn exception(py: Python<'_>, error: &runsd::Error) -> PyErr {
    let made = py
        .import("runsd.errors")
        .and_then(|module| module.getattr(class(error.kind())))
        .and_then(|class| class.call1((error.to_string(), code(error.kind()))));
    match made {
        Ok(instance) => PyErr::from_value(instance),
        Err(_) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// Starts an engine from settings by their keys. Releases the GIL.
#[pyfunction]
fn start(py: Python<'_>, settings: Vec<(String, String)>) -> PyResult<Engine> {
    let started = py.detach(|| {
        let builder = runsd::Engine::builder();
        settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start()
    });
    started.map(Engine).map_err(|error| exception(py, &error))
}

#[pymethods]
impl Engine {
    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state() {
            State::Running => "running",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            _ => "failed",
        }
    }

    #[getter]
    fn mode(&self) -> String {
        self.0.mode().to_string()
    }

    #[getter]
    fn proxy_addrs(&self) -> Vec<(String, u16)> {
        let pair = |address: &std::net::SocketAddr| (address.ip().to_string(), address.port());
        self.0.proxy_addrs().iter().map(pair).collect()
    }

    #[getter]
    fn dns_addrs(&self) -> Vec<(String, u16)> {
        let pair = |address: &std::net::SocketAddr| (address.ip().to_string(), address.port());
        self.0.dns_addrs().iter().map(pair).collect()
    }

    fn env(&self) -> Vec<(String, String)> {
        self.0.env().to_vec()
    }

    /// Stops; how many exchanges were cut. Releases the GIL.
    fn stop(&self, py: Python<'_>, drain: f64) -> PyResult<usize> {
        let drain = Duration::try_from_secs_f64(drain.max(0.0)).unwrap_or(Duration::MAX);
        let stopped = py.detach(|| self.0.stop(drain));
        stopped.map(|report| report.aborted).map_err(|error| exception(py, &error))
    }
}

#[pymodule]
fn _runsd(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", runsd::VERSION)?;
    module.add_class::<Engine>()?;
    module.add_function(wrap_pyfunction!(start, module)?)
}
