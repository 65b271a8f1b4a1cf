//! Who waits for sockets and timers: one set of descriptors for each
//! engine, in which a socket is entered once and told of when it changes
//! (edge-triggered), and on which the engine's threads sleep themselves.
//!
//! It owns when a thread sleeps and what wakes it. It must not know tasks, nor
//! what is read and written. `tcp`, `udp`, `time` and `tasks` call it.
//!
//! Work under way goes before new work: who waits for a service is woken at
//! once, who waits for an app a few at a time. A thousand busy apps then need few
//! connections to services, each of which is used again while what is known of
//! it is still in the processor's cache.
//!
//! Outside the threads of an engine, as in `runsd explain`, sockets are entered
//! in a set that the process keeps, and async-io watches that set.

mod epoll;
mod outside;
mod park;
mod sleep;
mod source;
mod timers;
mod watched;

pub(super) use sleep::Sleep;
pub(super) use source::{Direction, Rank};
pub(super) use watched::Watched;

use super::ours::Ours;
use epoll::{Bell, Epoll, Room};
use park::Parked;
use source::Source;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};
use timers::Timers;

/// How many tasks of new work are woken in a turn. Between 4 and 64 the cost of
/// a request is level; without a bound it is a quarter more at 1,000 connections.
const NEW: usize = 16;
/// More than that are woken where they are less than one in so many of those that
/// wait: a task that other news wakes first keeps its place and takes another one,
/// and the places must not pile up.
const CROWD: usize = 64;
/// The key of the bell. Sockets have smaller ones.
const BELL: u64 = u64::MAX;

/// One set, and who waits on it.
pub(super) struct Reactor {
    set: Ours<Epoll>,
    bell: Ours<Bell>,
    sources: Mutex<Sources>,
    timers: Timers,
    /// Held by the thread that waits, of which there is one at a time: tasks of
    /// new work that wait for their turn.
    lead: Mutex<VecDeque<Waker>>,
    /// A thread waits, or is about to, for as long as the timers say.
    waiting: AtomicBool,
    /// The threads that are here, waiting or not.
    threads: Mutex<Vec<Arc<Parked>>>,
}

/// The sockets, by the lower half of their keys; the upper one tells those
/// apart that have had the same place.
#[derive(Debug, Default)]
struct Sources {
    places: Vec<Option<Arc<Source>>>,
    free: Vec<usize>,
    entered: u32,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reactor({:?})", self.set.as_fd())
    }
}

thread_local! {
    /// The reactor of the engine whose thread this is.
    static HERE: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

impl Reactor {
    /// One that watches nothing.
    ///
    /// # Errors
    /// What the operating system says, lack of descriptors above all.
    pub(super) fn new() -> io::Result<Arc<Reactor>> {
        let (set, bell) = (Epoll::new()?, Bell::new()?);
        set.add(bell.as_fd(), BELL)?;
        Ok(Arc::new(Reactor {
            set: Ours::new(set),
            bell: Ours::new(bell),
            sources: Mutex::default(),
            timers: Timers::new(),
            lead: Mutex::default(),
            waiting: AtomicBool::new(false),
            threads: Mutex::default(),
        }))
    }

    /// That of the engine whose thread this is.
    pub(super) fn here() -> Option<Arc<Reactor>> {
        HERE.with_borrow(Option::clone)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Arc<Parked>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a socket; `writable` if it is known to be.
    fn enter(&self, socket: BorrowedFd<'_>, writable: bool, rank: Rank) -> io::Result<Arc<Source>> {
        let source = {
            let mut sources = self.sources();
            let place = sources.free.pop().unwrap_or(sources.places.len());
            sources.entered = sources.entered.wrapping_add(1);
            let key = u64::from(sources.entered) << 32 | place as u64;
            let source = Arc::new(Source::new(key, writable, rank));
            match sources.places.get_mut(place) {
                Some(free) => *free = Some(source.clone()),
                None => sources.places.push(Some(source.clone())),
            }
            source
        };
        match self.set.add(socket, source.key) {
            Ok(()) => Ok(source),
            Err(error) => {
                self.sources().release(&source);
                Err(error)
            }
        }
    }

    /// Ends that; the socket must be closed next, which takes it out of the
    /// set without a call of its own. Where another process has a copy, and so
    /// keeps it in, what is told of it finds nobody: its key is not used again.
    fn leave(&self, source: &Source) {
        // Dropped when the lock is open: it may be the last to hold a task.
        let _source = self.sources().release(source);
    }

    /// Begins a timer.
    fn begin_timer(&self, until: Instant, waker: Waker) -> timers::Key {
        let (key, first) = self.timers.add(until, waker);
        // A thread may sleep already, for longer than this.
        if first && self.waiting.load(SeqCst) {
            self.bell.ring();
        }
        key
    }

    /// Waits for changes and timers, if no other thread does and no new work is
    /// left over from the last turn; and adds to `wakers` whose turn it is.
    /// `before` is asked when it is certain that `self.bell` would be heard, and
    /// says whether to wait at all; `after` is called as soon as that is over.
    fn turn(
        &self,
        wakers: &mut VecDeque<Waker>,
        before: impl FnOnce() -> bool,
        after: impl FnOnce(),
    ) -> Turn {
        let mut later = match self.lead.try_lock() {
            Ok(lead) => lead,
            Err(TryLockError::Poisoned(later)) => later.into_inner(),
            Err(TryLockError::WouldBlock) => return Turn::Taken,
        };
        let wait = before() && later.is_empty();
        let limit = if wait {
            self.waiting.store(true, SeqCst);
            self.timers.next()
        } else {
            Some(Duration::ZERO)
        };
        let mut room = Room::new();
        let found = self.set.wait(&mut room, limit);
        // Who still sees that it waited rings once in vain.
        self.waiting.store(false, Release);
        after();
        if let Ok(found) = found {
            let sources = self.sources();
            for change in found {
                if let Some(source) = sources.at(change.key) {
                    match source.rank {
                        Rank::UnderWay => source.note(change, wakers),
                        Rank::New => source.note(change, &mut later),
                    }
                }
            }
        }
        let few = NEW.max(later.len() / CROWD).min(later.len());
        wakers.extend(later.drain(..few));
        let turn = if later.is_empty() { Turn::Had } else { Turn::More };
        drop(later);
        self.timers.ended(wakers);
        turn
    }
}

/// Whether this thread could wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Had,
    /// It did not need to, or need not the next time: new work is left over.
    More,
    /// Another thread does.
    Taken,
}

impl Sources {
    fn at(&self, key: u64) -> Option<&Arc<Source>> {
        let source = self.places.get(place(key))?.as_ref()?;
        (source.key == key).then_some(source)
    }

    fn release(&mut self, source: &Source) -> Option<Arc<Source>> {
        let place = place(source.key);
        let held = self.places.get_mut(place)?.take();
        self.free.push(place);
        held
    }
}

fn place(key: u64) -> usize {
    (key & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod rank_tests;

#[cfg(test)]
mod source_tests;

#[cfg(test)]
mod tests;
