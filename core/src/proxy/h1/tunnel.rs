//! Bytes both ways without a look at them: after an upgrade or a CONNECT.

use crate::net::{BoxFuture, Buffer, Incoming, Outgoing, Stream, Tcp};
use crate::proxy::limits::{HELD, TUNNEL_LINGER, TURN};
use crate::proxy::note::Note;
use crate::proxy::timers::Timers;
use futures_lite::future::poll_fn;
use futures_lite::io::AsyncWrite;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One direction.
#[derive(Debug)]
struct Way {
    buffer: Buffer,
    out: Outgoing,
    state: WayState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WayState {
    Open,
    /// Its source has ended; what is left goes out first.
    Ending,
    Closed,
}

impl Way {
    fn new(buffer: Buffer, mut out: Outgoing) -> Way {
        out.bytes().extend_from_slice(buffer.readable());
        Way { buffer: Buffer::default(), out, state: WayState::Open }
    }

    /// Moves what can move; whether something did.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl Incoming,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<bool> {
        let mut moved = false;
        while self.state != WayState::Closed {
            if !self.out.is_sent() {
                match self.out.poll_send(context, to) {
                    Poll::Pending => break,
                    Poll::Ready(sent) => sent?,
                }
                moved = true;
            }
            if self.state == WayState::Ending {
                match Pin::new(&mut *to).poll_close(context) {
                    Poll::Pending => break,
                    Poll::Ready(closed) => closed?,
                }
                self.state = WayState::Closed;
                return Ok(true);
            }
            match self.buffer.poll_fill(context, from, HELD) {
                Poll::Pending => {
                    // Thousands of tunnels are idle most of the time.
                    self.buffer.release();
                    self.out.release();
                    break;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) => self.state = WayState::Ending,
                Poll::Ready(Ok(_)) => {
                    self.out.bytes().extend_from_slice(self.buffer.readable());
                    self.buffer.consume(HELD);
                }
            }
            moved = true;
        }
        Ok(moved)
    }
}

/// Relays until both directions have ended, or one has and the other is silent
/// for a while. `Err`: a side broke off, and the other must be told so.
pub(in crate::proxy) async fn tunnel(
    (app, mut from_app, to_app): (&mut Tcp, Buffer, Outgoing),
    (service, from_service): (&mut Stream, Buffer),
    timers: &Timers,
    note: &mut Note,
) -> io::Result<()> {
    note.received(from_app.take_consumed());
    let mut up = Way::new(from_app, Outgoing::default());
    let mut down = Way::new(from_service, to_app);
    let mut linger: Option<BoxFuture<'static, ()>> = None;
    poll_fn(|context| {
        for _ in 0..TURN {
            let polled = (up.poll(context, app, service), down.poll(context, service, app));
            // At once: a tunnel that is cut with its engine is told of too.
            note.received(up.out.take_sent());
            note.sent(down.out.take_sent());
            let moved = polled.0? | polled.1?;
            let ended = [&up, &down].iter().filter(|way| way.state == WayState::Closed).count();
            if ended == 2 {
                return Poll::Ready(Ok(()));
            }
            if ended == 1 && (moved || linger.is_none()) {
                linger = Some(timers.patience(TUNNEL_LINGER));
            }
            if linger.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready()) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if !moved {
                return Poll::Pending;
            }
        }
        // Others must have their turn, however fast these two are.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
