//! Requests and responses made of pieces that parsers disagree about: whatever
//! goes on to a service must be exactly one request, for a reader that shares no
//! code with ours, and the same one.

use super::request::write_head;
use super::upload::Upload;
use crate::http1::{
    Body, Framing, Limits, RequestHead, ResponseHead, write_chunk, write_field, write_last_chunk,
};
use crate::names::Target;
use crate::net::Outgoing;
use std::path::Path;

/// How many inputs each test makes; some seconds of them.
const ROUNDS: usize = 60_000;

/// xorshift64*: the same inputs on every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const LINES: &[&[u8]] = &[
    b"GET / HTTP/1.1",
    b"POST /a?b HTTP/1.1",
    b"HEAD * HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET http://hello/x HTTP/1.1",
    b"PUT /%2F HTTP/1.0",
    b"GET  / HTTP/1.1",
    b"GET / HTTP/1.2",
    b"GET /\tx HTTP/1.1",
    b"G@T / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"ODD //a/../b HTTP/1.1",
];
const NAMES: &[&[u8]] = &[
    b"Host",
    b"host",
    b"Content-Length",
    b"content-length",
    b"Transfer-Encoding",
    b"Connection",
    b"X-A",
    b"Authorization",
    b"TE",
    b"Trailer",
    b"Upgrade",
    b"Expect",
    b"Keep-Alive",
    b"Content-Length ",
    b" Content-Length",
    b"Transfer-Encoding\t",
    b"X\0Y",
    b"",
];
const VALUES: &[&[u8]] = &[
    b"hello",
    b"5",
    b"0",
    b"+5",
    b"0x5",
    b"5, 5",
    b"18446744073709551616",
    b"",
    b"chunked",
    b"chunked, chunked",
    b",chunked",
    b"gzip, chunked",
    b"identity",
    b"close",
    b"keep-alive",
    b"host, content-length",
    b"upgrade",
    b"websocket",
    b"h2c",
    b"trailers",
    b"100-continue",
    b"\xe9",
    b"a\rb",
    b"a\nb",
    b" a ",
    b"chunked\x0b",
];
const ENDS: &[&[u8]] = &[b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n ", b"\r\r\n"];
const BODIES: &[&[u8]] = &[
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"05\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"0\r\nContent-Length: 9\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
];

pub(super) fn target() -> Target {
    Target {
        name: "hello".into(),
        host: "hello.example".into(),
        port: 443,
        tls: true,
        authority: "hello.example".into(),
        audience: None,
    }
}

fn request(random: &mut Random) -> Vec<u8> {
    let mut bytes = random.of(LINES).to_vec();
    bytes.extend(random.of(ENDS));
    if random.below(8) > 0 {
        bytes.extend(b"Host: hello\r\n");
    }
    for _ in 0..random.below(5) {
        bytes.extend(random.of(NAMES));
        bytes.extend(if random.below(12) == 0 { &b" : "[..] } else { &b": "[..] });
        bytes.extend(random.of(VALUES));
        bytes.extend(random.of(ENDS));
    }
    bytes.extend(if random.below(12) == 0 { &b"\n"[..] } else { &b"\r\n"[..] });
    for _ in 0..=random.below(2) {
        bytes.extend(random.of(BODIES));
    }
    // Now and then a byte changes.
    if random.below(4) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
    }
    bytes
}

/// What we would forward of `bytes`, and how much of them that took; `None` if
/// they are refused or incomplete.
fn forwarded(bytes: &[u8]) -> Option<(Vec<u8>, usize, Vec<u8>)> {
    let mut head = RequestHead::default();
    let length = head.parse(bytes, Limits::default()).ok()??;
    crate::http1::Target::parse(head.method.in_buffer(bytes), head.target.in_buffer(bytes)).ok()?;
    let mut out = Vec::new();
    write_head(&mut out, (&head, bytes), &target(), None);
    let mut body = Body::new(head.framing, head.nominated(bytes));
    let (mut at, mut payload) = (length, Vec::new());
    while !body.is_done() {
        let rest = &bytes[at..];
        let step = body.step(rest).ok()?;
        let data = &rest[step.skip..step.skip + step.take];
        payload.extend(data);
        match head.framing {
            Framing::Chunked => write_chunk(&mut out, data),
            _ => out.extend(data),
        }
        if body.is_done() && head.framing == Framing::Chunked {
            let mut trailers = Vec::new();
            for field in &step.trailers {
                let after = &rest[step.trailers_at..];
                write_field(
                    &mut trailers,
                    field.name.in_buffer(after),
                    field.value.in_buffer(after),
                );
            }
            write_last_chunk(&mut out, &trailers);
        }
        if step.skip + step.take == 0 && !body.is_done() {
            return None;
        }
        at += step.skip + step.take;
    }
    Some((out, at, payload))
}

/// A reader of requests that knows one form alone: lines that end in CRLF, one
/// length or `chunked`, nothing else. The number of requests in `bytes` and
/// their bodies, or what is wrong.
fn read_strictly(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut bodies = Vec::new();
    while !bytes.is_empty() {
        let end = find(bytes, b"\r\n\r\n").ok_or("a head without end")?;
        let head = std::str::from_utf8(&bytes[..end])
            .map(str::to_owned)
            .unwrap_or_else(|_| bytes[..end].iter().map(|b| char::from(*b)).collect());
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        if words.len() != 3 || words[2] != "HTTP/1.1" || words.contains(&"") {
            return Err(format!("a request line {words:?}"));
        }
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(format!("a line {line:?}"))?;
            let value = value.trim_matches([' ', '\t']);
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(format!("a name {name:?}"));
            }
            if value.contains(['\r', '\n', '\0']) {
                return Err(format!("a value {value:?}"));
            }
            match name.to_ascii_lowercase().as_str() {
                "content-length" if length.is_some() => return Err("two lengths".into()),
                "content-length" if value.bytes().all(|b| b.is_ascii_digit()) => {
                    length = Some(value.parse::<usize>().map_err(|error| error.to_string())?);
                }
                "content-length" => return Err(format!("a length {value:?}")),
                "transfer-encoding" if value == "chunked" && !chunked => chunked = true,
                "transfer-encoding" => return Err(format!("a coding {value:?}")),
                "host" => hosts += 1,
                _ => {}
            }
        }
        if hosts != 1 || (chunked && length.is_some()) {
            return Err(format!("{hosts} hosts, chunked {chunked}, length {length:?}"));
        }
        let body =
            if chunked { unchunk(&mut bytes)? } else { take(&mut bytes, length.unwrap_or(0))? };
        bodies.push(body);
    }
    Ok(bodies)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn take(bytes: &mut &[u8], count: usize) -> Result<Vec<u8>, String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("a body cut short")?;
    *bytes = rest;
    Ok(taken.to_vec())
}

fn unchunk(bytes: &mut &[u8]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end = find(bytes, b"\r\n").ok_or("a size without end")?;
        let digits = String::from_utf8_lossy(&bytes[..end]).into_owned();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("a size {digits:?}"));
        }
        let size = usize::from_str_radix(&digits, 16).map_err(|error| error.to_string())?;
        *bytes = &bytes[end + 2..];
        if size == 0 {
            loop {
                let end = find(bytes, b"\r\n").ok_or("trailers without end")?;
                let line = take(bytes, end)?;
                take(bytes, 2)?;
                if line.is_empty() {
                    return Ok(body);
                }
                let name = line.split(|b| *b == b':').next().unwrap_or_default();
                if name.eq_ignore_ascii_case(b"content-length") {
                    return Err("a length in trailers".into());
                }
            }
        }
        body.extend(take(bytes, size)?);
        if take(bytes, 2)? != b"\r\n" {
            return Err("no line end after a chunk".into());
        }
    }
}

fn check(bytes: &[u8]) -> bool {
    let Some((out, _, payload)) = forwarded(bytes) else { return false };
    match read_strictly(&out) {
        Ok(bodies) => assert_eq!(
            bodies,
            [payload],
            "{:?} became {:?}",
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&out)
        ),
        Err(error) => panic!(
            "{error}: {:?} became {:?}",
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&out)
        ),
    }
    true
}

#[test]
fn what_is_forwarded_is_one_request_for_every_reader() {
    let mut random = Random(0x5EED_1234_5678_9ABC);
    let passed = (0..ROUNDS).filter(|_| check(&request(&mut random))).count();
    assert!(passed > ROUNDS / 50, "only {passed} inputs were forwarded: they test nothing");
}

#[test]
fn the_kept_inputs_are_read_as_ever() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/requests");
    let (mut passed, mut refused) = (0, 0);
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let expected = path.extension().is_some_and(|extension| extension == "passes");
        assert_eq!(check(&bytes), expected, "{}", path.display());
        *(if expected { &mut passed } else { &mut refused }) += 1;
    }
    assert!(passed >= 5 && refused >= 15, "{passed} and {refused} inputs: is this the checkout?");
}

#[test]
fn no_response_head_breaks_the_reader() {
    let mut random = Random(0xFEED_5678_1234_9ABC);
    let lines: &[&[u8]] = &[
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 999 \xe9",
        b"HTTP/1.1  200 OK",
        b"HTTP/2 200",
        b"ICY 200 OK",
        b"HTTP/1.1 20x OK",
    ];
    let (mut read, mut head) = (0, ResponseHead::default());
    for _ in 0..ROUNDS {
        let mut bytes = random.of(lines).to_vec();
        bytes.extend(random.of(ENDS));
        for _ in 0..random.below(5) {
            bytes.extend(random.of(NAMES));
            bytes.extend(b": ");
            bytes.extend(random.of(VALUES));
            bytes.extend(random.of(ENDS));
        }
        bytes.extend(b"\r\n");
        bytes.extend(random.of(BODIES));
        if let Ok(Some(length)) = head.parse(&bytes, Limits::default()) {
            read += 1;
            assert!(length <= bytes.len() && (100..=999).contains(&head.status));
            let mut upload = Upload::new(head.framing, head.nominated(&bytes), Outgoing::default());
            let _ = upload.body.step(&bytes[length..]);
        }
    }
    assert!(read > ROUNDS / 50, "only {read} heads were read: they test nothing");
}

#[test]
fn bytes_without_any_sense_do_no_harm() {
    let mut random = Random(0xABCD_5678_1234_9ABC);
    for _ in 0..ROUNDS {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        check(&bytes);
    }
}
