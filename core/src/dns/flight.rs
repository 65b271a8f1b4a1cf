//! A question under way, and everybody who waits for what comes of it.
//!
//! One task asks and others wait. It owns that each of them hears of the
//! outcome, and must not know what is asked; the forwarder does.

use super::forward::Outcome;
use futures_lite::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A question that has been asked and not been answered yet, or just now.
#[derive(Debug, Default)]
pub(super) struct Flight(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    /// Who waits, each at a place of its own.
    waiting: Vec<Waker>,
}

/// One that waits, and its place once it has one.
struct Place<'f> {
    flight: &'f Flight,
    at: Option<usize>,
}

impl Flight {
    /// Tells everybody; nothing but the first outcome counts.
    pub(super) fn land(&self, outcome: Outcome) {
        let waiting = {
            let mut state = self.state();
            state.outcome.get_or_insert(outcome);
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits for what comes of it.
    pub(super) async fn landed(&self) -> Outcome {
        let mut place = Place { flight: self, at: None };
        poll_fn(move |context| place.poll(context)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<Outcome> {
        let _other;
        let mut state = self.flight.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let waker = context.waker();
        match self.at.and_then(|at| state.waiting.get_mut(at)) {
            Some(known) if known.will_wake(waker) => {}
            // Dropped when the lock is open: it may be the last to hold a task.
            Some(known) => _other = mem::replace(known, waker.clone()),
            None => {
                self.at = Some(state.waiting.len());
                state.waiting.push(waker.clone());
            }
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let _waker;
        let mut state = self.flight.state();
        if let Some(known) = self.at.and_then(|at| state.waiting.get_mut(at)) {
            // As above.
            _waker = mem::replace(known, Waker::noop().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::race::Failure;
    use super::*;
    use futures_lite::future::poll_once;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(waiting: std::pin::Pin<&mut impl Future<Output = Outcome>>, who: &Arc<Woken>) -> bool {
        let waker = Waker::from(who.clone());
        waiting.poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn everybody_who_still_waits_is_told_once() {
        let flight = Flight::default();
        let [one, two, gone, moved] = [(); 4].map(|()| Arc::<Woken>::default());
        let mut first = pin!(flight.landed());
        let mut second = pin!(flight.landed());
        assert!(!poll(first.as_mut(), &one) && !poll(second.as_mut(), &moved));
        // A task that is polled again may be another one.
        assert!(!poll(second.as_mut(), &two));
        {
            let mut third = pin!(flight.landed());
            assert!(!poll(third.as_mut(), &gone));
        }
        assert_eq!(Arc::strong_count(&gone), 1, "nothing is kept of who has gone");
        flight.land(Err(Failure::Silent));
        flight.land(Err(Failure::Busy));
        let woken = [&one, &two, &gone, &moved].map(|who| who.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1, 0, 0]);
        assert!(poll(first.as_mut(), &one) && poll(second.as_mut(), &two));
        let late = async_io::block_on(poll_once(flight.landed()));
        assert_eq!(late.map(Result::unwrap_err), Some(Failure::Silent));
    }
}
