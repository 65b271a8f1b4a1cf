//! Looking at things without changing them: what becomes of a name, and what
//! of this machine stands in the way.
//!
//! It owns the questions and their order; the answers are the rooms' own, asked
//! through the same base that an engine runs on, so that nothing is explained
//! here that would not happen there. The command line calls it through `lib.rs`.

mod doctor;
mod explain;
mod machine;
mod report;

pub use doctor::diagnose;
pub use explain::explain;
pub use report::{Finding, Report, Verdict};

use super::base::Plans;
use crate::net::{Clock, SystemClock};
use crate::telemetry::{Level, Log, Sink};

/// What the report tells needs no log line beside it; who asks for more than
/// warnings gets all.
fn quiet(plans: Plans) -> Plans {
    if plans.log.enabled(Level::Info) {
        return plans;
    }
    let nowhere = Sink::Callback(Box::new(|_| {}));
    Plans { log: Log::new(Level::Error, nowhere, || SystemClock.now()), ..plans }
}
