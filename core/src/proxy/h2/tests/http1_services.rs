//! HTTP/2 apps with services that speak HTTP/1.1.

use super::http1_apps::{CLOSE, ask};
use super::world::{Heard, World, fields, get, hear, say, token};
use crate::net::Tcp;
use crate::proxy::Upstream;
use crate::proxy::limits::HEAD_ROOM;
use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use h2::Reason;
use http::Request;

fn post() -> Request<()> {
    Request::post("http://hello/a?b").body(()).unwrap()
}

#[test]
fn a_body_without_length_goes_in_chunks_with_its_trailers() {
    let world = World::new(Upstream::Http1);
    let (heard, hears) = async_channel::bounded(1);
    world.listen("hello", false, move |mut tcp: Tcp| {
        let heard = heard.clone();
        async move {
            let request = hear(&mut tcp, "x-sum: 1\r\n\r\n").await;
            heard.send(request).await.unwrap();
            let chunks = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: 2\r\n\r\n";
            say(&mut tcp, &format!("HTTP/1.1 200 Fine\r\nX-A: \u{fc}\r\n{chunks}")).await;
        }
    });
    let (answer, request) = world.run(async {
        let mut app = world.app().await;
        let mut request = post();
        *request.headers_mut() = fields(&[("te", "trailers")]);
        for crumb in ["a=1", "b=2"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"body"), false).unwrap();
        stream.send_trailers(fields(&[("x-sum", "1")])).unwrap();
        (Heard::all(response).await.unwrap(), hears.recv().await.unwrap())
    });
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("POST /a?b HTTP/1.1"));
    assert!(lines.next().unwrap().starts_with("Host: localhost:"));
    let rest: Vec<_> = lines.collect();
    assert_eq!(rest, ["cookie: a=1; b=2", "te: trailers", "Transfer-Encoding: chunked"]);
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(answer.body, b"hello");
    assert_eq!(answer.head.headers()["x-a"].as_bytes(), "\u{fc}".as_bytes());
    assert!(answer.field("transfer-encoding").is_none());
    assert_eq!(answer.trailers.unwrap(), fields(&[("x-end", "2")]));
}

#[test]
fn lengths_stay_lengths_and_the_connection_is_kept() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        for body in ["one", "two"] {
            let request = hear(&mut tcp, body).await;
            assert!(request.contains("content-length: 3\r\n\r\n"), "{request}");
            say(&mut tcp, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n").await;
            say(&mut tcp, &format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{body}")).await;
        }
    });
    for body in ["one", "two"] {
        let mut request = post();
        *request.headers_mut() = fields(&[("content-length", "3")]);
        let heard = world.run(world.ask(request, Some(body.as_bytes())));
        assert_eq!(
            (heard.body.as_slice(), heard.field("content-length")),
            (body.as_bytes(), Some("3"))
        );
    }
    assert_eq!(world.counters.upstream_connections.get(), 1);
    assert_eq!(world.counters.upstream_reused.get(), 1);
}

#[test]
fn a_response_without_body_ends_with_its_head() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        let request = hear(&mut tcp, "\r\n\r\n").await;
        assert!(request.contains("Content-Length: 0\r\n"), "{request}");
        say(&mut tcp, "HTTP/1.1 204 No Content\r\n\r\n").await;
        hear(&mut tcp, "\r\n\r\n").await;
        say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n").await;
    });
    let heard = world.run(world.ask(post(), None));
    assert_eq!((heard.status(), heard.bare), (204, true));
    let head = Request::head("http://hello/").body(()).unwrap();
    let heard = world.run(world.ask(head, None));
    assert_eq!((heard.field("content-length"), heard.bare), (Some("99"), true));
}

#[test]
fn a_body_that_is_cut_resets_and_one_that_closes_ends() {
    let world = World::new(Upstream::Http1);
    for (name, framing) in [
        ("cut", "Content-Length: 10\r\n"),
        ("torn", "Transfer-Encoding: chunked\r\n"),
        ("hello", ""),
    ] {
        world.listen(name, false, move |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, &format!("HTTP/1.1 200 OK\r\n{framing}\r\n3\r\nabc\r\n")).await;
            tcp.close().await.unwrap();
        });
    }
    for name in ["cut", "torn"] {
        let error = world.run(async {
            let mut app = world.app().await;
            let url = format!("http://{name}/");
            Heard::all(app.send_request(get(&url), true).unwrap().0).await.unwrap_err()
        });
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{name}");
    }
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.body, b"3\r\nabc\r\n");
}

/// Whichever version the app speaks.
#[test]
fn a_response_whose_first_line_is_too_long_is_told_of_as_a_response() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "\r\n\r\n").await;
        let reason = "x".repeat(HEAD_ROOM);
        // The proxy may leave before the end of it.
        let _ = tcp.write_all(format!("HTTP/1.1 200 {reason}\r\n\r\n").as_bytes()).await;
    });
    let new = world.run(world.ask(get("http://hello/"), None));
    let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
    assert_eq!((new.status(), &old[..13]), (502, "HTTP/1.1 502 "));
    for told in [String::from_utf8(new.body).unwrap(), old] {
        let cause = "failed: runsd cannot read its response: the head is over 64 KiB";
        assert!(told.contains(cause), "{told}");
    }
}

#[test]
fn a_response_may_come_before_the_request_ends() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "first").await;
        say(&mut tcp, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n").await;
        hear(&mut tcp, "0\r\n\r\n").await;
        say(&mut tcp, "0\r\n\r\n").await;
    });
    world.run(async {
        let mut app = world.app().await;
        let (response, mut stream) = app.send_request(post(), false).unwrap();
        stream.send_data(Bytes::from_static(b"first"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "yes");
        stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert!(body.data().await.is_none_or(|data| data.unwrap().is_empty()));
    });
}

#[test]
fn a_kept_connection_that_died_is_replaced() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        // One answer, then the next request is met with a closed door.
        hear(&mut tcp, "\r\n\r\n").await;
        say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        hear(&mut tcp, "\r\n\r\n").await;
    });
    for _ in 0..3 {
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
    }
    assert_eq!(world.counters.upstream_connections.get(), 3);
}

#[test]
fn what_is_not_http_is_a_bad_gateway() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "\r\n\r\n").await;
        say(&mut tcp, "SSH-2.0-x\r\n\r\n").await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.status(), 502);
    assert!(heard.field("proxy-status").unwrap().contains("http_protocol_error"));
}

#[test]
fn each_way_to_fail_has_its_words_and_its_remedy() {
    const TWICE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1";
    for (upstream, said, words, remedy) in [
        (Upstream::Http1, "SSH-2.0-x\r\n\r\n", "cannot read its response", "send another"),
        (Upstream::Http1, TWICE, "read its response: more than one Content-Length", "send another"),
        (Upstream::Http1, "HTTP/1.1 200 OK\r\nCont", "response's head was whole", "crashed"),
        (Upstream::Http1, "", "it closed the connection before it answered", "crashed"),
        (Upstream::Http2, "HTTP/1.1 400 X\r\n\r\n", "broke a rule of HTTP/2", "set it to auto"),
        (Upstream::Http2, "", "failed: ", "crashed"),
    ] {
        let world = World::new(upstream);
        world.listen("hello", false, move |mut tcp: Tcp| async move {
            // A head, or how HTTP/2 begins.
            let _ = tcp.read(&mut [0; 4096]).await;
            say(&mut tcp, said).await;
            if remedy != "crashed" {
                let _ = tcp.read_to_end(&mut Vec::new()).await;
            }
        });
        let new = world.run(world.ask(get("http://hello/"), None));
        let new = String::from_utf8(new.body).unwrap();
        let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        for told in [new, old] {
            assert!(told.contains(words) && told.contains(remedy), "{upstream:?} {said}: {told}");
        }
    }
}

#[test]
fn an_end_without_tls_ending_is_told_in_plain_words() {
    for upstream in [Upstream::Http1, Upstream::Same] {
        let world = World::new(upstream);
        let acceptor = world.acceptor(&[b"http/1.1"]);
        world.listen("hello", true, move |tcp: Tcp| {
            let (acceptor, mut below) = (acceptor.clone(), tcp.clone());
            async move {
                let mut tls = acceptor.accept(tcp).await.unwrap();
                let _ = tls.read(&mut [0; 1024]).await.unwrap();
                below.close().await.unwrap();
                // The other direction stays open, so that nothing is reset.
                let _ = below.read_to_end(&mut Vec::new()).await;
            }
        });
        *world.tokens.ready.lock().unwrap() = token("ours");
        let new = world.run(world.ask(get("http://hello/"), None));
        let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        for told in [&old, std::str::from_utf8(&new.body).unwrap()] {
            assert!(told.contains("it closed the connection and had not ended TLS"), "{told}");
        }
        assert!(new.status() == 502 && old.contains(" 502 "), "{old}");
    }
}

#[test]
fn an_app_that_leaves_closes_the_services_connection() {
    let world = World::new(Upstream::Http1);
    let (closed, closes) = async_channel::bounded(1);
    world.listen("hello", false, move |mut tcp: Tcp| {
        let closed = closed.clone();
        async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
            let _ = tcp.read_to_end(&mut Vec::new()).await;
            closed.send(()).await.unwrap();
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let response = app.send_request(get("http://hello/"), true).unwrap().0.await.unwrap();
        drop(response);
        closes.recv().await.unwrap();
    });
}

#[test]
fn a_service_that_chooses_http1_is_spoken_to_in_it() {
    let world = World::new(Upstream::Same);
    *world.tokens.ready.lock().unwrap() = token("ours");
    let acceptor = world.acceptor(&[b"http/1.1"]);
    world.listen("hello", true, move |tcp: Tcp| {
        let acceptor = acceptor.clone();
        async move {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            for _ in 0..2 {
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    tls.read_exact(&mut byte).await.unwrap();
                    heard.push(byte[0]);
                }
                let heard = String::from_utf8(heard).unwrap();
                assert!(heard.contains("authorization: Bearer ours\r\n"), "{heard}");
                tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    });
    for _ in 0..2 {
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).body, b"ok");
    }
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn large_trailers_pass_from_inside_tls() {
    let world = World::new(Upstream::Http1);
    *world.tokens.ready.lock().unwrap() = token("ours");
    let acceptor = world.acceptor(&[b"http/1.1"]);
    let trailer = "x".repeat(60_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: {trailer}\r\n\r\n"
    );
    let said = answer.clone();
    world.listen("hello", true, move |tcp: Tcp| {
        let (acceptor, said) = (acceptor.clone(), said.clone());
        async move {
            let mut tls = acceptor.accept(tcp).await.unwrap();
            let mut room = [0; 4096];
            let _ = tls.read(&mut room).await.unwrap();
            tls.write_all(said.as_bytes()).await.unwrap();
            let _ = tls.read(&mut room).await;
        }
    });
    world.run(async {
        let heard = world.ask(get("http://hello/"), None).await;
        assert_eq!(heard.trailers.unwrap()["x-t"], trailer.as_str());
        let mut app = Tcp::connect(world.proxy).await.unwrap();
        say(&mut app, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
        assert_eq!(super::http1_apps::reply(&mut app, "x\r\n\r\n").await, answer);
    });
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "\r\n\r\n").await;
        while tcp.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    });
    assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 502);
}
