//! Time: the clock as a value, sleeping, and bounds on waiting.

use super::BoxFuture;
use super::reactor::Sleep;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that stands still while the machine is suspended.
    pub now: Instant,
    /// By the wall clock.
    pub wall: SystemTime,
}

/// The time, as a seam: tests put a clock of their own here.
pub trait Clock: Send + Sync + 'static {
    /// Elapsed time; stands still while the machine is suspended.
    fn now(&self) -> Instant;
    /// The wall clock, which goes on while a throttled instance does not run.
    fn wall(&self) -> SystemTime;
    /// The same of both, for whoever decides several things at once. After a wait
    /// it is no longer true.
    fn moment(&self) -> Moment {
        Moment { now: self.now(), wall: self.wall() }
    }
    /// Waits for `time` on this clock.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(sleep(time))
    }
}

/// A bound on waiting ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

/// Waits for `time`, and up to a millisecond more.
pub async fn sleep(time: Duration) {
    Sleep::new(time).await;
}

/// A timer that fires this late did not measure its peer: the whole instance
/// stood still, as a throttled one does between requests.
const STOOD_STILL: Duration = Duration::from_secs(5);

/// Waits for `time` on `clock`, and once more if the machine stood still meanwhile.
pub async fn patience(clock: &dyn Clock, time: Duration) {
    loop {
        let start = clock.now();
        clock.sleep(time).await;
        if clock.now().duration_since(start) < time.saturating_add(STOOD_STILL) {
            return;
        }
    }
}

/// Runs `future` for at most `time`, with [`patience`]; on [`Elapsed`] it has
/// been dropped.
pub async fn deadline<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    deadline_by(&SystemClock, time, future).await
}

/// The same on another clock.
pub async fn deadline_by<F: Future>(
    clock: &dyn Clock,
    time: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    futures_lite::future::or(async { Ok(future.await) }, async {
        patience(clock, time).await;
        Err(Elapsed)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::block_on;

    #[test]
    fn a_deadline_ends_what_never_ends() {
        let end = block_on(deadline(Duration::from_millis(1), std::future::pending::<()>()));
        assert_eq!(end, Err(Elapsed));
    }

    #[test]
    fn what_is_ready_beats_a_deadline_of_nothing() {
        assert_eq!(block_on(deadline(Duration::ZERO, async { 7 })), Ok(7));
    }
}
