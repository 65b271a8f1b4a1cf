//! What is known of one socket: whether reading and writing it are worth
//! trying, and who waits until they are.
//!
//! The kernel tells of a change once, so nothing that it told may be forgotten
//! unless a read or write has shown it to be over. Each change has a number: a
//! task that finds the socket empty may only take back what it had seen before
//! it tried, never a change that came meanwhile.

use super::epoll::Edge;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One socket.
#[derive(Debug)]
pub(in crate::net) struct Source {
    pub(super) key: u64,
    pub(super) rank: Rank,
    /// The number of the last change in the upper half, and what is known, as
    /// below: most questions are answered by one look.
    state: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Which tasks wait there, to be looked at without the lock. They change
    /// under it alone.
    reader: Task,
    writer: Task,
}

/// Which task it is that waits, by the address of what its waker points to; or 0.
#[derive(Debug, Default)]
struct Task(AtomicUsize);

/// Trying to read is worth it.
const READABLE: u64 = 1;
/// Nothing more will be told to who reads: the end has come, or an error.
const ENDED: u64 = 1 << 1;
/// Trying to write is worth it.
const WRITABLE: u64 = 1 << 2;
/// One change.
const CHANGE: u64 = 1 << 32;

/// Who waits for each direction.
#[derive(Debug, Default)]
struct Waiting {
    read: Option<Waker>,
    write: Option<Waker>,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Direction {
    Read,
    Write,
}

/// What a change of a socket means for the work as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Rank {
    /// Something goes on, or ends.
    UnderWay,
    /// Something may begin: it is an app's connection.
    New,
}

/// What was known when a read or write was tried.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Seen(u64);

impl Source {
    /// A socket of which only is known whether it may be written.
    pub(super) fn new(key: u64, writable: bool, rank: Rank) -> Source {
        let state = AtomicU64::new(if writable { WRITABLE } else { 0 });
        let (waiting, reader, writer) = Default::default();
        Source { key, rank, state, waiting, reader, writer }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change, and adds to `wakers` who waited for it.
    pub(super) fn note(&self, change: Edge, wakers: &mut VecDeque<Waker>) {
        let mut news = 0;
        if change.readable {
            news |= READABLE;
        }
        if change.readable && change.ended {
            news |= ENDED;
        }
        if change.writable {
            news |= WRITABLE;
        }
        self.update(|state| Some(state.wrapping_add(CHANGE) | news));
        // After that: who has not seen it by now is already waiting.
        let mut waiting = self.waiting();
        if change.readable {
            self.reader.set(None);
            if let Some(waker) = waiting.read.take() {
                wakers.push_back(waker);
            }
        }
        if change.writable {
            self.writer.set(None);
            if let Some(waker) = waiting.write.take() {
                wakers.push_back(waker);
            }
        }
    }

    /// Whether `direction` is worth trying; wakes the task when it becomes so.
    /// The task that asked last is woken alone, and one that it takes the place
    /// of is woken at once.
    pub(in crate::net) fn poll(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<Seen> {
        let seen = self.state.load(Acquire);
        if direction.is_worth_it(seen) {
            return Poll::Ready(Seen(seen));
        }
        let (waker, task) = (context.waker(), self.task(direction));
        if task.is(waker) {
            // It waits already, or has just been woken and will ask once more.
            return Poll::Pending;
        }
        let mut waiting = self.waiting();
        // Who notes a change takes the lock after it: it is seen here, or finds
        // the waker.
        let seen = self.state.load(Acquire);
        if direction.is_worth_it(seen) {
            return Poll::Ready(Seen(seen));
        }
        let place = waiting.side(direction);
        let mut other = None;
        if place.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            other = place.replace(waker.clone());
        }
        task.set(place.as_ref());
        drop(waiting);
        if let Some(other) = other {
            other.wake();
        }
        Poll::Pending
    }

    fn task(&self, direction: Direction) -> &Task {
        match direction {
            Direction::Read => &self.reader,
            Direction::Write => &self.writer,
        }
    }

    /// A try took less than it could have, or something was left to write:
    /// there is no more unless a change has come since `seen`. An end stays.
    pub(in crate::net) fn exhausted(&self, direction: Direction, seen: Seen) {
        self.forget(
            seen,
            match direction {
                Direction::Read => READABLE,
                Direction::Write => WRITABLE,
            },
        );
    }

    /// The kernel said that there is nothing at all, not even an end.
    pub(in crate::net) fn blocked(&self, direction: Direction, seen: Seen) {
        self.forget(seen, direction.worth());
    }

    /// Whether a read may find something, or an end.
    pub(in crate::net) fn has_news(&self) -> bool {
        Direction::Read.is_worth_it(self.state.load(Acquire))
    }

    /// Makes the next read ask the kernel, whatever is known.
    pub(in crate::net) fn look_again(&self) {
        self.update(|state| Some(state | READABLE));
    }

    /// Takes back what was known, unless a change has come since `seen`.
    fn forget(&self, seen: Seen, what: u64) {
        let same = |state: u64| state / CHANGE == seen.0 / CHANGE;
        self.update(|state| (same(state) && state & what != 0).then_some(state & !what));
    }

    fn update(&self, new: impl Fn(u64) -> Option<u64>) {
        // It fails where there is nothing to change.
        let _ = self.state.fetch_update(AcqRel, Acquire, new);
    }
}

impl Task {
    /// To be called with the lock.
    fn set(&self, waker: Option<&Waker>) {
        self.0.store(waker.map_or(0, |waker| waker.data() as usize), Release);
    }

    /// Whether it is this one for certain. What a waker points to is not used for
    /// another task while the waker is kept.
    fn is(&self, waker: &Waker) -> bool {
        !waker.data().is_null() && self.0.load(Acquire) == waker.data() as usize
    }
}

impl Direction {
    /// What makes it worth trying.
    fn worth(self) -> u64 {
        match self {
            Direction::Read => READABLE | ENDED,
            Direction::Write => WRITABLE,
        }
    }

    fn is_worth_it(self, state: u64) -> bool {
        state & self.worth() != 0
    }
}

impl Waiting {
    fn side(&mut self, direction: Direction) -> &mut Option<Waker> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}
