//! Request smuggling, from the app and from the service: no peer ever sees two
//! messages where the other one sent one.

use crate::apps;
use crate::sidecar::{End, Sidecar};
use std::fmt::Write;

/// What a smuggler hides; it must never become a request of its own.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: hello\r\n\r\n";

/// Sends a head with something hidden behind it: a refusal, one response, an
/// end; and the service sees nothing.
fn refused(sidecar: &Sidecar, statuses: &[u16], head: &str, body: &str) {
    let said = sidecar.say(format!("{head}\r\n{body}{HIDDEN}").as_bytes());
    assert!(statuses.contains(&said.status()), "{head:?}: {said:?}");
    assert_eq!(said.responses(), 1, "{head:?}: {said:?}");
    assert!(said.text().contains("\r\nConnection: close\r\n"), "{head:?}: {said:?}");
    assert_eq!(sidecar.targets(), [""; 0], "{head:?}");
}

/// COVERAGE.md 9: every ambiguous framing is refused before a byte goes on.
#[test]
fn ambiguous_framing_is_refused() {
    let sidecar = Sidecar::default();
    let chunks = "0\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 1e1",
        "Content-Length: 1_0",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: ,",
        "Content-Length: 99999999999999999999999",
        "Content-Length: \u{b9}",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;x=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: hello\r\n{framing}\r\n");
        refused(&sidecar, &[400, 501], &head, chunks);
    }
    let old = "POST / HTTP/1.0\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n";
    refused(&sidecar, &[400], old, chunks);
    sidecar.still_works();
}

/// COVERAGE.md 5, 8 and 9: what hides a field, or shows it to one reader alone.
#[test]
fn malformed_heads_are_refused() {
    let sidecar = Sidecar::default();
    for lines in [
        "Host: hello\r\nX-A: 1\0",
        "Host: hello\r\nX-A: 1\rContent-Length: 9",
        "Host: hello\r\nX-A: 1\nContent-Length: 9",
        "Host: hello\r\nContent-Length : 9",
        "Host: hello\r\n Content-Length: 9",
        "Host: hello\r\nX-A: 1\r\n\tfolded",
        "Host: hello\r\nX A: 1",
        "Host: hello\r\n: 1",
        "Host: hello\r\nno colon",
        "Host: hello\r\nX\u{e9}: 1",
        "Host: hello\r\nContent-Length\t: 9",
        "Host: hello\r\nTransfer-Encoding\x0b: chunked",
        " Host: hello",
        "X-A: 1",
        "Host: hello\r\nHost: hello",
        "Host: hello\r\nHost: orders",
        "Host: user@hello",
        "Host: hello:x",
        "Host: hello, orders",
        "Host: hello/path",
        "Host: hel lo",
        "Host:",
    ] {
        refused(&sidecar, &[400], &format!("GET / HTTP/1.1\r\n{lines}\r\n"), "");
    }
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.12",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        "G{ET / HTTP/1.1",
        "GET / HTTP/1.1\r\r",
        "GET /\x7f HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET hello HTTP/1.1",
        "GET http://user@hello/ HTTP/1.1",
        "GET ftp://hello/ HTTP/1.1",
    ] {
        refused(&sidecar, &[400, 505, 501], &format!("{line}\r\nHost: hello\r\n"), "");
    }
    let bare = sidecar.say(format!("GET / HTTP/1.1\nHost: hello\n\n{HIDDEN}").as_bytes());
    assert_eq!((bare.status(), bare.responses()), (400, 1), "{bare:?}");
    assert_eq!(sidecar.targets(), [""; 0]);
    sidecar.still_works();
}

/// COVERAGE.md 9: chunk sizes are hexadecimal, bounded, and end with CR LF; the
/// body that breaks these rules ends the exchange, and nothing behind it is a
/// request.
#[test]
fn broken_chunks_are_never_a_whole_body() {
    let sidecar = Sidecar::default();
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-A: 1\nX-B: 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX A: 1\r\n\r\n",
    ] {
        let head = "POST /upload HTTP/1.1\r\nHost: upload\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut raw = sidecar.connect();
        raw.send(format!("{head}{body}{HIDDEN}").as_bytes());
        // A size that is merely huge waits for the rest, which never comes.
        raw.end();
        let said = raw.rest();
        assert!([0, 400].contains(&said.status()), "{body:?}: {said:?}");
        assert!(said.responses() < 2, "{body:?}: {said:?}");
        let seen = sidecar.world.sim.front().requests();
        assert!(seen.iter().all(|seen| seen.status == 0), "{body:?}: {seen:?}");
        assert!(!sidecar.targets().contains(&"/hidden".to_owned()), "{body:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(100_000));
    let head = "POST /upload HTTP/1.1\r\nHost: upload\r\nTransfer-Encoding: chunked\r\n\r\n";
    let said = sidecar.say(format!("{head}{long}{HIDDEN}").as_bytes());
    assert!([0, 400].contains(&said.status()), "{said:?}");
    sidecar.still_works();
}

/// COVERAGE.md 9 and 11: what is lenient but clear is passed on in one form: the
/// service gets neither extensions nor leading zeros nor framing in trailers.
#[test]
fn what_is_clear_is_passed_on_in_one_form() {
    let sidecar = Sidecar::default();
    let said = sidecar.say(
        b"\r\nPOST /echo HTTP/1.1\r\nHost: echo\r\nTransfer-Encoding: Chunked\r\n\
          Connection: close\r\n\r\n\
          0005;ext=\"x\"\r\nhello\r\n00\r\nContent-Length: 9\r\nAuthorization: x\r\n\
          Transfer-Encoding: gzip\r\nHost: evil\r\nX-Sum: 1\r\n\r\n",
    );
    assert_eq!(said.status(), 200, "{said:?}");
    let text = said.text();
    assert!(text.contains("hello") && text.contains("X-Sum: 1"), "{said:?}");
    for gone in ["ext=", "Content-Length: 9", "gzip", "evil", "Authorization: x"] {
        assert!(!text.contains(gone), "{gone}: {said:?}");
    }
    assert_eq!(sidecar.targets(), ["/echo"]);
}

/// COVERAGE.md 12: a body that a service does not read is not taken for the next
/// request, and pipelined requests are answered in order.
#[test]
fn a_body_is_no_request_and_pipelined_ones_keep_their_order() {
    let sidecar = Sidecar::default();
    let length = HIDDEN.len();
    let mut raw = sidecar.connect();
    raw.send(
        format!(
            "POST /1?code=403 HTTP/1.1\r\nHost: early\r\nContent-Length: {length}\r\n\r\n{HIDDEN}\
             GET /2 HTTP/1.1\r\nHost: hello\r\n\r\n\
             HEAD /3 HTTP/1.1\r\nHost: hello\r\n\r\n\
             GET /4?code=204 HTTP/1.1\r\nHost: status\r\n\r\n\
             GET /5?code=304 HTTP/1.1\r\nHost: status\r\n\r\n\
             GET /6 HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n{HIDDEN}"
        )
        .as_bytes(),
    );
    let said = raw.rest();
    assert_eq!(sidecar.targets(), ["/1?code=403", "/2", "/3", "/4?code=204", "/5?code=304", "/6"]);
    let text = said.text();
    let statuses: Vec<&str> =
        text.split("HTTP/1.1 ").skip(1).filter_map(|response| response.get(..3)).collect();
    assert_eq!(statuses, ["403", "200", "200", "204", "304", "200"], "{said:?}");
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string");
        hex
    })
}

fn answered_with(answer: &str, then: &str) -> String {
    let hex = hex(answer);
    format!("GET /?how=raw&hex={hex}&then={then} HTTP/1.1\r\nHost: broken\r\n\r\n")
}

/// COVERAGE.md 5 and 9, the other way: a response that can be read in two ways is
/// a 502, and its rest never answers another request.
#[test]
fn ambiguous_responses_are_refused() {
    let sidecar = Sidecar::default();
    for head in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 5",
        " Content-Length: 5",
        "X-A: 1\nContent-Length: 5",
        ": 1",
        "X-A: 1\r\n folded",
        "X-A : 1",
        "X-A: \0",
        "X-A: 1\rX-B: 2",
        "X A: 1",
        "no colon",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhello");
        let mut request = answered_with(&answer, "hang");
        request.push_str("GET /next HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n");
        let said = sidecar.say(request.as_bytes());
        assert_eq!(said.status(), 502, "{head:?}: {said:?}");
        assert!(said.text().contains("Proxy-Status: runsd"), "{head:?}: {said:?}");
        sidecar.targets();
    }
    for line in
        ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/2 200 OK", "ICY 200 OK", "HTTP/1.1 099 X"]
    {
        let said = sidecar.say(answered_with(&format!("{line}\r\n\r\n"), "hang").as_bytes());
        assert_eq!(said.status(), 502, "{line:?}: {said:?}");
    }
    sidecar.still_works();
}

/// COVERAGE.md 22: what a service sends beyond its response answers nobody: the
/// connection is not used again.
#[test]
fn a_second_response_answers_nobody() {
    let sidecar = Sidecar::default();
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let mut request = answered_with(&format!("{first}{poison}"), "hang");
        for _ in 0..3 {
            request.push_str("GET /next HTTP/1.1\r\nHost: broken\r\n\r\n");
        }
        request.push_str("GET /last HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n");
        let said = sidecar.say(request.as_bytes());
        assert!(!said.text().contains("poison"), "{first:?}: {said:?}");
        assert_eq!(said.responses(), 5, "{first:?}: {said:?}");
        assert_eq!((said.end, sidecar.targets().len()), (End::Closed, 5), "{first:?}");
    }
}

/// COVERAGE.md 10: HEAD has no body, whatever a service sends after its head.
#[test]
fn a_body_after_head_answers_nobody() {
    let sidecar = Sidecar::default();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let request = answered_with(answer, "hang").replacen("GET", "HEAD", 1);
    let next = "GET /next HTTP/1.1\r\nHost: broken\r\nConnection: close\r\n\r\n";
    let said = sidecar.say(format!("{request}{next}").as_bytes());
    assert!(!said.text().contains("poison"), "{said:?}");
    assert_eq!(said.responses(), 2, "{said:?}");
}

/// COVERAGE.md 5, 8, 9, 17: what an app smuggles over HTTP/2 is reset or refused,
/// whether the service speaks HTTP/2 or 1.1, and never becomes a request there.
#[test]
fn http2_smuggles_nothing_into_either_version() {
    for upstream in ["1", "auto"] {
        let sidecar = Sidecar::new(&["--upstream-http", upstream]);
        let app = apps::python("http2_smuggling_app.py");
        let mut command = sidecar.world.sim.command(&app[0]);
        let ran = runsd_tests::start(command.args(&app[1..])).wait();
        let cases: usize = ran.ok().trim().parse().expect("a number of cases");
        assert!(cases > 60, "{cases}");
        for seen in sidecar.world.sim.front().requests() {
            let text = String::from_utf8_lossy(&seen.head).into_owned();
            let expected = ["upload", "hello"].contains(&seen.service.as_str());
            assert!(expected && !seen.target.contains("hidden"), "{seen:?}");
            assert!(!text.contains("hidden") && !text.contains("x-b: c"), "{seen:?}");
        }
    }
}
