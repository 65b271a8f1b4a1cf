//! What in a message is for the proxy, whichever version carries it: a request of
//! gRPC, a redirect to the service itself, and a refusal of our token.

use crate::names::Target;

/// A redirect to the service itself, as `http://` and the name that the app
/// used: followed elsewhere, the request would lose its token. `None` for every
/// other `Location`.
pub(super) fn relocated(location: &[u8], target: &Target) -> Option<Vec<u8>> {
    // A service in the clear that redirects to https means another door, which
    // the app would be sent back from for ever.
    const TLS: (&[u8], &[u8]) = (b"https://", b":443");
    const CLEAR: (&[u8], &[u8]) = (b"http://", b":80");
    // Without a scheme it is the service's own (RFC 3986 §4.2).
    let schemes: &[(&[u8], &[u8])] =
        if target.tls { &[TLS, CLEAR, (b"//", TLS.1)] } else { &[CLEAR, (b"//", CLEAR.1)] };
    let (rest, usual_port) = schemes.iter().find_map(|(scheme, port)| {
        let (given, rest) = location.split_at_checked(scheme.len())?;
        given.eq_ignore_ascii_case(scheme).then_some((rest, *port))
    })?;
    let (authority, rest) = rest.split_at_checked(target.authority.len())?;
    // It may be said, and goes without saying.
    let rest = rest.strip_prefix(usual_port).unwrap_or(rest);
    let ends = matches!(rest.first(), None | Some(b'/' | b'?' | b'#'));
    let ours = ends && authority.eq_ignore_ascii_case(target.authority.as_bytes());
    ours.then(|| [b"http://", target.name.as_bytes(), rest].concat())
}

/// Whether a `WWW-Authenticate` challenge says that the token itself is no
/// good (RFC 6750 §3.1), which another one may cure.
pub(super) fn is_invalid_token(challenge: &[u8]) -> bool {
    let challenge = challenge.to_ascii_lowercase();
    challenge.starts_with(b"bearer")
        && memchr::memmem::find(&challenge, b"error=\"invalid_token\"").is_some()
}

/// Whether this `Content-Type` is that of a gRPC call, whose client reads
/// `grpc-status` alone; a media type has no case (RFC 9110 §8.3.1).
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.split_at_checked(GRPC.len()).is_some_and(|(begin, rest)| {
        begin.eq_ignore_ascii_case(GRPC) && matches!(rest, [] | [b'+' | b';' | b'-' | b' ', ..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            name: "hello".into(),
            host: "hello-1.run.app".into(),
            port: 443,
            tls: true,
            authority: "hello-1.run.app".into(),
            audience: None,
        }
    }

    #[test]
    fn a_host_in_the_clear_may_send_its_clients_to_tls() {
        let plain = Target {
            tls: false,
            name: "a.example".into(),
            authority: "a.example".into(),
            ..target()
        };
        assert_eq!(relocated(b"https://a.example/", &plain), None);
        assert_eq!(relocated(b"http://a.example/x", &plain).unwrap(), b"http://a.example/x");
        assert_eq!(relocated(b"//a.example:80/x", &plain).unwrap(), b"http://a.example/x");
    }

    #[test]
    fn only_a_redirect_to_the_service_itself_is_rewritten() {
        for (location, expected) in [
            ("https://hello-1.run.app/a?b#c", Some("http://hello/a?b#c")),
            ("HTTP://Hello-1.run.app", Some("http://hello")),
            ("https://hello-1.run.app?x", Some("http://hello?x")),
            ("https://hello-1.run.app:443/a", Some("http://hello/a")),
            ("http://hello-1.run.app:80", Some("http://hello")),
            ("https://hello-1.run.app:4430/", None),
            ("https://hello-1.run.app:443@evil.example/", None),
            ("https://hello-1.run.app:80/", None),
            ("https://hello-1.run.app.evil.example/", None),
            ("https://hello-1.run.app:8443/", None),
            ("https://u@hello-1.run.app/", None),
            ("/a", None),
            ("//hello-1.run.app/a", Some("http://hello/a")),
            ("//hello-1.run.app:443", Some("http://hello")),
            ("//hello-1.run.app:80/", None),
            ("//other.example/hello-1.run.app", None),
            ("///hello-1.run.app/a", None),
            ("ftp://hello-1.run.app/", None),
        ] {
            let rewritten = relocated(location.as_bytes(), &target());
            assert_eq!(rewritten.as_deref(), expected.map(str::as_bytes), "{location}");
        }
    }

    #[test]
    fn a_grpc_call_is_told_by_its_type() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web+proto", true),
            ("Application/gRPC; charset=utf-8", true),
            ("application/grpcfoo", false),
            ("application/json", false),
            ("application", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), grpc, "{content_type}");
        }
    }

    #[test]
    fn a_refused_token_is_told_from_other_401s() {
        for (value, refused) in [
            ("Bearer error=\"invalid_token\" error_description=\"x\"", true),
            ("bearer realm=\"x\", error=\"invalid_token\"", true),
            ("Bearer realm=\"app\"", false),
            ("Basic realm=\"error=\\\"invalid_token\\\"\"", false),
        ] {
            assert_eq!(is_invalid_token(value.as_bytes()), refused, "{value}");
        }
    }
}
