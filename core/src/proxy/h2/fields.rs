//! The rules for header fields between two HTTP/2 sides (RFC 9113 §8.2):
//! nothing that concerns one connection goes on, and nothing is added.

use crate::http1::Known;
use crate::names::Target;
use crate::proxy::policy::Carry;
use crate::proxy::verdict::{self, is_invalid_token, relocated};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The platform's own field for a token.
pub(super) const SERVERLESS: HeaderName = HeaderName::from_static("x-serverless-authorization");

/// Which of the fields that the proxy looks at a head came with: most heads have
/// few of them, and one look at its names is less than a search for each.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct Present {
    /// One bit for each [`Known`].
    known: u32,
    /// Some end here.
    ending: bool,
}

impl Present {
    fn of(fields: &HeaderMap) -> Present {
        let mut present = Present::default();
        for name in fields.keys() {
            let known = known(name);
            present.known |= 1 << known as u32;
            present.ending |= ends_here(known);
        }
        present
    }

    /// Whether `known` was there; whether it still is, the head knows.
    pub(super) fn had(self, known: Known) -> bool {
        self.known & 1 << known as u32 != 0
    }
}

fn known(name: &HeaderName) -> Known {
    Known::of(name.as_str().as_bytes())
}

fn ends_here(known: Known) -> bool {
    known.is_hop() && known != Known::Te
}

/// Removes what ends here from a head, either way, and says what had been there.
/// `TE: trailers` is all that the library lets in of `TE`, and it stays (RFC 9113
/// §8.2.2).
pub(in crate::proxy) fn clean(fields: &mut HeaderMap) -> Present {
    let present = Present::of(fields);
    if present.had(Known::Connection) {
        remove_nominated(fields);
    }
    if present.ending {
        while let Some(name) = fields.keys().find(|name| ends_here(known(name))).cloned() {
            fields.remove(name);
        }
    }
    if present.had(Known::Te) && fields.get(header::TE).is_some_and(|te| te != "trailers") {
        fields.remove(header::TE);
    }
    present
}

/// The same for an interim response, which has no length to speak of (RFC 9110
/// §8.6): the library would take it for the final one's.
pub(in crate::proxy) fn clean_interim(fields: &mut HeaderMap) {
    trim(fields);
    clean(fields);
    fields.remove(header::CONTENT_LENGTH);
}

fn remove_nominated(fields: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::HOST | header::TE))
        .collect();
    for name in nominated {
        fields.remove(name);
    }
}

/// Takes off white space around values, which is no part of them in any version
/// (RFC 9110 §5.5) and must not go on (RFC 9113 §8.2.1). A message that has some is
/// malformed, but few refuse it, and gRPC's servers send the text of an error as it
/// was written: a refusal would stand in its place.
pub(super) fn trim(fields: &mut HeaderMap) {
    if fields.values().any(|value| trimmed(value).is_some()) {
        for value in fields.values_mut() {
            if let Some(Ok(mut short)) = trimmed(value).map(HeaderValue::from_bytes) {
                short.set_sensitive(value.is_sensitive());
                *value = short;
            }
        }
    }
}

/// The value without white space around it, if there is some.
fn trimmed(value: &HeaderValue) -> Option<&[u8]> {
    let value = value.as_bytes();
    let short = value.trim_ascii();
    (short.len() < value.len()).then_some(short)
}

/// Removes from trailers what must not stand there (RFC 9110 §6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    trim(trailers);
    let forbidden = |name: &HeaderName| known(name).is_forbidden_in_trailers();
    while let Some(name) = trailers.keys().find(|name| forbidden(name)).cloned() {
        trailers.remove(name);
    }
}

/// Puts a token in its place. The library never lets `Authorization` into the
/// shared compression table (RFC 7541 §7.1.3), and the other field may go: the
/// connection is that of one origin, which the token is for.
pub(super) fn put_token(fields: &mut HeaderMap, carry: Carry, value: &HeaderValue) {
    match carry {
        Carry::Nothing => {}
        Carry::Authorization => {
            fields.insert(header::AUTHORIZATION, value.clone());
        }
        Carry::Serverless => {
            fields.insert(SERVERLESS, value.clone());
        }
    }
}

/// Puts the app's own name for the service into a redirect to it.
pub(super) fn rewrite_location(fields: &mut HeaderMap, target: &Target) {
    let Some(location) = fields.get(header::LOCATION) else { return };
    let rewritten = relocated(location.as_bytes(), target);
    if let Some(Ok(value)) = rewritten.map(HeaderValue::try_from) {
        fields.insert(header::LOCATION, value);
    }
}

/// Whether a 401 says that the token itself is no good (RFC 6750 §3.1).
pub(super) fn says_invalid_token(fields: &HeaderMap) -> bool {
    let mut challenges = fields.get_all(header::WWW_AUTHENTICATE).iter();
    challenges.any(|challenge| is_invalid_token(challenge.as_bytes()))
}

/// Whether a request is gRPC's.
pub(super) fn is_grpc(fields: &HeaderMap) -> bool {
    fields.get(header::CONTENT_TYPE).is_some_and(|value| verdict::is_grpc(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-private, content-length, host"),
            ("x-private", "1"),
            ("content-length", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("x-kept", "1"),
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let present = clean(&mut fields);
        assert!(present.had(Known::Te) && present.had(Known::Connection));
        assert!(!present.had(Known::Host) && !present.had(Known::Authorization));
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "te", "x-kept"]);
    }

    #[test]
    fn white_space_around_values_is_no_part_of_them() {
        let mut fields = HeaderMap::new();
        let mut secret = HeaderValue::from_static("\t s ");
        secret.set_sensitive(true);
        fields.append("x-secret", secret);
        for value in [&b" a b\t"[..], b" \t", b"c", b"\xe9 "] {
            fields.append("x-many", HeaderValue::from_bytes(value).unwrap());
        }
        trim(&mut fields);
        assert!(fields["x-secret"] == "s" && fields["x-secret"].is_sensitive());
        let many: Vec<_> = fields.get_all("x-many").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(many, [&b"a b"[..], b"", b"c", b"\xe9"]);
    }

    #[test]
    fn framing_and_credentials_do_not_hide_in_trailers() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "content-length", "authorization", "x-sum"] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        clean_trailers(&mut trailers);
        assert_eq!(trailers.len(), 2);
    }
}
