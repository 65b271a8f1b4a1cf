//! Timers, in the order in which they end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// When a timer ends, and a number that tells it from others of that moment.
pub(super) type Key = (Instant, u64);

/// The timers of one reactor.
#[derive(Debug)]
pub(super) struct Timers {
    waiting: Mutex<Waiting>,
    begun: Instant,
    /// When the first one ends, in nanoseconds since it all began, or `NEVER`:
    /// each turn asks, and most have nothing to take out. Changes under the lock.
    first: AtomicU64,
}

const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<Key, Waker>,
    numbers: u64,
}

impl Timers {
    /// None yet.
    pub(super) fn new() -> Timers {
        let (waiting, begun) = (Mutex::default(), Instant::now());
        Timers { waiting, begun, first: AtomicU64::new(NEVER) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_begun(&self, moment: Instant) -> u64 {
        let nanoseconds = moment.saturating_duration_since(self.begun).as_nanos();
        // 584 years, of which nobody sees the end.
        u64::try_from(nanoseconds).unwrap_or(NEVER)
    }

    /// To be called with the lock, after each change.
    fn note_first(&self, waiting: &Waiting) {
        let first = waiting.wakers.first_key_value();
        let first = first.map_or(NEVER, |((until, _), _)| self.since_begun(*until));
        if first != self.first.load(SeqCst) {
            self.first.store(first, SeqCst);
        }
    }

    /// Adds one; whether it ends before all others.
    pub(super) fn add(&self, until: Instant, waker: Waker) -> (Key, bool) {
        let mut waiting = self.waiting();
        waiting.numbers += 1;
        let key = (until, waiting.numbers);
        waiting.wakers.insert(key, waker);
        let first = waiting.wakers.first_key_value().is_some_and(|(first, _)| *first == key);
        self.note_first(&waiting);
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
        let _waker = {
            let mut waiting = self.waiting();
            let waker = waiting.wakers.remove(&key);
            self.note_first(&waiting);
            waker
        };
    }

    /// How long the next one takes from now on.
    pub(super) fn next(&self) -> Option<Duration> {
        let first = self.first.load(SeqCst);
        let now = || self.since_begun(Instant::now());
        (first != NEVER).then(|| Duration::from_nanos(first.saturating_sub(now())))
    }

    /// Takes out those that have ended, for their tasks to be woken.
    pub(super) fn ended(&self, wakers: &mut VecDeque<Waker>) {
        let first = self.first.load(SeqCst);
        if first == NEVER {
            return;
        }
        let now = Instant::now();
        if first > self.since_begun(now) {
            return;
        }
        let mut waiting = self.waiting();
        while let Some(first) = waiting.wakers.first_entry().filter(|first| first.key().0 <= now) {
            wakers.push_back(first.remove());
        }
        self.note_first(&waiting);
    }
}
