//! Heads full of fields that end here, nominations and credentials, against the
//! rule written a second time; and hosts, against a parser that is not ours.

use super::fuzz_tests::{Random, target};
use super::request::{carrier, write_head};
use crate::auth::IdToken;
use crate::http1::{self, Limits, RequestHead};
use crate::names::Grammar;
use crate::proxy::policy::Carry;
use http::uri::Authority;
use std::time::SystemTime;

/// How many inputs each test makes; some seconds of them.
const ROUNDS: usize = 30_000;

const FIELDS: &[&[u8]] = &[
    b"X-A: 1",
    b"x-b: 2",
    b"X-A: 3",
    b"Authorization: Basic x",
    b"X-Serverless-Authorization: Bearer a.e30.live",
    b"X-Serverless-Authorization: Bearer a.e30.",
    b"Cookie: a=1",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"Proxy-Authorization: Basic y",
    b"Proxy-Authenticate: Basic",
    b"TE: trailers",
    b"TE: gzip, Trailers",
    b"TE: gzip",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAA",
    b"Connection: close",
    b"Connection: x-a, X-B",
    b"Connection: host, content-length, authorization",
    b"connection: X-Serverless-Authorization ,,te",
    b"Connection: Upgrade",
    b"Connection: cookie, keep-alive, connection",
    b"Expect: 100-continue",
    b"Via: 1.1 other",
];

const ENDS_HERE: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn named<'a>(fields: &'a [&str], name: &'a str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter_map(move |field| {
        let (own, value) = field.split_once(": ")?;
        own.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The lines that are to reach the service, by the rule as proxy.md words it.
fn expected(fields: &[&str]) -> Vec<String> {
    let options: Vec<String> = named(fields, "connection")
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let mut lines = Vec::new();
    let (mut own, mut platform) = (false, None);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        let name = name.to_ascii_lowercase();
        let framing = ["host", "content-length"].contains(&name.as_str());
        if ENDS_HERE.contains(&name.as_str()) || !framing && options.contains(&name) {
            continue;
        }
        own |= name == "authorization";
        if name == "x-serverless-authorization" && platform.is_none() {
            platform = Some(value.ends_with("live"));
        }
        let is_host = name == "host";
        lines.push(if is_host { "Host: hello.example".to_owned() } else { (*field).to_owned() });
    }
    let trailers =
        |value: &str| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("trailers"));
    if named(fields, "te").any(trailers) {
        lines.push("TE: trailers".to_owned());
    }
    let offers: Vec<&str> = named(fields, "upgrade").collect();
    // Of several offers the last decides.
    let upgrades = offers.last().is_some_and(|last| *last != "h2c");
    if options.contains(&"upgrade".to_owned()) && upgrades {
        lines.push("Connection: Upgrade".to_owned());
        lines.extend(offers.iter().map(|offer| format!("Upgrade: {offer}")));
    }
    match platform {
        Some(true) => return lines,
        Some(false) => lines.retain(|line| !line.starts_with("X-Serverless-Authorization")),
        None => {}
    }
    let name =
        if own || platform.is_some() { "X-Serverless-Authorization" } else { "Authorization" };
    lines.push(format!("{name}: Bearer t.t.t"));
    lines
}

#[test]
fn no_combination_of_fields_changes_what_goes_on() {
    let mut random = Random(0xBEEF_1234_5678_9ABC);
    let token = IdToken::new("t.t.t", SystemTime::now(), None);
    for _ in 0..ROUNDS {
        let mut fields: Vec<&[u8]> = (0..random.below(9)).map(|_| random.of(FIELDS)).collect();
        fields.insert(random.below(fields.len() + 1), b"hOsT: hello");
        if random.below(2) == 0 {
            fields.insert(random.below(fields.len() + 1), b"Content-Length: 3");
        }
        let text = [b"PUT /x HTTP/1.1\r\n", &fields.join(&b"\r\n"[..])[..], b"\r\n\r\n"].concat();
        let mut head = RequestHead::default();
        head.parse(&text, Limits::default()).unwrap().unwrap();
        let mut out = Vec::new();
        let carry = carrier(&head, &text, SystemTime::now);
        let proof = (carry != Carry::Nothing).then_some((&token, carry));
        write_head(&mut out, (&head, &text), &target(), proof);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<String> = out
            .trim_end()
            .split("\r\n")
            .skip(1)
            .map(|line| line.replacen("hOsT", "Host", 1))
            .collect();
        let fields: Vec<&str> =
            fields.iter().map(|one| std::str::from_utf8(one).unwrap()).collect();
        assert_eq!(lines, expected(&fields), "{fields:#?}");
    }
}

const PIECES: &[&[u8]] = &[
    b"hello",
    b"HELLO",
    b"green---hello",
    b".",
    b"..",
    b"-",
    b":",
    b"80",
    b":8080",
    b"99999",
    b"@",
    b"u:p@",
    b"[::1]",
    b"[",
    b"]",
    b"::1",
    b"127.0.0.1",
    b"%2e",
    b"%00",
    b"/",
    b"?",
    b"#",
    b"\\",
    b" ",
    b"\t",
    b"\0",
    b"\r\n",
    b",",
    b";",
    b"run.internal",
    b"us-east1",
    b"123",
    b"\xc3\xa9",
    b"\xff",
    b"_",
    b"localhost",
    b"metadata",
    b"0x7f.1",
];

#[test]
fn what_is_taken_for_a_host_is_one_for_every_reader() {
    let mut random = Random(0xCAFE_1234_5678_9ABC);
    let grammar = Grammar::new("run.internal", &["localhost", "metadata"]);
    let (mut hosts, mut names) = (0, 0);
    for _ in 0..10 * ROUNDS {
        let text: Vec<u8> =
            (0..1 + random.below(4)).flat_map(|_| random.of(PIECES).to_vec()).collect();
        let Ok(host) = http1::host(&text) else { continue };
        hosts += 1;
        let (name, port) = http1::split_authority(host);
        // The crate `http` has its own idea of an authority, and must see the same.
        // It knows no empty port, and takes that of others for none too.
        let other = Authority::try_from(host).unwrap_or_else(|error| panic!("{host:?}: {error}"));
        assert_eq!((other.host(), other.port_u16()), (name, port), "{host:?}");
        assert!(
            !host.contains(['@', '/', '?', '#', '\\', ' ', '\t', '\r', '\n', '\0', ',']),
            "{host:?}"
        );
        if let Ok(parsed) = grammar.parse(host)
            && !grammar.is_reserved(host)
        {
            names += 1;
            let label = |text: &str| {
                text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            let parts = [Some(parsed.service), parsed.tag, parsed.region, parsed.project];
            assert!(parts.iter().flatten().all(|part| label(part) && !part.is_empty()), "{host:?}");
        }
    }
    assert!(hosts > ROUNDS / 10 && names > ROUNDS / 100, "{hosts} hosts and {names} names");
}
