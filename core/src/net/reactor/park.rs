//! How a thread of an engine waits: on the set if no other one does, else for
//! that one, or a task, to wake it.

use super::{HERE, Reactor, Turn};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

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

/// Who is to be woken. What a panic leaves of it is due at once, by the timers, for
/// whichever thread has its turn next.
pub(super) struct Due<'a> {
    reactor: &'a Reactor,
    pub(super) wakers: VecDeque<Waker>,
}

impl Due<'_> {
    pub(super) fn new(reactor: &Reactor) -> Due<'_> {
        Due { reactor, wakers: VecDeque::new() }
    }

    pub(super) fn wake(&mut self) {
        while let Some(waker) = self.wakers.pop_front() {
            waker.wake();
        }
    }
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        for waker in self.wakers.drain(..) {
            self.reactor.begin_timer(Instant::now(), waker);
        }
    }
}

/// Tasks run at most before sockets and timers are looked at.
const MOST: usize = 200;

/// What the thread runs for, which need not be asked before it has been woken.
struct Until {
    parked: Arc<Parked>,
    woken: AtomicBool,
}

impl Wake for Until {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.parked.wake_by_ref();
    }
}

impl Reactor {
    /// Runs tasks on this thread until `until` ends, and waits for sockets and
    /// timers whenever there are none. `tick` runs one, if one is ready, and
    /// says whether it did; the future that `ready` makes ends when one may be.
    pub(in crate::net) fn run<T, R: Future>(
        self: &Arc<Self>,
        until: impl Future<Output = T>,
        tick: impl Fn() -> bool,
        ready: impl Fn() -> R,
    ) -> T {
        let parked = Arc::new(Parked {
            reactor: self.clone(),
            thread: std::thread::current(),
            woken: AtomicBool::new(false),
            on_set: AtomicBool::new(false),
        });
        let _stay = Stay::begin(&parked);
        let told = Arc::new(Until { parked: parked.clone(), woken: AtomicBool::new(true) });
        let (waker, until_waker) = (Waker::from(parked.clone()), Waker::from(told.clone()));
        let mut context = Context::from_waker(&waker);
        let mut until = pin!(until);
        let mut due = Due::new(self);
        loop {
            // Whatever wakes it from here on keeps it from waiting.
            parked.woken.store(false, SeqCst);
            // Looked at first: taking it back is a locked instruction.
            if told.woken.load(SeqCst) && told.woken.swap(false, SeqCst) {
                let mut context = Context::from_waker(&until_waker);
                if let Poll::Ready(value) = until.as_mut().poll(&mut context) {
                    return value;
                }
            }
            let ran = (0..MOST).take_while(|_| tick()).count();
            {
                // Asked anew for each wait: while it stands, each task that is
                // woken, by this thread too, would have to look for who sleeps.
                let mut ready = pin!(ready());
                let busy = ran == MOST || ready.as_mut().poll(&mut context).is_ready();
                let before = || {
                    if busy {
                        return false;
                    }
                    parked.on_set.store(true, SeqCst);
                    !parked.woken.load(SeqCst)
                };
                // Who still sees that it was on the set rings once in vain: what
                // it woke this thread for is found in the next round.
                let after = || parked.on_set.store(false, Release);
                let turn = self.turn(&mut due.wakers, before, after);
                if turn == Turn::Taken && !busy && !parked.woken.load(SeqCst) {
                    std::thread::park();
                }
            }
            // Without the lead: who is woken may want it.
            due.wake();
        }
    }
}
