//! What the HTTP library refuses, misreads or hides of an answer's head: HTTP/1.0,
//! interim answers, statuses that it has no name for, a body that ends with the
//! connection, a date that is missing, and HTTP/2. So the head is read here first,
//! and handed on in a form that the library takes.

use futures_lite::{AsyncRead, AsyncReadExt};
use std::fmt;
use std::io;
use surf::StatusCode;

/// As long as the library lets a head be, in bytes.
const HEAD: usize = 8 * 1024;

/// The peer speaks HTTP/2 where HTTP/1.1 was spoken to it.
#[derive(Debug)]
pub(super) struct OnlyHttp2;

impl fmt::Display for OnlyHttp2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it answers in HTTP/2 alone")
    }
}

impl std::error::Error for OnlyHttp2 {}

/// The beginning of an answer.
#[derive(Debug)]
pub(super) struct Begun {
    /// What is to be read before the rest of the connection.
    pub(super) bytes: Vec<u8>,
    /// Whether the server says when it sent it.
    pub(super) dated: bool,
    /// The status, where another of its class stands in its place.
    pub(super) status: Option<u16>,
}

/// Reads the head of the final answer, past interim ones, and, where only the end
/// of the connection ends the body, as much of that as `limit` bytes and one more.
///
/// # Errors
/// What reading says; [`OnlyHttp2`], as the source of `InvalidData`. What else is
/// wrong with the head is for the library to say.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), limit: u64) -> io::Result<Begun> {
    let mut bytes = Vec::new();
    let mut piece = [0; 2048];
    let mut interim = 0;
    let end = loop {
        let head = bytes.get(interim..).unwrap_or_default();
        match end_of_head(head) {
            Some(end) if is_interim(status_of(head)) => {
                interim += end;
                continue;
            }
            Some(end) => break end,
            None => {}
        }
        if begins_http2(&bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, OnlyHttp2));
        }
        let read = if bytes.len() > HEAD { 0 } else { stream.read(&mut piece).await? };
        if read == 0 {
            bytes.drain(..interim);
            return Ok(Begun { bytes, dated: false, status: None });
        }
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
    };
    bytes.drain(..interim);
    let head = bytes.get(..end).unwrap_or_default();
    let dated = has(head, "date");
    let unframed = !has(head, "content-length") && !has(head, "transfer-encoding");
    let begin = head.iter().position(|byte| *byte == b'\n').map_or(end, |at| at + 1);
    let status = status_of(head);
    if unframed && !matches!(status, Some(204 | 304)) {
        let come = (bytes.len() - end) as u64;
        stream.take((limit + 1).saturating_sub(come)).read_to_end(&mut bytes).await?;
        let length = format!("Content-Length: {}\r\n", bytes.len() - end);
        bytes.splice(begin..begin, length.into_bytes());
    }
    if bytes.starts_with(b"HTTP/1.0 ")
        && let Some(minor) = bytes.get_mut(7)
    {
        *minor = b'1';
    }
    let status = status.filter(|code| StatusCode::try_from(*code).is_err());
    if let (Some(_), Some(rest)) = (status, bytes.get_mut(10..12)) {
        rest.copy_from_slice(b"00");
    }
    Ok(Begun { bytes, dated, status })
}

/// The code of its status line, if it has one.
fn status_of(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// Whether another answer follows (RFC 9110 §15.2); not where the protocol changes.
fn is_interim(status: Option<u16>) -> bool {
    status.is_some_and(|code| (100..200).contains(&code) && code != 101)
}

/// Behind the empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let mut begin = 0;
    for next in lines {
        if matches!(bytes.get(begin..next), Some(b"\r\n" | b"\n")) && begin > 0 {
            return Some(next);
        }
        begin = next;
    }
    None
}

/// Whether it has a field of this name, which is in lower case.
fn has(head: &[u8], name: &str) -> bool {
    head.split(|byte| *byte == b'\n').skip(1).any(|line| {
        line.split(|byte| *byte == b':')
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(name.as_bytes())
    })
}

/// A SETTINGS frame of the connection itself (RFC 9113 §6.5), the first that a
/// server sends, and no answer of HTTP/1.
fn begins_http2(bytes: &[u8]) -> bool {
    matches!(bytes, [0, _, _, 4, _, 0, 0, 0, 0, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::block_on;

    fn handed_on(answer: &[u8]) -> (String, bool) {
        let mut rest = answer;
        let begun = block_on(read(&mut rest, 10)).unwrap();
        let whole = [begun.bytes.as_slice(), rest].concat();
        (String::from_utf8(whole).unwrap(), begun.dated)
    }

    #[test]
    fn what_the_library_takes_is_handed_on_as_it_is() {
        for (answer, dated) in [
            ("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n{}", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Date: x\r\n\r\n{}", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
            ("HTTP/1.1 204 No Content\r\nDATE: x\r\n\r\n", true),
            // Its own mistakes are the library's to name.
            ("SSH-2.0-x\r\n", false),
            ("", false),
        ] {
            assert_eq!(handed_on(answer.as_bytes()), (answer.to_owned(), dated));
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(3 * HEAD));
        assert_eq!(handed_on(endless.as_bytes()), (endless, false));
    }

    #[test]
    fn a_body_that_ends_with_the_connection_gets_its_length() {
        let answered = |text: &str| handed_on(text.as_bytes()).0;
        assert_eq!(
            answered("HTTP/1.0 200 OK\r\nServer: x\r\n\r\nabc"),
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: x\r\n\r\nabc"
        );
        assert_eq!(
            answered("HTTP/1.1 200 OK\n\nabc"),
            "HTTP/1.1 200 OK\nContent-Length: 3\r\n\nabc"
        );
        assert_eq!(
            answered("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
        );
        let mut long: &[u8] = &[b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &[b'a'; 5000]].concat();
        let begun = block_on(read(&mut long, 10)).unwrap();
        assert!(long.len() > 1000, "no more is read than shows that it is over the limit");
        assert!(begun.bytes.len() > 30);
    }

    #[test]
    fn interim_answers_are_read_past_and_are_no_body() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\nDate: x\r\n\r\n";
        let answer = format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{ok}");
        assert_eq!(handed_on(answer.as_bytes()), (ok.to_owned(), false));
        assert_eq!(handed_on(hints.as_bytes()), (String::new(), false));
        // All of them together may be as long as one head.
        let endless = hints.repeat(3 * HEAD / hints.len());
        let mut rest = endless.as_bytes();
        block_on(read(&mut rest, 10)).unwrap();
        assert!(rest.len() > HEAD);
    }

    #[test]
    fn a_status_without_a_name_stands_beside_one_of_its_class() {
        let mut answer: &[u8] = b"HTTP/1.1 464 Unknown\r\nContent-Length: 0\r\n\r\n";
        let begun = block_on(read(&mut answer, 10)).unwrap();
        assert_eq!(begun.status, Some(464));
        assert!(begun.bytes.starts_with(b"HTTP/1.1 400 Unknown\r\n"));
    }

    #[test]
    fn http2_is_known_by_its_first_frame() {
        let mut settings: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
        let error = block_on(read(&mut settings, 10)).unwrap_err();
        assert!(error.get_ref().is_some_and(|cause| cause.is::<OnlyHttp2>()), "{error}");
    }
}
