//! What the services answer over HTTP/1.1, to the byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[allow(dead_code, reason = "each suite uses its part of the client")]
mod client;

use std::time::Duration;

use client::{End, request};
use cloudrun_sim::{Options, Sim};

const CLOSE: &str = "Connection: close\r\n\r\n";

fn sim() -> Sim {
    Sim::start(Options::default()).unwrap()
}

#[test]
fn status_answers_what_is_asked() {
    let sim = sim();
    for (code, line) in [(204, "204 No Content"), (418, "418 I'm a teapot"), (799, "799 Unknown")] {
        let (answer, end) = request(&sim, "status", &format!("GET /?code={code}"), CLOSE);
        assert!(answer.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{answer}");
        assert_eq!(end, End::Orderly);
    }
    let (answer, _) = request(&sim, "status", "GET /?code=401&www=Basic%20realm%3D%22x%22", CLOSE);
    assert!(answer.contains("www-authenticate: Basic realm=\"x\"\r\n"), "{answer}");
}

#[test]
fn a_chunked_upload_is_counted_and_summed() {
    let sim = sim();
    let body = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let (answer, _) = request(&sim, "upload", "POST /", body);
    let sums = "\"fnv1a\":\"779a65e7023cd2e7\",\
                \"sha256\":\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"";
    assert!(answer.ends_with(&format!("{{\"bytes\":11,{sums}}}\n")), "{answer}");
    assert_eq!(sim.front().requests()[0].body_len, 11);
}

#[test]
fn trailers_come_back() {
    let sim = sim();
    let body = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                2\r\nhi\r\n0\r\nX-Mine: yes\r\n\r\n";
    let (answer, _) = request(&sim, "trailers", "POST /", body);
    assert!(
        answer.ends_with("2\r\nhi\r\n0\r\nX-Mine: yes\r\nx-sim-trailer: end\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn interim_answers_come_before_the_final_one() {
    let sim = sim();
    let body = "Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let (answer, _) = request(&sim, "hints", "POST /", body);
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <"));
    assert!(answer.contains("\r\n\r\nHTTP/1.1 200 OK\r\n") && answer.ends_with("hints 2\n"));
}

#[test]
fn streams_are_chunks_and_downloads_are_as_long_as_asked() {
    let sim = sim();
    let (answer, _) = request(&sim, "stream", "GET /?n=3&size=2", CLOSE);
    assert!(answer.ends_with("\r\n\r\n2\r\naa\r\n2\r\nbb\r\n2\r\ncc\r\n0\r\n\r\n"), "{answer}");
    let (answer, _) = request(&sim, "sse", "GET /?n=1", CLOSE);
    assert!(answer.contains("id: 0\ndata: event 0\n\n"), "{answer}");
    let (answer, _) = request(&sim, "download", "GET /?bytes=200000", CLOSE);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 200000") && body.len() == 200_000);
    let (answer, _) = request(&sim, "download", "HEAD /?bytes=200000", CLOSE);
    assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length: 200000"));
}

#[test]
fn broken_answers_are_broken_as_asked() {
    let sim = sim();
    let broken = |how: &str| request(&sim, "broken", &format!("GET /?how={how}"), "\r\n");
    assert_eq!(broken("reset"), (String::new(), End::Reset));
    assert_eq!(broken("close-after-accept"), (String::new(), End::Torn));
    let (answer, end) = broken("truncate");
    assert!(answer.contains("content-length: 1000") && answer.ends_with("\r\n\r\nhalf"));
    assert_eq!(end, End::Torn);
    assert!(broken("garbage").0.contains("this is not HTTP"));
    assert!(broken("half-head").0.ends_with("content-type: text/pl"));
    assert!(broken("bad-chunk").0.ends_with("zz\r\nworld\r\n"));
}

#[test]
fn the_last_answer_of_a_connection_says_so_or_not() {
    let sim = sim();
    let (said, _) = request(&sim, "push-close", "GET /", "\r\n");
    assert!(said.contains("connection: close\r\n"));
    let (unsaid, end) = request(&sim, "idle-close", "GET /", "\r\n");
    assert!(!unsaid.contains("connection:") && unsaid.ends_with("last\n"), "{unsaid}");
    assert_eq!(end, End::Orderly);
}

#[test]
fn the_connection_goes_on_after_an_early_answer() {
    let sim = sim();
    let rest = "Content-Length: 4\r\n\r\nbody\
                GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n";
    let (answer, _) = request(&sim, "early", "POST /", rest);
    assert!(answer.contains("\r\n\r\nearly\nHTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_redirect_leads_to_the_services_own_url() {
    let sim = sim();
    let (answer, _) = request(&sim, "redirect", "GET /", CLOSE);
    assert!(answer.contains(&format!("location: {}/landed\r\n", sim.url("redirect"))), "{answer}");
}

#[test]
fn a_websocket_echoes_frames_and_answers_pings_and_close() {
    let sim = sim();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let host = client::host(&sim, "ws");
    let head =
        format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}{handshake}", client::token(&sim, "ws"));
    let mut bytes = head.into_bytes();
    // "hey" under a zero mask, a ping under another, a close.
    bytes.extend_from_slice(b"\x81\x83\0\0\0\0hey");
    bytes.extend_from_slice(b"\x89\x81\x01\x01\x01\x01\x70");
    bytes.extend_from_slice(b"\x88\x80\0\0\0\0");
    let (answer, end) = client::talk(&sim, &host, bytes);
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    let frames = answer.split_once("\r\n\r\n").unwrap().1;
    // Opcode bytes are not UTF-8 and appear as replacement characters.
    assert_eq!(frames, "\u{fffd}\u{3}hey\u{fffd}\u{1}q\u{fffd}\u{0}");
    assert_eq!(end, End::Orderly);
    assert_eq!(sim.front().requests()[0].status, 101);
}

#[test]
fn contradictory_framing_is_refused() {
    let sim = sim();
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(request(&sim, "echo", "POST /", both).0.starts_with("HTTP/1.1 400 "));
}

#[test]
fn ingress_latency_audiences_and_public_services_are_as_told() {
    let sim = Sim::start(Options {
        public: vec!["shop".into()],
        internal: vec!["orders".into()],
        latency: vec![("shop".into(), Duration::from_millis(200))],
        audiences: vec![("users".into(), "https://users.example.com".into())],
        ..Options::default()
    })
    .unwrap();
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}} %{{time_total}}\n' {}; \
         curl -s -o /dev/null -w '%{{http_code}}\n' {}; \
         token=$(curl -s -H 'Metadata-Flavor: Google' 'http://metadata/computeMetadata/v1/instance/\
         service-accounts/default/identity?audience=https://users.example.com'); \
         for url in {} {}; do \
         curl -s -o /dev/null -w '%{{http_code}}\n' -H \"Authorization: Bearer $token\" $url; done",
        sim.url("shop"),
        sim.url("orders"),
        sim.url("users"),
        sim.url("hello"),
    );
    let output = sim.command("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (status, took) = lines[0].split_once(' ').unwrap();
    assert_eq!(status, "200", "{text}");
    assert!(took.parse::<f64>().unwrap() >= 0.2, "{text}");
    assert_eq!(lines[1..], ["404", "200", "401"], "{text}");
}
