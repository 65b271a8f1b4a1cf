//! One app connection: its requests, one after the other (RFC 9112 §9.3).

use super::call::{self, Next};
use super::request::Asked;
use super::scratch::Scratch;
use super::tunnel::tunnel;
use crate::http1::{HeadError, Limits};
use crate::net::{BoxFuture, Buffer, HungUp, Outgoing, Stream, Tcp};
use crate::proxy::Shared;
use crate::proxy::error::{Answer, ProxyError, reason};
use crate::proxy::limits::{HEAD_ROOM, HEAD_TIME, HELD, LINGER, LOOK};
use crate::proxy::note::Note;
use crate::proxy::timers::Timers;
use futures_lite::AsyncWriteExt;
use futures_lite::future::poll_fn;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// An app's connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) tcp: Tcp,
    /// What it has sent and nobody has used yet.
    pub(super) buffer: Buffer,
    /// What waits to be sent to it.
    pub(super) out: Outgoing,
    /// A final response has begun: no other can take its place.
    pub(super) begun: bool,
    pub(super) timers: Timers,
    /// What is noted of the request under way.
    pub(super) note: Note,
}

/// What is seen of an app that has nothing to say but the next request or
/// goodbye: one that has left must not keep the service busy.
#[derive(Default)]
pub(super) struct Attention {
    ended: bool,
    linger: Option<BoxFuture<'static, ()>>,
    look: Option<BoxFuture<'static, ()>>,
}

/// The app has broken its connection off.
#[derive(Debug)]
pub(super) struct Left;

enum Read {
    /// A head of this length stands at the front of the buffer; the parts of it.
    Head(Box<Scratch>, usize),
    Refused(ProxyError),
    End,
}

/// Serves HTTP/1.1 on an app's connection until it ends. A connection that
/// CONNECT has turned into one to a service comes back. `late` ends when the
/// first head, of which a part is there, takes too long.
pub(in crate::proxy) async fn serve(
    shared: &Arc<Shared>,
    tcp: Tcp,
    buffer: Buffer,
    mut late: Option<BoxFuture<'static, ()>>,
) -> Option<(Tcp, Buffer)> {
    let (out, timers) = (Outgoing::default(), shared.timers.clone());
    let mut client = Client { tcp, buffer, out, begun: false, timers, note: Note::default() };
    let watch = shared.drain.clone();
    let mut draining: BoxFuture<'_, ()> = Box::pin(watch.draining());
    loop {
        let next = match client.read_head(&mut draining, late.take()).await {
            Read::End => return None,
            Read::Refused(error) => {
                shared.tasks.counters().proxy_requests.add();
                client.note.begin_unread(shared);
                client.note.received(client.buffer.readable().len() as u64);
                client.refuse(shared, &error, None).await;
                Next::Close
            }
            Read::Head(mut scratch, length) => {
                client.begun = false;
                client.out.lend(&mut scratch.reply);
                let called = {
                    let call = pin!(call::call(shared, &mut client, &mut scratch, length));
                    shared.tasks.guard("a proxied request", call).await
                };
                client.out.lend(&mut scratch.reply);
                scratch.give_back();
                match called {
                    Ok(next) => next,
                    Err(_panicked) => client.give_up(shared).await,
                }
            }
        };
        if !matches!(next, Next::Tunnel(..)) {
            client.end_request();
        }
        match next {
            Next::Again => {
                // Thousands of connections are idle most of the time.
                client.buffer.trim();
                client.out.trim();
            }
            Next::Close => {
                client.close().await;
                return None;
            }
            Next::Reset => {
                client.tcp.reset_on_close();
                return None;
            }
            Next::Gone => return None,
            Next::Drawn => {
                let Client { tcp, buffer, .. } = client;
                return Some((tcp, buffer));
            }
            Next::Tunnel(tunnel) => {
                let (mut stream, from_service) = *tunnel;
                client.note.tunnels();
                relay(client, &mut stream, from_service).await;
                return None;
            }
        }
    }
}

async fn relay(client: Client, stream: &mut Stream, rest: Buffer) {
    let Client { mut tcp, buffer, out, timers, mut note, .. } = client;
    let mut ends = Ends { both: [tcp.clone(), stream.tcp().clone()], in_order: false };
    let relayed = tunnel((&mut tcp, buffer, out), (stream, rest), &timers, &mut note).await;
    ends.in_order = relayed.is_ok();
}

/// The two ends of a tunnel: cut on one side, or by a drain that cannot wait,
/// must not look like an end on the other.
struct Ends {
    both: [Tcp; 2],
    in_order: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.in_order {
            self.both.iter().for_each(Tcp::reset_on_close);
        }
    }
}

impl Attention {
    /// Takes what the app sends ahead, up to a bound. If it ends its own direction,
    /// that may be all that it has ended, and it gets a while for the rest; but
    /// where it still has to send `wanted` bytes, read or not, it has left.
    ///
    /// # Errors
    /// [`Left`]
    pub(super) fn watch(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        wanted: Option<u64>,
    ) -> Result<(), Left> {
        while !self.ended {
            let unread = if client.buffer.is_full(HELD) {
                match self.poll_end(context, client) {
                    Poll::Pending => break,
                    Poll::Ready(HungUp::Broken) => return Err(Left),
                    Poll::Ready(HungUp::Ended { unread }) => unread,
                }
            } else {
                match client.buffer.poll_fill(context, &mut client.tcp, HELD) {
                    Poll::Pending => break,
                    Poll::Ready(Err(_)) => return Err(Left),
                    Poll::Ready(Ok(0)) => 0,
                    Poll::Ready(Ok(_)) => continue,
                }
            };
            self.end(client, unread, wanted)?;
            // Nothing more comes; hundreds may leave within one while.
            client.buffer.release();
        }
        Ok(())
    }

    /// The same where nothing is read ahead, until the app has left or has had its
    /// while.
    fn poll_left(
        &mut self,
        context: &mut Context<'_>,
        client: &Client,
        wanted: Option<u64>,
    ) -> Poll<Left> {
        while !self.ended {
            let left = match ready!(self.poll_end(context, client)) {
                HungUp::Broken => Err(Left),
                HungUp::Ended { unread } => self.end(client, unread, wanted),
            };
            if let Err(left) = left {
                return Poll::Ready(left);
            }
        }
        if self.is_over(context) { Poll::Ready(Left) } else { Poll::Pending }
    }

    /// The app has ended its direction behind `unread` bytes.
    fn end(&mut self, client: &Client, unread: usize, wanted: Option<u64>) -> Result<(), Left> {
        let has = (client.buffer.readable().len() + unread) as u64;
        if wanted.is_some_and(|wanted| wanted > has) {
            return Err(Left);
        }
        self.ended = true;
        self.linger(client);
        Ok(())
    }

    /// Looks for an end behind what the app has sent, now and then.
    fn poll_end(&mut self, context: &mut Context<'_>, client: &Client) -> Poll<HungUp> {
        loop {
            let look = self.look.get_or_insert_with(|| client.timers.patience(LOOK));
            ready!(look.as_mut().poll(context));
            self.look = None;
            if let Some(hung_up) = client.tcp.hung_up() {
                return Poll::Ready(hung_up);
            }
        }
    }

    /// Whether the app has ended its direction.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the exchange has a while to end.
    pub(super) fn lingers(&self) -> bool {
        self.linger.is_some()
    }

    /// Gives the exchange a while to end, from the first call on.
    pub(super) fn linger(&mut self, client: &Client) {
        if self.linger.is_none() {
            self.linger = Some(client.timers.patience(LINGER));
        }
    }

    /// Something has moved: an exchange that goes on may take its time.
    pub(super) fn moved(&mut self, client: &Client) {
        if self.linger.is_some() {
            self.linger = Some(client.timers.patience(LINGER));
        }
    }

    /// Whether it has had its while.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.linger.as_mut().is_some_and(|linger| linger.as_mut().poll(context).is_ready())
    }
}

/// Does what comes before an exchange, or between two attempts at it, for as long as
/// the app is there, which has `wanted` bytes to send if that is known. Where nothing
/// has to be waited for, the app is not looked at.
///
/// # Errors
/// [`Left`], and the work has been given up.
pub(super) async fn unless_left<T>(
    (client, attention): (&Client, &mut Attention),
    wanted: Option<u64>,
    work: impl Future<Output = T>,
) -> Result<T, Left> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            // Whoever is next has reasons of its own to look.
            attention.look = None;
            return Poll::Ready(Ok(done));
        }
        attention.poll_left(context, client, wanted).map(Err)
    })
    .await
}

impl Client {
    /// Waits for a head: without limit for its first byte, which ends when the
    /// engine drains, and for a while for its last.
    async fn read_head(
        &mut self,
        draining: &mut BoxFuture<'_, ()>,
        mut timer: Option<BoxFuture<'static, ()>>,
    ) -> Read {
        let mut scratch = None;
        loop {
            if !self.buffer.is_empty() {
                let mut parts: Box<Scratch> = scratch.take().unwrap_or_else(Scratch::lend);
                match parts.request.parse(self.buffer.readable(), Limits::default()) {
                    Ok(Some(length)) => return Read::Head(parts, length),
                    Err(error) => return Read::Refused(ProxyError::Head(error)),
                    Ok(None) if self.buffer.is_full(HEAD_ROOM) => {
                        return Read::Refused(ProxyError::Head(HeadError::TooLarge));
                    }
                    Ok(None) => scratch = Some(parts),
                }
                // Some clients end a body with a line that is no part of it, and of no
                // request either (RFC 9112 §2.2).
                while self.buffer.readable().starts_with(b"\r\n") {
                    self.buffer.consume(2);
                    let _ = self.buffer.take_consumed();
                }
                if self.buffer.is_empty() {
                    (scratch, timer) = (None, None);
                } else if timer.is_none() {
                    timer = Some(self.timers.patience(HEAD_TIME));
                }
            }
            let idle = self.buffer.is_empty();
            let filled = poll_fn(|context| {
                if let Poll::Ready(filled) =
                    self.buffer.poll_fill(context, &mut self.tcp, HEAD_ROOM)
                {
                    return Poll::Ready(Some(filled));
                }
                let leaves = idle && draining.as_mut().poll(context).is_ready();
                let late =
                    timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
                if leaves || late { Poll::Ready(None) } else { Poll::Pending }
            });
            match filled.await {
                Some(Ok(count)) if count > 0 => {}
                // The end between two requests is in order; within one, there
                // is nobody left to tell.
                Some(_) => return Read::End,
                None if idle => return Read::End,
                None => return Read::Refused(ProxyError::SlowHead),
            }
        }
    }

    /// Answers with an error of our own, in the form that what was asked
    /// expects. The connection cannot go on: what follows on it is unread.
    pub(super) async fn refuse(
        &mut self,
        shared: &Shared,
        error: &ProxyError,
        asked: Option<&Asked>,
    ) {
        shared.tasks.counters().proxy_errors.add();
        let about = shared.about(self.note.target().map(|target| &**target));
        shared.tell(error, &about);
        let answer = error.answer(&about);
        let (grpc, to_head) = asked.map_or((false, false), |asked| (asked.grpc, asked.head));
        self.note.refused((error, &about), answer.status, grpc.then_some(answer.grpc.0));
        self.begun = true;
        write_answer(self.out.bytes(), &answer, grpc, to_head);
        let _ = shared.timers.deadline(HEAD_TIME, self.flush()).await;
    }

    /// The request is over: its sizes are those of what was used and sent.
    fn end_request(&mut self) {
        self.note.received(self.buffer.take_consumed());
        self.note.sent(self.out.take_sent());
        self.note.end();
    }

    /// After a panic: an answer, if none has begun. Of what still waits, nobody knows
    /// whether it is a whole head or half of one, which no other may follow.
    async fn give_up(&mut self, shared: &Shared) -> Next {
        if self.begun || self.out.left() > 0 {
            return Next::Reset;
        }
        self.refuse(shared, &ProxyError::Internal, None).await;
        Next::Close
    }

    pub(super) async fn flush(&mut self) -> std::io::Result<()> {
        poll_fn(|context| self.out.poll_send(context, &mut self.tcp)).await
    }

    /// Ends our direction first and reads on for a moment: closing with unread
    /// bytes would reset the connection and destroy the answer (RFC 9112 §9.6).
    async fn close(&mut self) {
        let Client { tcp, buffer, timers, .. } = self;
        let reading = async {
            let _ = tcp.close().await;
            let mut left = HELD * 16;
            while left > 0 {
                buffer.consume(HEAD_ROOM);
                match poll_fn(|context| buffer.poll_fill(context, tcp, HELD)).await {
                    Ok(count) if count > 0 => left = left.saturating_sub(count),
                    _ => return,
                }
            }
        };
        let _ = timers.deadline(LINGER, reading).await;
    }
}

/// An answer of our own, after which the connection closes; one to HEAD says how
/// long its body would be.
fn write_answer(out: &mut Vec<u8>, answer: &Answer, grpc: bool, to_head: bool) {
    // Writing to a vector cannot fail.
    if grpc {
        let (code, message) = &answer.grpc;
        let _ = write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: {code}\r\n\
             Grpc-Message: {message}\r\nProxy-Status: {}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            answer.proxy_status
        );
        return;
    }
    let _ = write!(
        out,
        "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nProxy-Status: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.status,
        reason(answer.status),
        answer.proxy_status,
        answer.body.len(),
        if to_head { "" } else { &answer.body }
    );
}
