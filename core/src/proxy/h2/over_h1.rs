//! An attempt over HTTP/1.1: the stream's body becomes chunks, or the bytes that
//! its length announced, and the response's body becomes DATA frames.

use super::attempts::{Again, NoResponse};
use super::call::{Call, Failure};
use super::decode::{Decoding, Undecoded};
use super::exchange::Reply;
use super::head1;
use super::intake::Intake;
use crate::http1::{
    Body, Framing, Limits, Nominated, ResponseHead, body_of_response, write_chunk, write_last_chunk,
};
use crate::proxy::error::{before_response, unreadable};
use crate::proxy::limits::{HELD, INTERIM};
use crate::proxy::pool::H1;
use futures_lite::io::AsyncWrite;
use h2::Reason;
use http::{Method, Response};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A response that has begun on a connection of its own.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) head: Response<()>,
    connection: Box<H1>,
    upload: Upload,
    download: Decoding,
    keep_alive: bool,
}

/// The request on its way out.
#[derive(Debug)]
struct Upload {
    out: Vec<u8>,
    written: usize,
    chunked: bool,
    state: UploadState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UploadState {
    Going,
    /// Its last bytes are in `out`.
    Ending,
    Over,
    /// The service takes no more.
    Refused,
}

/// What has come of a response that has not begun.
#[derive(Debug, Default)]
struct Heard {
    something: bool,
    interim: usize,
    nominated: Nominated,
}

/// Sends the request and waits for the response, passing on what comes between.
///
/// # Errors
/// [`NoResponse`]; the connection is gone then.
pub(super) async fn begin(
    call: &mut Call<'_>,
    mut connection: Box<H1>,
    intake: &mut Intake,
    reply: &mut Reply,
) -> Result<Begun, NoResponse> {
    if connection.reused {
        call.shared.tasks.counters().upstream_reused.add();
    }
    let mut upload = Upload::new(call, intake.is_empty());
    let mut head = ResponseHead::default();
    let mut heard = Heard::default();
    let response = poll_fn(|context| {
        if reply.poll_gone(context).is_ready() {
            return Poll::Ready(Err(Failure::Gone.into()));
        }
        upload.poll(context, &mut connection, intake)?;
        poll_head(context, call, &mut connection, &mut head, reply, &mut heard)
    });
    let response = response.await?;
    let to_head = call.method == Method::HEAD;
    let framing = body_of_response(head.framing, head.status, to_head);
    let download = Decoding::new(Body::new(framing, heard.nominated));
    let keep_alive = head.keep_alive && framing != Framing::UntilClose;
    Ok(Begun { head: response, connection, upload, download, keep_alive })
}

/// Reads heads until a final one has come.
fn poll_head(
    context: &mut Context<'_>,
    call: &Call<'_>,
    connection: &mut H1,
    head: &mut ResponseHead,
    reply: &mut Reply,
    heard: &mut Heard,
) -> Poll<Result<Response<()>, NoResponse>> {
    let limits = Limits::default();
    let malformed = |cause: &str| Failure::from(call.garbled(cause));
    loop {
        let readable = connection.buffer.readable();
        let parsed = if readable.is_empty() { Ok(None) } else { head.parse(readable, limits) };
        if let Some(length) = parsed.map_err(|error| malformed(&unreadable(error)))? {
            let response = head1::response(head, readable)
                .ok_or_else(|| malformed("its response has a field that HTTP/2 cannot carry"))?;
            heard.nominated = head.nominated(readable);
            connection.buffer.consume(length);
            match head.status {
                101 => return Poll::Ready(Err(malformed("it changed protocols unasked").into())),
                100..=199 if heard.interim < INTERIM => {
                    heard.interim += 1;
                    reply.inform(response);
                }
                100..=199 => {
                    return Poll::Ready(Err(malformed("it never comes to its response").into()));
                }
                _ => return Poll::Ready(Ok(response)),
            }
            continue;
        }
        let filled =
            ready!(connection.buffer.poll_fill(context, &mut connection.stream, limits.head + 1));
        let how = match filled {
            Ok(0) => "it closed the connection".to_owned(),
            Ok(_) => {
                heard.something = true;
                continue;
            }
            Err(error) => error.to_string(),
        };
        // A kept connection that the service has closed meanwhile.
        let stale = connection.reused && !heard.something && call.method.is_idempotent();
        let again = if stale { Again::Once } else { Again::No };
        let failure = Failure::from(call.broke_off(before_response(&how, heard.something)));
        return Poll::Ready(Err(NoResponse { failure, again }));
    }
}

impl Upload {
    fn new(call: &mut Call<'_>, ended: bool) -> Upload {
        let mut out = Vec::with_capacity(2048);
        let chunked = head1::write_request(&mut out, call, ended);
        let state = if ended { UploadState::Ending } else { UploadState::Going };
        Upload { out, written: 0, chunked, state }
    }

    /// Writes what it can.
    ///
    /// # Errors
    /// [`Failure::Gone`] if the app has broken its upload off; a service that
    /// takes no more is not an error, for its response may be on the way.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut H1,
        intake: &mut Intake,
    ) -> Result<(), Failure> {
        while matches!(self.state, UploadState::Going | UploadState::Ending) {
            match self.poll_write(context, connection) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => self.state = UploadState::Refused,
                Poll::Ready(Ok(())) if self.state == UploadState::Ending => {
                    self.state = UploadState::Over;
                }
                Poll::Ready(Ok(())) => {
                    intake.poll_fetch(context).map_err(|_| Failure::Gone)?;
                    if !self.take(intake) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut H1,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut connection.stream);
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.written = 0;
        self.out.clear();
        stream.poll_flush(context)
    }

    /// Puts the next piece, or the end, into `out`; `false` if there is none yet.
    fn take(&mut self, intake: &mut Intake) -> bool {
        if let Some(piece) = intake.next(HELD) {
            if self.chunked {
                write_chunk(&mut self.out, &piece);
            } else {
                self.out.extend_from_slice(&piece);
            }
        }
        if let Some(end) = intake.ending() {
            if self.chunked {
                let trailers = end.as_ref().map(head1::trailer_lines).unwrap_or_default();
                write_last_chunk(&mut self.out, &trailers);
            }
            self.state = UploadState::Ending;
        }
        self.state == UploadState::Ending || !self.out.is_empty()
    }
}

impl Begun {
    /// Passes the response on while the rest of the request goes up.
    ///
    /// # Errors
    /// [`Failure`]; the connection is gone then.
    pub(super) async fn finish(
        self,
        call: &Call<'_>,
        intake: &mut Intake,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let Begun { mut head, mut connection, mut upload, mut download, keep_alive } = self;
        let ended = download.is_empty();
        call.settle(&mut head);
        reply.begin(head, ended)?;
        let downloading = poll_fn(|context| {
            if reply.poll_gone(context).is_ready() {
                return Poll::Ready(Err(Failure::Gone));
            }
            upload.poll(context, &mut connection, intake)?;
            if ended {
                return Poll::Ready(Ok(()));
            }
            let from = (&mut connection.buffer, &mut connection.stream);
            let downloaded = download.poll(context, from, reply.stream()?);
            downloaded.map_err(|undecoded| match undecoded {
                Undecoded::Sink => Failure::Gone,
                Undecoded::Malformed(_) | Undecoded::Ended => {
                    Failure::Reset(Reason::INTERNAL_ERROR)
                }
            })
        });
        let downloaded = downloading.await;
        reply.note.sent(download.passed());
        download.trailers().into_iter().for_each(|fields| reply.note.ended_with(fields));
        downloaded?;
        // A response that is complete before its request ends the exchange: the
        // app's stream is reset without an error (RFC 9113 §8.1), and the
        // connection, in the middle of a request, is of no use.
        if keep_alive && upload.state == UploadState::Over {
            call.shared.h1.put(&call.target, connection);
        }
        Ok(())
    }
}
