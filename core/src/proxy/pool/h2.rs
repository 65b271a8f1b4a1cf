//! HTTP/2 connections: shared, dialled once for however many requests wait,
//! and never a queue: where a connection has no stream left, another is opened.

use super::h1::count;
use super::h2_connection::{Connection, Lease, STREAMS};
use super::{H1, connect_h1};
use crate::names::Target;
use crate::net::{Alpn, DialError, Protocol, Secure, TlsError};
use crate::proxy::error::{Fault, ProxyError};
use crate::proxy::timers::Timers;
use crate::proxy::{Shared, Upstream};
use async_channel::{Receiver, Sender};
use http::uri::{Authority, Scheme};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// For how long a service that chose HTTP/1.1 is not offered HTTP/2 again: a
/// new revision may speak it.
const HTTP1_FOR: Duration = Duration::from_secs(300);

/// How a request gets to its service.
#[derive(Debug)]
pub(in crate::proxy) enum Way {
    /// As a stream.
    Http2(Lease),
    /// On a connection of its own.
    Http1(Box<H1>),
}

/// The connections of every origin.
#[derive(Debug)]
pub(in crate::proxy) struct H2Pool {
    timers: Timers,
    /// Sorted: among the few that an app calls, one is found sooner than it would
    /// be hashed.
    origins: Mutex<BTreeMap<String, Origins>>,
}

/// One authority, in the clear and encrypted.
#[derive(Debug, Default)]
struct Origins {
    plain: Origin,
    secure: Origin,
}

#[derive(Debug, Default)]
struct Origin {
    connections: Vec<Arc<Connection>>,
    /// Dials under way.
    dialing: usize,
    /// Who waits for them.
    waiting: VecDeque<Sender<Given>>,
    http1_until: Option<SystemTime>,
}

/// What a waiting request gets.
#[derive(Debug)]
enum Given {
    Lease(Lease),
    Http1,
    Failed(ProxyError),
}

/// What a request finds.
enum Found {
    Now(Given),
    Later { given: Receiver<Given>, dial: bool },
}

/// What a dial has brought.
enum Dialed {
    Http2(Arc<Connection>),
    /// It has gone into the pool of its kind.
    Http1,
}

impl H2Pool {
    /// A pool of nothing.
    pub(in crate::proxy) fn new(timers: Timers) -> H2Pool {
        H2Pool { timers, origins: Mutex::default() }
    }

    /// The way to `target`, by the versions that the configuration and the
    /// service agree on, but not on the connection of `avoid`. Waits for a
    /// connection if there is none.
    ///
    /// # Errors
    /// [`ProxyError::Dial`] or [`ProxyError::Upstream`].
    pub(in crate::proxy) async fn way(
        shared: &Arc<Shared>,
        target: &Arc<Target>,
        avoid: Option<Lease>,
    ) -> Result<Way, ProxyError> {
        let Some(secure) = offer(shared.config.upstream, target.tls) else {
            return http1(shared, target).await;
        };
        let given = match shared.h2.find(target, avoid.as_ref()) {
            Found::Now(given) => given,
            Found::Later { given, dial } => {
                if dial {
                    start_dial(shared, target, secure);
                }
                given.recv().await.unwrap_or(Given::Failed(ProxyError::Internal))
            }
        };
        match given {
            Given::Lease(lease) => Ok(Way::Http2(lease)),
            Given::Http1 => http1(shared, target).await,
            // It was dialled for whoever came first, by whatever name.
            Given::Failed(error) => Err(error.calling(&target.name)),
        }
    }

    /// Whether a connection to `target` is there or on its way.
    pub(in crate::proxy) fn has(&self, target: &Target) -> bool {
        self.with(target, |origin| {
            origin.dialing > 0 || origin.connections.iter().any(|connection| connection.is_good())
        })
    }

    /// `target` wants HTTP/1.1 after all (RFC 9113 §7, `HTTP_1_1_REQUIRED`).
    pub(in crate::proxy) fn wants_http1(&self, target: &Target) {
        let until = self.timers.wall() + HTTP1_FOR;
        self.with(target, |origin| origin.http1_until = Some(until));
    }

    /// Drops what has ended or has been idle for too long.
    pub(in crate::proxy) fn sweep(&self) {
        let now = self.timers.wall();
        self.origins().retain(|_, origins| {
            origins.plain.sweep();
            origins.secure.sweep();
            !origins.plain.is_empty(now) || !origins.secure.is_empty(now)
        });
    }

    /// How many are open.
    pub(in crate::proxy) fn kept(&self) -> usize {
        let of =
            |origins: &Origins| origins.plain.connections.len() + origins.secure.connections.len();
        self.origins().values().map(of).sum()
    }

    /// Lets go of every connection; those with streams end with their last.
    pub(in crate::proxy) fn clear(&self) {
        for origins in self.origins().values_mut() {
            origins.plain.connections.clear();
            origins.secure.connections.clear();
        }
    }

    fn origins(&self) -> MutexGuard<'_, BTreeMap<String, Origins>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, target: &Target, act: impl FnOnce(&mut Origin) -> T) -> T {
        let mut origins = self.origins();
        let origins = match origins.get_mut(&target.authority) {
            Some(origins) => origins,
            None => origins.entry(target.authority.clone()).or_default(),
        };
        act(if target.tls { &mut origins.secure } else { &mut origins.plain })
    }

    fn find(&self, target: &Target, avoid: Option<&Lease>) -> Found {
        self.with(target, |origin| {
            if origin.http1_until.is_some_and(|until| self.timers.wall() < until) {
                return Found::Now(Given::Http1);
            }
            origin.connections.retain(|connection| connection.is_good());
            // The oldest first, so that those a burst has left over grow idle.
            let wanted = |one: &&Arc<Connection>| !avoid.is_some_and(|lease| lease.is_on(one));
            let mut others = origin.connections.iter().filter(wanted);
            if let Some(lease) = others.find_map(Connection::lease) {
                return Found::Now(Given::Lease(lease));
            }
            let (sender, given) = async_channel::bounded(1);
            origin.waiting.retain(|waiting| !waiting.is_closed());
            origin.waiting.push_back(sender);
            let dial = origin.wanted() > 0;
            origin.dialing += usize::from(dial);
            Found::Later { given, dial }
        })
    }

    /// Hands out what a dial has brought, and says how many more to start.
    fn dialed(&self, target: &Target, outcome: Result<Dialed, ProxyError>) -> usize {
        let until = self.timers.wall() + HTTP1_FOR;
        self.with(target, |origin| {
            origin.dialing = origin.dialing.saturating_sub(1);
            match outcome {
                Ok(Dialed::Http2(connection)) => origin.hand_out(connection, target),
                Ok(Dialed::Http1) => {
                    origin.http1_until = Some(until);
                    origin.tell_all(|| Given::Http1);
                }
                // Another dial may still succeed; in its place comes none, or
                // a service that is down would be dialled for ever.
                Err(_) if origin.dialing > 0 => return 0,
                Err(error) => origin.tell_all(|| Given::Failed(again(&error))),
            }
            let wanted = origin.wanted();
            origin.dialing += wanted;
            wanted
        })
    }
}

impl Origin {
    fn is_empty(&self, now: SystemTime) -> bool {
        self.connections.is_empty()
            && self.dialing == 0
            && self.http1_until.is_none_or(|until| until < now)
    }

    fn sweep(&mut self) {
        self.connections.retain(|connection| connection.is_good());
    }

    /// How many more dials those who wait need.
    fn wanted(&self) -> usize {
        let each = self.connections.last().map_or(STREAMS, |last| last.most_streams()).max(1);
        self.waiting.len().div_ceil(each).saturating_sub(self.dialing)
    }

    fn hand_out(&mut self, connection: Arc<Connection>, target: &Target) {
        let mut served = false;
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.is_closed() {
                continue;
            }
            match connection.lease() {
                Some(lease) => {
                    served = true;
                    // Who has left meanwhile gives its place back unused.
                    let _ = waiting.try_send(Given::Lease(lease));
                }
                None if served => {
                    self.waiting.push_front(waiting);
                    break;
                }
                None => {
                    // Dialling on would never end.
                    let cause = "its new connection takes no request";
                    let failed = ProxyError::upstream(target, Fault::BrokeOff, cause);
                    let _ = waiting.try_send(Given::Failed(failed));
                    break;
                }
            }
        }
        self.connections.push(connection);
    }

    fn tell_all(&mut self, given: impl Fn() -> Given) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.try_send(given());
        }
    }
}

/// What to offer a service; `None`: HTTP/1.1 without asking. In the clear
/// there is nobody to ask.
fn offer(upstream: Upstream, tls: bool) -> Option<Secure> {
    match (upstream, tls) {
        (Upstream::Http1, _) | (Upstream::Same, false) => None,
        (Upstream::Same, true) => Some(Secure::Tls(Alpn::Either)),
        (Upstream::Http2, true) => Some(Secure::Tls(Alpn::Http2)),
        (Upstream::Http2, false) => Some(Secure::No),
    }
}

async fn http1(shared: &Arc<Shared>, target: &Target) -> Result<Way, ProxyError> {
    if let Some(connection) = shared.h1.take(target, shared.timers.wall()) {
        return Ok(Way::Http1(connection));
    }
    if let Some(coming) = shared.h1.wait(target).await {
        return coming.map(Way::Http1).map_err(|error| error.calling(&target.name));
    }
    connect_h1(shared, target).await.map(Way::Http1)
}

/// Dials in a task of its own, because others may wait for the same
/// connection when the request that needed it first has gone.
fn start_dial(shared: &Arc<Shared>, target: &Arc<Target>, secure: Secure) {
    let (shared, target) = (shared.clone(), target.clone());
    let tasks = shared.tasks.clone();
    tasks.spawn("HTTP/2 dial", async move {
        let dialing = shared.tasks.guard("HTTP/2 dial", dial(&shared, &target, secure));
        let outcome = dialing.await.unwrap_or(Err(ProxyError::Internal));
        for _ in 0..shared.h2.dialed(&target, outcome) {
            start_dial(&shared, &target, secure);
        }
    });
}

async fn dial(shared: &Shared, target: &Target, secure: Secure) -> Result<Dialed, ProxyError> {
    let connected = shared
        .dialer
        .dial(&target.host, target.port, secure)
        .await
        .map_err(|cause| ProxyError::Dial { name: target.name.clone(), cause })?;
    count(shared, &connected);
    let prior_knowledge = secure == Secure::No;
    if connected.protocol == Protocol::Http2 || prior_knowledge {
        let authority = Authority::try_from(target.authority.as_str());
        let authority = authority.map_err(|error| {
            let cause = format!("{:?} is no authority: {error}", target.authority);
            ProxyError::upstream(target, Fault::Response, cause)
        })?;
        let scheme = if target.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let (stream, origin) = (connected.stream, (scheme, authority));
        let opened = Connection::open(stream, origin, &shared.tasks, &shared.timers).await;
        let failed = |error| format!("HTTP/2 cannot begin: {error}");
        let failed = |error| ProxyError::upstream(target, Fault::BrokeOff, failed(error));
        return opened.map(Dialed::Http2).map_err(failed);
    }
    if secure == Secure::Tls(Alpn::Http2) {
        return Err(ProxyError::upstream(target, Fault::Version, "it does not speak HTTP/2"));
    }
    shared.h1.put(target, H1::new(connected.stream));
    Ok(Dialed::Http1)
}

/// The same error for one more of those who waited for the dial.
fn again(error: &ProxyError) -> ProxyError {
    let io = |cause: &io::Error| io::Error::new(cause.kind(), cause.to_string());
    match error {
        ProxyError::Upstream { name, host, cause, fault } => {
            let (name, host, cause) = (name.clone(), host.clone(), cause.clone());
            ProxyError::Upstream { name, host, cause, fault: *fault }
        }
        ProxyError::Dial { name, cause } => {
            let cause = match cause {
                DialError::Resolve { host, cause } => {
                    DialError::Resolve { host: host.clone(), cause: cause.clone() }
                }
                DialError::Loop { host, address } => {
                    DialError::Loop { host: host.clone(), address: *address }
                }
                DialError::Connect { address, cause } => {
                    DialError::Connect { address: *address, cause: io(cause) }
                }
                DialError::Timeout { address, step } => {
                    DialError::Timeout { address: *address, step }
                }
                DialError::Tls { address, cause } => {
                    let cause = match cause {
                        TlsError::Roots { file, cause } => {
                            TlsError::Roots { file: file.clone(), cause: cause.clone() }
                        }
                        TlsError::Host(host) => TlsError::Host(host.clone()),
                        TlsError::Certificate(cause) => TlsError::Certificate(cause.clone()),
                        TlsError::Version(cause) => TlsError::Version(cause.clone()),
                        TlsError::Handshake(cause) => TlsError::Handshake(io(cause)),
                    };
                    DialError::Tls { address: *address, cause }
                }
            };
            ProxyError::Dial { name: name.clone(), cause }
        }
        _ => ProxyError::Internal,
    }
}
