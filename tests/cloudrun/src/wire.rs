//! A plain HTTP/1.1 server connection, to the byte.
//!
//! Owns the reading of heads and bodies from a stream; knows no service, no
//! token and no name. The metadata server and the front end call it. It keeps
//! the head exactly as it arrived, because that is what tests want to see; it is
//! no judge of syntax beyond what it must understand.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Larger heads end the connection: Cloud Run's own limit is far below.
const MAX_HEAD: usize = 1 << 20;
const MAX_FIELDS: usize = 1024;
const MAX_LINE: usize = 16 << 10;

/// A byte stream in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Names and values in their order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// The first value of the field `name`, in any case.
pub(crate) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
}

/// A request head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// From the method to the empty line, as received.
    pub(crate) bytes: Vec<u8>,
    pub(crate) method: String,
    pub(crate) target: String,
    /// 0 or 1: the minor version.
    pub(crate) version: u8,
    pub(crate) fields: Fields,
}

impl Head {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let mut fields = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        if !request.parse(&bytes).ok()?.is_complete() {
            return None;
        }
        let method = request.method?.to_owned();
        let target = request.path?.to_owned();
        let version = request.version?;
        let fields = request
            .headers
            .iter()
            .map(|field| (field.name.to_owned(), field.value.to_vec()))
            .collect();
        Some(Self { method, target, version, fields, bytes })
    }

    /// The path and the query of an origin-form or absolute-form target.
    pub(crate) fn path_and_query(&self) -> (&str, &str) {
        let origin = match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find('/').map_or("/", |at| rest.get(at..).unwrap_or("/"))
            }
            _ => &self.target,
        };
        origin.split_once('?').unwrap_or((origin, ""))
    }

    /// Whether the client wants the connection to stay open.
    pub(crate) fn keeps_alive(&self) -> bool {
        let says = |word: &str| {
            let lists = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("connection"));
            lists
                .flat_map(|(_, value)| value.split(|byte| *byte == b','))
                .any(|token| String::from_utf8_lossy(token).trim().eq_ignore_ascii_case(word))
        };
        if self.version == 0 { says("keep-alive") } else { !says("close") }
    }

    /// How the body is delimited; `None`: the fields contradict each other.
    pub(crate) fn framing(&self) -> Option<Framing> {
        let lengths: Vec<&[u8]> = self
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, value)| &value[..])
            .collect();
        let coding = field(&self.fields, "transfer-encoding");
        match (coding, &lengths[..]) {
            (None, []) => Some(Framing::Length(0)),
            (None, [one]) => {
                let text = std::str::from_utf8(one).ok()?;
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse().ok().map(Framing::Length)).flatten()
            }
            (Some(coding), []) if coding.eq_ignore_ascii_case(b"chunked") => {
                Some(Framing::Chunk(0))
            }
            _ => None,
        }
    }
}

/// What is left of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// So many bytes of the current chunk; 0: a chunk header follows.
    Chunk(u64),
}

/// A connection with what was read ahead of it.
pub(crate) struct Wire {
    io: Box<dyn Duplex>,
    ahead: BytesMut,
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Wire {
    /// A connection of which nothing has been read.
    pub(crate) fn new(io: Box<dyn Duplex>) -> Self {
        Self { io, ahead: BytesMut::new() }
    }

    /// Reads more. `false`: the peer has finished sending.
    async fn fill(&mut self) -> io::Result<bool> {
        self.ahead.reserve(16 << 10);
        Ok(self.io.read_buf(&mut self.ahead).await? > 0)
    }

    /// The next request head; `None`: the client has gone between requests.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.ahead.len() > MAX_HEAD {
                return Err(malformed("the head is too large"));
            }
            if !self.fill().await? {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let bytes = self.ahead.split_to(end).to_vec();
        Head::parse(bytes).map(Some).ok_or_else(|| malformed("this is no HTTP/1 request head"))
    }

    /// The next piece of the body; `None` at its end, when trailers have been
    /// added to `trailers`.
    pub(crate) async fn body(
        &mut self,
        framing: &mut Framing,
        trailers: &mut Fields,
    ) -> io::Result<Option<Bytes>> {
        match *framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.piece(left).await?;
                *framing = Framing::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Framing::Chunk(0) => {
                let line = self.line().await?;
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().map(str::trim);
                let size = size.and_then(|text| u64::from_str_radix(text, 16).ok());
                let size = size.ok_or_else(|| malformed("this is no chunk size"))?;
                if size == 0 {
                    self.trailers(trailers).await?;
                    *framing = Framing::Length(0);
                    return Ok(None);
                }
                *framing = Framing::Chunk(size);
                self.chunk_piece(framing, size).await
            }
            Framing::Chunk(left) => self.chunk_piece(framing, left).await,
        }
    }

    async fn chunk_piece(&mut self, framing: &mut Framing, left: u64) -> io::Result<Option<Bytes>> {
        let piece = self.piece(left).await?;
        let left = left - piece.len() as u64;
        *framing = Framing::Chunk(left);
        if left == 0 && !self.line().await?.is_empty() {
            return Err(malformed("a chunk is longer than it says"));
        }
        Ok(Some(piece))
    }

    async fn piece(&mut self, most: u64) -> io::Result<Bytes> {
        if self.ahead.is_empty() && !self.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = usize::try_from(most).unwrap_or(usize::MAX).min(self.ahead.len());
        Ok(self.ahead.split_to(size).freeze())
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = self.ahead.split_to(at).to_vec();
                self.ahead.advance(2);
                return Ok(line);
            }
            if self.ahead.len() > MAX_LINE {
                return Err(malformed("a line is too long"));
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn trailers(&mut self, trailers: &mut Fields) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = colon
                .and_then(|at| line.split_at_checked(at))
                .ok_or_else(|| malformed("this is no trailer"))?;
            let value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
            trailers.push((String::from_utf8_lossy(name).into_owned(), value));
        }
    }

    /// Bytes after an upgrade: whatever comes next, `None` at the end.
    pub(crate) async fn raw(&mut self) -> io::Result<Option<Bytes>> {
        if self.ahead.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        Ok(Some(self.ahead.split().freeze()))
    }

    /// Writes and flushes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Ends the sending side (with TLS: says so), then waits for the peer to leave.
    pub(crate) async fn close(&mut self) {
        if self.io.shutdown().await.is_ok() {
            // The peer may still be sending; without this the kernel would answer
            // with a reset that destroys what we have just written.
            let patience = std::time::Duration::from_secs(2);
            let _ = tokio::time::timeout(patience, async {
                while matches!(self.fill().await, Ok(true)) {
                    self.ahead.clear();
                }
            })
            .await;
        }
    }
}

/// A time in the form of HTTP (RFC 9110 §5.6.7), from seconds since 1970.
pub(crate) fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in cycles of 400 years.
    let shifted = days + 719_468;
    let (cycle, of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year + cycle * 400 + u64::from(month >= 10);
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        name(&MONTHS, (month + 2) % 12),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The value of `name` in a query string, percent-decoded (`+` is a space).
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(value))
    })
}

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut look = bytes.clone();
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        match (byte, hex(look.next()), hex(look.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                bytes = look;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn dates_are_those_of_http() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(seconds), text);
        }
    }
}
