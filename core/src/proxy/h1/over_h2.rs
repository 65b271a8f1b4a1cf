//! An HTTP/1.1 app's request over HTTP/2: its head becomes a header list, its
//! body DATA frames, and the response comes back framed for HTTP/1.1.

use super::connection::{Attention, Client};
use super::request::{self, Asked};
use super::response;
use super::upload::Upload;
use crate::auth::IdToken;
use crate::http1::{Framing, RequestHead, Version, write_chunk, write_field, write_last_chunk};
use crate::names::Target;
use crate::net::BoxFuture;
use crate::proxy::Shared;
use crate::proxy::error::{Fault, ProxyError};
use crate::proxy::h2::{
    AppSide, Attempts, Call, Decoding, Failure, Halt, Intake, Undecoded, begin, fields, head1,
    reason_of,
};
use crate::proxy::limits::{CONTINUE, HELD};
use crate::proxy::pool::{H1, H2Pool, Way};
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use std::io::Write;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::call::Next;

/// How a request went.
pub(super) enum Carried {
    /// It has been answered, or is beyond that.
    Answered(Next),
    /// The service wants HTTP/1.1 after all: on this connection, with this
    /// token if a new one had to be fetched. The upload begins anew.
    Http1(Box<H1>, Option<Arc<IdToken>>),
}

/// An app's connection while one of its requests is with a service.
struct Side<'a> {
    client: &'a mut Client,
    asked: &'a Asked,
    upload: Decoding,
    /// Somebody reads the body: a service that wants it is there.
    uploading: bool,
    /// The body waits for a word of the service.
    holding: Option<BoxFuture<'static, ()>>,
    /// The response came before that word, and nothing of the body has come.
    unsent: bool,
    attention: &'a mut Attention,
    keep_alive: bool,
    download: Download,
}

/// The response on its way to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    Head,
    Body { chunked: bool, left: Room },
    Ended,
}

/// How much of a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// This many bytes, no more and no less.
    Exactly(u64),
    Any,
}

/// The request's head as HTTP/2 carries it; `None` if it cannot (RFC 9113
/// §8.3.1): the target has characters that no URI has, or a fragment.
pub(super) fn translate(head: &RequestHead, buffer: &[u8]) -> Option<Parts> {
    let mut path = Vec::new();
    request::write_target(&mut path, head, buffer);
    let path = Bytes::from(path);
    let parsed = PathAndQuery::from_maybe_shared(path.clone()).ok()?;
    if parsed.as_str().as_bytes() != path {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method.in_buffer(buffer)).ok()?;
    *request.uri_mut() = Uri::from(parsed);
    let mut fields = head1::fields(head.fields(), buffer)?;
    if head.takes_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    *request.headers_mut() = fields;
    Some(request.into_parts().0)
}

/// Sends the request until it is answered. The client's buffer stands behind
/// the head; `upload` has it as HTTP/1.1 writes it, for a service that turns
/// out to want that.
///
/// # Errors
/// What to answer in the place of a response that has not begun.
pub(super) async fn converse(
    app: (&mut Client, &mut Attention),
    upload: &mut Upload,
    asked: &Asked,
    (shared, mut call): (&Arc<Shared>, Call<'_>),
) -> Result<Carried, ProxyError> {
    let given = call.token.clone();
    let body = Decoding::keeping(std::mem::take(&mut upload.body));
    let mut side = Side::new(app, asked, body, !shared.drain.is_draining());
    let ended = side.attempt(shared, &mut call).await;
    let failure = match ended {
        Ok(None) => return Ok(Carried::Answered(side.next())),
        Ok(Some(connection)) => {
            side.upload.rewind();
            upload.resume(side.upload, &mut side.client.buffer);
            let renewed =
                call.token.filter(|token| given.is_none_or(|given| !Arc::ptr_eq(&given, token)));
            return Ok(Carried::Http1(connection, renewed));
        }
        Err(failure) => failure,
    };
    let begun = side.download != Download::Head;
    let error = match failure {
        // It lingered, and has all of its answer.
        Failure::Gone if side.is_answered() => return Ok(Carried::Answered(Next::Close)),
        // Part of a response must not look like the whole of it.
        Failure::Gone if begun => return Ok(Carried::Answered(Next::Reset)),
        Failure::Gone => return Ok(Carried::Answered(Next::Gone)),
        Failure::Answer(error) => error,
        Failure::Reset(reason) if begun => {
            call.broke_off(format!("its response was cut ({reason:?})"))
        }
        Failure::Reset(reason) => call.broke_off(format!("it reset the stream ({reason:?})")),
    };
    if !begun {
        return Err(error);
    }
    shared.tasks.log().debug("proxy", format_args!("{error}"));
    Ok(Carried::Answered(Next::Reset))
}

impl<'a> Side<'a> {
    fn new(
        (client, attention): (&'a mut Client, &'a mut Attention),
        asked: &'a Asked,
        upload: Decoding,
        keep_alive: bool,
    ) -> Side<'a> {
        let holds = asked.expects_continue && !upload.is_empty();
        let holding = holds.then(|| client.timers.patience(CONTINUE));
        Side {
            client,
            asked,
            upload,
            uploading: false,
            holding,
            unsent: false,
            attention,
            keep_alive: keep_alive && asked.keep_alive,
            download: Download::Head,
        }
    }

    /// One attempt after the other. A connection comes back where the service
    /// wants HTTP/1.1.
    async fn attempt(
        &mut self,
        shared: &Arc<Shared>,
        call: &mut Call<'_>,
    ) -> Result<Option<Box<H1>>, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let way = H2Pool::way(shared, &call.target, attempts.avoid());
            let lease = match crate::proxy::h2::unless_gone(self, way).await?? {
                Way::Http2(lease) => lease,
                Way::Http1(connection) => return Ok(Some(connection)),
            };
            let begun = match begin(call, lease, self).await {
                Ok(begun) => begun,
                Err(none) => {
                    attempts.another(none, self)?;
                    continue;
                }
            };
            if attempts.renews(call, &begun.head, self).await? {
                continue;
            }
            call.explain(&begun.head);
            self.forget();
            return begun.finish(call, self).await.map(|()| None);
        }
    }

    /// The app has all of its response.
    fn is_answered(&self) -> bool {
        self.download == Download::Ended && self.client.out.is_sent()
    }

    /// What becomes of the app's connection after its response.
    fn next(&self) -> Next {
        // It may have ended its direction behind a request that it sent ahead.
        let more = !self.attention.ended() || !self.client.buffer.is_empty();
        let sound = self.keep_alive && more && self.upload.is_read();
        if sound { Next::Again } else { Next::Close }
    }

    /// Takes what has come of the body; whether that was something.
    fn take(&mut self, from: &mut Intake) -> Result<bool, Failure> {
        let cut = || Failure::Reset(Reason::INTERNAL_ERROR);
        let Download::Body { chunked, mut left } = self.download else { return Ok(false) };
        let mut moved = false;
        while self.client.out.left() < HELD
            && let Some(piece) = from.next(HELD)
        {
            moved = true;
            let out = self.client.out.bytes();
            if let Room::Exactly(left) = &mut left {
                *left = left.checked_sub(piece.len() as u64).ok_or_else(cut)?;
            }
            if chunked {
                write_chunk(out, &piece);
            } else {
                out.extend_from_slice(&piece);
            }
        }
        self.download = Download::Body { chunked, left };
        if let Some(end) = from.ending() {
            if matches!(left, Room::Exactly(1..)) {
                return Err(cut());
            }
            if chunked {
                let trailers = end.as_ref().map(head1::trailer_lines).unwrap_or_default();
                write_last_chunk(self.client.out.bytes(), &trailers);
            }
            self.download = Download::Ended;
            moved = true;
        }
        Ok(moved)
    }
}

impl AppSide for Side<'_> {
    fn is_bodiless(&self) -> bool {
        self.upload.is_empty()
    }

    fn poll_upload(
        &mut self,
        context: &mut Context<'_>,
        to: &mut SendStream<Bytes>,
    ) -> Poll<Result<(), Halt>> {
        if self.unsent {
            return Poll::Pending;
        }
        if let Some(timer) = &mut self.holding {
            ready!(timer.as_mut().poll(context));
            self.holding = None;
        }
        self.uploading = true;
        let from = (&mut self.client.buffer, &mut self.client.tcp);
        self.upload.poll(context, from, to).map_err(|undecoded| match undecoded {
            Undecoded::Sink => {
                self.uploading = false;
                Halt::Sink
            }
            // A body cut short must not reach the service as a whole one.
            Undecoded::Ended => Halt::Source(Reason::CANCEL, Failure::Gone),
            Undecoded::Malformed(error) => {
                Halt::Source(Reason::CANCEL, ProxyError::Body(error).into())
            }
        })
    }

    fn can_rewind(&self) -> bool {
        self.upload.can_rewind()
    }

    fn rewind(&mut self) {
        self.uploading = false;
        self.upload.rewind();
    }

    fn forget(&mut self) {
        self.upload.forget();
    }

    fn inform(&mut self, mut head: Response<()>) {
        let status = head.status();
        if status == StatusCode::CONTINUE {
            self.holding = None;
        }
        if self.asked.version == Version::Http11 {
            fields::clean_interim(head.headers_mut());
            let out = self.client.out.bytes();
            write_lines(out, &head);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn begin(&mut self, head: Response<()>, target: &Target, ended: bool) -> Result<(), Failure> {
        let declared = declared(head.headers()).ok_or_else(|| {
            let cause = "its response has an invalid Content-Length";
            Failure::Answer(ProxyError::upstream(target, Fault::Response, cause))
        })?;
        let measured = declared.is_some();
        let declared = match declared {
            Some(length) => Framing::Length(length),
            None if ended => Framing::Length(0),
            None => Framing::UntilClose,
        };
        self.unsent = self.holding.take().is_some();
        let shape = response::shape(
            (declared, head.status().as_u16()),
            self.asked,
            self.keep_alive && !self.unsent,
        );
        self.client.begun = true;
        self.client.note.answered(head.status().as_u16());
        let out = self.client.out.bytes();
        write_lines(out, &head);
        if !measured && shape.framing == Framing::Length(0) {
            // Where HTTP/2 says END_STREAM, HTTP/1.1 says this.
            write_field(out, b"Content-Length", b"0");
        }
        response::write_end(out, self.asked, shape);
        self.keep_alive = shape.keep_alive;
        let left = match shape.framing {
            Framing::None => None,
            Framing::Length(length) => Some(Room::Exactly(length)),
            Framing::Chunked | Framing::UntilClose => Some(Room::Any),
        };
        // HTTP/1.1 has nothing after the head of some responses, whatever the
        // service still sends.
        let body = |left| Download::Body { chunked: shape.chunked, left };
        self.download = left.map_or(Download::Ended, body);
        Ok(())
    }

    fn poll_download(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Intake,
    ) -> Poll<Result<(), Failure>> {
        loop {
            let sent = self.client.out.poll_send(context, &mut self.client.tcp);
            match sent {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::Gone)),
                Poll::Ready(Ok(())) if self.download == Download::Ended => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if self.client.out.left() >= HELD => return Poll::Pending,
                _ => {}
            }
            let fetched = from.poll_fetch(context);
            fetched.map_err(|error| Failure::Reset(reason_of(&error)))?;
            if !self.take(from)? {
                return Poll::Pending;
            }
            self.attention.moved(self.client);
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let sent = self.client.out.poll_send(context, &mut self.client.tcp);
        if matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(Reason::CANCEL);
        }
        let read = self.upload.is_read();
        let held = self.holding.is_some() || self.unsent || !self.uploading;
        let wanted = if read { None } else { self.upload.wanted() };
        let silent = read || held || self.upload.is_stalled();
        if silent && self.attention.watch(context, self.client, wanted).is_err() {
            return Poll::Ready(Reason::CANCEL);
        }
        if self.unsent && !self.client.buffer.is_empty() {
            // An app need not wait (RFC 9110 §10.1.1), and the service may want it still.
            self.unsent = false;
            context.waker().wake_by_ref();
        }
        if self.is_answered() {
            if self.unsent {
                return Poll::Ready(Reason::CANCEL);
            }
            // An answer that needs no more of the body: there may be a little
            // left of it, for which the connection can be saved.
            self.attention.linger(self.client);
        }
        if self.attention.is_over(context) { Poll::Ready(Reason::CANCEL) } else { Poll::Pending }
    }
}

/// What the response says of its length, if it does; `None` if it is invalid,
/// which an app must never read in another way than we do.
fn declared(fields: &HeaderMap) -> Option<Option<u64>> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Some(None) };
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit) && lengths.next().is_none();
    length.to_str().ok().filter(|_| digits)?.parse().ok().map(Some)
}

/// The status line, with the usual reason because HTTP/2 has none, and the
/// fields.
fn write_lines(out: &mut Vec<u8>, head: &Response<()>) {
    let reason = head.status().canonical_reason().unwrap_or_default();
    // Writing to a vector cannot fail.
    let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", head.status().as_str());
    for (name, value) in head.headers() {
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
}
