//! Time: the clock as a value, sleeping, and bounds on waiting.

use super::BoxFuture;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// The time, as a seam: tests put a clock of their own here.
pub trait Clock: Send + Sync + 'static {
    /// Elapsed time; stands still while the machine is suspended.
    fn now(&self) -> Instant;
    /// The wall clock, which goes on while a throttled instance does not run.
    fn wall(&self) -> SystemTime;
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

/// Waits until the reactor has let go of the timers that were dropped before.
/// It takes notice of that only when it wakes up, and until then it holds their
/// wakers, and so the tasks and the executor that they were for.
pub async fn let_timers_go() {
    /// Long enough to be looked at before it is over, and so to be queued
    /// behind what the reactor has not seen yet.
    const SOON: Duration = Duration::from_micros(20);
    loop {
        let mut timer = async_io::Timer::after(SOON);
        if futures_lite::future::poll_once(&mut timer).await.is_none() {
            timer.await;
            return;
        }
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

/// Waits for `time` on the reactor's timers.
pub async fn sleep(time: Duration) {
    async_io::Timer::after(time).await;
}

/// A timer that fires this late did not measure its peer: the whole instance
/// stood still, as a throttled one does between requests.
const STOOD_STILL: Duration = Duration::from_secs(5);

/// Waits for `time`, and once more if the machine stood still meanwhile.
pub async fn patience(time: Duration) {
    loop {
        let start = Instant::now();
        sleep(time).await;
        if start.elapsed() < time.saturating_add(STOOD_STILL) {
            return;
        }
    }
}

/// Runs `future` for at most `time`, with [`patience`]; on [`Elapsed`] it has
/// been dropped.
pub async fn deadline<F: Future>(time: Duration, future: F) -> Result<F::Output, Elapsed> {
    futures_lite::future::or(async { Ok(future.await) }, async {
        patience(time).await;
        Err(Elapsed)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_ends_what_never_ends() {
        let end =
            async_io::block_on(deadline(Duration::from_millis(1), std::future::pending::<()>()));
        assert_eq!(end, Err(Elapsed));
    }

    #[test]
    fn what_is_ready_beats_a_deadline_of_nothing() {
        assert_eq!(async_io::block_on(deadline(Duration::ZERO, async { 7 })), Ok(7));
    }
}
