//! From a body that HTTP/1.1 frames to the DATA frames of a stream: what an app
//! uploads over HTTP/1.1, and what a service answers over it.

use super::head1;
use super::intake::poll_capacity;
use crate::http1::{Body, BodyError, HeadError, write_chunk, write_last_chunk};
use crate::net::{Buffer, Incoming};
use crate::proxy::limits::{HEAD_ROOM, REPLAY};
use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use std::task::{Context, Poll, ready};

/// A body on its way from a connection to a stream.
#[derive(Debug)]
pub(in crate::proxy) struct Decoding {
    body: Body,
    /// Payload at the start of the buffer that has not been passed on.
    payload: usize,
    trailers: Option<HeaderMap>,
    over: bool,
    /// What has been passed on, for a second attempt; `None` when that is out
    /// of the question.
    kept: Option<Vec<u8>>,
    /// What is to be passed on anew, before everything else.
    again: Bytes,
    /// How many bytes have been taken from the connection's buffer.
    passed: u64,
    /// Room has been asked for on the stream that it goes to.
    begun: bool,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub(in crate::proxy) enum Undecoded {
    /// It is none.
    Malformed(BodyError),
    /// Its connection ended before it did.
    Ended,
    /// Its receiver takes no more.
    Sink,
}

impl Decoding {
    /// The body of a response, which is not going to be sent again.
    pub(super) fn new(body: Body) -> Decoding {
        Decoding {
            body,
            payload: 0,
            trailers: None,
            over: false,
            kept: None,
            again: Bytes::new(),
            passed: 0,
            begun: false,
        }
    }

    /// The body of a request, which is kept while it is small.
    pub(in crate::proxy) fn keeping(body: Body) -> Decoding {
        Decoding { kept: Some(Vec::new()), ..Decoding::new(body) }
    }

    /// Whether there is no body, or none is left of one that was read.
    pub(in crate::proxy) fn is_empty(&self) -> bool {
        let passed = self.kept.as_ref().is_none_or(Vec::is_empty) && self.again.is_empty();
        self.is_read() && passed && self.trailers.is_none()
    }

    /// Whether the connection has no more of it.
    pub(in crate::proxy) fn is_read(&self) -> bool {
        self.body.is_done() && self.payload == 0
    }

    /// Whether some of it is there that its receiver does not take yet.
    pub(in crate::proxy) fn is_stalled(&self) -> bool {
        self.payload > 0 || !self.again.is_empty()
    }

    /// How many bytes the buffer and the connection have to bring still, where
    /// that is known.
    pub(in crate::proxy) fn wanted(&self) -> Option<u64> {
        match self.body {
            Body::Length(left) => Some(left + self.payload as u64),
            _ => None,
        }
    }

    /// How many bytes have been passed on; what was passed on again counts once.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// The trailers, once they have come.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Whether a second attempt can send it from its beginning.
    pub(in crate::proxy) fn can_rewind(&self) -> bool {
        self.kept.is_some()
    }

    /// Puts what has been passed on back to the front. Call only if it
    /// [can](Decoding::can_rewind).
    pub(in crate::proxy) fn rewind(&mut self) {
        let mut passed = self.kept.replace(Vec::new()).unwrap_or_default();
        passed.extend_from_slice(&self.again);
        self.again = passed.into();
        (self.over, self.begun) = (false, false);
    }

    /// There will be no second attempt.
    pub(in crate::proxy) fn forget(&mut self) {
        self.kept = None;
    }

    /// Passes the body on to its end, from `buffer` and what `io` adds to it.
    ///
    /// # Errors
    /// [`Undecoded`]; a body that was cut is never ended well.
    pub(in crate::proxy) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (buffer, io): (&mut Buffer, &mut impl Incoming),
        to: &mut SendStream<Bytes>,
    ) -> Poll<Result<(), Undecoded>> {
        loop {
            if self.over {
                return Poll::Ready(Ok(()));
            }
            let waiting = if self.again.is_empty() { self.payload } else { self.again.len() };
            if waiting > 0 {
                let room = ready!(poll_capacity(context, to, waiting, &mut self.begun));
                let piece = self.take(buffer, room.map_err(|_| Undecoded::Sink)?.min(waiting));
                let last = self.is_read() && self.again.is_empty() && self.trailers.is_none();
                to.send_data(piece, last).map_err(|_| Undecoded::Sink)?;
                self.over = last;
                continue;
            }
            if self.body.is_done() {
                let ended = match self.trailers.clone() {
                    Some(trailers) => to.send_trailers(trailers),
                    None => to.send_data(Bytes::new(), true),
                };
                self.over = true;
                return Poll::Ready(ended.map_err(|_| Undecoded::Sink));
            }
            if self.step(buffer)? {
                continue;
            }
            match ready!(buffer.poll_fill(context, io, HEAD_ROOM)) {
                Ok(0) if buffer.is_full(HEAD_ROOM) => {
                    let cause = BodyError::Trailers(HeadError::TooLarge);
                    return Poll::Ready(Err(Undecoded::Malformed(cause)));
                }
                Ok(0) => self.body.end().map_err(|_| Undecoded::Ended)?,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Undecoded::Ended)),
            }
        }
    }

    /// The next `count` bytes of what waits.
    fn take(&mut self, buffer: &mut Buffer, count: usize) -> Bytes {
        let piece = if self.again.is_empty() {
            let piece = buffer.readable().get(..count).unwrap_or_default();
            let piece = Bytes::copy_from_slice(piece);
            buffer.consume(count);
            self.payload -= count;
            self.passed += piece.len() as u64;
            piece
        } else {
            self.again.split_to(count)
        };
        match &mut self.kept {
            Some(kept) if kept.len() + piece.len() <= REPLAY => kept.extend_from_slice(&piece),
            _ => self.kept = None,
        }
        piece
    }

    /// Decodes what is in the buffer; `false` if it needs more.
    fn step(&mut self, buffer: &mut Buffer) -> Result<bool, Undecoded> {
        let readable = buffer.readable();
        if readable.is_empty() {
            return Ok(false);
        }
        let step = self.body.step(readable).map_err(Undecoded::Malformed)?;
        if !step.trailers.is_empty() {
            let lines = readable.get(step.trailers_at..).unwrap_or_default();
            let unfit = BodyError::Chunk("its trailers have a field that HTTP/2 cannot carry");
            let trailers = head1::fields(&step.trailers, lines);
            self.trailers = Some(trailers.ok_or(Undecoded::Malformed(unfit))?);
        }
        buffer.consume(step.skip);
        self.payload = step.take;
        Ok(step.take > 0 || self.body.is_done())
    }

    /// Goes on as HTTP/1.1 after all: writes what has been read of the body as
    /// HTTP/1.1 frames it, and says where in it the connection is and how many
    /// bytes of it that were. Call only when it has been
    /// [rewound](Decoding::rewind).
    pub(in crate::proxy) fn encode(
        self,
        buffer: &mut Buffer,
        chunked: bool,
        out: &mut Vec<u8>,
    ) -> (Body, usize) {
        let unread = buffer.readable().get(..self.payload).unwrap_or_default();
        let written = self.again.len() + unread.len();
        for piece in [&self.again[..], unread] {
            if chunked {
                write_chunk(out, piece);
            } else {
                out.extend_from_slice(piece);
            }
        }
        buffer.consume(self.payload);
        if chunked && self.body.is_done() {
            let trailers = self.trailers.as_ref().map(head1::trailer_lines).unwrap_or_default();
            write_last_chunk(out, &trailers);
        }
        (self.body, written)
    }
}
