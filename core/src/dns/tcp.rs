//! DNS over TCP (RFC 7766): framing, pipelining, and who has to go.
//!
//! It owns connections: queries are answered in the order in which answers
//! come, a client that has finished sending still gets them, and the idlest
//! connection makes room for a new one. What happens to a query, the server
//! knows.

use super::frame::{read_length, read_message, write_frame};
use super::server::{Shared, Step};
use crate::net::{Tcp, TcpListener, deadline};
use async_channel::{Receiver, Sender};
use futures_lite::future::{try_zip, yield_now};
use futures_lite::{AsyncWriteExt, FutureExt};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Queries of one connection that may be under way at once.
const PIPELINE: usize = 64;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long the next query, or the writing of a reply, may take.
    pub(super) idle: Duration,
    /// How many may be open.
    pub(super) connections: usize,
    /// What all of them together may hold of messages that are being read or
    /// wait to be written, in bytes.
    pub(super) bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { idle: Duration::from_secs(10), connections: 128, bytes: 4 << 20 }
    }
}

/// The open connections, of all listeners together.
#[derive(Debug)]
pub(super) struct Open {
    limits: Limits,
    /// Counts up with every query: the order of last use.
    turn: AtomicU64,
    list: Mutex<Vec<Arc<Connection>>>,
}

/// One of them, as the others see it.
#[derive(Debug)]
struct Connection {
    last: AtomicU64,
    /// Queries that wait for their answer.
    waiting: AtomicUsize,
    /// Bytes of messages.
    held: AtomicUsize,
    /// Closed to end it.
    leave: Sender<()>,
}

impl Open {
    /// None yet, with what they may take.
    pub(super) fn new(limits: Limits) -> Open {
        Open { limits, turn: AtomicU64::new(0), list: Mutex::default() }
    }

    /// Adds a connection; where there are too many, the idlest is told to leave.
    fn enter(&self) -> (Arc<Connection>, Receiver<()>) {
        let (leave, left) = async_channel::bounded(1);
        let (waiting, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let last = AtomicU64::new(self.next());
        let connection = Arc::new(Connection { last, waiting, held, leave });
        let mut list = self.list();
        while list.len() >= self.limits.connections.max(1) {
            let idlest = list.iter().enumerate().min_by_key(|(_, one)| one.idleness());
            let Some(at) = idlest.map(|(at, _)| at) else { break };
            list.swap_remove(at).leave.close();
        }
        list.push(connection.clone());
        (connection, left)
    }

    /// Counts `bytes` more of `connection`. Where that makes too many of all
    /// together, who holds the most is told to leave, be it this one: a client
    /// that reads what it asked for never holds much.
    fn hold(&self, connection: &Arc<Connection>, bytes: usize) -> Held {
        connection.held.fetch_add(bytes, Ordering::Relaxed);
        let mut list = self.list();
        while list.iter().map(|one| one.held()).sum::<usize>() > self.limits.bytes {
            let most = list.iter().enumerate().max_by_key(|(_, one)| one.held());
            let Some(at) = most.map(|(at, _)| at) else { break };
            list.swap_remove(at).leave.close();
        }
        Held { connection: connection.clone(), bytes }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, connection: &Arc<Connection>) {
        let mut list = self.list();
        list.retain(|one| !Arc::ptr_eq(one, connection));
    }

    fn next(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Connection {
    /// The idlest has the least: one that waits for an answer is not idle.
    fn idleness(&self) -> (bool, u64) {
        (self.waiting.load(Ordering::Relaxed) > 0, self.last.load(Ordering::Relaxed))
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes that a connection holds, until they are dropped.
struct Held {
    connection: Arc<Connection>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connection.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A reply that waits to be written.
struct Reply(Vec<u8>, Held);

/// A query that waits for its answer.
struct Waiting(Arc<Connection>);

impl Waiting {
    fn new(connection: &Arc<Connection>) -> Waiting {
        connection.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(connection.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection among the others.
#[derive(Clone)]
struct Member {
    open: Arc<Open>,
    connection: Arc<Connection>,
}

impl Member {
    fn hold(&self, bytes: usize) -> Held {
        self.open.hold(&self.connection, bytes)
    }

    fn reply(&self, message: Vec<u8>) -> Reply {
        let held = self.hold(message.len());
        Reply(message, held)
    }
}

/// Gives a connection's place back, whatever ends its task.
struct Place(Member);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.leave(&self.0.connection);
    }
}

/// Accepts connections until the listener fails; returns why.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, open: Arc<Open>) -> String {
    let idle = open.limits.idle;
    let handle = |(stream, _)| {
        let (connection, told) = open.enter();
        let place = Place(Member { open: open.clone(), connection });
        let shared = shared.clone();
        let tasks = shared.tasks.clone();
        tasks.spawn("DNS connection", async move {
            // Once the drain begins it reads no more, and has to answer what it read.
            let _working = shared.drain.token();
            let told = async {
                let _ = told.recv().await;
                Ok(())
            };
            let aborting = async {
                shared.drain.aborting().await;
                Ok(())
            };
            // Whatever ends a connection, the client sees it closed.
            let _ = converse(&shared, stream, &place.0, idle).or(told).or(aborting).await;
        });
    };
    shared.tasks.accept_loop(|| listener.accept(), handle).await
}

/// Reads queries and writes replies until both are done. A connection that
/// cannot be written to has nothing more to be read.
async fn converse(
    shared: &Arc<Shared>,
    stream: Tcp,
    member: &Member,
    idle: Duration,
) -> io::Result<()> {
    let (replies, outgoing) = async_channel::bounded(PIPELINE);
    let reading = async {
        let queries = read_queries(shared, stream.clone(), member, idle, replies);
        let draining = shared.drain.draining();
        queries.or(draining).await;
        Ok(())
    };
    try_zip(reading, write_replies(stream.clone(), outgoing, idle)).await.map(|_| ())
}

/// Reads until the client ends, is idle for too long, or breaks a frame off.
async fn read_queries(
    shared: &Arc<Shared>,
    mut stream: Tcp,
    member: &Member,
    idle: Duration,
    replies: Sender<Reply>,
) {
    let (permits, given) = async_channel::bounded(PIPELINE);
    while permits.send(()).await.is_ok() {
        let permit = Permit(given.clone());
        let reading = async {
            let length = read_length(&mut stream).await?;
            let held = member.hold(length.into());
            Ok::<_, io::Error>((read_message(&mut stream, length).await?, held))
        };
        let Ok(Ok((packet, _held))) = deadline(idle, reading).await else { return };
        member.connection.last.store(member.open.next(), Ordering::Relaxed);
        match shared.step(&packet, true).await {
            Step::Reply(reply, service) => {
                let _ = replies.send(member.reply(reply)).await;
                if let Some(query) = service {
                    shared.announce(&query).await;
                }
            }
            Step::Forward(query) => {
                let (shared, replies, member) = (shared.clone(), replies.clone(), member.clone());
                let tasks = shared.tasks.clone();
                let waiting = Waiting::new(&member.connection);
                tasks.spawn("DNS query", async move {
                    let work = async {
                        let _both = (permit, waiting);
                        let reply = shared.forward(&query, true).await;
                        let _ = replies.send(member.reply(reply)).await;
                    };
                    work.or(shared.drain.aborting()).await;
                });
            }
            Step::Ignore => {}
        }
        // A client that never pauses must not keep the thread.
        yield_now().await;
    }
}

/// Writes until no query is left that could have a reply.
async fn write_replies(
    mut stream: Tcp,
    outgoing: Receiver<Reply>,
    idle: Duration,
) -> io::Result<()> {
    while let Ok(Reply(message, _held)) = outgoing.recv().await {
        let writing = write_frame(&mut stream, &message);
        deadline(idle, writing).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    stream.close().await
}

/// A place in the pipeline, given back when it goes.
struct Permit(Receiver<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
