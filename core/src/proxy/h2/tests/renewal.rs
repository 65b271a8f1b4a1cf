//! What is sent once more with a new token and what is not, and that none goes out
//! in the clear, whichever versions meet.

use super::http1_apps::{CLOSE, ask, connected, reply};
use super::world::{World, fields, get, read, say, send, token};
use crate::net::Tcp;
use crate::proxy::Upstream;
use crate::proxy::limits::REPLAY;
use async_channel::Sender;
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use h2::server::SendResponse;
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const INVALID: &str = "Bearer error=\"invalid_token\"";
const REFUSAL: &str = "401 X\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\n";
const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// What the service says of the old token, by the path that is asked for.
fn verdict(path: &str) -> (u16, &'static str) {
    match path {
        "/forbidden" => (403, INVALID),
        "/realm" => (401, "Bearer realm=\"app\""),
        "/basic" => (401, "Basic realm=\"app\""),
        _ => (401, INVALID),
    }
}

/// A service over TLS, of this version, that says so to `Bearer old` alone, once it
/// has read the body; how many requests it has heard. `/ever` is refused to all, and
/// there are more tokens to be had than anybody should ask for.
pub(super) fn service(world: &World, upstream: Upstream) -> Arc<AtomicUsize> {
    let heard = Arc::new(AtomicUsize::new(0));
    let (count, counted) = (heard.clone(), heard.clone());
    let tokens = world.tokens.clone();
    let refuses = move |path: &str, old: bool| {
        if path == "/ever" && counted.load(Ordering::Relaxed) < 9 {
            *tokens.next.lock().unwrap() = token("another");
        }
        old || path == "/ever"
    };
    if upstream == Upstream::Http2 {
        world.tls_service("hello", move |request, mut respond: SendResponse<Bytes>| {
            count.fetch_add(1, Ordering::Relaxed);
            let refuses = refuses.clone();
            async move {
                let (head, mut body) = request.into_parts();
                let _ = read(&mut body).await;
                let mut response = Response::new(());
                if refuses(head.uri.path(), head.headers["authorization"] == "Bearer old") {
                    let (status, challenge) = verdict(head.uri.path());
                    *response.status_mut() = status.try_into().unwrap();
                    *response.headers_mut() = fields(&[("www-authenticate", challenge)]);
                }
                // The app may not be interested.
                let _ = respond.send_response(response, true);
            }
        });
        return heard;
    }
    let acceptor = world.acceptor(&[b"http/1.1"]);
    world.listen("hello", true, move |tcp: Tcp| {
        let (acceptor, count, refuses) = (acceptor.clone(), count.clone(), refuses.clone());
        async move {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            let (mut text, mut piece) = (Vec::new(), [0; 64 * 1024]);
            while let Ok(1..) = tls.read(&mut piece[..1]).await {
                text.push(piece[0]);
                if !text.ends_with(b"\r\n\r\n") {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let head = String::from_utf8(std::mem::take(&mut text)).unwrap().to_lowercase();
                let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
                let mut left: usize = length.lines().next().unwrap().parse().unwrap();
                while left > 0 {
                    let count = tls.read(&mut piece[..left.min(64 * 1024)]).await.unwrap();
                    assert!(count > 0, "the body was cut");
                    left -= count;
                }
                let path = head.split(' ').nth(1).unwrap();
                let old = head.contains("\r\nauthorization: bearer old\r\n");
                let (status, challenge) =
                    if refuses(path, old) { verdict(path) } else { (200, "none") };
                let answer = format!("HTTP/1.1 {status} X\r\nWWW-Authenticate: {challenge}\r\n");
                let answer = format!("{answer}Content-Length: 0\r\n\r\n");
                tls.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    heard
}

/// The status that an app of either version gets for this.
fn status(
    world: &World,
    http2: bool,
    path: &str,
    own: &[(&'static str, &str)],
    length: usize,
) -> u16 {
    if http2 {
        return world.run(async {
            let mut app = world.app().await;
            let mut request = Request::post(format!("http://hello{path}")).body(()).unwrap();
            *request.headers_mut() = fields(own);
            let size = length.into();
            request.headers_mut().insert("content-length", size);
            let (response, mut stream) = app.send_request(request, length == 0).unwrap();
            if length > 0 {
                send(&mut stream, vec![7; length].into()).await.unwrap();
                stream.send_data(Bytes::new(), true).unwrap();
            }
            response.await.unwrap().status().as_u16()
        });
    }
    let own: String = own.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\n{own}Content-Length: {length}\r\n{CLOSE}");
    let heard = world.run(ask(world, &(head + &"7".repeat(length))));
    heard.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn only_a_refused_token_of_ours_is_renewed_and_only_what_was_kept_is_sent_again() {
    const OWN: &[(&str, &str)] =
        &[("authorization", "Bearer old"), ("x-serverless-authorization", "Bearer a.b.c")];
    for (upstream, http2) in [
        (Upstream::Http1, false),
        (Upstream::Http1, true),
        (Upstream::Http2, false),
        (Upstream::Http2, true),
    ] {
        let world = World::new(upstream);
        let heard = service(&world, upstream);
        for (path, own, length, expected, requests) in [
            ("/", &[][..], 0, 200, 2),
            ("/", &[], REPLAY, 200, 2),
            ("/", &[], REPLAY + 1, 401, 1),
            ("/", OWN, 0, 401, 1),
            ("/forbidden", &[], 0, 403, 1),
            ("/realm", &[], 0, 401, 1),
            ("/basic", &[], 0, 401, 1),
        ] {
            *world.tokens.ready.lock().unwrap() = token("old");
            *world.tokens.next.lock().unwrap() = token("new");
            heard.store(0, Ordering::Relaxed);
            let got = status(&world, http2, path, own, length);
            let case = format!("{upstream:?} {http2} {path} {own:?} {length}");
            assert_eq!((got, heard.load(Ordering::Relaxed)), (expected, requests), "{case}");
            let is_left = world.tokens.next.lock().unwrap().is_some();
            assert_eq!(is_left, requests == 1, "{case}");
        }
    }
}

/// A service that is never content would otherwise be asked for as long as tokens
/// come.
#[test]
fn a_request_gets_another_token_once() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        for http2 in [false, true] {
            let world = World::new(upstream);
            let heard = service(&world, upstream);
            *world.tokens.ready.lock().unwrap() = token("old");
            let got = status(&world, http2, "/ever", &[], 0);
            assert_eq!((got, heard.load(Ordering::Relaxed)), (401, 2), "{upstream:?} {http2}");
            assert!(world.tokens.next.lock().unwrap().is_some(), "there would have been more");
        }
    }
}

#[test]
fn none_goes_out_in_the_clear() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        *world.tokens.ready.lock().unwrap() = token("ours");
        let hears = world.hears("hello", upstream);
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 204);
        world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        for _ in 0..2 {
            let head = world.run(hears.recv()).unwrap().to_lowercase();
            assert!(!head.contains("authorization") && !head.contains("ours"), "{head}");
        }
    }
}

/// A service over TLS, of this version, that takes requests with `Bearer new` alone
/// and refuses others before their body. It tells when it has taken one, whose body is
/// to be this.
fn hasty(world: &World, upstream: Upstream, body: &'static str, tell: Sender<()>) {
    if upstream == Upstream::Http2 {
        world.tls_service("hello", move |request, mut respond: SendResponse<Bytes>| {
            let tell = tell.clone();
            async move {
                let (head, mut stream) = request.into_parts();
                let mut response = Response::new(());
                if head.headers["authorization"] != "Bearer new" {
                    *response.status_mut() = 401.try_into().unwrap();
                    *response.headers_mut() = fields(&[("www-authenticate", INVALID)]);
                    respond.send_response(response, true).unwrap();
                    return;
                }
                tell.send(()).await.unwrap();
                if head.headers.contains_key("expect") {
                    let go_on = Response::builder().status(100).body(()).unwrap();
                    respond.send_informational(go_on).unwrap();
                }
                assert_eq!(read(&mut stream).await.unwrap(), body.as_bytes());
                respond.send_response(response, true).unwrap();
            }
        });
        return;
    }
    hasty_http1(world, body, (tell, false));
}

/// The same over HTTP/1.1, for the bytes of a body in its frames; one that `invites`
/// asks for the body first.
fn hasty_http1(world: &World, body: &'static str, (tell, invites): (Sender<()>, bool)) {
    let acceptor = world.acceptor(&[b"http/1.1"]);
    world.listen("hello", true, move |tcp: Tcp| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            while let Some(head) = until(&mut tls, "\r\n\r\n").await {
                let head = head.to_lowercase();
                let takes = head.contains("\r\nauthorization: bearer new\r\n");
                if head.contains("\r\nexpect: ") && (takes || invites) {
                    tls.write_all(GO_ON.as_bytes()).await.unwrap();
                }
                let answer = if takes { "200 OK\r\n" } else { REFUSAL };
                let answer = format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n");
                if takes {
                    tell.send(()).await.unwrap();
                    assert_eq!(until(&mut tls, body).await.as_deref(), Some(body));
                }
                tls.write_all(answer.as_bytes()).await.unwrap();
                // Not to reset what has been said.
                if !takes && until(&mut tls, body).await.is_none() {
                    return;
                }
            }
        }
    });
}

/// Reads until the text ends with `end`; `None` if the peer ends before.
async fn until(io: &mut (impl AsyncRead + Unpin), end: &str) -> Option<String> {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with(end) {
        io.read_exact(&mut byte).await.ok()?;
        text.push(byte[0].into());
    }
    Some(text)
}

/// The platform refuses a token when it sees it, however much of the body is there.
#[test]
fn a_token_that_is_refused_before_the_body_is_there_is_renewed_all_the_same() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        for expects in [false, true] {
            let world = World::new(upstream);
            let (tell, told) = async_channel::unbounded();
            hasty(&world, upstream, "begin, end", tell);
            let renew = || {
                *world.tokens.ready.lock().unwrap() = token("old");
                *world.tokens.next.lock().unwrap() = token("new");
            };
            renew();
            let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
            let heard = world.run(async {
                let mut app = connected(&world).await;
                let head = format!("POST / HTTP/1.1\r\n{expect}Content-Length: 10\r\n{CLOSE}");
                say(&mut app, &(head + if expects { "" } else { "begin, " })).await;
                told.recv().await.unwrap();
                if expects {
                    assert_eq!(reply(&mut app, "\r\n\r\n").await, GO_ON);
                }
                say(&mut app, if expects { "begin, end" } else { "end" }).await;
                reply(&mut app, "").await
            });
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{upstream:?} {expects}: {heard}");
            renew();
            let status = world.run(async {
                let mut app = world.app().await;
                let request = Request::post("http://hello/").header("content-length", 10);
                let (response, mut send) =
                    app.send_request(request.body(()).unwrap(), false).unwrap();
                send.send_data("begin, ".into(), false).unwrap();
                told.recv().await.unwrap();
                send.send_data("end".into(), true).unwrap();
                response.await.unwrap().status()
            });
            assert_eq!(status, 200, "{upstream:?}");
        }
    }
}

#[test]
fn a_body_that_was_cut_in_a_chunk_goes_out_whole_with_another_token() {
    let world = World::new(Upstream::Http1);
    let (tell, told) = async_channel::unbounded();
    hasty(&world, Upstream::Http1, "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", tell);
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    world.run(async {
        let mut app = connected(&world).await;
        let head = "POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n";
        say(&mut app, &format!("{head}3\r\nabc\r\n3")).await;
        told.recv().await.unwrap();
        say(&mut app, "\r\ndef\r\n0\r\n\r\n").await;
        assert!(reply(&mut app, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        // The connection goes on.
        *world.tokens.ready.lock().unwrap() = token("new");
        say(&mut app, &format!("{head}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")).await;
        assert!(reply(&mut app, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

/// Whether there is another token or not, whether the app sends its body unasked or has
/// been asked for it: it is neither lost nor cut, and its connection goes on.
#[test]
fn a_token_that_is_refused_early_costs_the_app_neither_body_nor_connection() {
    const BODY: &str = "begin, end";
    for (invites, renewed) in [(false, false), (true, false), (true, true)] {
        let world = World::new(Upstream::Http1);
        let (tell, told) = async_channel::unbounded();
        hasty_http1(&world, BODY, (tell, invites));
        *world.tokens.ready.lock().unwrap() = token("old");
        *world.tokens.next.lock().unwrap() = if renewed { token("new") } else { None };
        let expect = if invites { "Expect: 100-continue\r\n" } else { "" };
        let head = format!("POST / HTTP/1.1\r\nHost: hello\r\n{expect}Content-Length: 10\r\n\r\n");
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, &head).await;
            if invites {
                assert_eq!(reply(&mut app, "\r\n\r\n").await, GO_ON);
            } else {
                say(&mut app, "begin, ").await;
            }
            if renewed {
                told.recv().await.unwrap();
                assert_eq!(reply(&mut app, "\r\n\r\n").await, GO_ON, "the other service's");
            } else {
                let refused = reply(&mut app, "\r\n\r\n").await;
                assert!(refused.starts_with("HTTP/1.1 401 X\r\n"), "{refused}");
                assert!(!refused.contains("Connection: close"), "{invites}: {refused}");
                *world.tokens.ready.lock().unwrap() = token("new");
            }
            say(&mut app, if invites { BODY } else { "end" }).await;
            if !renewed {
                say(&mut app, &format!("{}{BODY}", head.replace(expect, ""))).await;
                told.recv().await.unwrap();
            }
            let taken = reply(&mut app, "\r\n\r\n").await;
            assert!(taken.starts_with("HTTP/1.1 200 OK\r\n"), "{invites} {renewed}: {taken}");
        });
    }
}
