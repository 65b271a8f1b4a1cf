//! Waiting for a while.

use super::Reactor;
use super::timers::Key;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Ends when its time has come: on an engine's threads by the engine's own
/// timers, which cost no system call, elsewhere by those of async-io.
#[derive(Debug)]
pub(in crate::net) enum Sleep {
    /// On no reactor yet.
    Until(Instant),
    Here(Here),
    Elsewhere(async_io::Timer),
    /// Longer than there is time.
    Never,
}

/// A timer of a reactor of ours.
#[derive(Debug)]
pub(in crate::net) struct Here {
    reactor: Arc<Reactor>,
    key: Key,
}

impl Sleep {
    /// Begins now. At most a millisecond late.
    pub(in crate::net) fn new(time: Duration) -> Sleep {
        Instant::now().checked_add(time).map_or(Sleep::Never, Sleep::Until)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Sleep::Never => Poll::Pending,
            Sleep::Elsewhere(timer) => Pin::new(timer).poll(context).map(drop),
            Sleep::Here(Here { reactor, key }) => {
                if key.0 > Instant::now() && reactor.timers.renew(*key, context.waker()) {
                    return Poll::Pending;
                }
                Poll::Ready(())
            }
            Sleep::Until(until) => {
                let until = *until;
                if until <= Instant::now() {
                    return Poll::Ready(());
                }
                let Some(reactor) = Reactor::here() else {
                    *self = Sleep::Elsewhere(async_io::Timer::at(until));
                    return self.poll(context);
                };
                let key = reactor.begin_timer(until, context.waker().clone());
                *self = Sleep::Here(Here { reactor, key });
                Poll::Pending
            }
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.reactor.timers.remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_timer_that_has_told_one_task_does_not_leave_another_waiting() {
        let reactor = Reactor::new().unwrap();
        let until = Instant::now() + Duration::from_secs(3600);
        let (key, _) = reactor.timers.add(until, Waker::noop().clone());
        let mut sleep = Sleep::Here(Here { reactor: reactor.clone(), key });
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut sleep).poll(&mut context).is_pending());
        // Another thread takes it out after this one has looked at the time.
        reactor.timers.remove(key);
        assert!(Pin::new(&mut sleep).poll(&mut context).is_ready(), "nobody would wake it");
    }
}
