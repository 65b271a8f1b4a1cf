//! The handle: what a caller holds, and the states an engine goes through.

use super::builder::Builder;
use super::error::{Error, ErrorKind};
use super::mode::Mode;
use super::start::Running;
use crate::telemetry::Counters;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
}

struct Life {
    state: State,
    cause: Option<String>,
    running: Option<Running>,
    report: StopReport,
    when_failed: Option<Box<dyn FnOnce() + Send>>,
}

impl Shared {
    pub(super) fn new(facts: Facts, running: Option<Running>) -> Arc<Shared> {
        let (ended, has_ended) = async_channel::bounded(1);
        let life = Life {
            state: State::Running,
            cause: None,
            running,
            report: StopReport::default(),
            when_failed: None,
        };
        let life = Mutex::new(life);
        Arc::new(Shared { life, changed: Condvar::new(), ended, has_ended, facts })
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
            life.cause = Some(cause);
            self.ended.close();
            self.changed.notify_all();
            if let Some(tell) = life.when_failed.take() {
                tell();
            }
        }
    }

    fn stop(&self, drain: Duration) -> StopReport {
        let mut life = self.life();
        while life.state == State::Stopping {
            life = self.changed.wait(life).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(running) = life.running.take() {
            let failed = life.state == State::Failed;
            if !failed {
                life.state = State::Stopping;
            }
            drop(life);
            let report = StopReport { aborted: running.stop(drain) };
            life = self.life();
            life.report = report;
            if !failed {
                life.state = State::Stopped;
            }
        } else if life.state == State::Running {
            life.state = State::Stopped;
        }
        self.ended.close();
        self.changed.notify_all();
        life.report
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.stop(Duration::ZERO);
    }
}

impl Engine {
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

    /// Where it is in its life. Does not block.
    pub fn state(&self) -> State {
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
    /// `Timeout` if it still runs; `Internal` with the cause if it failed.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<(), Error> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let shared = self.shared();
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
        match &life.cause {
            Some(cause) => Err(Error::new(ErrorKind::Internal, cause.clone())),
            None => Ok(()),
        }
    }

    /// Waits until the engine has stopped or failed, in any async runtime.
    pub async fn ended(&self) {
        let _ = self.shared().has_ended.recv().await;
    }

    /// Stops: restores resolv.conf, refuses new work, lets what is under way
    /// finish for at most `drain`, then cuts it. Calling it again, or from
    /// several threads, gives the same report. Blocks for at most about `drain`.
    ///
    /// # Errors
    /// `Internal` with the cause if the engine had failed; it is stopped all the same.
    pub fn stop(&self, drain: Duration) -> Result<StopReport, Error> {
        let report = self.shared().stop(drain);
        match &self.shared().life().cause {
            Some(cause) => Err(Error::new(ErrorKind::Internal, cause.clone())),
            None => Ok(report),
        }
    }

    /// Puts the routes and the list of allowed names in force that `builder`'s
    /// sources give now; nothing else changes, and no connection is dropped.
    /// Says in the log what it did, or why it left everything as it was.
    #[cfg(feature = "cli")]
    pub(crate) fn reload(&self, builder: &Builder) {
        // Read before the lock: files may be slow.
        let config = builder.config();
        if let Some(running) = &self.shared().life().running {
            running.reload(config);
        }
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
