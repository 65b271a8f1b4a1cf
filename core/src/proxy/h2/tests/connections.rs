//! The pool: when connections are shared, added, left and tried again.

use super::http1_apps::{CLOSE, ask};
use super::world::{Heard, World, get, streams, token};
use crate::names::Directory;
use crate::net::{Tcp, TokioIo};
use crate::proxy::Upstream;
use crate::proxy::testing::refusing;
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, SendStream};
use http::{Method, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn requests_share_a_connection_that_is_dialled_once() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_response(Response::new(()), true).unwrap();
    });
    world.run(async {
        let app = world.app().await;
        let mut responses = Vec::new();
        for _ in 0..50 {
            let mut app = app.clone();
            responses.push(app.send_request(get("http://hello/"), true).unwrap().0);
        }
        for response in responses {
            assert_eq!(response.await.unwrap().status(), 200);
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
    assert_eq!(world.counters.upstream_reused.get(), 49);
}

/// Names of one service share what is on its way to it.
#[test]
fn a_dial_that_fails_is_told_by_the_name_that_was_called() {
    for upstream in [Upstream::Http2, Upstream::Http1] {
        let world = World::new(upstream);
        let (break_off, breaks_off) = async_channel::bounded::<()>(1);
        world.listen("hello", true, move |tcp| {
            let breaks_off = breaks_off.clone();
            async move {
                let _ = breaks_off.recv().await;
                drop(tcp);
            }
        });
        let port = world.names.target("hello").unwrap().port;
        world.lead("hello.us-east1", ([127, 0, 0, 1], port).into(), true);
        *world.tokens.ready.lock().unwrap() = token("t");
        let told = world.run(async {
            world.warm("hello");
            let mut app = world.app().await;
            let request = get("http://hello.us-east1/");
            let (response, _) = app.send_request(request, true).unwrap();
            while world.counters.proxy_requests.get() == 0 {
                futures_lite::future::yield_now().await;
            }
            break_off.close();
            String::from_utf8(Heard::all(response).await.unwrap().body).unwrap()
        });
        assert!(told.contains("cannot reach hello.us-east1: "), "{upstream:?} {told}");
    }
}

#[test]
fn at_the_peers_limit_another_connection_is_opened() {
    let world = World::new(Upstream::Http2);
    let (tasks, (go, goes)) = (world.tasks.clone(), async_channel::bounded::<()>(1));
    world.listen("hello", false, move |tcp| {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(1);
        let goes = goes.clone();
        streams(
            TokioIo::new(tcp),
            builder,
            tasks.clone(),
            move |_, mut respond: SendResponse<Bytes>| {
                let goes = goes.clone();
                async move {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let _ = goes.recv().await;
                    let _ = stream.send_data(Bytes::new(), true);
                }
            },
        )
    });
    world.run(async {
        let mut app = world.app().await;
        let mut open = Vec::new();
        for _ in 0..3 {
            app = app.ready().await.unwrap();
            let (response, _) = app.send_request(get("http://hello/"), true).unwrap();
            open.push(response.await.unwrap());
        }
        assert_eq!(world.counters.upstream_connections.get(), 3);
        go.close();
    });
}

#[test]
fn a_refused_stream_is_tried_once_more_elsewhere() {
    let world = World::new(Upstream::Http2);
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let body = super::world::read(&mut request.into_body()).await.unwrap();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(body.into(), true).unwrap();
        }
    });
    let request = Request::post("http://hello/").body(()).unwrap();
    let heard = world.run(world.ask(request, Some(b"again")));
    assert_eq!((heard.status(), heard.body.as_slice()), (200, b"again".as_slice()));
    assert_eq!(refused.load(Ordering::Relaxed), 2);
    assert_eq!(world.counters.upstream_connections.get(), 2);
}

#[test]
fn a_connection_that_goes_away_is_left_for_another() {
    let world = World::new(Upstream::Http2);
    let (tasks, connections) = (world.tasks.clone(), Arc::new(AtomicUsize::new(0)));
    world.listen("hello", false, move |tcp: Tcp| {
        let (number, tasks) = (connections.fetch_add(1, Ordering::Relaxed), tasks.clone());
        async move {
            if number == 0 {
                return go_away(tcp, &[]).await;
            }
            let handle = |_, mut respond: SendResponse<Bytes>| async move {
                respond.send_response(Response::new(()), true).unwrap();
            };
            streams(TokioIo::new(tcp), Builder::new(), tasks, handle).await;
        }
    });
    let request = Request::post("http://hello/").body(()).unwrap();
    assert_eq!(world.run(world.ask(request, Some(b"x"))).status(), 200);
    assert_eq!(world.counters.upstream_connections.get(), 2);
}

#[test]
fn a_service_that_always_goes_away_is_told_of_and_left_alone() {
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |tcp| go_away(tcp, &[]));
    for round in 1..=3 {
        let new = world.run(world.ask(get("http://hello/"), None));
        let (status, new) = (new.status(), String::from_utf8(new.body).unwrap());
        let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        assert!(status == 502 && new.contains("it left with a GOAWAY (NO_ERROR)"), "{new}");
        assert!(old.contains(" 502 ") && old.contains("GOAWAY (NO_ERROR)"), "{old}");
        // Each request is tried once more, and no more often.
        assert_eq!(world.counters.upstream_connections.get(), 4 * round);
    }
}

/// It says that it has processed nothing, but the app has heard of it.
#[test]
fn a_service_that_goes_away_after_an_interim_response_is_not_asked_again() {
    const EARLY_HINTS: [u8; 14] = [0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'3'];
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |tcp| go_away(tcp, &EARLY_HINTS));
    let request = Request::post("http://hello/").body(()).unwrap();
    assert_eq!(world.run(world.ask(request, Some(b"x"))).status(), 502);
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

/// Waits for a request and answers with these frames, and a GOAWAY that has processed
/// none.
async fn go_away(mut tcp: Tcp, frames: &[u8]) {
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    tcp.write_all(&SETTINGS).await.unwrap();
    let mut preface = [0; 24];
    tcp.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        tcp.read_exact(&mut vec![0; length as usize]).await.unwrap();
        const HEADERS: u8 = 1;
        if head[3] == HEADERS {
            break;
        }
    }
    tcp.write_all(&[frames, &GOAWAY].concat()).await.unwrap();
    // It stays open: it is for the proxy to leave.
    let _ = tcp.read_to_end(&mut Vec::new()).await;
}

#[test]
fn a_request_that_may_have_been_acted_on_is_not_repeated() {
    let world = World::new(Upstream::Http2);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { respond.send_reset(Reason::INTERNAL_ERROR) }
    });
    let error = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        app.send_request(request, true).unwrap().0.await.unwrap_err()
    });
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn what_dies_with_a_connection_that_has_served_is_repeated_if_that_does_no_harm() {
    for (method, status, times) in [(Method::PUT, 200, 3), (Method::POST, 502, 2)] {
        let world = World::new(Upstream::Http2);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        world.listen("hello", false, move |tcp: Tcp| {
            let count = count.clone();
            async move {
                let mut connection = Builder::new().handshake(TokioIo::new(tcp)).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if count.fetch_add(1, Ordering::Relaxed) == 1 {
                        // The second one: the connection goes, and no word is said.
                        return;
                    }
                    let _: SendStream<Bytes> =
                        respond.send_response(Response::new(()), true).unwrap();
                }
            }
        });
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
        let mut request = get("http://hello/");
        *request.method_mut() = method.clone();
        assert_eq!(world.run(world.ask(request, None)).status(), status, "{method}");
        assert_eq!(asked.load(Ordering::Relaxed), times, "{method}");
    }
}

#[test]
fn a_connection_that_dies_in_a_body_resets_the_app() {
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |tcp: Tcp| async move {
        let mut connection = h2::server::handshake(TokioIo::new(tcp.clone())).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"part"), false).unwrap();
        let _ = futures_lite::future::poll_once(connection.accept()).await;
        tcp.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let error = world.run(async {
        let mut app = world.app().await;
        let response = app.send_request(get("http://hello/"), true).unwrap().0;
        super::world::Heard::all(response).await.unwrap_err()
    });
    assert_eq!((error.reason(), error.is_remote()), (Some(Reason::INTERNAL_ERROR), true));
}

#[test]
fn a_service_that_cannot_be_reached_fails_everyone_who_waits() {
    let world = World::new(Upstream::Http2);
    let (closed, _kept) = refusing();
    world.lead("hello", closed, false);
    world.run(async {
        let app = world.app().await;
        let mut responses = Vec::new();
        // More than one connection would take.
        for _ in 0..150 {
            let mut app = app.clone();
            responses.push(app.send_request(get("http://hello/"), true).unwrap().0);
        }
        for response in responses {
            assert_eq!(response.await.unwrap().status(), 502);
        }
    });
}

#[test]
fn a_burst_gets_as_many_connections_as_it_needs() {
    let world = World::new(Upstream::Http2);
    let (tasks, (go, goes)) = (world.tasks.clone(), async_channel::bounded::<()>(1));
    let (seen, sees) = async_channel::unbounded();
    world.listen("hello", false, move |tcp| {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(100);
        let (seen, goes) = (seen.clone(), goes.clone());
        let handle = move |_, mut respond: SendResponse<Bytes>| {
            let (seen, goes) = (seen.clone(), goes.clone());
            async move {
                seen.send(()).await.unwrap();
                let _ = goes.recv().await;
                respond.send_response(Response::new(()), true).unwrap();
            }
        };
        streams(TokioIo::new(tcp), builder, tasks.clone(), handle)
    });
    world.run(async {
        let app = world.app().await;
        let mut responses = Vec::new();
        for _ in 0..250 {
            let mut app = app.clone();
            responses.push(app.send_request(get("http://hello/"), true).unwrap().0);
        }
        // All of them are with the service at once: none waits for another.
        for _ in 0..250 {
            sees.recv().await.unwrap();
        }
        go.close();
        for response in responses {
            assert_eq!(response.await.unwrap().status(), 200);
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 3);
}

#[test]
fn streams_that_are_cancelled_leave_nothing_behind() {
    let world = World::new(Upstream::Http2);
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            // More than the windows of the connection would take, were any lost.
            let body = Bytes::from(vec![0; 64 * 1024]);
            let _ = super::world::send(&mut stream, body).await;
            let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            count.fetch_sub(1, Ordering::Relaxed);
        }
    });
    world.run(async {
        let app = world.app().await;
        for _ in 0..3000 {
            let mut app = app.clone().ready().await.unwrap();
            let request = Request::post("http://hello/").body(()).unwrap();
            let (response, mut upload) = app.send_request(request, false).unwrap();
            upload.send_data(Bytes::from_static(b"part"), false).unwrap();
            drop(response.await.unwrap());
            upload.send_reset(Reason::CANCEL);
        }
        while open.load(Ordering::Relaxed) > 0 {
            futures_lite::future::yield_now().await;
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
    assert_eq!(world.counters.panics.get(), 0);
}

#[test]
fn a_service_that_wants_http1_gets_it() {
    let world = World::new(Upstream::Http2);
    let (tasks, connections) = (world.tasks.clone(), Arc::new(AtomicUsize::new(0)));
    world.listen("hello", false, move |mut tcp: Tcp| {
        let (number, tasks) = (connections.fetch_add(1, Ordering::Relaxed), tasks.clone());
        async move {
            if number > 0 {
                super::world::hear(&mut tcp, "\r\n\r\nbody").await;
                super::world::say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                return;
            }
            let handle = |_, mut respond: SendResponse<Bytes>| async move {
                respond.send_reset(Reason::HTTP_1_1_REQUIRED);
            };
            streams(TokioIo::new(tcp), Builder::new(), tasks, handle).await;
        }
    });
    let request = Request::post("http://hello/").header("content-length", "4").body(()).unwrap();
    assert_eq!(world.run(world.ask(request, Some(b"body"))).status(), 200);
}
