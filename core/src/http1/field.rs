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
        if end > whole.len().min(u32::MAX as usize) {
            return Span::default();
        }
        Span { start: start as u32, end: end as u32 }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
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

/// Up to eight bytes as a number.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_ne_bytes(word)
}

/// Whether `name` is `known` in any case; that is in lower case, and letters are
/// all it has of the bytes from 0x40 on. Always a part of its caller, where the
/// length is known: eight bytes are a few instructions then, and eight each
/// otherwise.
#[inline(always)]
fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    const LETTER: u64 = u64::from_ne_bytes([0x40; 8]);
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    let words = name.chunks(8).map(word).zip(known.chunks(8).map(word));
    // The bit below is a letter's case.
    let differ = |(name, known): (u64, u64)| (name ^ known) & !((known & LETTER) >> 1);
    words.fold(0, |all, words| all | differ(words)) == 0
}

impl Known {
    /// The field of this name, in any case.
    pub fn of(name: &[u8]) -> Known {
        match name.len() {
            2 if is(name, b"te") => Known::Te,
            4 if is(name, b"host") => Known::Host,
            6 if is(name, b"cookie") => Known::Cookie,
            6 if is(name, b"expect") => Known::Expect,
            7 if is(name, b"trailer") => Known::Trailer,
            7 if is(name, b"upgrade") => Known::Upgrade,
            8 if is(name, b"location") => Known::Location,
            10 if is(name, b"connection") => Known::Connection,
            10 if is(name, b"keep-alive") => Known::KeepAlive,
            12 if is(name, b"content-type") => Known::ContentType,
            13 if is(name, b"authorization") => Known::Authorization,
            14 if is(name, b"content-length") => Known::ContentLength,
            14 if is(name, b"http2-settings") => Known::Http2Settings,
            16 if is(name, b"proxy-connection") => Known::ProxyConnection,
            16 if is(name, b"www-authenticate") => Known::WwwAuthenticate,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            18 if is(name, b"proxy-authenticate") => Known::ProxyAuthenticate,
            19 if is(name, b"proxy-authorization") => Known::ProxyAuthorization,
            26 if is(name, b"x-serverless-authorization") => Known::ServerlessAuthorization,
            _ => Known::Other,
        }
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

    const NAMES: [(&str, Known); 19] = [
        ("authorization", Known::Authorization),
        ("connection", Known::Connection),
        ("content-length", Known::ContentLength),
        ("content-type", Known::ContentType),
        ("cookie", Known::Cookie),
        ("expect", Known::Expect),
        ("host", Known::Host),
        ("http2-settings", Known::Http2Settings),
        ("keep-alive", Known::KeepAlive),
        ("location", Known::Location),
        ("proxy-authenticate", Known::ProxyAuthenticate),
        ("proxy-authorization", Known::ProxyAuthorization),
        ("proxy-connection", Known::ProxyConnection),
        ("x-serverless-authorization", Known::ServerlessAuthorization),
        ("te", Known::Te),
        ("trailer", Known::Trailer),
        ("transfer-encoding", Known::TransferEncoding),
        ("upgrade", Known::Upgrade),
        ("www-authenticate", Known::WwwAuthenticate),
    ];

    #[test]
    fn fields_are_known_in_any_case() {
        assert_eq!(Known::of(b"Host"), Known::Host);
        assert_eq!(Known::of(b"TRANSFER-encoding"), Known::TransferEncoding);
        assert_eq!(Known::of(b"X-Serverless-Authorization"), Known::ServerlessAuthorization);
        assert_eq!(Known::of(b"x-other"), Known::Other);
        for (name, known) in NAMES {
            let name = name.as_bytes();
            assert_eq!(Known::of(name), known);
            assert_eq!(Known::of(&name.to_ascii_uppercase()), known);
            for at in 0..name.len() {
                // Letters have two cases, and nothing else has.
                for bit in (0..8).map(|bit| 1 << bit) {
                    let mut other = name.to_vec();
                    other[at] ^= bit;
                    let same = bit == 0x20 && name[at].is_ascii_alphabetic();
                    let expected = if same { known } else { Known::Other };
                    assert_eq!(Known::of(&other), expected, "{known:?} {at} {bit}");
                }
            }
            assert_eq!(Known::of(&name[1..]), Known::Other);
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
