//! Looking at things without changing them: what becomes of a name, and what
//! of this machine stands in the way.
//!
//! It owns the questions and their order; the answers are the rooms' own, asked
//! through the same base that an engine runs on, so that nothing is explained
//! here that would not happen there. The command line calls it through `lib.rs`.

mod doctor;
mod explain;
mod report;

pub use doctor::diagnose;
pub use explain::explain;
pub use report::{Finding, Report, Verdict};
