//! Timers, in the order in which they end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// When a timer ends, and a number that tells it from others of that moment.
pub(super) type Key = (Instant, u64);

/// The timers of one reactor.
#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<Key, Waker>,
    numbers: u64,
}

impl Timers {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; whether it ends before all others.
    pub(super) fn add(&self, until: Instant, waker: Waker) -> (Key, bool) {
        let mut waiting = self.waiting();
        waiting.numbers += 1;
        let key = (until, waiting.numbers);
        waiting.wakers.insert(key, waker);
        let first = waiting.wakers.first_key_value().is_some_and(|(first, _)| *first == key);
        (key, first)
    }

    /// Makes a timer wake this task; whether it still waits. One that has just
    /// ended has woken the task that it knew, which may be another one.
    pub(super) fn renew(&self, key: Key, waker: &Waker) -> bool {
        let _other = {
            let mut waiting = self.waiting();
            let Some(known) = waiting.wakers.get_mut(&key) else { return false };
            if known.will_wake(waker) {
                return true;
            }
            std::mem::replace(known, waker.clone())
        };
        // Dropped when the lock is open, as below.
        true
    }

    /// Takes one out.
    pub(super) fn remove(&self, key: Key) {
        // Dropped when the lock is open: it may be the last to hold its task.
        let _waker = self.waiting().wakers.remove(&key);
    }

    /// How long the next one takes from now on.
    pub(super) fn next(&self) -> Option<Duration> {
        let waiting = self.waiting();
        let ((until, _), _) = waiting.wakers.first_key_value()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Takes out those that have ended, for their tasks to be woken.
    pub(super) fn ended(&self, wakers: &mut Vec<Waker>) {
        let mut waiting = self.waiting();
        let Some(first) = waiting.wakers.first_entry() else { return };
        let now = Instant::now();
        if first.key().0 > now {
            return;
        }
        while let Some(first) = waiting.wakers.first_entry().filter(|first| first.key().0 <= now) {
            wakers.push(first.remove());
        }
    }
}
