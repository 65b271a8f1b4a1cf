//! Sockets outside the threads of an engine: one set for the whole process,
//! which async-io watches as it would one socket.

use super::park::Due;
use super::{Reactor, Turn};
use async_io::Async;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

static OUTSIDE: Mutex<Option<Arc<Reactor>>> = Mutex::new(None);

/// The reactor of every thread that is not an engine's.
///
/// # Errors
/// What the operating system says, lack of descriptors above all.
pub(super) fn reactor() -> io::Result<Arc<Reactor>> {
    let mut outside = OUTSIDE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reactor) = &*outside {
        return Ok(reactor.clone());
    }
    let reactor = Reactor::new()?;
    let set = Async::new_nonblocking(Set(reactor.clone()))?;
    Waker::from(Arc::new(Pump { set, reactor: reactor.clone() })).wake();
    *outside = Some(reactor.clone());
    Ok(reactor)
}

/// A reactor as a descriptor that becomes readable when anything in it changes.
struct Set(Arc<Reactor>);

impl AsFd for Set {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.set.as_fd()
    }
}

/// Wakes who waits on the set, on async-io's thread, whenever that wakes this.
struct Pump {
    set: Async<Set>,
    reactor: Arc<Reactor>,
}

impl Wake for Pump {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        let mut due = Due::new(&self.reactor);
        // It is asked to watch again before the set is looked at: a change in
        // between is seen by one of the two. New work that is left over is not a
        // change.
        loop {
            let watched = self.set.poll_readable(&mut context);
            let turn = self.reactor.turn(&mut due.wakers, || false, || {});
            due.wake();
            if watched.is_pending() && turn == Turn::Had {
                return;
            }
        }
    }
}
