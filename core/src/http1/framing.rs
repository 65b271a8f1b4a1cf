//! How long a body is (RFC 9112 §6), and every form that is refused because
//! two parsers could disagree on it.

use super::field::members;
use super::head::{HeadError, Version};

/// What follows a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends; responses only.
    UntilClose,
}

/// Gathers what a head's fields say about its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    length: Option<u64>,
    coded: bool,
}

impl Gathered {
    /// A `Content-Length` line: digits alone, once.
    pub(super) fn length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let refused = |why| Err(HeadError::Framing(why));
        if self.length.is_some() {
            return refused("more than one Content-Length");
        }
        if value.is_empty() {
            return refused("an empty Content-Length");
        }
        if !value.iter().all(u8::is_ascii_digit) {
            return refused("a Content-Length that is not digits alone");
        }
        let number = value.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        if number.is_none() {
            return refused("a Content-Length that is too large");
        }
        self.length = number;
        Ok(())
    }

    /// A `Transfer-Encoding` line: `chunked`, once.
    pub(super) fn coding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let refused = |why| Err(HeadError::Framing(why));
        if self.coded {
            return refused("more than one Transfer-Encoding");
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let mut codings = members(value);
            let all_chunked = codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            if all_chunked {
                return refused("a Transfer-Encoding that is not exactly chunked");
            }
            return Err(HeadError::Coding);
        }
        self.coded = true;
        Ok(())
    }

    fn checked(self, version: Version) -> Result<Gathered, HeadError> {
        if self.coded && version == Version::Http10 {
            return Err(HeadError::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        if self.coded && self.length.is_some() {
            return Err(HeadError::Framing("both Content-Length and Transfer-Encoding"));
        }
        Ok(self)
    }

    pub(super) fn of_request(self, version: Version) -> Result<Framing, HeadError> {
        let Gathered { length, coded } = self.checked(version)?;
        Ok(match length {
            _ if coded => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        })
    }

    pub(super) fn of_response(self, version: Version) -> Result<Framing, HeadError> {
        let Gathered { length, coded } = self.checked(version)?;
        Ok(match length {
            _ if coded => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        })
    }
}

/// What follows a response's head, which its request decides too (RFC 9112 §6.3):
/// `declared` is what the fields say.
pub fn body_of_response(declared: Framing, status: u16, to_head: bool) -> Framing {
    if to_head || matches!(status, 100..=199 | 204 | 304) { Framing::None } else { declared }
}
