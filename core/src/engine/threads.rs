//! The engine's threads: named, joinable, with every asynchronous signal
//! blocked, so that the host's own handlers run on the host's own threads.

use super::error::Error;
use crate::net::{Executing, block_on};
use crate::sys;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The threads that run an executor.
pub(super) struct Threads {
    leave: async_channel::Sender<()>,
    joins: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `count` threads. `failed` hears of one that panics.
    pub(super) fn start(
        count: usize,
        executing: &Arc<Executing>,
        failed: &async_channel::Sender<String>,
    ) -> Result<Threads, Error> {
        let (leave, told) = async_channel::bounded(1);
        let mut threads = Threads { leave, joins: Vec::with_capacity(count) };
        for index in 0..count {
            let (executing, told, failed) = (executing.clone(), told.clone(), failed.clone());
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
                // the thread goes on for as long as it takes to say so and to
                // end in order.
                while catch_unwind(AssertUnwindSafe(run)).is_err() {
                    let _ = failed.try_send("an engine thread panicked".to_owned());
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
