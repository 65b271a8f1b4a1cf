//! The response as the app gets it.

use super::request::Asked;
use crate::http1::{
    Field, Framing, Known, Lines, ResponseHead, Version, body_of_response, write_field,
};
use crate::names::Target;
use crate::proxy::verdict::{is_invalid_token, relocated};

/// How a response's body reaches the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// How the service sends it.
    pub(super) framing: Framing,
    /// It goes on in chunks.
    pub(super) chunked: bool,
    /// The app's connection may go on afterwards.
    pub(super) keep_alive: bool,
}

/// Decides how the body of a final response goes on, by what its fields declare
/// and its status.
pub(super) fn shape((declared, status): (Framing, u16), asked: &Asked, keep_alive: bool) -> Shape {
    let framing = body_of_response(declared, status, asked.head);
    let unbounded = matches!(framing, Framing::Chunked | Framing::UntilClose);
    let chunked = unbounded && asked.version == Version::Http11;
    Shape { framing, chunked, keep_alive: keep_alive && (chunked || !unbounded) }
}

/// Writes a final response's head; redirects to `redirects` get the app's name
/// for it.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    (head, buffer): (&ResponseHead, &[u8]),
    asked: &Asked,
    redirects: Option<&Target>,
    shape: Shape,
) {
    write_fields(out, (head, buffer), redirects);
    // A HEAD or 304 says what a GET's response would have.
    let says_so = shape.framing == Framing::None
        && head.framing == Framing::Chunked
        && asked.version == Version::Http11
        && head.status != 204;
    if says_so {
        write_field(out, b"Transfer-Encoding", b"chunked");
    }
    write_end(out, asked, shape);
}

/// Writes the end of a final response's head: how its body and the connection
/// go on.
pub(super) fn write_end(out: &mut Vec<u8>, asked: &Asked, shape: Shape) {
    if shape.chunked {
        write_field(out, b"Transfer-Encoding", b"chunked");
    }
    if !shape.keep_alive {
        write_field(out, b"Connection", b"close");
    } else if asked.version == Version::Http10 {
        write_field(out, b"Connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response's head (RFC 9110 §15.2), where no redirect has a
/// meaning.
pub(super) fn write_interim(out: &mut Vec<u8>, (head, buffer): (&ResponseHead, &[u8])) {
    write_fields(out, (head, buffer), None);
    if head.status == 101 {
        write_field(out, b"Connection", b"Upgrade");
        for field in head.fields().iter().filter(|field| field.known == Known::Upgrade) {
            write_field(out, field.name.in_buffer(buffer), field.value.in_buffer(buffer));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A status in digits: it has three of them.
fn digits(status: u16) -> [u8; 3] {
    [status / 100, status / 10, status].map(|of| (of % 10) as u8 + b'0')
}

fn write_status_line(out: &mut Vec<u8>, (head, buffer): (&ResponseHead, &[u8])) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&digits(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.in_buffer(buffer));
    out.extend_from_slice(b"\r\n");
}

fn write_fields(
    out: &mut Vec<u8>,
    (head, buffer): (&ResponseHead, &[u8]),
    redirects: Option<&Target>,
) {
    let mut lines = Lines::new(out, buffer);
    if !lines.status_line(head.reason) {
        let out = lines.end();
        write_status_line(out, (head, buffer));
        lines = Lines::new(out, buffer);
    }
    // RFC 9110 §8.6: an interim response has no length to speak of.
    let lengthless = head.status < 200;
    let passes = |field: &&Field| !(field.hop || lengthless && field.known == Known::ContentLength);
    for field in head.fields().iter().filter(passes) {
        let led = redirects.filter(|_| field.known == Known::Location);
        match led.and_then(|target| relocated(field.value.in_buffer(buffer), target)) {
            Some(location) => lines.field_with(field, &location),
            None => lines.field(field),
        }
    }
    lines.end();
}

/// Whether this is the platform's refusal of a token as such, which another
/// token may cure (RFC 6750 §3.1).
pub(super) fn refuses_token(head: &ResponseHead, buffer: &[u8]) -> bool {
    head.status == 401
        && head
            .fields()
            .iter()
            .filter(|field| field.known == Known::WwwAuthenticate)
            .any(|field| is_invalid_token(field.value.in_buffer(buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Limits;

    fn asked(version: Version) -> Asked {
        Asked {
            head: false,
            idempotent: true,
            version,
            keep_alive: true,
            upgrade: false,
            expects_continue: false,
            framing: Framing::None,
            grpc: false,
        }
    }

    fn answered(response: &str, asked: Asked) -> (String, Shape) {
        let target = Target {
            name: "hello".into(),
            host: "h.example".into(),
            port: 443,
            tls: true,
            authority: "h.example".into(),
            audience: None,
        };
        let mut head = ResponseHead::default();
        head.parse(response.as_bytes(), Limits::default()).unwrap().unwrap();
        let shape = shape((head.framing, head.status), &asked, true);
        let mut out = Vec::new();
        write_head(&mut out, (&head, response.as_bytes()), &asked, Some(&target), shape);
        (String::from_utf8(out).unwrap(), shape)
    }

    #[test]
    fn a_plain_response_passes_as_it_is() {
        for reason in ["Well, well", "Bien s\u{fb}r", ""] {
            let text = format!(
                "HTTP/1.1 299 {reason}\r\ncontent-LENGTH: 2\r\nSet-Cookie: a\r\n\
                 Set-Cookie: b\r\n\r\n"
            );
            let (out, shape) = answered(&text, asked(Version::Http11));
            assert_eq!(out, text);
            assert_eq!(shape.framing, Framing::Length(2));
        }
    }

    #[test]
    fn a_body_without_end_is_chunked_or_ends_the_connection() {
        let open = "HTTP/1.0 200 OK\r\n\r\n";
        let (out, shape) = answered(open, asked(Version::Http11));
        assert_eq!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(shape.chunked && shape.keep_alive);
        let (out, shape) = answered(open, asked(Version::Http10));
        assert_eq!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        assert!(!shape.chunked && !shape.keep_alive);
    }

    #[test]
    fn head_and_304_keep_what_they_say_of_a_body() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head = Asked { head: true, ..asked(Version::Http11) };
        let (out, shape) = answered(chunked, head);
        assert_eq!((out.as_str(), shape.framing), (chunked, Framing::None));
        // RFC 9112 §6.1: a 204 has no such field.
        let (out, shape) = answered(&chunked.replace("200 OK", "204 X"), asked(Version::Http11));
        assert_eq!((out.as_str(), shape.framing), ("HTTP/1.1 204 X\r\n\r\n", Framing::None));
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(answered(long, head).0, long);
        let (out, _) = answered(long, Asked { keep_alive: true, ..asked(Version::Http10) });
        assert!(out.ends_with("Connection: keep-alive\r\n\r\n"), "{out}");
    }

    #[test]
    fn redirects_to_the_service_itself_keep_the_apps_name() {
        let location = |url: &str| {
            let text =
                format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
            let (out, _) = answered(&text, asked(Version::Http11));
            let line = out.lines().nth(1).unwrap().to_owned();
            line.strip_prefix("Location: ").unwrap().to_owned()
        };
        assert_eq!(location("https://h.example/a?b"), "http://hello/a?b");
        assert_eq!(location("HTTP://H.EXAMPLE"), "http://hello");
        assert_eq!(location("//h.example/"), "http://hello/");
        for other in ["https://h.example.org/", "https://h.example:8443/", "/a", "//h.example.org/"]
        {
            assert_eq!(location(other), other);
        }
    }
}
