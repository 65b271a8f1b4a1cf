//! Heads: every form that is refused, and what is kept of those that are not.

use super::*;
use crate::http1::body_of_response;

fn request(text: &str) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::default();
    match head.parse(text.as_bytes(), Limits::default())? {
        Some(length) => assert_eq!(length, text.len()),
        None => panic!("incomplete: {text:?}"),
    }
    Ok(head)
}

/// A POST with these field lines beside Host.
fn with(fields: &str) -> Result<RequestHead, HeadError> {
    request(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn response(text: &str) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::default();
    head.parse(text.as_bytes(), Limits::default()).map(|length| {
        assert_eq!(length, Some(text.len()));
        head
    })
}

#[test]
fn syntax_that_two_parsers_could_read_differently_is_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\r\nHost: h\r\n\r\n",
        "GET / a HTTP/1.1\r\nHost: h\r\n\r\n",
        "G\0T / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let refused = request(text).unwrap_err();
        assert_eq!(refused.status(), 400, "{text:?}: {refused}");
    }
}

#[test]
fn exactly_one_host() {
    assert_eq!(request("GET / HTTP/1.1\r\n\r\n").unwrap_err().status(), 400);
    assert_eq!(with("Host: h\r\n").unwrap_err(), HeadError::Host("more than one Host"));
}

#[test]
fn framing_that_two_parsers_could_read_differently_is_refused() {
    for (fields, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +1\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0x1\r\n", 400),
        ("Content-Length: 1 1\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
    ] {
        assert_eq!(with(fields).unwrap_err().status(), status, "{fields}");
    }
    let old = "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(old).unwrap_err().status(), 400);
}

#[test]
fn framing_is_read() {
    assert_eq!(with("").unwrap().framing, Framing::None);
    assert_eq!(with("content-length: 0\r\n").unwrap().framing, Framing::Length(0));
    assert_eq!(with("Content-Length: 00042\r\n").unwrap().framing, Framing::Length(42));
    assert_eq!(with("transfer-encoding: CHUNKED\r\n").unwrap().framing, Framing::Chunked);
}

#[test]
fn connections_persist_as_their_version_and_options_say() {
    assert!(with("").unwrap().keep_alive);
    assert!(!with("Connection: Close\r\n").unwrap().keep_alive);
    assert!(!with("Connection: keep-alive\r\nConnection: x, close\r\n").unwrap().keep_alive);
    assert!(!request("GET / HTTP/1.0\r\nHost: h\r\n\r\n").unwrap().keep_alive);
    let old = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    assert!(request(old).unwrap().keep_alive);
}

#[test]
fn nominated_fields_end_here_but_never_those_that_frame() {
    let text = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-A: 1\r\nAuthorization: app\r\n\
                Connection: x-a, host\r\nConnection: content-length, Authorization\r\nX-B: 2\r\n\r\n";
    let head = request(text).unwrap();
    let kept: Vec<&str> = head
        .fields()
        .iter()
        .filter(|field| !field.hop)
        .map(|field| std::str::from_utf8(field.name.in_buffer(text.as_bytes())).unwrap())
        .collect();
    assert_eq!(kept, ["Host", "Content-Length", "X-B"]);
}

#[test]
fn what_the_proxy_asks_of_a_request_is_gathered() {
    let head = with("Expect: 100-Continue\r\nTE: gzip, trailers\r\n").unwrap();
    assert!(head.expects_continue && head.takes_trailers && !head.upgrade);
    assert!(with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").unwrap().upgrade);
    assert!(!with("Upgrade: websocket\r\n").unwrap().upgrade);
    let (h2c, socket) = ("Upgrade: h2c\r\n", "Upgrade: websocket\r\n");
    for offers in
        [h2c, "Upgrade: websocket, H2C\r\n", &[h2c, socket].concat(), &[socket, h2c].concat()]
    {
        let head = with(&format!("Connection: upgrade\r\n{offers}")).unwrap();
        assert!(!head.upgrade, "{offers}");
    }
}

#[test]
fn limits_have_their_statuses() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(70_000));
    assert_eq!(request(&long).unwrap_err().status(), 414);
    let large = with(&format!("A: {}\r\n", "a".repeat(70_000))).unwrap_err();
    assert_eq!(large.status(), 431);
    let many: String = (0..300).map(|index| format!("A{index}: b\r\n")).collect();
    assert_eq!(with(&many).unwrap_err(), HeadError::TooManyFields);
    let mut head = RequestHead::default();
    let endless = vec![b'a'; 70_000];
    assert_eq!(head.parse(&endless, Limits::default()).unwrap_err(), HeadError::TargetTooLong);
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(70_000));
    assert_eq!(response(&long).unwrap_err(), HeadError::TooLarge, "it has no target");
}

#[test]
fn a_head_in_pieces_is_the_head() {
    let text = "\r\nGET /a?b HTTP/1.1\r\nHost: h\r\nX-\u{e9}: no\r\n\r\n";
    assert!(request(text).is_err(), "a name is ASCII");
    let text = b"\r\nGET /a?b HTTP/1.1\r\nHost: h\r\nX-A: \xff\xe9\r\n\r\nGET /next";
    let end = text.len() - b"GET /next".len();
    let mut head = RequestHead::default();
    for cut in 0..end {
        assert_eq!(head.parse(&text[..cut], Limits::default()), Ok(None), "{cut}");
    }
    for cut in end..text.len() {
        assert_eq!(head.parse(&text[..cut], Limits::default()), Ok(Some(end)));
        assert_eq!(head.target.in_buffer(text), b"/a?b");
        assert_eq!(head.fields()[1].value.in_buffer(text), b"\xff\xe9");
    }
}

#[test]
fn responses_are_read() {
    let head = response("HTTP/1.1 299 Ab \u{e9}c\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert_eq!((head.status, head.framing), (299, Framing::Length(3)));
    assert_eq!(response("HTTP/1.1 999 \r\n\r\n").unwrap().framing, Framing::UntilClose);
    for (begin, reason) in [
        (&b"HTTP/1.1 200 OK"[..], &b"OK"[..]),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.1 200 D\xe9j\xe0 vu", b"D\xe9j\xe0 vu"),
        (b"\r\nHTTP/1.0 200 \xff", b"\xff"),
    ] {
        let text = [begin, b"\r\nA: b\r\n\r\n"].concat();
        let mut head = ResponseHead::default();
        assert_eq!(head.parse(&text, Limits::default()), Ok(Some(text.len())));
        assert_eq!(head.reason.in_buffer(&text), reason);
    }
    assert!(!response("HTTP/1.0 200 OK\r\n\r\n").unwrap().keep_alive);
    for bad in [
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 20 X\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert!(response(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn some_responses_have_no_body_whatever_their_fields_say() {
    for (status, to_head) in [(200, true), (204, false), (304, false), (101, false), (103, false)] {
        assert_eq!(body_of_response(Framing::Length(5), status, to_head), Framing::None);
    }
    assert_eq!(body_of_response(Framing::Length(5), 200, false), Framing::Length(5));
}

#[test]
fn trailers_lose_what_must_not_stand_there() {
    let text = b"A: 1\r\nContent-Length: 5\r\nauthorization: x\r\nGrpc-Status: 0\r\n\r\n";
    let (length, fields) = field_lines(text, Limits::default()).unwrap().unwrap();
    assert_eq!(length, text.len());
    let names: Vec<&[u8]> = fields.iter().map(|field| field.name.in_buffer(text)).collect();
    assert_eq!(names, [&b"A"[..], b"Grpc-Status"]);
    assert!(field_lines(b"A : 1\r\n\r\n", Limits::default()).is_err());
    assert!(field_lines(b"A: 1\r\n", Limits::default()).unwrap().is_none());
}
