//! HTTP/1.1 connections: the one used last is taken first, so that what a
//! quiet app does not need grows old and goes.

use crate::names::Target;
use crate::net::{Alpn, Buffer, Connected, Secure, Stream};
use crate::proxy::Shared;
use crate::proxy::error::ProxyError;
use crate::proxy::limits::{FRESH, IDLE, IDLE_CONNECTIONS, IDLE_IN_ALL};
use crate::proxy::timers::Timers;
use async_channel::{Receiver, Sender};
use futures_lite::io::AsyncRead;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// A connection to a service.
#[derive(Debug)]
pub(in crate::proxy) struct H1 {
    pub(in crate::proxy) stream: Stream,
    /// What the service has sent and nobody has looked at yet.
    pub(in crate::proxy) buffer: Buffer,
    /// Whether it has been idle, so that its service may have closed it.
    pub(in crate::proxy) reused: bool,
}

/// One that waits for its next request.
#[derive(Debug)]
struct Idle {
    connection: Box<H1>,
    since: SystemTime,
}

/// The idle connections of every origin.
#[derive(Debug)]
pub(in crate::proxy) struct H1Pool {
    timers: Timers,
    idle: ByScheme<Vec<Origin>>,
    /// Connections on their way, for the requests that they were announced by.
    warming: ByScheme<HashMap<String, Coming>>,
}

/// The idle connections of one origin. They stand sorted by authority: among the
/// few that an app calls, one is found sooner than it would be hashed.
#[derive(Debug)]
struct Origin {
    authority: String,
    idle: Vec<Idle>,
}

/// The place of an origin, or where it belongs.
fn place(origins: &[Origin], authority: &str) -> Result<usize, usize> {
    origins.binary_search_by(|origin| origin.authority.as_str().cmp(authority))
}

/// By authority, and apart for what is in the clear and what is not: a token
/// must never go out on a connection that was opened for the other scheme.
#[derive(Debug)]
struct ByScheme<T>([Mutex<T>; 2]);

impl<T: Default> Default for ByScheme<T> {
    fn default() -> ByScheme<T> {
        ByScheme([Mutex::default(), Mutex::default()])
    }
}

impl<T> ByScheme<T> {
    fn of(&self, target: &Target) -> MutexGuard<'_, T> {
        let [clear, encrypted] = &self.0;
        let side = if target.tls { encrypted } else { clear };
        side.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.0.iter().map(|side| side.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that is being opened ahead of its request.
#[derive(Debug)]
enum Coming {
    Unclaimed(Receiver<Result<Box<H1>, ProxyError>>),
    /// A request waits for it.
    Claimed,
}

/// A connection on its way; whoever waits for it hears what came of it.
#[derive(Debug)]
pub(in crate::proxy) struct Warming(Sender<Result<Box<H1>, ProxyError>>);

impl H1 {
    /// A connection that has just been opened.
    pub(in crate::proxy) fn new(stream: Stream) -> Box<H1> {
        Box::new(H1 { stream, buffer: Buffer::default(), reused: false })
    }

    /// Whether nothing has come: an end, an alert or surplus bytes make it
    /// useless. Does not wait.
    fn is_quiet(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        if !self.stream.has_news() {
            return true;
        }
        let mut context = Context::from_waker(Waker::noop());
        matches!(Pin::new(&mut self.stream).poll_read(&mut context, &mut [0]), Poll::Pending)
    }

    /// The same of one that was quiet, and has been `idle` since: TLS has kept
    /// nothing back, so that the reactor's word does where it is fresh.
    fn is_still_quiet(&mut self, idle: Duration) -> bool {
        if idle > FRESH {
            self.stream.look_again();
        }
        !self.stream.tcp().has_news() || self.is_quiet()
    }
}

impl H1Pool {
    /// A pool of nothing.
    pub(in crate::proxy) fn new(timers: Timers) -> H1Pool {
        H1Pool { timers, idle: ByScheme::default(), warming: ByScheme::default() }
    }

    /// For how long a connection has been idle by the wall clock: a throttled
    /// instance's own clock stands still while it grows old. A clock that was
    /// set back makes it too old; one that was put back after `wall` is not.
    fn age(&self, since: SystemTime, wall: SystemTime) -> Duration {
        let age = wall.duration_since(since);
        age.or_else(|_| self.timers.wall().duration_since(since)).unwrap_or(IDLE)
    }

    /// An idle connection that is still good by the wall clock, which is `wall`.
    pub(in crate::proxy) fn take(&self, target: &Target, wall: SystemTime) -> Option<Box<H1>> {
        let mut origins = self.idle.of(target);
        let at = place(&origins, &target.authority).ok()?;
        let connections = &mut origins.get_mut(at)?.idle;
        while let Some(Idle { mut connection, since }) = connections.pop() {
            let age = self.age(since, wall);
            let fits = age < IDLE && connection.stream.is_tls() == target.tls;
            if fits && connection.is_still_quiet(age) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which an exchange has ended well.
    pub(in crate::proxy) fn put(&self, target: &Target, mut connection: Box<H1>) {
        // From here on the reactor watches for an end.
        if !connection.is_quiet() {
            return;
        }
        connection.buffer.release();
        connection.reused = true;
        let since = self.timers.wall();
        let mut origins = self.idle.of(target);
        if origins.iter().map(|origin| origin.idle.len()).sum::<usize>() >= IDLE_IN_ALL {
            return;
        }
        let at = place(&origins, &target.authority).unwrap_or_else(|at| {
            let authority = target.authority.clone();
            origins.insert(at, Origin { authority, idle: Vec::new() });
            at
        });
        if let Some(Origin { idle, .. }) = origins.get_mut(at)
            && idle.len() < IDLE_CONNECTIONS
        {
            idle.push(Idle { connection, since });
        }
    }

    /// Says that a connection is about to be opened ahead of its request;
    /// `None` if one is idle or on its way already.
    pub(in crate::proxy) fn begin_warming(&self, target: &Target) -> Option<Warming> {
        let has_idle = {
            let origins = self.idle.of(target);
            let at = place(&origins, &target.authority).ok();
            at.and_then(|at| origins.get(at)).is_some_and(|origin| !origin.idle.is_empty())
        };
        if has_idle {
            return None;
        }
        let mut warming = self.warming.of(target);
        if warming.contains_key(&target.authority) {
            return None;
        }
        let (sender, receiver) = async_channel::bounded(1);
        warming.insert(target.authority.clone(), Coming::Unclaimed(receiver));
        Some(Warming(sender))
    }

    /// Hands over what came of it: to the request that waits, or to the pool.
    pub(in crate::proxy) fn end_warming(
        &self,
        target: &Target,
        warming: Warming,
        opened: Result<Box<H1>, ProxyError>,
    ) {
        let claimed =
            matches!(self.warming.of(target).remove(&target.authority), Some(Coming::Claimed));
        let left = if claimed {
            // The request may have gone meanwhile.
            warming.0.try_send(opened).err().map(async_channel::TrySendError::into_inner)
        } else {
            Some(opened)
        };
        // A failure is told to the request that asks next.
        if let Some(Ok(connection)) = left {
            self.put(target, connection);
        }
    }

    /// What comes of the connection on its way, where none is idle: the first
    /// request would otherwise open a second beside it. One request waits for it.
    pub(in crate::proxy) async fn wait(
        &self,
        target: &Target,
    ) -> Option<Result<Box<H1>, ProxyError>> {
        let coming = match self.warming.of(target).get_mut(&target.authority)? {
            Coming::Claimed => return None,
            unclaimed => std::mem::replace(unclaimed, Coming::Claimed),
        };
        match coming {
            Coming::Unclaimed(coming) => coming.recv().await.ok(),
            Coming::Claimed => None,
        }
    }

    /// Drops what has been idle for too long.
    pub(in crate::proxy) fn sweep(&self) {
        let wall = self.timers.wall();
        for mut origins in self.idle.each() {
            origins.retain_mut(|origin| {
                origin.idle.retain(|one| self.age(one.since, wall) < IDLE);
                !origin.idle.is_empty()
            });
        }
    }

    /// How many are idle.
    pub(in crate::proxy) fn kept(&self) -> usize {
        let each = self.idle.each();
        each.map(|origins| origins.iter().map(|origin| origin.idle.len()).sum::<usize>()).sum()
    }

    /// Closes every idle connection.
    pub(in crate::proxy) fn clear(&self) {
        for mut origins in self.idle.each() {
            origins.clear();
        }
    }
}

/// Opens a connection.
pub(in crate::proxy) async fn connect(
    shared: &Shared,
    target: &Target,
) -> Result<Box<H1>, ProxyError> {
    let secure = if target.tls { Secure::Tls(Alpn::Http1) } else { Secure::No };
    // Boxed: it is seldom, and larger than everything that is held while it is
    // not under way.
    let connected = Box::pin(shared.dialer.dial(&target.host, target.port, secure))
        .await
        .map_err(|cause| ProxyError::Dial { name: target.name.clone(), cause })?;
    count(shared, &connected);
    Ok(H1::new(connected.stream))
}

/// Counts a connection that has been opened.
pub(super) fn count(shared: &Shared, connected: &Connected) {
    let counters = shared.tasks.counters();
    counters.upstream_connections.add();
    counters.connect_time.observe(connected.connect);
    if let Some(time) = connected.handshake {
        counters.handshake_time.observe(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Executing, SystemClock, Tcp, block_on};
    use crate::proxy::testing::Hand;
    use crate::telemetry::Log;
    use std::net::TcpListener;
    use std::sync::Arc;

    fn target(tls: bool) -> Target {
        Target {
            name: "a".into(),
            host: "x.example".into(),
            port: if tls { 443 } else { 80 },
            tls,
            authority: "x.example".into(),
            audience: None,
        }
    }

    #[test]
    fn what_is_opened_in_the_clear_is_never_taken_for_tls() {
        let pool = H1Pool::new(Timers::new(Arc::new(SystemClock)));
        let warming = pool.begin_warming(&target(false)).unwrap();
        assert!(block_on(pool.wait(&target(true))).is_none());
        assert!(pool.begin_warming(&target(true)).is_some(), "each scheme warms for itself");
        pool.end_warming(&target(false), warming, Err(ProxyError::Internal));
        assert!(block_on(pool.wait(&target(false))).is_none());
    }

    /// While a process does not run, its reactor tells of nothing.
    #[test]
    fn an_end_that_the_reactor_has_not_told_of_is_asked_for() {
        let (failed, _) = async_channel::bounded(1);
        let executing = Executing::new(Log::discard(), Arc::default(), failed).unwrap();
        let clock = Hand::new();
        let pool = H1Pool::new(Timers::new(clock.clone()));
        executing.run(async {
            for (idle, believed) in [(FRESH, true), (FRESH + Duration::from_millis(1), false)] {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let near = Tcp::connect(listener.local_addr().unwrap()).await.unwrap();
                let (far, _) = listener.accept().unwrap();
                // The reactor has no turn from here on.
                pool.put(&target(false), H1::new(Stream::Plain(near)));
                clock.pass_on_the_wall(idle);
                drop(far);
                let wall = pool.timers.wall();
                assert_eq!(pool.take(&target(false), wall).is_some(), believed, "{idle:?}");
            }
        });
    }
}
