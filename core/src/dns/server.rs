//! The DNS server: what happens to a packet, and the UDP sockets.
//!
//! It owns the way of a query: check, our zones, what is known, upstream. What
//! is local is answered where it was read; what must wait becomes a task. It
//! must not know what a name means. The engine starts it.

use super::announce::Announcements;
use super::forward::Forwarder;
use super::reply::{ede, servfail};
use super::tcp;
use super::wire::{Invalid, Query};
use super::zone::Zone;
use crate::net::{Batch, Panicked, Tasks, TcpListener, UdpSocket, Watch, sleep};
use futures_lite::FutureExt;
use futures_lite::future::yield_now;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Queries answered before others get the thread: a socket that is never empty
/// must not keep it.
const TURN: u32 = 16;
/// Errors of a socket in a row that end it.
const MOST_ERRORS: u32 = 100;

/// A server that is not serving yet.
pub struct Server {
    shared: Arc<Shared>,
}

/// What every query needs.
pub(super) struct Shared {
    zone: Zone,
    forwarder: Forwarder,
    pub(super) tasks: Tasks,
    pub(super) drain: Watch,
    announcements: Announcements,
}

/// What comes of a packet.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this; then tell that this name will be needed.
    Reply(Vec<u8>, Option<Query>),
    /// Ask upstream.
    Forward(Query),
    /// Nothing.
    Ignore,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({:?})", self.shared.zone)
    }
}

impl Server {
    /// A server of `zone` and, for other names, `forwarder`. When `drain` says
    /// so it stops listening and finishes what is under way. `looked_up` hears
    /// of queries for the address of a service, after the reply has been sent,
    /// at most once a second for a name and of few names; it must be cheap.
    pub fn new(
        zone: Zone,
        forwarder: Forwarder,
        tasks: Tasks,
        drain: Watch,
        looked_up: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Server {
        let announcements = Announcements::new(looked_up);
        Server { shared: Arc::new(Shared { zone, forwarder, tasks, drain, announcements }) }
    }

    /// Serves on these sockets until the drain starts; the sockets close then.
    /// The server is used up, so that it does not hold up the drain.
    pub fn serve(self, udp: Vec<UdpSocket>, tcp: Vec<TcpListener>) {
        for socket in udp {
            let serving = until_drained(self.shared.clone(), serve_udp, socket);
            self.shared.tasks.spawn_vital("DNS over UDP", serving);
        }
        let open = Arc::new(tcp::Open::new(tcp::Limits::default()));
        for listener in tcp {
            self.serve_tcp(listener, open.clone());
        }
    }

    /// Connections of this listener count among those that are `open`.
    pub(super) fn serve_tcp(&self, listener: TcpListener, open: Arc<tcp::Open>) {
        let serve = move |shared, listener| tcp::serve(shared, listener, open.clone());
        let serving = until_drained(self.shared.clone(), serve, listener);
        self.shared.tasks.spawn_vital("DNS over TCP", serving);
    }
}

/// Serves until the drain starts, then gives socket and token back and stays:
/// an end of its own would count as a failure.
async fn until_drained<S, F: Future<Output = String>>(
    shared: Arc<Shared>,
    serve: impl Fn(Arc<Shared>, S) -> F,
    socket: S,
) -> String {
    let drain = shared.drain.clone();
    let drained = async {
        drain.draining().await;
        None
    };
    if let Some(cause) = async { Some(serve(shared, socket).await) }.or(drained).await {
        return cause;
    }
    drop(drain);
    std::future::pending().await
}

impl Shared {
    /// Everything about a packet that needs no waiting. A panic becomes
    /// SERVFAIL, or silence where not even the question could be read.
    pub(super) async fn step(&self, packet: &[u8], over_tcp: bool) -> Step {
        let query = match self.tasks.guard("DNS query", async { Query::parse(packet) }).await {
            Ok(Ok(query)) => query,
            Ok(Err(Invalid::Answer(reply))) => {
                self.tasks.counters().dns_queries.add();
                return Step::Reply(reply, None);
            }
            Ok(Err(Invalid::Ignore)) | Err(Panicked) => return Step::Ignore,
        };
        self.tasks.counters().dns_queries.add();
        let limit = limit(&query, over_tcp);
        let local = async {
            if let Some(reply) = self.zone.answer(&query, limit) {
                self.tasks.counters().dns_local.add();
                return Some((reply.bytes, reply.service));
            }
            let known = self.forwarder.known(&query, limit)?;
            self.tasks.counters().dns_cached.add();
            Some((known, false))
        };
        match self.tasks.guard("DNS query", local).await {
            Ok(Some((bytes, service))) => Step::Reply(bytes, service.then_some(query)),
            Ok(None) => Step::Forward(query),
            Err(Panicked) => Step::Reply(self.panicked(&query, over_tcp), None),
        }
    }

    /// The reply that must be waited for.
    pub(super) async fn forward(&self, query: &Query, over_tcp: bool) -> Vec<u8> {
        let reply = self.forwarder.reply(query, limit(query, over_tcp), over_tcp);
        match self.tasks.guard("DNS query", reply).await {
            Ok(reply) => reply,
            Err(Panicked) => self.panicked(query, over_tcp),
        }
    }

    fn panicked(&self, query: &Query, over_tcp: bool) -> Vec<u8> {
        self.tasks.counters().dns_failed.add();
        servfail(query, limit(query, over_tcp), &ede(0, "internal error"))
    }

    /// Announces a request to the service that was looked up.
    pub(super) async fn announce(&self, query: &Query) {
        let tell = async { self.announcements.looked_up(query.name(), self.forwarder.now()) };
        let _ = self.tasks.guard("warm-up", tell).await;
    }
}

fn limit(query: &Query, over_tcp: bool) -> usize {
    if over_tcp { usize::from(u16::MAX) } else { query.udp_limit() }
}

/// A socket, and the replies to what was forwarded that are to go by it.
struct Outgoing {
    socket: UdpSocket,
    replies: Mutex<Vec<(Vec<u8>, SocketAddr)>>,
}

impl Outgoing {
    /// Sends a reply together with those of the tasks that were woken with this
    /// one: the first of them waits for the others' turns.
    async fn send(&self, reply: Vec<u8>, peer: SocketAddr) {
        let first = {
            let mut replies = self.replies();
            replies.push((reply, peer));
            replies.len() == 1
        };
        if first {
            yield_now().await;
            let mut together = std::mem::take(&mut *self.replies());
            self.socket.send_all(&mut together).await;
        }
    }

    fn replies(&self) -> MutexGuard<'_, Vec<(Vec<u8>, SocketAddr)>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_udp(shared: Arc<Shared>, socket: UdpSocket) -> String {
    let outgoing = Arc::new(Outgoing { socket, replies: Mutex::default() });
    let socket = &outgoing.socket;
    let (mut batch, mut replies, mut services) = (Batch::default(), Vec::new(), Vec::new());
    let (mut errors, mut turn) = (0, 0);
    loop {
        match socket.receive(&mut batch).await {
            Ok(()) => errors = 0,
            Err(error) if errors < MOST_ERRORS => {
                errors += 1;
                trouble(&shared, &error).await;
                continue;
            }
            Err(error) => return error.to_string(),
        }
        for (packet, peer) in batch.iter() {
            turn += 1;
            match shared.step(packet, false).await {
                Step::Reply(reply, service) => {
                    replies.push((reply, peer));
                    services.extend(service);
                }
                Step::Forward(query) => forward(&shared, &outgoing, query, peer),
                Step::Ignore => {}
            }
        }
        socket.send_all(&mut replies).await;
        for query in services.drain(..) {
            shared.announce(&query).await;
        }
        if turn >= TURN {
            turn = 0;
            yield_now().await;
        }
    }
}

/// Out of memory or a network that goes down: it passes, or comes back at once.
async fn trouble(shared: &Shared, error: &io::Error) {
    shared.tasks.log().debug("dns", format_args!("cannot receive: {error}"));
    sleep(Duration::from_millis(20)).await;
}

fn forward(shared: &Arc<Shared>, outgoing: &Arc<Outgoing>, query: Query, peer: SocketAddr) {
    let (shared, outgoing) = (shared.clone(), outgoing.clone());
    let tasks = shared.tasks.clone();
    tasks.spawn("DNS query", async move {
        let _working = shared.drain.token();
        let work = async {
            let reply = shared.forward(&query, false).await;
            outgoing.send(reply, peer).await;
        };
        work.or(shared.drain.aborting()).await;
    });
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
