//! The proxy's waiting, on a clock that a test can put in the place of the
//! operating system's.

use crate::net::{BoxFuture, Clock, Elapsed, Moment, deadline_by, patience};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Timers of one clock; cheap to clone.
#[derive(Clone)]
pub(super) struct Timers(Arc<dyn Clock>);

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timers")
    }
}

impl Timers {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Timers {
        Timers(clock)
    }

    /// The clock itself.
    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0
    }

    /// The wall clock, which goes on while a throttled instance does not run.
    pub(super) fn wall(&self) -> SystemTime {
        self.0.wall()
    }

    /// Now, by both clocks.
    pub(super) fn moment(&self) -> Moment {
        self.0.moment()
    }

    /// Ends after `time`; anew where the machine stood still meanwhile.
    pub(super) fn patience(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move { patience(&*clock, time).await })
    }

    /// Runs `future` for at most `time`.
    ///
    /// # Errors
    /// [`Elapsed`], after which it has been dropped.
    pub(super) async fn deadline<F: Future>(
        &self,
        time: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        deadline_by(&*self.0, time, future).await
    }
}
