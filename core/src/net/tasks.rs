//! Tasks: the engine's executor and the one wrapper around everything it runs.
//!
//! A panic in a task ends that exchange alone: it is caught, counted and
//! logged. Rooms hold [`Tasks`], which does not keep the executor alive: the
//! tasks hold it in turn, and such a ring would never be freed.

use super::BoxFuture;
use super::guard::Guarded;
use super::reactor::Reactor;
use super::time::sleep;
use crate::telemetry::{Counters, Log};
use async_executor::Executor;
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The executor itself; the engine alone owns it. Dropping it drops every task
/// at the point where it waits.
pub struct Executing {
    executor: Arc<Executor<'static>>,
    reactor: Arc<Reactor>,
    tasks: Tasks,
}

/// A handle that starts tasks; cheap to clone.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    executor: Weak<Executor<'static>>,
    log: Log,
    counters: Arc<Counters>,
    failed: async_channel::Sender<String>,
}

/// An exchange ended by a panic, which has been counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an internal error, which has been logged")
    }
}

impl Executing {
    /// A new executor; `failed` hears why a vital task ended.
    ///
    /// # Errors
    /// What the operating system says, lack of descriptors above all.
    pub fn new(
        log: Log,
        counters: Arc<Counters>,
        failed: async_channel::Sender<String>,
    ) -> io::Result<Executing> {
        let (executor, reactor) = (Arc::new(Executor::new()), Reactor::new()?);
        let inner = Inner { executor: Arc::downgrade(&executor), log, counters, failed };
        Ok(Executing { executor, reactor, tasks: Tasks(Arc::new(inner)) })
    }

    /// The handle that rooms get.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }

    /// To be called on a thread before it [runs](Executing::run) tasks: the
    /// process's one thread of async-io, which has the timers of other threads,
    /// begins here, where the signals are blocked that it is to inherit.
    ///
    /// # Errors
    /// `WouldBlock` if the operating system has no thread or descriptor for it:
    /// async-io panics then.
    pub fn prepare() -> io::Result<()> {
        catch_unwind(|| async_io::block_on(std::future::ready(())))
            .map_err(|_| io::Error::from_raw_os_error(libc::EAGAIN))
    }

    /// Runs tasks on the calling thread until `until` ends.
    pub fn run<T>(&self, until: impl Future<Output = T>) -> T {
        // One task after the other, and not by `Executor::run`: that moves each
        // through a second queue, which is for threads that steal from each other.
        self.reactor.run(until, || self.executor.try_tick(), || self.executor.tick())
    }
}

impl Tasks {
    /// Starts `future` and lets it run until it ends or the engine leaves.
    /// `what` names it in the log, such as `proxy connection`.
    pub fn spawn(&self, what: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        // Boxed first: each layer around a future would hold it twice, as what
        // it was given and as what it waits for. And of one type: the layers
        // are compiled once, and not for each of thirty tasks.
        self.start(what, Box::pin(future));
    }

    fn start(&self, what: &'static str, future: BoxFuture<'static, ()>) {
        if let Some(executor) = self.0.executor.upgrade() {
            let this = self.clone();
            let guarded = async move {
                let _ = this.guard(what, future).await;
            };
            executor.spawn(guarded).detach();
        }
    }

    /// Starts a task without which the engine must not go on, such as an
    /// accept loop: if it ends or panics, the engine fails with the cause.
    pub fn spawn_vital(
        &self,
        what: &'static str,
        future: impl Future<Output = String> + Send + 'static,
    ) {
        self.start_vital(what, Box::pin(future));
    }

    fn start_vital(&self, what: &'static str, future: BoxFuture<'static, String>) {
        let this = self.clone();
        self.spawn(what, async move {
            let cause = match this.guard(what, future).await {
                Ok(cause) => cause,
                Err(panicked) => panicked.to_string(),
            };
            let _ = this.0.failed.try_send(format!("{what} ended: {cause}"));
        });
    }

    /// Runs `future`, turning a panic into [`Panicked`], which has been logged
    /// and counted; one when it is dropped too, unless it is handed over pinned
    /// elsewhere, as a large one is.
    pub fn guard<F: Future>(&self, what: &'static str, future: F) -> Guarded<'_, F> {
        Guarded::new(self, what, future)
    }

    /// What runs the tasks has panicked, outside all of them: the engine must
    /// not go on.
    pub fn thread_panicked(&self, cause: &(dyn Any + Send)) {
        let panicked = self.panicked("an engine thread", cause);
        let _ = self.0.failed.try_send(format!("an engine thread ended: {panicked}"));
    }

    pub(super) fn panicked(&self, what: &'static str, cause: &(dyn Any + Send)) -> Panicked {
        self.0.counters.panics.add();
        let (said, place) = (said(cause), crate::sys::last_panic());
        self.0.log.error(
            "engine",
            format_args!("internal error in {what}{place}: {said}; please report it"),
        );
        Panicked
    }

    /// The engine's counters.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The engine's log.
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// Calls `accept` for ever, each time handing over what it accepted.
    /// Running out of descriptors or memory pauses it for 100 ms instead of
    /// ending it: the connections that are open will end and make room.
    pub async fn accept_loop<T, F>(
        &self,
        mut accept: impl FnMut() -> F,
        mut handle: impl FnMut(T),
    ) -> String
    where
        F: Future<Output = io::Result<T>>,
    {
        loop {
            match accept().await {
                Ok(accepted) => handle(accepted),
                Err(error) if is_passing(&error) => {
                    self.0.log.warn("net", format_args!("cannot accept a connection: {error}"));
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return error.to_string(),
            }
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
        || is_shortage(error)
        || matches!(error.raw_os_error(), Some(libc::EPROTO | libc::EPERM))
}

/// Whether there is too little of something of which there will be more, such
/// as descriptors or memory.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                // The kernel watches so many sockets of a user, and no more.
                | libc::ENOSPC
        )
    )
}

/// The text of a panic, where it has one.
fn said(cause: &(dyn Any + Send)) -> &str {
    cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Runs a future on the calling thread. It must be one that needs no task of
/// its own; public blocking calls wait on channels with it.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures_lite::future::block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executing() -> (Executing, async_channel::Receiver<String>) {
        let (failed, heard) = async_channel::bounded(1);
        (Executing::new(Log::discard(), Arc::default(), failed).unwrap(), heard)
    }

    #[test]
    fn a_panic_ends_its_task_alone_and_is_counted() {
        let (executing, _heard) = executing();
        let tasks = executing.tasks();
        let (send, receive) = async_channel::bounded::<u8>(1);
        tasks.spawn("the one that panics", async { panic!("on purpose") });
        tasks.spawn("the one that goes on", async move {
            let _ = send.send(7).await;
        });
        assert_eq!(executing.run(receive.recv()), Ok(7));
        assert_eq!(tasks.counters().panics.get(), 1);
    }

    #[test]
    fn a_vital_task_that_ends_is_told() {
        let (executing, heard) = executing();
        executing.tasks().spawn_vital("the listener", async { "its socket broke".to_owned() });
        assert_eq!(executing.run(heard.recv()).unwrap(), "the listener ended: its socket broke");
    }

    #[test]
    fn dropping_the_executor_drops_tasks_that_wait() {
        let (executing, _heard) = executing();
        let (held, gone) = async_channel::bounded::<()>(1);
        let tasks = executing.tasks();
        let ring = tasks.clone();
        tasks.spawn("one that waits for ever", async move {
            let _both = (held, ring);
            std::future::pending::<()>().await;
        });
        executing.run(futures_lite::future::yield_now());
        drop(executing);
        assert!(gone.is_closed());
    }
}
