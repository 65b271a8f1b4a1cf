//! Bodies: decoders that say which bytes are payload, and the chunk encoder.
//!
//! Decoders copy nothing: a [`Step`] tells how many bytes of framing to skip
//! and how many bytes of payload follow. A chunked body is never forwarded as
//! it came, but decoded and encoded again, so that extensions, odd sizes and
//! whatever else two parsers might read differently do not go on.

use super::field::{Field, Nominated};
use super::framing::Framing;
use super::head::{HeadError, Limits, field_lines};
use std::fmt;
use std::io::Write;

/// A chunk's size line, extension included, in bytes.
const SIZE_LINE: usize = 256;
/// All extensions of one body together, in bytes.
const EXTENSIONS: usize = 16 * 1024;

/// Where a body's decoder is.
#[derive(Debug, Default)]
pub enum Body {
    /// The end.
    #[default]
    Done,
    /// This many bytes are left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunked),
    /// Until the connection ends.
    UntilClose,
}

/// Where a chunked body's decoder is.
#[derive(Debug)]
pub struct Chunked {
    state: ChunkState,
    extensions: usize,
    nominated: Nominated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// What the start of the input is.
#[derive(Debug, Default)]
pub struct Step {
    /// Bytes of framing to drop.
    pub skip: usize,
    /// Bytes of payload that follow them.
    pub take: usize,
    /// The trailers, when the body has just ended with some; their spans are in
    /// the input after `trailers_at`.
    pub trailers: Vec<Field>,
    /// Where in the input the trailers' spans begin.
    pub trailers_at: usize,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The connection ended before the body did.
    Truncated,
    /// A chunk that is not one.
    Chunk(&'static str),
    /// Trailers that are not fields.
    Trailers(HeadError),
}

impl BodyError {
    /// The status that tells a client of it.
    pub fn status(self) -> u16 {
        match self {
            BodyError::Truncated | BodyError::Chunk(_) => 400,
            BodyError::Trailers(error) => error.status(),
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Truncated => f.write_str("the connection ended in the middle of the body"),
            BodyError::Chunk(what) => write!(f, "invalid chunk: {what}"),
            BodyError::Trailers(HeadError::TooLarge) => f.write_str("trailers over 64 KiB"),
            BodyError::Trailers(HeadError::TooManyFields) => {
                f.write_str("trailers over 256 fields")
            }
            BodyError::Trailers(error) => write!(f, "invalid trailers: {error}"),
        }
    }
}

impl Body {
    /// The decoder of a body that is framed so, and whose head has nominated
    /// these names: they end here among its trailers as well.
    pub fn new(framing: Framing, nominated: Nominated) -> Body {
        match framing {
            Framing::None | Framing::Length(0) => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => {
                Body::Chunked(Chunked { state: ChunkState::Size, extensions: 0, nominated })
            }
            Framing::UntilClose => Body::UntilClose,
        }
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        matches!(self, Body::Done)
    }

    /// Looks at the next input. A step without skip and take asks for more.
    /// The caller must drop `skip` bytes and use `take` bytes before the next.
    ///
    /// # Errors
    /// Every [`BodyError`] but `Truncated`.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        match self {
            Body::Done => Ok(Step::default()),
            Body::UntilClose => Ok(Step { take: input.len(), ..Step::default() }),
            Body::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                if *left == 0 {
                    *self = Body::Done;
                }
                Ok(Step { take, ..Step::default() })
            }
            Body::Chunked(chunked) => {
                let (step, done) = chunked.step(input)?;
                if done {
                    *self = Body::Done;
                }
                Ok(step)
            }
        }
    }

    /// The connection ended.
    ///
    /// # Errors
    /// `Truncated` unless the body may end so or has ended.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match self {
            Body::Done | Body::UntilClose => {
                *self = Body::Done;
                Ok(())
            }
            Body::Length(_) | Body::Chunked(_) => Err(BodyError::Truncated),
        }
    }
}

impl Chunked {
    fn step(&mut self, input: &[u8]) -> Result<(Step, bool), BodyError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let wait = Step { skip: at, ..Step::default() };
            match self.state {
                ChunkState::Size => {
                    let Some((size, line)) = self.size_line(rest)? else {
                        return Ok((wait, false));
                    };
                    at += line;
                    self.state =
                        if size == 0 { ChunkState::Trailers } else { ChunkState::Data(size) };
                }
                ChunkState::Data(_) if rest.is_empty() => return Ok((wait, false)),
                ChunkState::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left - take as u64;
                    self.state =
                        if left == 0 { ChunkState::DataEnd } else { ChunkState::Data(left) };
                    return Ok((Step { take, ..wait }, false));
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok((wait, false)),
                    _ => return Err(BodyError::Chunk("no line end after its data")),
                },
                ChunkState::Trailers => {
                    let fields = field_lines(rest, Limits::default());
                    return match fields.map_err(BodyError::Trailers)? {
                        Some((length, mut trailers)) => {
                            trailers
                                .retain(|field| !self.nominated.has(field.name.in_buffer(rest)));
                            let step =
                                Step { skip: at + length, take: 0, trailers, trailers_at: at };
                            Ok((step, true))
                        }
                        None => Ok((wait, false)),
                    };
                }
            }
        }
    }

    /// Size and length of a chunk's first line; `None` while it is incomplete.
    fn size_line(&mut self, input: &[u8]) -> Result<Option<(u64, usize)>, BodyError> {
        let Some(end) = memchr::memchr(b'\n', input) else {
            let too_long = input.len() > SIZE_LINE;
            return if too_long {
                Err(BodyError::Chunk("its size line is too long"))
            } else {
                Ok(None)
            };
        };
        let line = match input.get(..end) {
            Some([line @ .., b'\r']) => line,
            _ => return Err(BodyError::Chunk("a line feed without a carriage return")),
        };
        if line.len() > SIZE_LINE {
            return Err(BodyError::Chunk("its size line is too long"));
        }
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at_checked(digits).unwrap_or((line, b""));
        let begins = extension.trim_ascii_start().first();
        if begins.is_some_and(|byte| *byte != b';') || extension.contains(&b'\r') {
            return Err(BodyError::Chunk("its size is not a hexadecimal number"));
        }
        if begins.is_none() && !extension.is_empty() {
            return Err(BodyError::Chunk("white space after its size"));
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS {
            return Err(BodyError::Chunk("too many extensions"));
        }
        let size = std::str::from_utf8(size).ok().filter(|_| (1..=16).contains(&digits));
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
        size.map(|size| Some((size, end + 1))).ok_or(BodyError::Chunk("its size cannot be read"))
    }
}

/// Writes one chunk; nothing for no data, because that would end the body.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the end of a chunked body; `trailers` are whole field lines.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
