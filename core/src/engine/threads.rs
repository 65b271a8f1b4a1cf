//! The engine's threads: named, joinable, with every asynchronous signal
//! blocked, so that the host's own handlers run on the host's own threads.

use super::error::Error;
use crate::net::{Executing, block_on};
use crate::sys;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Before a thread that has panicked goes on, so that one that does it again and
/// again neither takes a processor nor fills the log.
const PAUSE: Duration = Duration::from_millis(100);

/// The threads that run an executor.
pub(super) struct Threads {
    leave: async_channel::Sender<()>,
    joins: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `count` threads. The engine fails if one of them panics.
    pub(super) fn start(count: usize, executing: &Arc<Executing>) -> Result<Threads, Error> {
        let (leave, told) = async_channel::bounded(1);
        let mut threads = Threads { leave, joins: Vec::with_capacity(count) };
        for index in 0..count {
            let (executing, told) = (executing.clone(), told.clone());
            let (prepared, ready) = async_channel::bounded(1);
            let body = move || {
                let fit = Executing::prepare();
                let unfit = fit.is_err();
                let _ = prepared.try_send(fit);
                if unfit {
                    return;
                }
                let run = || executing.run(async { told.recv().await.is_ok() });
                // A task's panic never comes here. One that does is fatal, and
                // the thread goes on until it is told to leave: it takes tasks
                // to say so, and the app may have requests under way.
                while let Err(cause) = catch_unwind(AssertUnwindSafe(run)) {
                    executing.tasks().thread_panicked(&*cause);
                    std::thread::sleep(PAUSE);
                }
            };
            let thread = std::thread::Builder::new().name(format!("runsd-{index}"));
            let started = sys::with_signals_blocked(|| thread.spawn(body)).and_then(|join| {
                threads.joins.push(join);
                block_on(ready.recv()).unwrap_or(Ok(()))
            });
            if let Err(cause) = started {
                threads.join();
                return Err(Error::io("cannot start a thread", cause));
            }
        }
        Ok(threads)
    }

    /// Makes the threads leave and waits for them. A thread cannot wait for
    /// itself: called on one of them, it lets that one go on by itself.
    pub(super) fn join(self) {
        self.leave.close();
        let this = std::thread::current().id();
        for join in self.joins {
            if join.thread().id() != this {
                let _ = join.join();
            }
        }
    }
}
