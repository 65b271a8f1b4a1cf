//! The request as the service gets it: the app's own bytes, with another host
//! and the token.

use crate::auth::IdToken;
use crate::http1::{self, Framing, Known, Lines, RequestHead, TargetForm, Version, write_field};
use crate::names::Target;
use crate::proxy::policy::{AUTHORIZATION, Carry, SERVERLESS, carry};
use crate::proxy::verdict::is_grpc;
use std::ops::Range;
use std::time::SystemTime;

/// What the rest of an exchange needs to know of its request; the head itself
/// is gone from the buffer by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The method is HEAD: the response has no body.
    pub(super) head: bool,
    /// Sending it twice does no harm (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    /// The app's version.
    pub(super) version: Version,
    /// The app's connection may go on.
    pub(super) keep_alive: bool,
    /// It offers another protocol.
    pub(super) upgrade: bool,
    /// Its body waits for a word.
    pub(super) expects_continue: bool,
    /// How long its body is.
    pub(super) framing: Framing,
    /// It is a gRPC call.
    pub(super) grpc: bool,
}

impl Asked {
    /// Of a head in `buffer`.
    pub(super) fn of(head: &RequestHead, buffer: &[u8]) -> Asked {
        let method = head.method.in_buffer(buffer);
        let idempotent = [&b"GET"[..], b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"];
        let grpc = head.fields().iter().any(|field| {
            field.known == Known::ContentType && is_grpc(field.value.in_buffer(buffer))
        });
        Asked {
            head: method == b"HEAD",
            idempotent: idempotent.contains(&method),
            version: head.version,
            keep_alive: head.keep_alive,
            upgrade: head.upgrade,
            expects_continue: head.expects_continue && head.framing != Framing::None,
            framing: head.framing,
            grpc,
        }
    }
}

/// Which field is to carry the token for this head, by the wall clock `now`.
pub(super) fn carrier(
    head: &RequestHead,
    buffer: &[u8],
    now: impl FnOnce() -> SystemTime,
) -> Carry {
    let value = |known| {
        let field = head.fields().iter().find(|field| field.known == known && !field.hop);
        field.map(|field| field.value.in_buffer(buffer))
    };
    let has_authorization = value(Known::Authorization).is_some();
    carry(has_authorization, value(Known::ServerlessAuthorization), now)
}

/// Writes the head for `target` with a token in the field that carries it, and
/// says where the token's value stands, so that it can be replaced.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    (head, buffer): (&RequestHead, &[u8]),
    target: &Target,
    token: Option<(&IdToken, Carry)>,
) -> Option<Range<usize>> {
    let mut lines = Lines::new(out, buffer);
    if !lines.request_line(head.method, head.target) {
        let out = lines.end();
        write_request_line(out, head, buffer);
        if head.host.is_none() {
            write_field(out, b"Host", target.authority.as_bytes());
        }
        lines = Lines::new(out, buffer);
    }
    let replaced = token.is_some_and(|(_, carry)| carry == Carry::Serverless);
    for field in head.fields() {
        match field.known {
            Known::Host => lines.field_with(field, target.authority.as_bytes()),
            Known::ServerlessAuthorization if replaced => {}
            _ if field.hop => {}
            _ => lines.field(field),
        }
    }
    let out = lines.end();
    if head.takes_trailers {
        write_field(out, b"TE", b"trailers");
    }
    if head.framing == Framing::Chunked {
        write_field(out, b"Transfer-Encoding", b"chunked");
    }
    if head.upgrade {
        write_upgrade(out, head, buffer);
    }
    let place = token.and_then(|(token, carry)| {
        let name = match carry {
            Carry::Nothing => return None,
            Carry::Authorization => AUTHORIZATION,
            Carry::Serverless => SERVERLESS,
        };
        let start = out.len() + name.len() + 2;
        write_field(out, name, token.bearer());
        Some(start..start + token.bearer().len())
    });
    out.extend_from_slice(b"\r\n");
    place
}

fn write_request_line(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8]) {
    out.extend_from_slice(head.method.in_buffer(buffer));
    out.push(b' ');
    write_target(out, head, buffer);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The target in origin form, byte for byte, or the asterisk.
pub(super) fn write_target(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8]) {
    let (method, raw) = (head.method.in_buffer(buffer), head.target.in_buffer(buffer));
    match http1::Target::parse(method, raw) {
        // What a URL without a path asks about is the server (RFC 9112 §3.2.4).
        Ok(target) if target.path.is_empty() && method == b"OPTIONS" => out.push(b'*'),
        Ok(target) if target.form == TargetForm::Absolute => {
            if !target.path.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(target.path);
        }
        _ => out.extend_from_slice(raw),
    }
}

fn write_upgrade(out: &mut Vec<u8>, head: &RequestHead, buffer: &[u8]) {
    write_field(out, b"Connection", b"Upgrade");
    for field in head.fields().iter().filter(|field| field.known == Known::Upgrade) {
        write_field(out, field.name.in_buffer(buffer), field.value.in_buffer(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Limits;

    fn target() -> Target {
        Target {
            name: "hello".into(),
            host: "hello.example".into(),
            port: 443,
            tls: true,
            authority: "hello.example".into(),
            audience: Some("https://hello.example".into()),
        }
    }

    fn forwarded(request: &str) -> String {
        let mut head = RequestHead::default();
        head.parse(request.as_bytes(), Limits::default()).unwrap().unwrap();
        let token = IdToken::new("t.t.t", SystemTime::now(), None);
        let mut out = Vec::new();
        let carry = carrier(&head, request.as_bytes(), SystemTime::now);
        let proof = (carry != Carry::Nothing).then_some((&token, carry));
        let place = write_head(&mut out, (&head, request.as_bytes()), &target(), proof);
        if let Some(at) = place.clone() {
            assert_eq!(&out[at], b"Bearer t.t.t");
        }
        assert_eq!(place.is_some(), !request.contains(".live"), "{request}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_changes_but_the_host_and_the_token() {
        assert_eq!(
            forwarded("GET //a/../b?%zz HTTP/1.1\r\nhOsT: hello:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n"),
            "GET //a/../b?%zz HTTP/1.1\r\nhOsT: hello.example\r\nX-A: 1\r\nx-a: 2\r\n\
             Authorization: Bearer t.t.t\r\n\r\n"
        );
    }

    #[test]
    fn the_apps_own_authorization_stays() {
        let own = forwarded("GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic x\r\n\r\n");
        assert!(own.contains("Authorization: Basic x\r\n"), "{own}");
        assert!(own.contains("X-Serverless-Authorization: Bearer t.t.t\r\n"), "{own}");
    }

    #[test]
    fn a_dead_copy_is_replaced_and_a_live_one_is_not() {
        let dead = forwarded(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Serverless-Authorization: Bearer a.e30.\r\n\r\n",
        );
        assert_eq!(dead.matches("Serverless").count(), 1, "{dead}");
        assert!(dead.contains("X-Serverless-Authorization: Bearer t.t.t\r\n"), "{dead}");
        let live = forwarded(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Serverless-Authorization: Bearer a.e30.live\r\n\r\n",
        );
        assert!(live.contains("Bearer a.e30.live\r\n"), "{live}");
    }

    #[test]
    fn nominations_remove_neither_host_nor_token() {
        let text = forwarded(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: host, authorization, content-length, x-b\r\n\
             Content-Length: 2\r\nX-B: 1\r\nTE: gzip, trailers\r\nKeep-Alive: 5\r\n\r\n",
        );
        assert_eq!(
            text,
            "POST / HTTP/1.1\r\nHost: hello.example\r\nContent-Length: 2\r\nTE: trailers\r\n\
             Authorization: Bearer t.t.t\r\n\r\n"
        );
    }

    #[test]
    fn an_absolute_target_becomes_a_path() {
        assert!(
            forwarded("GET http://hello?x HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("GET /?x ")
        );
        assert!(
            forwarded("GET http://hello/x HTTP/1.0\r\n\r\n")
                .starts_with("GET /x HTTP/1.1\r\nHost: hello.example\r\n")
        );
        for (target, expected) in [
            ("*", "*"),
            ("http://hello", "*"),
            ("http://hello/", "/"),
            ("http://hello?x", "/?x"),
            ("/", "/"),
        ] {
            let sent = forwarded(&format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert!(sent.starts_with(&format!("OPTIONS {expected} HTTP/1.1\r\n")), "{sent}");
        }
    }

    #[test]
    fn an_upgrade_goes_on_unless_it_is_to_h2c() {
        let socket = forwarded(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert!(socket.contains("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "{socket}");
        let h2c = forwarded(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAA\r\n\r\n",
        );
        assert!(!h2c.to_ascii_lowercase().contains("upgrade"), "{h2c}");
        assert!(!h2c.contains("HTTP2"), "{h2c}");
    }
}
