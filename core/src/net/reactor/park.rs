//! How a thread of an engine waits: on the set if no other one does, else for
//! that one, or a task, to wake it.

use super::{HERE, Reactor, Turn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// A thread that runs, or waits.
pub(super) struct Parked {
    reactor: Arc<Reactor>,
    thread: Thread,
    /// It has been woken since it last looked for work.
    woken: AtomicBool,
    /// It waits on the set, or is about to and will look at `woken` once more.
    on_set: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// A thread that runs needs no system call to go on: it looks at `woken`
    /// before it waits. Either this sees that the thread is about to wait on
    /// the set, or the thread sees that it has been woken.
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, SeqCst) {
            if self.on_set.load(SeqCst) {
                self.reactor.bell.ring();
            } else {
                self.thread.unpark();
            }
        }
    }
}

/// A thread's stay: it has a reactor of its own, and others know that it is there.
struct Stay {
    parked: Arc<Parked>,
    /// Which reactor this thread had before.
    before: Option<Arc<Reactor>>,
}

impl Stay {
    fn begin(parked: &Arc<Parked>) -> Stay {
        let reactor = &parked.reactor;
        reactor.threads().push(parked.clone());
        Stay { parked: parked.clone(), before: HERE.replace(Some(reactor.clone())) }
    }
}

impl Drop for Stay {
    /// It may have been the one that waited on the set: one of the others, which
    /// wait for it, must do so now.
    fn drop(&mut self) {
        HERE.set(self.before.take());
        let mut threads = self.parked.reactor.threads();
        threads.retain(|other| !Arc::ptr_eq(other, &self.parked));
        threads.iter().for_each(Wake::wake_by_ref);
    }
}

impl Reactor {
    /// Runs `future` on this thread, which waits for sockets and timers
    /// whenever the future has nothing to do, and looks at them in between
    /// where it always has something.
    pub(in crate::net) fn block_on<T>(self: &Arc<Self>, future: impl Future<Output = T>) -> T {
        let parked = Arc::new(Parked {
            reactor: self.clone(),
            thread: std::thread::current(),
            woken: AtomicBool::new(false),
            on_set: AtomicBool::new(false),
        });
        let _stay = Stay::begin(&parked);
        let waker = Waker::from(parked.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut wakers = Vec::new();
        loop {
            parked.woken.swap(false, SeqCst);
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            let before = || {
                parked.on_set.store(true, SeqCst);
                !parked.woken.load(SeqCst)
            };
            let after = || parked.on_set.store(false, SeqCst);
            let turn = self.turn(&mut wakers, before, after);
            // Without the lead: who is woken may want it.
            wakers.drain(..).for_each(Waker::wake);
            if turn == Turn::Taken && !parked.woken.load(SeqCst) {
                std::thread::park();
            }
        }
    }
}
