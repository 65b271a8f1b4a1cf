//! Header fields: where they stand in a buffer, and which of them matter here.

/// A range of bytes in the buffer that a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The span of `part`, which must be a slice of `whole`; empty otherwise.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let end = start.saturating_add(part.len());
        if end > whole.len() {
            return Span::default();
        }
        Span {
            start: u32::try_from(start).unwrap_or_default(),
            end: u32::try_from(end).unwrap_or_default(),
        }
    }

    /// Its bytes in `buffer`, the one that was parsed.
    pub fn in_buffer(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, in the case it came in.
    pub name: Span,
    /// Its value, without surrounding white space.
    pub value: Span,
    /// Which field it is.
    pub known: Known,
    /// It ends here: a hop-by-hop field, or one that `Connection` names.
    pub hop: bool,
}

/// The fields that the proxy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the field of its name")]
pub enum Known {
    Other,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    Location,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    ServerlessAuthorization,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    WwwAuthenticate,
}

/// No candidate is longer, in bytes.
const LONGEST: usize = 32;

/// By length and then by name, of which no two of a length begin alike: most
/// fields are settled by their length alone, the others by their first letter.
fn candidates(length: usize) -> &'static [(&'static [u8], Known)] {
    match length {
        2 => &[(b"te", Known::Te)],
        4 => &[(b"host", Known::Host)],
        6 => &[(b"cookie", Known::Cookie), (b"expect", Known::Expect)],
        7 => &[(b"upgrade", Known::Upgrade), (b"trailer", Known::Trailer)],
        8 => &[(b"location", Known::Location)],
        10 => &[(b"connection", Known::Connection), (b"keep-alive", Known::KeepAlive)],
        12 => &[(b"content-type", Known::ContentType)],
        13 => &[(b"authorization", Known::Authorization)],
        14 => {
            &[(b"content-length", Known::ContentLength), (b"http2-settings", Known::Http2Settings)]
        }
        16 => &[
            (b"proxy-connection", Known::ProxyConnection),
            (b"www-authenticate", Known::WwwAuthenticate),
        ],
        17 => &[(b"transfer-encoding", Known::TransferEncoding)],
        18 => &[(b"proxy-authenticate", Known::ProxyAuthenticate)],
        19 => &[(b"proxy-authorization", Known::ProxyAuthorization)],
        26 => &[(b"x-serverless-authorization", Known::ServerlessAuthorization)],
        _ => &[],
    }
}

/// Whether `name` is `known` in lower case. A whole array is changed, which
/// takes a few instructions where going through a name takes eight for each byte.
fn is_in_lower_case(name: &[u8], known: &[u8]) -> bool {
    let mut lower = [0; LONGEST];
    let Some(room) = lower.get_mut(..name.len()) else { return false };
    room.copy_from_slice(name);
    for byte in &mut lower {
        *byte = byte.to_ascii_lowercase();
    }
    lower.get(..name.len()) == Some(known)
}

impl Known {
    /// The field of this name, in any case.
    pub fn of(name: &[u8]) -> Known {
        let first = name.first().map(u8::to_ascii_lowercase);
        candidates(name.len())
            .iter()
            .find(|(known, _)| known.first().copied() == first)
            .filter(|(known, _)| is_in_lower_case(name, known))
            .map_or(Known::Other, |(_, known)| *known)
    }

    /// Whether it concerns one connection only (RFC 9110 §7.6.1), with the
    /// older names that are still sent.
    pub fn is_hop(self) -> bool {
        matches!(
            self,
            Known::Connection
                | Known::Http2Settings
                | Known::KeepAlive
                | Known::ProxyAuthenticate
                | Known::ProxyAuthorization
                | Known::ProxyConnection
                | Known::Te
                | Known::TransferEncoding
                | Known::Upgrade
        )
    }

    /// Whether it must not stand in trailers: framing, routing, authentication
    /// (RFC 9110 §6.5.1).
    pub fn is_forbidden_in_trailers(self) -> bool {
        self.is_hop()
            || matches!(
                self,
                Known::Authorization
                    | Known::ContentLength
                    | Known::Cookie
                    | Known::Expect
                    | Known::Host
                    | Known::Location
                    | Known::ServerlessAuthorization
                    | Known::Trailer
                    | Known::WwwAuthenticate
            )
    }
}

/// The names that the `Connection` of a message nominates: fields that concern
/// that connection alone, in the head and among the trailers (RFC 9110 §7.6.1).
#[derive(Debug, Default)]
pub struct Nominated(Box<[u8]>);

impl Nominated {
    /// These names; no memory is taken for none.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a [u8]>) -> Nominated {
        let mut list = Vec::new();
        for name in names {
            list.extend_from_slice(name);
            list.push(b',');
        }
        Nominated(list.into())
    }

    /// Whether `name` is one of them, in any case.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        members(&self.0).any(|member| member.eq_ignore_ascii_case(name))
    }
}

/// Writes `name: value` and its line end.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The members of a comma-separated list, without empty ones (RFC 9110 §5.6.1).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_in_any_case() {
        assert_eq!(Known::of(b"Host"), Known::Host);
        assert_eq!(Known::of(b"TRANSFER-encoding"), Known::TransferEncoding);
        assert_eq!(Known::of(b"X-Serverless-Authorization"), Known::ServerlessAuthorization);
        assert_eq!(Known::of(b"x-other"), Known::Other);
        for length in 0..40 {
            for (name, known) in candidates(length) {
                assert_eq!(name.len(), length, "{known:?}");
                assert!(length <= LONGEST, "{known:?}");
                assert_eq!(Known::of(&name.to_ascii_uppercase()), *known);
                let alike = candidates(length).iter().filter(|(other, _)| other[0] == name[0]);
                assert_eq!(alike.count(), 1, "{known:?}");
                let last = length - 1;
                let other = [&name[..last], &[name[last] ^ 1]].concat();
                assert_eq!(Known::of(&other), Known::Other, "{known:?}");
                let control = name.iter().map(|byte| byte & !0x20).collect::<Vec<u8>>();
                let dashed = name.contains(&b'-');
                assert_eq!(Known::of(&control) == Known::Other, dashed, "{known:?}");
            }
        }
    }

    #[test]
    fn a_span_finds_its_bytes_again() {
        let buffer = b"GET / HTTP/1.1";
        let span = Span::of(&buffer[4..5], buffer);
        assert_eq!(span.in_buffer(buffer), b"/");
        assert_eq!(Span::of(b"elsewhere", buffer), Span::default());
    }
}
