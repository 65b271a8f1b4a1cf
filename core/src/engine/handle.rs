//! The handle: what a caller holds, and the states an engine goes through.

use super::admin::Desk;
use super::builder::Builder;
use super::dispatch::Dispatcher;
use super::elsewhere;
use super::error::{Error, ErrorKind};
use super::mode::Mode;
use super::start::Running;
use crate::net::Hurry;
use crate::sys;
use crate::telemetry::Counters;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A running engine. Clones share it; dropping the last one stops it at once.
#[derive(Clone)]
pub struct Engine(Arc<Owned>);

/// Where an engine is in its life; it only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Serving.
    Running,
    /// Refusing new work and finishing what is under way.
    Stopping,
    /// Left in order; for good.
    Stopped,
    /// Lost a part without which it does not go on.
    Failed,
    /// Seen in a process that was forked from the engine's own.
    Forked,
}

/// What [`Engine::stop`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Exchanges that were under way when the time ran out, and were cut.
    pub aborted: usize,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field is the counter of its name")]
pub struct Stats {
    pub dns_queries: u64,
    pub dns_forwarded: u64,
    pub dns_failed: u64,
    pub proxy_connections: u64,
    pub proxy_requests: u64,
    pub proxy_errors: u64,
    pub upstream_connections: u64,
    pub upstream_reused: u64,
    pub token_fetches: u64,
    pub token_failures: u64,
    pub panics: u64,
}

/// The last one of these that goes stops the engine; the engine's own tasks
/// hold [`Shared`] alone.
struct Owned(Arc<Shared>);

/// What the handle and the engine's own tasks both see.
pub(super) struct Shared {
    life: Mutex<Life>,
    /// The thread of the log callback, where nothing may wait for its end.
    log_thread: Option<ThreadId>,
    changed: Condvar,
    /// Closed when the engine has stopped or failed.
    ended: async_channel::Sender<()>,
    has_ended: async_channel::Receiver<()>,
    pub(super) facts: Facts,
}

/// What does not change while an engine runs.
pub(super) struct Facts {
    pub(super) mode: Mode,
    pub(super) dns_addrs: Vec<SocketAddr>,
    pub(super) proxy_addrs: Vec<SocketAddr>,
    pub(super) env: Vec<(String, String)>,
    pub(super) counters: Arc<Counters>,
    pub(super) admin_addr: Option<SocketAddr>,
    pub(super) desk: Desk,
}

struct Life {
    state: State,
    cause: Option<String>,
    running: Option<Running>,
    dispatcher: Option<Dispatcher>,
    /// Somebody is stopping it, and will say so when that is done.
    leaving: bool,
    /// Shortens the drain that is under way.
    hurry: Option<Hurry>,
    report: StopReport,
    when_failed: Option<Box<dyn FnOnce() + Send>>,
}

impl Shared {
    pub(super) fn new(
        facts: Facts,
        running: Option<Running>,
        dispatcher: Option<Dispatcher>,
    ) -> Arc<Shared> {
        let (ended, has_ended) = async_channel::bounded(1);
        let log_thread = dispatcher.as_ref().and_then(Dispatcher::thread);
        let life = Life {
            state: State::Running,
            cause: None,
            running,
            dispatcher,
            leaving: false,
            hurry: None,
            report: StopReport::default(),
            when_failed: None,
        };
        let life = Mutex::new(life);
        Arc::new(Shared { life, log_thread, changed: Condvar::new(), ended, has_ended, facts })
    }

    /// Whether the caller may wait here: in a child the lock may be held by a
    /// thread that it does not have, and the log callback would wait for itself.
    fn check_caller(&self) -> Result<(), Error> {
        if let Some(parent) = sys::forked_from() {
            return Err(Error::forked(parent));
        }
        if self.is_log_thread() {
            let text = "a log callback cannot stop its engine or wait for it; do that on another \
                        thread";
            return Err(Error::new(ErrorKind::Busy, text));
        }
        Ok(())
    }

    fn is_log_thread(&self) -> bool {
        self.log_thread == Some(std::thread::current().id())
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        // A panic while it was held cannot have left it half-changed: every
        // change is one assignment.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vital part is gone: callers are told, nothing is served any more.
    pub(super) fn fail(&self, cause: String) {
        let mut life = self.life();
        if life.state == State::Running {
            life.state = State::Failed;
            self.facts.desk.fail(&cause);
            life.cause = Some(cause);
            // Whoever looks names up from now on must not depend on us.
            if let Some(running) = &mut life.running {
                running.give_back();
            }
            self.ended.close();
            self.changed.notify_all();
            let tell = life.when_failed.take();
            drop(life);
            if let Some(tell) = tell {
                tell();
            }
        }
    }

    fn stop(&self, drain: Duration) -> StopReport {
        let mut life = self.life();
        if let Some(hurry) = &life.hurry {
            hurry.within(drain);
        }
        while life.leaving {
            life = self.changed.wait(life).unwrap_or_else(PoisonError::into_inner);
        }
        if life.running.is_some() || life.dispatcher.is_some() || life.state == State::Running {
            life.leaving = true;
            let failed = life.state == State::Failed;
            if !failed {
                life.state = State::Stopping;
            }
            let (running, dispatcher) = (life.running.take(), life.dispatcher.take());
            life.hurry = running.as_ref().map(Running::hurry);
            // A log callback may ask for the state meanwhile.
            drop(life);
            let aborted = running.map_or(0, |running| running.stop(drain));
            drop(dispatcher);
            life = self.life();
            life.leaving = false;
            life.hurry = None;
            life.report = StopReport { aborted };
            if !failed {
                life.state = State::Stopped;
            }
        }
        self.ended.close();
        self.changed.notify_all();
        life.report
    }
}

impl Owned {
    /// Stops at once, in the way that the calling thread can.
    fn leave(&self) {
        let shared = self.0.clone();
        if sys::forked_from().is_some() {
            // What it consists of is the parent's: closing or freeing any of it
            // would reach into the reactor that both share.
            std::mem::forget(shared);
        } else if shared.is_log_thread() {
            // The thread cannot wait for itself. If there is no other one to
            // be had, the engine goes on: better than a deadlock.
            let kept = shared.clone();
            let stop = move || {
                shared.stop(Duration::ZERO);
            };
            if elsewhere::spawn("runsd-stop", stop).is_err() {
                std::mem::forget(kept);
            }
        } else {
            shared.stop(Duration::ZERO);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Engine {
    /// The process that engines belong to, if this one was forked from it:
    /// every call here is refused then, and its engines go on serving both.
    pub fn forked_from() -> Option<i32> {
        sys::forked_from()
    }

    /// Begins to say how an engine is to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn new(shared: Arc<Shared>) -> Engine {
        Engine(Arc::new(Owned(shared)))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// What starts a task in it, while it runs.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> Option<crate::net::Tasks> {
        self.shared().life().running.as_ref().map(Running::tasks)
    }

    /// Where it is in its life. Does not block.
    pub fn state(&self) -> State {
        if sys::forked_from().is_some() {
            return State::Forked;
        }
        self.shared().life().state
    }

    /// How names reach the app.
    pub fn mode(&self) -> Mode {
        self.shared().facts.mode
    }

    /// The addresses where DNS is answered; none in the modes `proxy` and `off`.
    pub fn dns_addrs(&self) -> &[SocketAddr] {
        &self.shared().facts.dns_addrs
    }

    /// The addresses where the proxy listens; none in the mode `off`.
    pub fn proxy_addrs(&self) -> &[SocketAddr] {
        &self.shared().facts.proxy_addrs
    }

    /// Where the admin endpoint is; none unless the setting `admin_addr` asks for
    /// one, and in the mode `off`.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.shared().facts.admin_addr
    }

    /// The environment variables that tell an app of the proxy, as name and
    /// value; none but in the mode `proxy`.
    pub fn env(&self) -> &[(String, String)] {
        &self.shared().facts.env
    }

    /// Counts since the start. Does not block.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared().facts.counters;
        Stats {
            dns_queries: counters.dns_queries.get(),
            dns_forwarded: counters.dns_forwarded.get(),
            dns_failed: counters.dns_failed.get(),
            proxy_connections: counters.proxy_connections.get(),
            proxy_requests: counters.proxy_requests.get(),
            proxy_errors: counters.proxy_errors.get(),
            upstream_connections: counters.upstream_connections.get(),
            upstream_reused: counters.upstream_reused.get(),
            token_fetches: counters.token_fetches.get(),
            token_failures: counters.token_failures.get(),
            panics: counters.panics.get(),
        }
    }

    /// Waits until the engine has stopped or failed, at most `timeout`; `None`
    /// waits without end. Blocks the calling thread.
    ///
    /// # Errors
    /// `Timeout` if it still runs; `Internal` with the cause if it failed;
    /// `Busy` in its own log callback; `Forked` in a child process.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let shared = self.shared();
        shared.check_caller()?;
        let mut life = shared.life();
        while !matches!(life.state, State::Stopped | State::Failed) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            life = match left {
                Some(Duration::ZERO) => {
                    return Err(Error::new(ErrorKind::Timeout, "the engine is still running"));
                }
                Some(left) => {
                    let waited = shared.changed.wait_timeout(life, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => shared.changed.wait(life).unwrap_or_else(PoisonError::into_inner),
            };
        }
        outcome(&life)
    }

    /// As [`Engine::wait`] without a limit, in any async runtime.
    ///
    /// # Errors
    /// `Internal` with the cause if it failed; `Forked` in a child process.
    pub async fn wait_async(&self) -> Result<(), Error> {
        self.shared().check_caller()?;
        // Nothing is ever sent: the channel closes.
        let _ = self.shared().has_ended.recv().await;
        outcome(&self.shared().life())
    }

    /// Stops: restores resolv.conf, refuses new work, lets what is under way
    /// finish for at most `drain`, then cuts it. Calling it again, or from
    /// several threads, gives the same report; of callers at once the one with
    /// the least time counts, so that none waits longer than it said. Blocks for at most about `drain`,
    /// and for as long as the log callback takes for the last records.
    ///
    /// # Errors
    /// `Internal` with the cause if the engine had failed; it is stopped all the
    /// same. `Busy` in its own log callback; `Forked` in a child process.
    pub fn stop(&self, drain: Duration) -> Result<StopReport, Error> {
        self.shared().check_caller()?;
        let report = self.shared().stop(drain);
        outcome(&self.shared().life()).map(|()| report)
    }

    /// As [`Engine::stop`], in any async runtime: a thread does the work. Once
    /// polled it happens, even if the future is given up.
    ///
    /// # Errors
    /// As [`Engine::stop`].
    pub async fn stop_async(&self, drain: Duration) -> Result<StopReport, Error> {
        self.shared().check_caller()?;
        let this = self.clone();
        elsewhere::run("runsd-stop", move || this.stop(drain)).await?
    }

    /// Stops at once, as dropping the last handle does, although there are
    /// others. In its own log callback another thread does that; in a child
    /// process everything is left as it is.
    pub fn close(&self) {
        self.0.leave();
    }

    /// Puts the routes and the list of allowed names in force that `builder`'s
    /// sources give now; nothing else changes, and no connection is dropped.
    /// Says in the log what it did, or why it left everything as it was.
    #[cfg(feature = "cli")]
    pub(crate) fn reload(&self, builder: &Builder) {
        // Read before the lock: files may be slow.
        let (config, shown) = match builder.config_and_shown() {
            Ok((config, shown)) => (Ok(config), Some(shown)),
            Err(error) => (Err(error), None),
        };
        if let Some(running) = &self.shared().life().running {
            running.reload(config);
            shown.iter().for_each(|shown| self.shared().facts.desk.replace_rules(shown));
        }
    }

    /// Lets the admin endpoint's `/quitquitquit` be asked, and calls `quit` then.
    #[cfg(feature = "cli")]
    pub(crate) fn when_asked_to_quit(&self, quit: impl Fn() + Send + Sync + 'static) {
        self.shared().facts.desk.when_asked_to_quit(quit);
    }

    /// Calls `tell` once if the engine fails, also if it already has.
    #[cfg(feature = "cli")]
    pub(crate) fn when_failed(&self, tell: impl FnOnce() + Send + 'static) {
        let mut life = self.shared().life();
        if life.state == State::Failed {
            drop(life);
            tell();
        } else {
            life.when_failed = Some(Box::new(tell));
        }
    }
}

/// How it ended, or that it goes on.
fn outcome(life: &Life) -> Result<(), Error> {
    match &life.cause {
        Some(cause) => Err(Error::new(ErrorKind::Internal, cause.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "stop_tests.rs"]
mod stop_tests;
