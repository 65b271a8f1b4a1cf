//! One request and its response between two HTTP/1.1 connections, both
//! directions at once: a response may begin before the request has ended, and
//! each side waits for the other's window and for nothing else.

use super::connection::{Attention, Client};
use super::request::Asked;
use super::response::{self, refuses_token, shape, write_interim};
use super::upload::{Taken, Upload, trailer_lines};
use crate::http1::{
    Body, BodyError, Framing, HeadError, Limits, ResponseHead, Version, write_chunk,
    write_last_chunk,
};
use crate::names::Target;
use crate::net::BoxFuture;
use crate::proxy::error::{before_response, unreadable};
use crate::proxy::explain::may_be_refusal;
use crate::proxy::limits::{AHEAD, CONTINUE, HEAD_ROOM, HELD, INTERIM, RECORD, TURN};
use crate::proxy::pool::H1;
use std::task::{Context, Poll};

/// How an exchange came to rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The response is complete and sent; which connections can go on.
    Done { app: bool, service: bool },
    /// The service speaks another protocol from here on.
    Switched,
    /// The service refused our token; its response still stands in the buffer.
    TokenRefused,
    /// The service's connection ended before the whole head of its response; whether
    /// anything was heard of it, and how it ended.
    NoResponse { heard: bool, how: String },
    /// What the service answered cannot be passed on, and nothing of it was.
    Garbled(String),
    /// The app's body is not one, and no response has begun.
    Malformed(BodyError),
    /// The response has begun and cannot be completed.
    Cut(String),
    /// The app left.
    Gone,
}

#[derive(Debug)]
enum Download {
    Head,
    Body { body: Body, chunked: bool },
    Ended,
}

/// The exchange itself; see [`Exchange::poll`].
pub(super) struct Exchange<'a> {
    pub(super) client: &'a mut Client,
    pub(super) service: &'a mut H1,
    pub(super) upload: &'a mut Upload,
    pub(super) asked: &'a Asked,
    /// The service whose redirects to itself get the app's name for it, if any.
    pub(super) redirects: Option<&'a Target>,
    pub(super) head: &'a mut ResponseHead,
    /// Whether the app's connection may go on.
    pub(super) keep_alive: bool,
    /// Whether a refused token may be exchanged for another one.
    pub(super) renewable: bool,
    /// Whether the platform may have refused in the service's place.
    pub(super) refusal: bool,
    download: Download,
    service_keep: bool,
    heard: bool,
    /// Interim responses that have not gone on.
    withheld: usize,
    deaf: Option<String>,
    attention: &'a mut Attention,
    /// The body waits for a word of the service.
    holding: Option<BoxFuture<'static, ()>>,
    /// The response came before that word, and nothing of the body has come.
    unsent: bool,
}

type Moved = Result<bool, Outcome>;

impl<'a> Exchange<'a> {
    pub(super) fn new(
        (client, attention): (&'a mut Client, &'a mut Attention),
        service: &'a mut H1,
        upload: &'a mut Upload,
        (asked, redirects): (&'a Asked, Option<&'a Target>),
        head: &'a mut ResponseHead,
        (keep_alive, renewable): (bool, bool),
    ) -> Exchange<'a> {
        let holds = asked.expects_continue && upload.may_wait();
        let holding = holds.then(|| client.timers.patience(CONTINUE));
        Exchange {
            client,
            service,
            upload,
            asked,
            redirects,
            head,
            keep_alive,
            renewable,
            refusal: false,
            download: Download::Head,
            service_keep: true,
            heard: false,
            withheld: 0,
            deaf: None,
            attention,
            holding,
            unsent: false,
        }
    }

    /// Moves whatever can move, until the exchange rests or others must have
    /// their turn: between fast peers it would never rest.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        for _ in 0..TURN {
            match self.round(context) {
                Ok(true) => self.attention.moved(self.client),
                Ok(false) => return Poll::Pending,
                Err(outcome) => return Poll::Ready(outcome),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, context: &mut Context<'_>) -> Moved {
        let mut moved = self.take_body(context)?;
        let sent = self.send_request(context);
        // A whole request that has gone out makes room for nothing, and what
        // comes after it has had its turn below: only a timer that begins anew
        // must be seen once more.
        moved |= sent && (!self.upload.body.is_done() || self.attention.lingers());
        moved |= self.take_response(context)?;
        moved |= self.send_response(context)?;
        moved |= self.watch_app(context)?;
        self.rest(context)?;
        Ok(moved)
    }

    /// From the app's connection into the upload.
    fn take_body(&mut self, context: &mut Context<'_>) -> Moved {
        if let Some(timer) = &mut self.holding {
            if timer.as_mut().poll(context).is_pending() {
                return Ok(false);
            }
            self.holding = None;
        }
        if self.unsent {
            return Ok(false);
        }
        let mut moved = false;
        while !self.upload.body.is_done() && self.upload.out.left() < HELD && self.deaf.is_none() {
            let input = self.client.buffer.readable();
            let Taken { bytes, waits } =
                self.upload.take(input).map_err(|error| self.malformed(error))?;
            self.client.buffer.consume(bytes);
            moved |= !waits;
            if waits && !self.fill_from_app(context)? {
                break;
            }
        }
        Ok(moved)
    }

    /// Reads more of the app's body; whether there was some.
    fn fill_from_app(&mut self, context: &mut Context<'_>) -> Moved {
        match self.client.buffer.poll_fill(context, &mut self.client.tcp, HEAD_ROOM) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) if self.client.buffer.is_full(HEAD_ROOM) => {
                Err(self.malformed(BodyError::Trailers(HeadError::TooLarge)))
            }
            // A body cut short must not reach the service as a whole one.
            Poll::Ready(Ok(0) | Err(_)) => Err(self.left()),
            Poll::Ready(Ok(_)) => Ok(true),
        }
    }

    fn malformed(&self, error: BodyError) -> Outcome {
        match self.download {
            Download::Head => Outcome::Malformed(error),
            Download::Body { .. } | Download::Ended => Outcome::Cut(error.to_string()),
        }
    }

    /// From the upload to the service. A service that stops reading may have
    /// answered already, so that is no failure yet.
    fn send_request(&mut self, context: &mut Context<'_>) -> bool {
        if self.deaf.is_some() || self.upload.out.is_sent() {
            return false;
        }
        match self.upload.out.poll_send(context, &mut self.service.stream) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => {
                self.deaf = Some(error.to_string());
                true
            }
        }
    }

    /// From the service's connection to the app's outbox.
    fn take_response(&mut self, context: &mut Context<'_>) -> Moved {
        let mut moved = false;
        while self.client.out.left() < AHEAD {
            let more = match &mut self.download {
                Download::Head => self.take_head()?,
                Download::Body { .. } => self.take_response_body()?,
                Download::Ended => break,
            };
            if more {
                moved = true;
                continue;
            }
            let room = self.room();
            match self.service.buffer.poll_fill(context, &mut self.service.stream, room) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.service_ended("it closed the connection")?,
                Poll::Ready(Err(error)) => self.service_broke(&error.to_string())?,
                Poll::Ready(Ok(_)) => self.heard = true,
            }
            moved = true;
        }
        Ok(moved)
    }

    /// What the service's connection is read into: little for bodies, but for
    /// trailers as much as for heads.
    fn room(&self) -> usize {
        let bulk = matches!(self.download, Download::Body { .. }) && self.service.stream.is_tls();
        if bulk && !self.service.buffer.is_full(RECORD) { RECORD } else { HEAD_ROOM }
    }

    /// Whether a whole head stood there.
    fn take_head(&mut self) -> Moved {
        let buffer = self.service.buffer.readable();
        if buffer.is_empty() {
            return Ok(false);
        }
        let parsed = self.head.parse(buffer, Limits::default());
        let Some(length) = parsed.map_err(|error| Outcome::Garbled(unreadable(error)))? else {
            return Ok(false);
        };
        let out = self.client.out.bytes();
        match self.head.status {
            101 if self.asked.upgrade && self.upload.is_over() => {
                write_interim(out, (self.head, buffer));
                self.client.note.answered(101);
                self.service.buffer.consume(length);
                return Err(Outcome::Switched);
            }
            101 => return Err(Outcome::Garbled("it switched protocols unasked".to_owned())),
            status @ 100..=199 => {
                if self.asked.version == Version::Http11 {
                    write_interim(out, (self.head, buffer));
                } else if self.withheld == INTERIM {
                    return Err(Outcome::Garbled("it never comes to its response".to_owned()));
                } else {
                    self.withheld += 1;
                }
                if status == 100 {
                    self.upload.invite();
                    self.holding = None;
                }
                self.service.buffer.consume(length);
            }
            _ => self.take_final_head(length)?,
        }
        Ok(true)
    }

    fn take_final_head(&mut self, length: usize) -> Result<(), Outcome> {
        let buffer = self.service.buffer.readable();
        let renewable = self.renewable && self.upload.out.is_kept();
        if renewable && refuses_token(self.head, buffer) {
            return Err(Outcome::TokenRefused);
        }
        // Of the body that waited for a word, no more may come.
        let unsent = self.holding.take().is_some();
        self.unsent = unsent;
        let declared = (self.head.framing, self.head.status);
        let shape = shape(declared, self.asked, self.keep_alive && !unsent);
        let out = self.client.out.bytes();
        response::write_head(out, (self.head, buffer), self.asked, self.redirects, shape);
        self.client.begun = true;
        self.client.note.answered(self.head.status);
        self.refusal = may_be_refusal(self.head, buffer);
        self.keep_alive = shape.keep_alive;
        self.service_keep = self.head.keep_alive && shape.framing != Framing::UntilClose && !unsent;
        self.upload.out.keep(false);
        let body = Body::new(shape.framing, self.head.nominated(buffer));
        self.service.buffer.consume(length);
        self.download = if body.is_done() {
            if shape.chunked {
                write_last_chunk(self.client.out.bytes(), b"");
            }
            Download::Ended
        } else {
            Download::Body { body, chunked: shape.chunked }
        };
        Ok(())
    }

    /// Whether there was some.
    fn take_response_body(&mut self) -> Moved {
        let Download::Body { body, chunked } = &mut self.download else { return Ok(false) };
        let input = self.service.buffer.readable();
        let step = body.step(input).map_err(|error| Outcome::Cut(error.to_string()))?;
        let data = input.get(step.skip..step.skip + step.take).unwrap_or_default();
        let moved = !data.is_empty() || body.is_done();
        let out = self.client.out.bytes();
        if *chunked {
            write_chunk(out, data);
        } else {
            out.extend_from_slice(data);
        }
        if body.is_done() {
            if *chunked {
                let after = input.get(step.trailers_at..).unwrap_or_default();
                write_last_chunk(out, &trailer_lines(&step.trailers, after));
            }
            self.download = Download::Ended;
        }
        self.service.buffer.consume(step.skip + step.take);
        Ok(moved)
    }

    /// The service closed in order, or our buffer cannot take what it sends.
    fn service_ended(&mut self, how: &str) -> Result<(), Outcome> {
        if self.service.buffer.is_full(HEAD_ROOM) {
            return Err(self.broken("it sent more than fits".to_owned()));
        }
        if let Download::Body { body, chunked } = &mut self.download
            && body.end().is_ok()
        {
            if *chunked {
                write_last_chunk(self.client.out.bytes(), b"");
            }
            self.download = Download::Ended;
            return Ok(());
        }
        self.service_broke(how)
    }

    fn service_broke(&mut self, how: &str) -> Result<(), Outcome> {
        let how = match (&self.download, &self.deaf) {
            (Download::Head, Some(deaf)) => format!("{how} ({deaf})"),
            (Download::Head, None) => how.to_owned(),
            _ => format!("{how} in the middle of the response's body"),
        };
        Err(self.broken(how))
    }

    fn broken(&self, how: String) -> Outcome {
        match self.download {
            Download::Head => {
                Outcome::NoResponse { heard: self.heard, how: before_response(&how, self.heard) }
            }
            Download::Body { .. } | Download::Ended => Outcome::Cut(how),
        }
    }

    /// From the outbox to the app.
    fn send_response(&mut self, context: &mut Context<'_>) -> Moved {
        if self.client.out.is_sent() {
            return Ok(false);
        }
        match self.client.out.poll_send(context, &mut self.client.tcp) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(Outcome::Gone),
        }
    }

    /// Once the body is complete, the app has nothing to say but the next
    /// request or goodbye: an app that has left must not keep the service busy.
    /// Whether a body has come that nobody was to count on.
    fn watch_app(&mut self, context: &mut Context<'_>) -> Moved {
        let had_ended = self.attention.ended();
        let silent = self.upload.body.is_done() || self.holding.is_some() || self.unsent;
        let watched = if silent {
            self.attention.watch(context, self.client, None)
        } else if self.upload.out.left() >= HELD || self.deaf.is_some() {
            self.attention.watch(context, self.client, self.upload.wanted())
        } else {
            Ok(())
        };
        if !had_ended && self.attention.ended() {
            // It has left, more often than not, and gets no answer that needs it.
            self.service.buffer.release();
        }
        watched.map_err(|_left| self.left())?;
        // An app need not wait (RFC 9110 §10.1.1), and the service may want it still.
        let comes = self.unsent && !self.client.buffer.is_empty();
        self.unsent &= !comes;
        Ok(comes)
    }

    /// The app has all of its response.
    fn is_answered(&self) -> bool {
        matches!(self.download, Download::Ended) && self.client.out.is_sent()
    }

    /// The app has ended its direction and is not waited for any longer.
    fn left(&self) -> Outcome {
        match self.download {
            _ if self.is_answered() => Outcome::Done { app: false, service: false },
            Download::Head => Outcome::Gone,
            // Part of a response must not look like the whole of it.
            _ => Outcome::Cut("the app ended its own direction".to_owned()),
        }
    }

    /// Whether the exchange is over, or has waited long enough for its end.
    fn rest(&mut self, context: &mut Context<'_>) -> Result<(), Outcome> {
        if self.is_answered() {
            if self.upload.is_over() {
                // It may have ended its direction behind a request that it sent ahead.
                let more = !self.attention.ended() || !self.client.buffer.is_empty();
                let (app, service) = (self.keep_alive && more, self.service_keep);
                return Err(Outcome::Done { app, service });
            }
            if self.deaf.is_some() || !self.service_keep {
                return Err(Outcome::Done { app: false, service: false });
            }
            // An answer that needs no more of the body: there may be a little
            // left of it, for which both connections can be saved.
            self.attention.linger(self.client);
        }
        if self.attention.is_over(context) { Err(self.left()) } else { Ok(()) }
    }
}
