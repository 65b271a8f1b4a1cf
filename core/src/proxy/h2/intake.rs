//! The reading end of a stream: what has come, in pieces worth passing on.
//!
//! Frames are taken from the library as they come, and small ones joined: what
//! lies in the library costs far more memory than its payload. The window is
//! given back only when the other side has accepted the bytes, so that a
//! stalled reader holds at most one window.

use super::fields;
use super::pieces::Pieces;
use crate::proxy::error::TINY_FRAMES;
use crate::proxy::limits::{HELD, REPLAY};
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::io::ErrorKind;
use std::task::{Context, Poll, ready};

/// Frames shorter than this are joined when they wait.
const SMALL: usize = 1024;
/// A first piece of up to this size goes on with the head, whether the stream
/// has room yet or not.
const FIRST: usize = 4 * 1024;
/// Pieces of a kept body before they are joined: each may hold on to a whole read
/// buffer.
const KEPT_PIECES: usize = 16;

/// A stream's body on its way in.
#[derive(Debug)]
pub(in crate::proxy) struct Intake {
    from: RecvStream,
    waiting: Pieces,
    /// Small frames that follow what waits.
    small: BytesMut,
    /// How the body has ended, once it has.
    end: Option<Option<HeaderMap>>,
    data_over: bool,
    /// What has been passed on, for a second attempt; `None` when that is out
    /// of the question.
    kept: Option<Pieces>,
    kept_bytes: usize,
    /// What of `waiting` had been passed on before, and its window given back.
    replayed: usize,
    /// How many bytes have been passed on; what was passed on again counts once.
    passed: u64,
    /// Room has been asked for on the stream that it goes to.
    begun: bool,
    /// What its sender sent too much of, if that is how it ended.
    excess: Option<&'static str>,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub(super) enum Broken {
    /// Its sender reset it, broke a rule or went.
    Source(h2::Error),
    /// Its receiver does not want it; the other direction tells why.
    Sink,
}

impl Intake {
    /// The body of a stream that is not going to be sent again.
    pub(super) fn new(from: RecvStream) -> Intake {
        let end = from.is_end_stream().then_some(None);
        Intake {
            from,
            waiting: Pieces::default(),
            small: BytesMut::new(),
            data_over: end.is_some(),
            end,
            kept: None,
            kept_bytes: 0,
            replayed: 0,
            passed: 0,
            begun: false,
            excess: None,
        }
    }

    /// The body of a request, which is kept while it is small.
    pub(super) fn keeping(from: RecvStream) -> Intake {
        Intake { kept: Some(Pieces::default()), ..Intake::new(from) }
    }

    /// Whether the stream ended with its head.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.end, Some(None)) && self.queued_is_empty() && self.kept_bytes == 0
    }

    fn queued_is_empty(&self) -> bool {
        self.waiting.is_empty() && self.small.is_empty()
    }

    /// Whether a second attempt can send the body from its beginning.
    pub(super) fn can_rewind(&self) -> bool {
        self.kept.is_some()
    }

    /// Puts what has been passed on back to the front. Call only if it
    /// [can](Intake::can_rewind).
    pub(super) fn rewind(&mut self) {
        while let Some(piece) = self.kept.as_mut().and_then(Pieces::pop_back) {
            self.replayed += piece.len();
            self.waiting.push_front(piece);
        }
        self.kept_bytes = 0;
        self.begun = false;
    }

    /// There will be no second attempt.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Takes what the library has.
    ///
    /// # Errors
    /// What ended the stream, or made it invalid.
    pub(in crate::proxy) fn poll_fetch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<(), h2::Error> {
        let fetched = self.fetch(context);
        if let Err(error) = &fetched {
            self.excess = excess(error);
        }
        fetched
    }

    fn fetch(&mut self, context: &mut Context<'_>) -> Result<(), h2::Error> {
        while !self.data_over {
            match self.from.poll_data(context) {
                Poll::Ready(Some(frame)) => self.take_in(frame?),
                Poll::Ready(None) => self.data_over = true,
                Poll::Pending => return Ok(()),
            }
        }
        if self.end.is_none()
            && let Poll::Ready(trailers) = self.from.poll_trailers(context)
        {
            let mut trailers = trailers?;
            if let Some(trailers) = &mut trailers {
                fields::clean_trailers(trailers);
            }
            self.end = Some(trailers);
        }
        Ok(())
    }

    fn take_in(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        if self.queued_is_empty() {
            self.waiting.push_back(frame);
        } else if frame.len() < SMALL {
            self.small.extend_from_slice(&frame);
        } else {
            self.flush_small();
            self.waiting.push_back(frame);
        }
    }

    fn flush_small(&mut self) {
        if !self.small.is_empty() {
            self.waiting.push_back(self.small.split().freeze());
        }
    }

    /// The next piece, at most `most` bytes. The caller has a place for it:
    /// its window is given back.
    pub(in crate::proxy) fn next(&mut self, most: usize) -> Option<Bytes> {
        if self.waiting.is_empty() {
            self.flush_small();
        }
        let piece = self.waiting.pop_front(most)?;
        let again = piece.len().min(self.replayed);
        self.replayed -= again;
        self.passed += (piece.len() - again) as u64;
        // Fails only when the stream has gone, which the next read reports.
        let _ = self.from.flow_control().release_capacity(piece.len() - again);
        self.keep(&piece);
        Some(piece)
    }

    /// How many bytes have been passed on; what was passed on again counts once.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// What its sender sent too much of, if that is how it ended.
    pub(super) fn excess(&self) -> Option<&'static str> {
        self.excess
    }

    fn keep(&mut self, piece: &Bytes) {
        self.kept_bytes += piece.len();
        match &mut self.kept {
            Some(kept) if self.kept_bytes <= REPLAY => {
                kept.push_back(piece.clone());
                if kept.len() >= KEPT_PIECES {
                    kept.join();
                }
            }
            _ => self.kept = None,
        }
    }

    /// How many bytes wait to be passed on; at least the first piece of them.
    pub(super) fn queued(&self) -> usize {
        if self.waiting.is_empty() { self.small.len() } else { self.waiting.front_len() }
    }

    /// How it ended, when all has been passed on: its trailers, if it has some.
    pub(in crate::proxy) fn ending(&self) -> Option<&Option<HeaderMap>> {
        self.end.as_ref().filter(|_| self.queued_is_empty())
    }

    /// The trailers for their one receiver, or a copy where there may be another.
    fn last_trailers(&mut self) -> HeaderMap {
        let kept = self.kept.is_some();
        let trailers = self.end.as_mut().and_then(Option::as_mut);
        let give = |trailers: &mut HeaderMap| {
            if kept { trailers.clone() } else { std::mem::take(trailers) }
        };
        trailers.map(give).unwrap_or_default()
    }

    /// Passes the body on to `to`, its end and trailers included, which `ended`
    /// is told of first.
    ///
    /// # Errors
    /// [`Broken`]; the caller resets what is left.
    pub(super) fn poll_forward(
        &mut self,
        context: &mut Context<'_>,
        to: &mut SendStream<Bytes>,
        ended: impl FnOnce(&HeaderMap),
    ) -> Poll<Result<(), Broken>> {
        loop {
            self.poll_fetch(context).map_err(Broken::Source)?;
            let sink = |_: h2::Error| Broken::Sink;
            if let Some(end) = self.ending() {
                let ended = if let Some(trailers) = end {
                    ended(trailers);
                    to.send_trailers(self.last_trailers())
                } else {
                    to.send_data(Bytes::new(), true)
                };
                return Poll::Ready(ended.map_err(sink));
            }
            let queued = self.queued();
            if queued == 0 {
                return Poll::Pending;
            }
            let capacity = ready!(poll_capacity(context, to, queued, &mut self.begun))?;
            if let Some(piece) = self.next(capacity) {
                // The end goes with the last bytes where it came with them.
                let last = matches!(self.ending(), Some(None));
                to.send_data(piece, last).map_err(sink)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Waits for room for some of `wanted` bytes, but not for the first of them
/// where they are few; `begun` says whether these are others. A stream that has
/// just been opened has no room before its connection's task has run, and would
/// send its head in one record and its body in the next.
///
/// # Errors
/// [`Broken::Sink`] when the stream takes no more.
pub(super) fn poll_capacity(
    context: &mut Context<'_>,
    to: &mut SendStream<Bytes>,
    wanted: usize,
    begun: &mut bool,
) -> Poll<Result<usize, Broken>> {
    if !std::mem::replace(begun, true) && wanted <= FIRST {
        return Poll::Ready(Ok(wanted));
    }
    to.reserve_capacity(wanted.min(HELD));
    loop {
        let capacity = to.capacity();
        if capacity > 0 {
            return Poll::Ready(Ok(capacity));
        }
        match ready!(to.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(Broken::Sink)),
        }
    }
}

/// What ended a stream of a service, in words for whoever called: the library
/// speaks of errors where a peer has only left.
pub(super) fn in_words(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_remote() && error.is_go_away() => {
            format!("it left with a GOAWAY ({reason:?})")
        }
        Some(reason) if error.is_remote() => format!("it reset the stream ({reason:?})"),
        // The library tells a head that is too large in no other way.
        Some(Reason::PROTOCOL_ERROR) if error.is_reset() => {
            format!("it broke a rule of HTTP/2, or sent a head of more than 256 KiB: {error}")
        }
        Some(_) => format!("it broke a rule of HTTP/2: {error}"),
        None if error.get_io().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) => {
            "it closed the connection".to_owned()
        }
        None => error.to_string(),
    }
}

/// What a peer has sent more of than we take, if that is why we gave it up: the
/// library, which keeps most of the limits, says to each stream which one.
pub(super) fn excess(error: &h2::Error) -> Option<&'static str> {
    if error.is_remote() || error.reason() != Some(Reason::ENHANCE_YOUR_CALM) {
        return None;
    }
    let words = error.to_string();
    let says = |kind| words.contains(kind);
    Some(match () {
        () if says("data_frames") => TINY_FRAMES,
        () if says("header_list") || says("continuations") => "header fields",
        () if says("resets") => "broken streams",
        () => "interim responses",
    })
}

/// What to tell one side of a stream that the other has broken. The same
/// reason where the peer gave one, but never one that says that nothing is
/// wrong: clients take it for the end of the body.
pub(in crate::proxy) fn reason_of(error: &h2::Error) -> Reason {
    match error.reason() {
        Some(Reason::NO_ERROR) | None => Reason::INTERNAL_ERROR,
        Some(reason) if error.is_reset() && error.is_remote() => reason,
        Some(Reason::PROTOCOL_ERROR) => Reason::PROTOCOL_ERROR,
        Some(_) => Reason::INTERNAL_ERROR,
    }
}
