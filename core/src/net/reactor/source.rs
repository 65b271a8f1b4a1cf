//! What is known of one socket: whether reading and writing it are worth
//! trying, and who waits until they are.
//!
//! The kernel tells of a change once, so nothing that it told may be forgotten
//! unless a read or write has shown it to be over. Each change has a number: a
//! task that finds the socket empty may only take back what it had seen before
//! it tried, never a change that came meanwhile.

use crate::sys::Edge;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One socket.
#[derive(Debug)]
pub(in crate::net) struct Source {
    pub(super) key: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of the last change.
    changes: u32,
    read: Side,
    write: Side,
}

#[derive(Debug)]
struct Side {
    /// Trying is worth it.
    ready: bool,
    /// Nothing more will be told: the end has come, or an error.
    ended: bool,
    waker: Option<Waker>,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Direction {
    Read,
    Write,
}

/// What was known when a read or write was tried.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Seen(u32);

impl Source {
    /// A socket of which only is known whether it may be written.
    pub(super) fn new(key: u64, writable: bool) -> Source {
        let side = |ready| Side { ready, ended: false, waker: None };
        let (read, write) = (side(false), side(writable));
        Source { key, state: Mutex::new(State { changes: 0, read, write }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change, and adds to `wakers` who waited for it.
    pub(super) fn note(&self, change: Edge, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        state.changes = state.changes.wrapping_add(1);
        if change.readable {
            state.read.ready = true;
            state.read.ended |= change.ended;
            wakers.extend(state.read.waker.take());
        }
        if change.writable {
            state.write.ready = true;
            wakers.extend(state.write.waker.take());
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
        let mut state = self.state();
        let seen = Seen(state.changes);
        let side = state.side(direction);
        if side.ready || side.ended {
            return Poll::Ready(seen);
        }
        let waker = context.waker();
        if side.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            let other = side.waker.replace(waker.clone());
            drop(state);
            if let Some(other) = other {
                other.wake();
            }
        }
        Poll::Pending
    }

    /// A try took less than it could have, or something was left to write:
    /// there is no more unless a change has come since `seen`. An end stays.
    pub(in crate::net) fn exhausted(&self, direction: Direction, seen: Seen) {
        let mut state = self.state();
        if state.changes == seen.0 {
            state.side(direction).ready = false;
        }
    }

    /// The kernel said that there is nothing at all, not even an end.
    pub(in crate::net) fn blocked(&self, direction: Direction, seen: Seen) {
        let mut state = self.state();
        if state.changes == seen.0 {
            let side = state.side(direction);
            (side.ready, side.ended) = (false, false);
        }
    }

    /// Whether a read may find something, or an end.
    pub(in crate::net) fn has_news(&self) -> bool {
        let state = self.state();
        state.read.ready || state.read.ended
    }

    /// Makes the next read ask the kernel, whatever is known.
    pub(in crate::net) fn look_again(&self) {
        self.state().read.ready = true;
    }
}

impl State {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}
