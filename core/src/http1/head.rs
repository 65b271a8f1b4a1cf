//! Heads: from bytes to spans, in one pass over a buffer that the caller keeps.
//!
//! httparse finds the lines; what it lets pass and RFC 9112 does not, such as a
//! bare line feed, is refused here. A head's vectors are reused from request to
//! request, so that parsing allocates nothing once they have grown.

use super::field::{Field, Known, Nominated, Span, members};
use super::framing::{Framing, Gathered};
use std::fmt;
use std::mem::MaybeUninit;

/// The most fields a head may have.
const FIELDS: usize = 256;

/// How much a peer may make us hold, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A whole head.
    pub head: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        // What nginx and Envoy allow is 8 to 60 KiB; a token, a cookie jar and
        // a trace together fit easily.
        Limits { head: 64 * 1024 }
    }
}

/// The version of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It is not HTTP/1.
    Syntax(&'static str),
    /// Its framing could be read in two ways.
    Framing(&'static str),
    /// A transfer coding other than chunked.
    Coding,
    /// `Host` is missing, doubled or wrong.
    Host(&'static str),
    /// The request line alone is over the limit.
    TargetTooLong,
    /// The head is over the limit.
    TooLarge,
    /// It has more than 256 fields.
    TooManyFields,
}

impl HeadError {
    /// The status that tells a client of it.
    pub fn status(self) -> u16 {
        match self {
            HeadError::Syntax(_) | HeadError::Framing(_) | HeadError::Host(_) => 400,
            HeadError::Coding => 501,
            HeadError::TargetTooLong => 414,
            HeadError::TooLarge | HeadError::TooManyFields => 431,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::Syntax(what) | HeadError::Framing(what) | HeadError::Host(what) => {
                f.write_str(what)
            }
            HeadError::Coding => f.write_str("a transfer coding other than chunked"),
            HeadError::TargetTooLong => f.write_str("the request target is over 64 KiB"),
            HeadError::TooLarge => f.write_str("the head is over 64 KiB"),
            HeadError::TooManyFields => f.write_str("the head has over 256 fields"),
        }
    }
}

/// What both kinds of head have.
#[derive(Debug, Default)]
struct Fields {
    list: Vec<Field>,
    nominated: Vec<Span>,
    gathered: Gathered,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// A request's head.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The method, as it came.
    pub method: Span,
    /// The request target, as it came.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// What follows.
    pub framing: Framing,
    /// Whether the connection goes on after the exchange.
    pub keep_alive: bool,
    /// `Connection: upgrade` with an `Upgrade` field of something else than h2c.
    pub upgrade: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// `TE: trailers`.
    pub takes_trailers: bool,
    /// The value of the only `Host`; HTTP/1.0 may have none.
    pub host: Option<Span>,
    fields: Fields,
}

/// A response's head.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, as it came.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// What its fields say that follows; see [`super::body_of_response`].
    pub framing: Framing,
    /// Whether the connection goes on after the exchange.
    pub keep_alive: bool,
    fields: Fields,
}

impl Fields {
    fn clear(&mut self) {
        self.list.clear();
        self.nominated.clear();
        self.gathered = Gathered::default();
        (self.close, self.keep_alive, self.upgrade) = (false, false, false);
    }

    fn take(&mut self, headers: &[httparse::Header<'_>], buffer: &[u8]) -> Result<(), HeadError> {
        for header in headers {
            let name = header.name.as_bytes();
            let known = Known::of(name);
            let value = Span::of(header.value, buffer);
            match known {
                Known::Connection => self.connection(header.value, buffer),
                Known::ContentLength => self.gathered.length(header.value)?,
                Known::TransferEncoding => self.gathered.coding(header.value)?,
                _ => {}
            }
            let name = Span::of(name, buffer);
            self.list.push(Field { name, value, known, hop: known.is_hop() });
        }
        if !self.nominated.is_empty() {
            self.mark_nominated(buffer);
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8], buffer: &[u8]) {
        // What most say needs no list.
        if value == b"keep-alive" {
            self.keep_alive = true;
            return;
        }
        for option in members(value) {
            match () {
                () if option.eq_ignore_ascii_case(b"close") => self.close = true,
                () if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                () if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                () => self.nominated.push(Span::of(option, buffer)),
            }
        }
    }

    /// A nominated field ends here, except those that frame the message, which
    /// nomination must not remove, and those that end here anyway.
    fn mark_nominated(&mut self, buffer: &[u8]) {
        for field in &mut self.list {
            let framing = matches!(field.known, Known::ContentLength | Known::Host);
            let name = field.name.in_buffer(buffer);
            let named = |span: &Span| span.in_buffer(buffer).eq_ignore_ascii_case(name);
            if !framing && self.nominated.iter().any(named) {
                field.hop = true;
            }
        }
    }

    fn nominated(&self, buffer: &[u8]) -> Nominated {
        Nominated::of(self.nominated.iter().map(|span| span.in_buffer(buffer)))
    }

    /// RFC 9112 §9.3.
    fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

impl RequestHead {
    /// Parses a head at the start of `buffer`: `None` while it is incomplete,
    /// else its length in bytes.
    ///
    /// # Errors
    /// Every [`HeadError`]; the connection cannot be read any further then.
    pub fn parse(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, HeadError> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(buffer, &mut room);
        let parsed = complete(parsed, buffer, limits);
        let length = parsed.map_err(|error| of_request(error, buffer, limits))?;
        let Some(length) = length else { return Ok(None) };
        self.fields.clear();
        self.fields.take(request.headers, buffer)?;
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(HeadError::Syntax("the request line is incomplete"));
        };
        self.method = Span::of(method.as_bytes(), buffer);
        self.target = Span::of(target.as_bytes(), buffer);
        self.version = version(request.version);
        self.framing = self.fields.gathered.of_request(self.version)?;
        self.keep_alive = self.fields.persists(self.version);
        self.gather(buffer)?;
        Ok(Some(length))
    }

    fn gather(&mut self, buffer: &[u8]) -> Result<(), HeadError> {
        self.host = None;
        (self.expects_continue, self.takes_trailers) = (false, false);
        let (mut offers, mut h2c) = (false, false);
        for field in &self.fields.list {
            let value = field.value.in_buffer(buffer);
            match field.known {
                Known::Host if self.host.is_some() => {
                    return Err(HeadError::Host("more than one Host"));
                }
                Known::Host => self.host = Some(field.value),
                Known::Expect => {
                    self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                }
                Known::Te => {
                    self.takes_trailers |=
                        members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
                }
                Known::Upgrade => {
                    offers = true;
                    h2c |= members(value).any(|offer| offer.eq_ignore_ascii_case(b"h2c"));
                }
                _ => {}
            }
        }
        // An offer of h2c is answered over HTTP/1.1 (RFC 9113 §3.1), whatever
        // else is offered beside it, on this line or on another.
        self.upgrade = offers && !h2c && self.fields.upgrade && self.version == Version::Http11;
        // RFC 9112 §3.2; HTTP/1.0 knows no Host, and its target may do instead.
        if self.host.is_none() && self.version == Version::Http11 {
            return Err(HeadError::Host("no Host"));
        }
        Ok(())
    }

    /// The field lines, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields.list
    }

    /// The names that `Connection` nominates; `buffer` is what was parsed.
    pub fn nominated(&self, buffer: &[u8]) -> Nominated {
        self.fields.nominated(buffer)
    }
}

impl ResponseHead {
    /// Parses a head at the start of `buffer`; as [`RequestHead::parse`].
    ///
    /// # Errors
    /// Every [`HeadError`] but those of targets and hosts.
    pub fn parse(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, HeadError> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            buffer,
            &mut room,
        );
        let Some(length) = complete(parsed, buffer, limits)? else { return Ok(None) };
        self.fields.clear();
        self.status = response.code.unwrap_or_default();
        if self.status < 100 {
            return Err(HeadError::Syntax("a status below 100"));
        }
        self.fields.take(response.headers, buffer)?;
        self.reason = match response.reason {
            Some(reason) if !reason.is_empty() => Span::of(reason.as_bytes(), buffer),
            _ => reason_of_any_bytes(buffer),
        };
        self.version = version(response.version);
        self.framing = self.fields.gathered.of_response(self.version)?;
        self.keep_alive = self.fields.persists(self.version);
        Ok(Some(length))
    }

    /// The field lines, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields.list
    }

    /// The names that `Connection` nominates; `buffer` is what was parsed.
    pub fn nominated(&self, buffer: &[u8]) -> Nominated {
        self.fields.nominated(buffer)
    }
}

/// The reason phrase of a sound head at the start of `buffer`: httparse gives none
/// for one that has bytes beyond ASCII (RFC 9112 §4).
fn reason_of_any_bytes(buffer: &[u8]) -> Span {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    // Empty lines may stand before the first.
    let mut lines = buffer.split(is_end).filter(|line| !line.is_empty());
    let line = lines.next().unwrap_or_default();
    Span::of(line.get("HTTP/1.1 200 ".len()..).unwrap_or_default(), buffer)
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// What httparse says, with its leniencies taken back.
fn complete(
    parsed: Result<httparse::Status<usize>, httparse::Error>,
    buffer: &[u8],
    limits: Limits,
) -> Result<Option<usize>, HeadError> {
    let parsed = parsed.map_err(|error| match error {
        httparse::Error::HeaderName => HeadError::Syntax("an invalid header name"),
        httparse::Error::HeaderValue => HeadError::Syntax("an invalid header value"),
        httparse::Error::NewLine => HeadError::Syntax("an invalid line end"),
        httparse::Error::Status => HeadError::Syntax("an invalid status line"),
        httparse::Error::Token => HeadError::Syntax("an invalid request line"),
        httparse::Error::Version => HeadError::Syntax("not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
    })?;
    let head = match parsed {
        httparse::Status::Complete(length) => buffer.get(..length).unwrap_or(buffer),
        httparse::Status::Partial => buffer,
    };
    if has_bare_feed(head) {
        return Err(HeadError::Syntax("a line feed without a carriage return"));
    }
    if head.len() > limits.head {
        return Err(HeadError::TooLarge);
    }
    Ok(match parsed {
        httparse::Status::Complete(length) => Some(length),
        httparse::Status::Partial => None,
    })
}

/// The same of a request, for whose first line alone there is a status.
fn of_request(error: HeadError, buffer: &[u8], limits: Limits) -> HeadError {
    let is_one_line = || memchr::memchr(b'\n', buffer).is_none_or(|at| at > limits.head);
    match error {
        HeadError::TooLarge if is_one_line() => HeadError::TargetTooLong,
        error => error,
    }
}

/// Whether a line feed stands without a carriage return before it. Every pair
/// of bytes is looked at, many at once, and no branch taken: lines are short.
fn has_bare_feed(head: &[u8]) -> bool {
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    let bare = pairs.fold(false, |bare, (before, at)| bare | (*at == b'\n') & (*before != b'\r'));
    bare || head.first() == Some(&b'\n')
}

/// Parses the field lines of a trailer section, up to and including its empty
/// line: `None` while it is incomplete, else its length and the fields, without
/// those that must not stand there.
///
/// # Errors
/// As [`RequestHead::parse`].
pub fn field_lines(
    buffer: &[u8],
    limits: Limits,
) -> Result<Option<(usize, Vec<Field>)>, HeadError> {
    let mut room = [httparse::EMPTY_HEADER; FIELDS];
    let parsed = httparse::parse_headers(buffer, &mut room);
    let headers: &[httparse::Header<'_>] = match parsed {
        Ok(httparse::Status::Complete((_, headers))) => headers,
        _ => &[],
    };
    let status = match &parsed {
        Ok(httparse::Status::Complete((length, _))) => Ok(httparse::Status::Complete(*length)),
        Ok(httparse::Status::Partial) => Ok(httparse::Status::Partial),
        Err(error) => Err(*error),
    };
    let Some(length) = complete(status, buffer, limits)? else { return Ok(None) };
    let mut fields = Fields::default();
    for header in headers {
        let known = Known::of(header.name.as_bytes());
        if !known.is_forbidden_in_trailers() {
            let name = Span::of(header.name.as_bytes(), buffer);
            let value = Span::of(header.value, buffer);
            fields.list.push(Field { name, value, known, hop: false });
        }
    }
    Ok(Some((length, fields.list)))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
