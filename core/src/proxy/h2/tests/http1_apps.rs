//! HTTP/1.1 apps with services that speak HTTP/2.

use super::world::{World, fields, read, say, send};
use crate::net::Tcp;
use crate::proxy::Upstream;
use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use h2::server::SendResponse;
use http::{Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub async fn connected(world: &World) -> Tcp {
    Tcp::connect(world.proxy).await.unwrap()
}

/// Reads until the text ends with `until`; an empty one reads to the end.
pub async fn reply(app: &mut Tcp, until: &str) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while until.is_empty() || !text.ends_with(until.as_bytes()) {
        match app.read(&mut byte).await.unwrap() {
            0 if until.is_empty() => break,
            0 => panic!("ended after {:?}", String::from_utf8_lossy(&text)),
            _ => text.push(byte[0]),
        }
    }
    String::from_utf8(text).unwrap()
}

/// A service that answers with what it has heard: the head in lines, then the
/// body and the trailers.
fn mirror(world: &World) {
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let (head, mut body) = request.into_parts();
        let mut said = format!("{} {}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            said.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        said.push_str(&format!("bare: {}\n", body.is_end_stream()));
        said.push_str(&String::from_utf8(read(&mut body).await.unwrap()).unwrap());
        if let Some(trailers) = body.trailers().await.unwrap() {
            said.push_str(&format!("\n{trailers:?}"));
        }
        let response = Response::builder().header("content-length", said.len());
        let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
        send(&mut stream, said.into()).await.unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
    });
}

/// A service that says these fields, and then this body unless the head ends it.
pub fn says(world: &World, status: u16, said: &'static [(&str, &str)], body: Option<&'static str>) {
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| async move {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = fields(said);
        let mut stream = respond.send_response(response, body.is_none()).unwrap();
        if let Some(body) = body {
            stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
        }
    });
}

pub async fn ask(world: &World, request: &str) -> String {
    let mut app = connected(world).await;
    say(&mut app, request).await;
    reply(&mut app, "").await
}

pub const CLOSE: &str = "Host: hello\r\nConnection: close\r\n\r\n";

#[test]
fn the_head_is_the_apps_in_the_form_of_http2() {
    let world = World::new(Upstream::Http2);
    mirror(&world);
    let heard = world.run(ask(
        &world,
        "QUERY //a/../b%zz?c;d HTTP/1.1\r\nHost: hello\r\nX-B: 1\r\nx-A: \u{fc}\r\nCookie: c=1\r\n\
         Keep-Alive: 5\r\nTE: gzip, trailers\r\nx-b: 2\r\nX-Gone: 1\r\n\
         Connection: close, x-gone, host, content-length\r\nContent-Length: 2\r\n\r\nhi",
    ));
    let said = heard.split_once("\r\n\r\n").unwrap().1;
    let (line, rest) = said.split_once('\n').unwrap();
    assert!(line.starts_with("QUERY http://localhost:"), "{line}");
    assert!(line.ends_with("//a/../b%zz?c;d"), "{line}");
    let mut lines: Vec<_> = rest.lines().collect();
    assert_eq!(lines.pop(), Some("hi"));
    lines.sort_unstable();
    let expected =
        ["bare: false", "content-length: 2", "cookie: c=1", "te: trailers", "x-a: \u{fc}"];
    assert_eq!(lines[..5], expected);
    assert_eq!(lines[5..], ["x-b: 1", "x-b: 2"]);
}

#[test]
fn requests_share_one_connection_and_the_apps_goes_on() {
    let world = World::new(Upstream::Http2);
    says(&world, 299, &[("set-cookie", "a=1"), ("set-cookie", "b=2")], Some("ok"));
    world.run(async {
        let (mut one, mut two) = (connected(&world).await, connected(&world).await);
        for app in [&mut one, &mut two] {
            // The second is sent ahead.
            say(app, "GET / HTTP/1.1\r\nHost: hello\r\n\r\nGET / HTTP/1.1\r\nHost: hello\r\n\r\n")
                .await;
            for _ in 0..2 {
                let heard = reply(app, "2\r\nok\r\n0\r\n\r\n").await;
                assert_eq!(
                    heard,
                    "HTTP/1.1 299 \r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
                     Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                );
            }
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
    assert_eq!(world.counters.upstream_reused.get(), 3);
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let mut body = request.into_body();
        assert_eq!(read(&mut body).await.unwrap(), b"abcd");
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers, fields(&[("x-up", "1")]));
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"down"), false).unwrap();
        stream.send_trailers(fields(&[("x-down", "2"), ("content-length", "9")])).unwrap();
    });
    let heard = world.run(ask(
        &world,
        "POST / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;ext=1\r\nabc\r\n1\r\nd\r\n0\r\nX-Up: 1\r\nAuthorization: no\r\n\r\n",
    ));
    let body = heard.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, "4\r\ndown\r\n0\r\nx-down: 2\r\n\r\n");
}

#[test]
fn bodies_end_as_the_version_and_the_status_say() {
    let get = |version: &str| format!("GET / HTTP/{version}\r\n{CLOSE}");
    let head = format!("HEAD / HTTP/1.1\r\n{CLOSE}");
    let long: &[(&str, &str)] = &[("content-length", "2")];
    for (request, status, said, body, expected) in [
        (get("1.1"), 200, &[][..], Some("ok"), "Transfer-Encoding: chunked|2\r\nok\r\n0\r\n\r\n"),
        (get("1.0"), 200, &[], Some("ok"), "|ok"),
        (get("1.1"), 200, long, Some("ok"), "content-length: 2|ok"),
        (get("1.1"), 200, &[], None, "Content-Length: 0|"),
        (get("1.1"), 204, &[], None, "|"),
        (get("1.1"), 304, long, None, "content-length: 2|"),
        (head.clone(), 200, long, None, "content-length: 2|"),
        (head.clone(), 200, &[], None, "|"),
    ] {
        let world = World::new(Upstream::Http2);
        says(&world, status, said, body);
        let heard = world.run(ask(&world, &request));
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        let (fields, sent) = expected.split_once('|').unwrap();
        let mut lines: Vec<_> = head.lines().skip(1).collect();
        assert_eq!(lines.pop(), Some("Connection: close"), "{heard}");
        assert_eq!((lines.join(","), body), (fields.to_owned(), sent), "{request} {status}");
    }
}

#[test]
fn an_http10_app_that_wants_it_keeps_its_connection() {
    let world = World::new(Upstream::Http2);
    says(&world, 200, &[("content-length", "2")], Some("ok"));
    world.run(async {
        let mut app = connected(&world).await;
        for _ in 0..2 {
            say(&mut app, "GET / HTTP/1.0\r\nHost: hello\r\nConnection: keep-alive\r\n\r\n").await;
            let heard = reply(&mut app, "ok").await;
            assert!(heard.contains("Connection: keep-alive\r\n"), "{heard}");
        }
    });
}

/// Interim responses, and a body that waits for one.
fn patient(world: &World) {
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        assert_eq!(request.headers()["expect"], "100-continue");
        for (status, link) in [(103, "x"), (100, "y")] {
            let interim = Response::builder().status(status).header("link", link);
            respond.send_informational(interim.body(()).unwrap()).unwrap();
        }
        let body = read(&mut request.into_body()).await.unwrap();
        let length = Response::builder().header("content-length", body.len());
        let mut stream = respond.send_response(length.body(()).unwrap(), false).unwrap();
        stream.send_data(body.into(), true).unwrap();
    });
}

#[test]
fn interim_answers_pass_in_order_and_a_waiting_body_gets_its_word() {
    let world = World::new(Upstream::Http2);
    patient(&world);
    let post = |version: &str| {
        format!(
            "POST / HTTP/{version}\r\nHost: hello\r\nExpect: 100-continue\r\n\
             Content-Length: 4\r\n\r\n"
        )
    };
    world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, &post("1.1")).await;
        let interim = reply(&mut app, "link: y\r\n\r\n").await;
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                        HTTP/1.1 100 Continue\r\nlink: y\r\n\r\n";
        assert_eq!(interim, expected);
        say(&mut app, "body").await;
        assert!(reply(&mut app, "body").await.starts_with("HTTP/1.1 200 OK\r\n"));
        let mut old = connected(&world).await;
        say(&mut old, &(post("1.0") + "body")).await;
        assert!(reply(&mut old, "body").await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn a_refusal_before_the_waiting_body_ends_the_connection() {
    let world = World::new(Upstream::Http2);
    says(&world, 417, &[], None);
    let request =
        "POST / HTTP/1.1\r\nHost: hello\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let heard = world.run(ask(&world, request));
    assert!(heard.starts_with("HTTP/1.1 417 Expectation Failed\r\n"), "{heard}");
    assert!(heard.contains("Connection: close\r\n"), "{heard}");
}

#[test]
fn both_directions_flow_at_once() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            send(&mut stream, data).await.unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, "POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        reply(&mut app, "\r\n\r\n").await;
        for word in ["one", "two"] {
            say(&mut app, &format!("3\r\n{word}\r\n")).await;
            assert_eq!(reply(&mut app, word).await, format!("3\r\n{word}"));
            reply(&mut app, "\r\n").await;
        }
        say(&mut app, "0\r\n\r\n").await;
        reply(&mut app, "0\r\n\r\n").await;
        // The connection is still good.
        say(&mut app, &format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
        reply(&mut app, "").await;
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn ten_megabytes_go_both_ways_and_a_stalled_app_holds_little() {
    const LARGE: usize = 10 * 1024 * 1024;
    let world = World::new(Upstream::Http2);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let counted = counted.clone();
        async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                counted.fetch_add(data.len(), Ordering::Relaxed);
                send(&mut stream, data).await.unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
    });
    world.run(async {
        let mut app = connected(&world).await;
        let head = format!("POST / HTTP/1.1\r\nHost: hello\r\nContent-Length: {LARGE}\r\n\r\n");
        say(&mut app, &head).await;
        let mut sender = app.clone();
        let sending = async { sender.write_all(&vec![7; LARGE]).await.unwrap() };
        let reading = async {
            let held = super::bodies::settled(&taken).await;
            // The kernel's buffers on loopback hold most of it.
            assert!(held < LARGE, "{held} bytes for an app that does not read");
            hear_chunks(&mut app).await
        };
        let ((), length) = futures_lite::future::zip(sending, reading).await;
        assert_eq!(length, LARGE);
    });
}

/// Reads a chunked response whose payload is all sevens; its length.
async fn hear_chunks(app: &mut Tcp) -> usize {
    let (mut count, mut tail, mut piece) = (0, Vec::new(), vec![0; 64 * 1024]);
    while !tail.ends_with(b"\r\n0\r\n\r\n") {
        let read = app.read(&mut piece).await.unwrap();
        assert!(read > 0);
        count += piece[..read].iter().filter(|byte| **byte == 7).count();
        tail.extend_from_slice(&piece[..read]);
        tail.drain(..tail.len().saturating_sub(8));
    }
    count
}

#[test]
fn every_star_reaches_the_service() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        assert_eq!(request.uri().path(), "*");
        respond.send_response(Response::new(()), true).unwrap();
    });
    for target in ["*", "http://hello", "http://hello:80"] {
        let heard = world.run(ask(&world, &format!("OPTIONS {target} HTTP/1.1\r\n{CLOSE}")));
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {heard}");
    }
}

#[test]
fn a_name_that_was_looked_up_has_its_connection() {
    let world = World::new(Upstream::Http2);
    mirror(&world);
    world.run(async {
        world.warm("hello");
        world.warm("hello");
        while world.counters.upstream_connections.get() == 0 {
            futures_lite::future::yield_now().await;
        }
        ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn a_look_up_whose_warm_up_broke_is_warmed_again() {
    for upstream in [Upstream::Same, Upstream::Http2] {
        let world = World::new(upstream);
        world.lead_to("hello", "panic", world.proxy, false);
        for panics in 1..=3 {
            world.warm("hello");
            world.run(async {
                while world.counters.panics.get() < panics {
                    futures_lite::future::yield_now().await;
                }
            });
            assert_eq!(world.counters.panics.get(), panics, "{upstream:?}");
        }
        let heard = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
    }
}
