//! A request on its way to a service over HTTP/1.1: where in the app's body it is,
//! and what of it is kept to be sent again.

use crate::http1::{
    Body, BodyError, Field, Framing, Nominated, write_chunk, write_field, write_last_chunk,
};
use crate::net::{Buffer, Outgoing};
use crate::proxy::h2::Decoding;
use crate::proxy::limits::REPLAY;

/// What is kept of a request at most, in bytes: its head, and its body in frames,
/// of which the smallest chunks have six times their size.
const KEPT: usize = 4 * REPLAY;

/// What the app sends, in which state a retry finds it again.
#[derive(Debug)]
pub(super) struct Upload {
    /// Where in the app's body we are.
    pub(super) body: Body,
    /// The bytes for the service.
    pub(super) out: Outgoing,
    /// How many bytes of the body, without frames, have come into `out`.
    taken: usize,
    /// A service has asked for the body, and the app has been told.
    invited: bool,
    chunked: bool,
}

/// What became of the bytes that stood there.
pub(super) struct Taken {
    /// How many of them are done with.
    pub(super) bytes: usize,
    /// Nothing more can be taken before others have come.
    pub(super) waits: bool,
}

impl Upload {
    /// For a request whose head, which has nominated these names, is in `out`.
    pub(super) fn new(framing: Framing, nominated: Nominated, out: Outgoing) -> Upload {
        let body = Body::new(framing, nominated);
        Upload { body, out, taken: 0, invited: false, chunked: framing == Framing::Chunked }
    }

    /// Goes on with a body that began on its way to a stream; its head is in
    /// `out` still.
    pub(super) fn resume(&mut self, begun: Decoding, buffer: &mut Buffer) {
        (self.body, self.taken) = begun.encode(buffer, self.chunked, self.out.bytes());
    }

    /// Takes what stands of the body at the start of `input`, the app's bytes.
    ///
    /// # Errors
    /// If that is no body.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<Taken, BodyError> {
        let step = self.body.step(input)?;
        let data = input.get(step.skip..step.skip + step.take).unwrap_or_default();
        let out = self.out.bytes();
        if self.chunked {
            write_chunk(out, data);
        } else {
            out.extend_from_slice(data);
        }
        if self.chunked && self.body.is_done() {
            let after = input.get(step.trailers_at..).unwrap_or_default();
            write_last_chunk(out, &trailer_lines(&step.trailers, after));
        }
        self.taken += data.len();
        let is_too_much = self.taken > REPLAY || out.len() > KEPT;
        if is_too_much && self.out.is_kept() {
            self.out.keep(false);
        }
        let waits = data.is_empty() && !self.body.is_done();
        Ok(Taken { bytes: step.skip + step.take, waits })
    }

    /// The app has been told to send its body.
    pub(super) fn invite(&mut self) {
        self.invited = true;
    }

    /// Whether the app may wait for a word before it sends any of its body.
    pub(super) fn may_wait(&self) -> bool {
        !self.body.is_done() && !self.invited && self.taken == 0
    }

    /// How many bytes of the body the app has to send still, read or not, where that
    /// is known.
    pub(super) fn wanted(&self) -> Option<u64> {
        match self.body {
            Body::Length(left) => Some(left),
            _ => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.body.is_done() && self.out.is_sent()
    }
}

/// Trailers as field lines; spans are in `input`.
pub(super) fn trailer_lines(trailers: &[Field], input: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for field in trailers {
        write_field(&mut lines, field.name.in_buffer(input), field.value.in_buffer(input));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a body in chunks of this size, 64 KiB of it in all, is kept.
    fn is_kept(chunk: usize) -> bool {
        let mut out = Outgoing::default();
        out.keep(true);
        let mut upload = Upload::new(Framing::Chunked, Nominated::default(), out);
        let frame = [format!("{chunk:x}\r\n").as_bytes(), &vec![b'x'; chunk], b"\r\n"].concat();
        for _ in 0..REPLAY / chunk {
            let mut input = &frame[..];
            while !input.is_empty() {
                let taken = upload.take(input).unwrap();
                input = &input[taken.bytes..];
            }
        }
        assert!(!upload.out.is_kept() || upload.out.bytes().len() <= KEPT);
        upload.out.is_kept()
    }

    #[test]
    fn a_small_body_is_kept_unless_its_frames_are_large() {
        assert_eq!([1, 2, 4, 64, REPLAY].map(is_kept), [false, true, true, true, true]);
    }
}
