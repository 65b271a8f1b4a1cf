//! Heads full of fields that end here, nominations and credentials, against the
//! rule written a second time; and hosts, against a parser that is not ours.

use super::fuzz_tests::{Random, target};
use super::request::{carrier, write_head};
use crate::auth::IdToken;
use crate::http1::{self, Limits, RequestHead};
use crate::names::Grammar;
use crate::proxy::policy::Carry;
use http::uri::Authority;
use std::path::Path;
use std::time::SystemTime;

/// How many inputs each test makes; some seconds of them.
const ROUNDS: usize = 30_000;

const FIELDS: &[&str] = &[
    "X-A: 1",
    "x-b: 2",
    "X-A: 3",
    "Authorization: Basic x",
    "X-Serverless-Authorization: Bearer a.e30.live",
    "X-Serverless-Authorization: Bearer a.e30.",
    "Cookie: a=1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic y",
    "Proxy-Authenticate: Basic",
    "TE: trailers",
    "TE: gzip, Trailers",
    "TE: gzip",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "HTTP2-Settings: AAA",
    "Connection: close",
    "Connection: x-a, X-B",
    "Connection: host, content-length, authorization",
    "connection: X-Serverless-Authorization ,,te",
    "Connection: Upgrade",
    "Connection: cookie, keep-alive, connection",
    "Expect: 100-continue",
    "Via: 1.1 other",
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
    // An offer of h2c is answered over HTTP/1.1, whatever stands beside it.
    let upgrades = !offers.is_empty() && !offers.contains(&"h2c");
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

/// Whether a request with these fields is read; what goes on of it must be what
/// the rule says.
fn check_policy(fields: &[&str]) -> bool {
    let text = format!("PUT /x HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
    let mut head = RequestHead::default();
    if !matches!(head.parse(text.as_bytes(), Limits::default()), Ok(Some(_))) {
        return false;
    }
    let token = IdToken::new("t.t.t", SystemTime::now(), None);
    let carry = carrier(&head, text.as_bytes(), SystemTime::now);
    let proof = (carry != Carry::Nothing).then_some((&token, carry));
    let mut out = Vec::new();
    write_head(&mut out, (&head, text.as_bytes()), &target(), proof);
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<String> =
        out.trim_end().split("\r\n").skip(1).map(|line| line.replacen("hOsT", "Host", 1)).collect();
    assert_eq!(lines, expected(fields), "{fields:#?}");
    true
}

#[test]
fn no_combination_of_fields_changes_what_goes_on() {
    let mut random = Random(0xBEEF_1234_5678_9ABC);
    for _ in 0..ROUNDS {
        let mut fields: Vec<&str> = (0..random.below(9)).map(|_| random.of(FIELDS)).collect();
        fields.insert(random.below(fields.len() + 1), "hOsT: hello");
        if random.below(2) == 0 {
            fields.insert(random.below(fields.len() + 1), "Content-Length: 3");
        }
        assert!(check_policy(&fields), "{fields:#?}");
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

/// What the proxy takes `text` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// No host.
    Nothing,
    /// A host that is no service.
    Host,
    /// The name of a service.
    Name,
}

/// Reads `text` as a host; whoever else reads it must see the same.
fn check_host(grammar: &Grammar, text: &[u8]) -> Taken {
    let Ok(host) = http1::host(text) else { return Taken::Nothing };
    let (name, port) = http1::split_authority(host);
    // The crate `http` has its own idea of an authority, and must see the same.
    // It knows no empty port, and takes that of others for none too.
    let other = Authority::try_from(host).unwrap_or_else(|error| panic!("{host:?}: {error}"));
    assert_eq!((other.host(), other.port_u16()), (name, port), "{host:?}");
    assert!(
        !host.contains(['@', '/', '?', '#', '\\', ' ', '\t', '\r', '\n', '\0', ',']),
        "{host:?}"
    );
    let Ok(parsed) = grammar.parse(host) else { return Taken::Host };
    if grammar.is_reserved(host) {
        return Taken::Host;
    }
    let label = |text: &str| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let parts = [Some(parsed.service), parsed.tag, parsed.region, parsed.project];
    assert!(parts.iter().flatten().all(|part| label(part) && !part.is_empty()), "{host:?}");
    Taken::Name
}

fn grammar() -> Grammar {
    Grammar::new("run.internal", &["localhost", "metadata"])
}

#[test]
fn what_is_taken_for_a_host_is_one_for_every_reader() {
    let grammar = grammar();
    let mut random = Random(0xCAFE_1234_5678_9ABC);
    let taken: Vec<Taken> = (0..10 * ROUNDS)
        .map(|_| (0..1 + random.below(4)).flat_map(|_| random.of(PIECES).to_vec()).collect())
        .map(|text: Vec<u8>| check_host(&grammar, &text))
        .collect();
    let names = taken.iter().filter(|one| **one == Taken::Name).count();
    let hosts = names + taken.iter().filter(|one| **one == Taken::Host).count();
    assert!(hosts > ROUNDS / 10 && names > ROUNDS / 100, "{hosts} hosts and {names} names");
}

/// The kept inputs of a fuzzer, each with the word that its file's name ends in.
fn kept(folder: &str) -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(folder);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let word = path.extension().unwrap().to_str().unwrap().to_owned();
        (word, std::fs::read(&path).unwrap())
    };
    std::fs::read_dir(corpus).unwrap().map(read).collect()
}

#[test]
fn the_kept_fields_go_on_as_ever() {
    let kept = kept("policy");
    for (word, bytes) in &kept {
        let text = std::str::from_utf8(bytes).unwrap();
        let fields: Vec<&str> = text.lines().collect();
        assert_eq!(check_policy(&fields), word == "passes", "{text}");
    }
    let refused = kept.iter().filter(|(word, _)| word == "refused").count();
    assert!(kept.len() - refused >= 15 && refused >= 5, "is this the checkout?");
}

#[test]
fn the_kept_hosts_are_read_as_ever() {
    let (kept, grammar) = (kept("hosts"), grammar());
    for (word, bytes) in &kept {
        let taken = check_host(&grammar, bytes);
        let expected = match word.as_str() {
            "nothing" => Taken::Nothing,
            "host" => Taken::Host,
            "name" => Taken::Name,
            other => panic!("{other} is no verdict"),
        };
        assert_eq!(taken, expected, "{:?}", String::from_utf8_lossy(bytes));
    }
    for word in ["nothing", "host", "name"] {
        let count = kept.iter().filter(|(own, _)| own == word).count();
        assert!(count >= 8, "{count} for {word}: is this the checkout?");
    }
}
