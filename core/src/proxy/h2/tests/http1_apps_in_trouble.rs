//! HTTP/1.1 apps with services that speak HTTP/2, or say so: what is cut,
//! refused, tried again, or sent by HTTP/1.1 after all.

use super::http1_apps::{CLOSE, ask, connected, reply, says};
use super::world::{World, fields, hear, read, say, send, streams, token};
use crate::net::{Tcp, TokioIo};
use crate::proxy::Upstream;
use crate::proxy::limits::{HEAD_ROOM, INTERIM};
use bytes::Bytes;
use futures_lite::AsyncReadExt;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::{Response, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_response_that_is_cut_never_ends_well() {
    for length in [&[][..], &[("content-length", "9")]] {
        let world = World::new(Upstream::Http2);
        let (read, is_read) = async_channel::bounded::<()>(1);
        world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
            let is_read = is_read.clone();
            async move {
                let mut response = Response::new(());
                *response.headers_mut() = fields(length);
                let mut stream = respond.send_response(response, false).unwrap();
                send(&mut stream, Bytes::from_static(b"part")).await.unwrap();
                is_read.recv().await.unwrap();
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        });
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, &format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
            reply(&mut app, "part").await;
            read.send(()).await.unwrap();
            let end = app.read_to_end(&mut Vec::new()).await;
            assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}

#[test]
fn a_reset_before_the_response_is_a_bad_gateway() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_reset(Reason::INTERNAL_ERROR);
    });
    let heard = world.run(ask(&world, &format!("POST / HTTP/1.1\r\n{CLOSE}")));
    assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
    assert!(heard.contains("Proxy-Status: runsd; error=http_protocol_error"), "{heard}");
}

#[test]
fn lengths_that_could_be_read_in_two_ways_are_refused() {
    let world = World::new(Upstream::Http2);
    says(&world, 200, &[("content-length", "2"), ("content-length", "2")], Some("ok"));
    let heard = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
    assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
}

#[test]
fn a_body_that_is_none_is_told_and_cancelled() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let _ = read(&mut request.into_body()).await.unwrap_err();
        respond.send_reset(Reason::CANCEL);
    });
    let heard = world.run(ask(
        &world,
        "POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ));
    assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
}

#[test]
fn trailers_of_an_app_that_are_too_long_or_too_many_are_told_as_such() {
    let (long, many) = (format!("X: {}\r\n", "x".repeat(HEAD_ROOM)), "X: x\r\n".repeat(257));
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        world.listen("hello", false, |mut tcp: Tcp| async move {
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        });
        if upstream == Upstream::Http2 {
            world.service("hello", |request, _: SendResponse<Bytes>| async move {
                read(&mut request.into_body()).await.unwrap_err();
            });
        }
        for (trailers, told) in [(&long, "trailers over 64 KiB"), (&many, "over 256 fields")] {
            let head = "POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
            let heard = world.run(ask(&world, &format!("{head}{trailers}\r\n")));
            assert!(heard.starts_with("HTTP/1.1 431 "), "{upstream:?}: {heard}");
            assert!(heard.contains(told), "{upstream:?}: {heard}");
        }
    }
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    let world = World::new(Upstream::Http2);
    let (reset, resets) = async_channel::bounded(1);
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let reset = reset.clone();
        async move {
            for _ in 0..=INTERIM {
                let interim = Response::builder().status(103).body(()).unwrap();
                respond.send_informational(interim).unwrap();
            }
            let told = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            reset.send(told.unwrap()).await.unwrap();
        }
    });
    let heard = world.run(ask(&world, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n"));
    assert_eq!(heard.matches("HTTP/1.1 103 ").count(), INTERIM);
    assert!(heard.contains("\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
    world.run(resets.recv()).unwrap();
}

#[test]
fn what_http2_cannot_carry_goes_by_http1() {
    for target in ["/a#b", "/a\\b<c>"] {
        let world = World::new(Upstream::Http2);
        world.listen("hello", false, |mut tcp: Tcp| async move {
            let heard = hear(&mut tcp, "\r\n\r\n").await;
            let line = heard.lines().next().unwrap();
            say(&mut tcp, &format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{line}")).await;
        });
        let heard = world.run(ask(&world, &format!("GET {target} HTTP/1.1\r\n{CLOSE}")));
        assert!(heard.contains(&format!("GET {target} HTTP/1.1")), "{heard}");
    }
}

#[test]
fn an_upgrade_goes_by_http1() {
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "Upgrade: echo\r\n\r\n").await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n";
        say(&mut tcp, &format!("{head}\r\nhi")).await;
    });
    let request = "GET / HTTP/1.1\r\nHost: hello\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, request).await;
        reply(&mut app, "\r\n\r\nhi").await;
    });
}

#[test]
fn a_refused_stream_and_a_refused_token_are_tried_again_with_the_body() {
    let world = World::new(Upstream::Http2);
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    world.tls_service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            let (head, mut body) = request.into_parts();
            let heard = read(&mut body).await.unwrap();
            assert_eq!(heard, b"a body");
            if number == 0 {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let mut response = Response::new(());
            if head.headers["authorization"] == "Bearer old" {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                *response.headers_mut() =
                    fields(&[("www-authenticate", "Bearer error=\"invalid_token\"")]);
                respond.send_response(response, true).unwrap();
                return;
            }
            *response.headers_mut() = fields(&[("location", "https://localhost/x")]);
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(heard.into(), true).unwrap();
        }
    });
    for request in [
        "POST / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\nContent-Length: 6\r\n\r\na body",
        "POST / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\na \r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        *world.tokens.next.lock().unwrap() = token("new");
        let heard = world.run(ask(&world, request));
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
        assert!(heard.contains("a body"), "{heard}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

#[test]
fn a_service_that_wants_http1_gets_the_same_request() {
    for body in [
        "Content-Length: 6\r\n\r\na body",
        "Transfer-Encoding: chunked\r\n\r\n2\r\na \r\n4\r\nbody\r\n0\r\nX-End: 1\r\n\r\n",
    ] {
        let world = World::new(Upstream::Http2);
        let (tasks, connections) = (world.tasks.clone(), Arc::new(AtomicUsize::new(0)));
        world.listen("hello", false, move |mut tcp: Tcp| {
            let (number, tasks) = (connections.fetch_add(1, Ordering::Relaxed), tasks.clone());
            async move {
                if number > 0 {
                    let end = if body.contains("X-End") { "x-end: 1\r\n\r\n" } else { "body" };
                    let heard = hear(&mut tcp, end).await;
                    assert!(heard.contains("\r\nX-Case: kept\r\n"), "{heard}");
                    say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    return;
                }
                let handle = |request: http::Request<h2::RecvStream>,
                              mut respond: SendResponse<Bytes>| async move {
                    read(&mut request.into_body()).await.unwrap();
                    respond.send_reset(Reason::HTTP_1_1_REQUIRED);
                };
                streams(TokioIo::new(tcp), Builder::new(), tasks, handle).await;
            }
        });
        let head = "POST / HTTP/1.1\r\nHost: hello\r\nX-Case: kept\r\nConnection: close\r\n";
        let heard = world.run(ask(&world, &format!("{head}{body}")));
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
    }
}

#[test]
fn a_connection_that_died_is_replaced() {
    let world = World::new(Upstream::Http2);
    let (tasks, (go, goes)) = (world.tasks.clone(), async_channel::bounded::<()>(1));
    let (gone, goings) = async_channel::bounded(1);
    world.listen("hello", false, move |tcp: Tcp| {
        let (tasks, socket) = (tasks.clone(), tcp.clone());
        let (goes, gone) = (goes.clone(), gone.clone());
        let handle = move |_, mut respond: SendResponse<Bytes>| {
            let (socket, goes, gone) = (socket.clone(), goes.clone(), gone.clone());
            async move {
                respond.send_response(Response::new(()), true).unwrap();
                goes.recv().await.unwrap();
                socket.shutdown(std::net::Shutdown::Both).unwrap();
                gone.send(()).await.unwrap();
            }
        };
        streams(TokioIo::new(tcp), Builder::new(), tasks, handle)
    });
    world.run(async {
        for _ in 0..3 {
            let heard = ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
            go.send(()).await.unwrap();
            goings.recv().await.unwrap();
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 3);
}

#[test]
fn an_answer_that_needs_no_body_saves_what_it_can() {
    let world = World::new(Upstream::Http2);
    says(&world, 200, &[("content-length", "2")], Some("ok"));
    let request = "POST / HTTP/1.1\r\nHost: hello\r\nContent-Length: 100\r\n\r\npart";
    let heard = world.run(ask(&world, request));
    assert!(heard.ends_with("\r\n\r\nok"), "{heard}");
}

#[test]
fn apps_that_leave_leave_nothing_behind() {
    let world = World::new(Upstream::Http2);
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            let _body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            // More than the windows of the connection would take, were any lost.
            let _ = send(&mut stream, vec![0; 64 * 1024].into()).await;
            let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            count.fetch_sub(1, Ordering::Relaxed);
        }
    });
    world.run(async {
        for number in 0..2000 {
            let mut app = connected(&world).await;
            let rest = if number % 2 == 0 { "Content-Length: 9\r\n\r\npart" } else { "\r\n" };
            say(&mut app, &format!("POST / HTTP/1.1\r\nHost: hello\r\n{rest}")).await;
            reply(&mut app, "\r\n\r\n").await;
        }
        while open.load(Ordering::Relaxed) > 0 {
            futures_lite::future::yield_now().await;
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
    assert_eq!(world.counters.panics.get(), 0);
}

#[test]
fn a_response_to_head_is_over_with_its_head() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        // It never ends the stream by itself.
        let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
    });
    world.run(async {
        let mut app = connected(&world).await;
        for _ in 0..2 {
            say(&mut app, "HEAD / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
            assert_eq!(reply(&mut app, "\r\n\r\n").await, "HTTP/1.1 200 OK\r\n\r\n");
        }
    });
}
