//! Connections that have died in the pool or die with a request, and what is
//! repeated then.

use super::http1_apps::{CLOSE, ask, connected, reply};
use super::world::{World, get, hear, read, say, send, streams};
use crate::net::{Tcp, TokioIo};
use crate::proxy::Upstream;
use crate::proxy::testing::Hand;
use bytes::Bytes;
use futures_lite::AsyncWriteExt;
use h2::server::{Builder, SendResponse};
use h2::{Reason, SendStream};
use http::{Method, Request, Response};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// An app of HTTP/2 whose service speaks HTTP/1.1.
#[test]
fn a_fresh_connection_and_what_may_have_been_done_are_not_tried_again() {
    for (served, method, status, asked) in
        [(1, Method::PUT, 200, 3), (1, Method::POST, 502, 2), (0, Method::GET, 502, 1)]
    {
        let world = World::new(Upstream::Http1);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        world.listen("hello", false, move |mut tcp: Tcp| {
            let counted = counted.clone();
            async move {
                loop {
                    hear(&mut tcp, "\r\n\r\n").await;
                    if counted.fetch_add(1, Ordering::Relaxed) == served {
                        return;
                    }
                    say(&mut tcp, OK).await;
                }
            }
        });
        for _ in 0..served {
            assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
        }
        let mut request = get("http://hello/");
        *request.method_mut() = method.clone();
        assert_eq!(world.run(world.ask(request, None)).status(), status, "{method}");
        assert_eq!(count.load(Ordering::Relaxed), asked, "{method}");
    }
}

/// The end of a kept connection is in the kernel, and nobody has had time to read
/// it, as after a throttled instance's pause. A POST is not tried twice, so it must
/// not be tried there.
#[test]
fn an_end_that_nobody_has_read_yet_is_seen_at_checkout() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let clock = Hand::new();
        let world = World::by(clock.clone(), upstream);
        let tasks = world.tasks.clone();
        let (open, opens) = async_channel::unbounded();
        world.listen("hello", false, move |mut tcp: Tcp| {
            let (open, tasks) = (open.clone(), tasks.clone());
            async move {
                open.send(tcp.clone()).await.unwrap();
                if upstream == Upstream::Http1 {
                    hear(&mut tcp, "\r\n\r\n").await;
                    say(&mut tcp, OK).await;
                    return std::future::pending().await;
                }
                let handle = |_, mut respond: SendResponse<Bytes>| async move {
                    respond.send_response(Response::new(()), true).unwrap();
                };
                streams(TokioIo::new(tcp), Builder::new(), tasks, handle).await;
            }
        });
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
            reply(&mut app, "\r\n\r\n").await;
            // Another exchange has come and gone: the connection is in the pool.
            assert_eq!(world.ask(get("http://nobody/"), None).await.status(), 421);
            clock.pass_on_the_wall(Duration::from_secs(2));
            // Neither waits: the proxy runs when both have happened, in this order.
            say(&mut app, &format!("POST / HTTP/1.1\r\nContent-Length: 0\r\n{CLOSE}")).await;
            opens.recv().await.unwrap().shutdown(Shutdown::Both).unwrap();
            let heard = reply(&mut app, "").await;
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{upstream:?}: {heard}");
        });
        assert_eq!(world.counters.upstream_connections.get(), 2, "{upstream:?}");
    }
}

/// A service that leaves in order: what is under way on that connection finishes, and
/// the next request goes elsewhere.
#[test]
fn what_is_under_way_on_a_connection_that_goes_away_finishes() {
    for http2 in [true, false] {
        let world = World::new(Upstream::Http2);
        let (tasks, (go, goes)) = (world.tasks.clone(), async_channel::bounded::<()>(1));
        let count = AtomicUsize::new(0);
        world.listen("hello", false, move |tcp: Tcp| {
            let (tasks, goes) = (tasks.clone(), goes.clone());
            let leaves = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                let mut connection = Builder::new().handshake(TokioIo::new(tcp)).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if !leaves {
                        let _: SendStream<Bytes> =
                            respond.send_response(Response::new(()), true).unwrap();
                        continue;
                    }
                    connection.graceful_shutdown();
                    let goes = goes.clone();
                    tasks.spawn("a stream that goes on", async move {
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from_static(b"soon "), false).unwrap();
                        let _ = goes.recv().await;
                        stream.send_data(Bytes::from_static(b"late"), true).unwrap();
                    });
                }
            }
        });
        world.run(async {
            let (mut new, mut old) = (world.app().await, connected(&world).await);
            let mut body = None;
            if http2 {
                let response = new.send_request(get("http://hello/"), true).unwrap().0;
                let mut begun = response.await.unwrap().into_body();
                assert_eq!(begun.data().await.unwrap().unwrap(), "soon ");
                body = Some(begun);
            } else {
                say(&mut old, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
                reply(&mut old, "soon \r\n").await;
            }
            assert_eq!(world.ask(get("http://hello/"), None).await.status(), 200);
            assert_eq!(world.counters.upstream_connections.get(), 2);
            go.close();
            match &mut body {
                Some(body) => assert_eq!(read(body).await.unwrap(), b"late"),
                None => assert_eq!(reply(&mut old, "0\r\n\r\n").await, "4\r\nlate\r\n0\r\n\r\n"),
            }
        });
    }
}

/// The connection was used before, but it is not dead: something has come.
#[test]
fn what_the_proxy_itself_refuses_of_a_response_is_not_asked_for_again() {
    let world = World::new(Upstream::Http2);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let switches = counted.fetch_add(1, Ordering::Relaxed) > 0;
        async move {
            if switches {
                let switched = Response::builder().status(101).body(()).unwrap();
                respond.send_informational(switched).unwrap();
            }
            // The proxy may have left by now.
            let _ = respond.send_response(Response::new(()), true);
        }
    });
    for status in [200, 502] {
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), status);
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

/// The connection was used before, and is not dead either: what has come is no
/// response, or only an interim one.
#[test]
fn what_has_been_heard_of_a_response_is_not_asked_for_again() {
    for garbled in [true, false] {
        let world = World::new(Upstream::Http2);
        let (tasks, count) = (world.tasks.clone(), Arc::new(AtomicUsize::new(0)));
        let (counted, (go, goes)) = (count.clone(), async_channel::bounded::<()>(1));
        world.listen("hello", false, move |tcp: Tcp| {
            let (tasks, counted, goes) = (tasks.clone(), counted.clone(), goes.clone());
            let raw = tcp.clone();
            let handle = move |_, mut respond: SendResponse<Bytes>| {
                let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
                let (goes, mut raw) = (goes.clone(), raw.clone());
                async move {
                    if !first && garbled {
                        // DATA of no stream.
                        return raw.write_all(&[0; 9]).await.unwrap();
                    }
                    if !first {
                        let early = Response::builder().status(103).body(()).unwrap();
                        respond.send_informational(early).unwrap();
                        let _ = goes.recv().await;
                        return raw.shutdown(Shutdown::Both).unwrap();
                    }
                    respond.send_response(Response::new(()), true).unwrap();
                }
            };
            streams(TokioIo::new(tcp), Builder::new(), tasks, handle)
        });
        assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
        world.run(async {
            let mut app = world.app().await;
            let (mut response, _) = app.send_request(get("http://hello/"), true).unwrap();
            if !garbled {
                let early = std::future::poll_fn(|context| response.poll_informational(context));
                assert_eq!(early.await.unwrap().unwrap().status(), 103);
                go.close();
            }
            assert_eq!(response.await.unwrap().status(), 502, "{garbled}");
        });
        assert_eq!(count.load(Ordering::Relaxed), 2, "{garbled}");
    }
}

/// Nobody can tell to which of them belongs what has come.
#[test]
fn requests_that_share_a_connection_which_the_proxy_ends_are_not_asked_for_again() {
    let world = World::new(Upstream::Http2);
    let (tasks, count) = (world.tasks.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    world.listen("hello", false, move |tcp: Tcp| {
        let (tasks, counted, raw) = (tasks.clone(), counted.clone(), tcp.clone());
        let handle = move |_, mut respond: SendResponse<Bytes>| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let mut raw = raw.clone();
            async move {
                match number {
                    0 => drop(respond.send_response(Response::new(()), true).unwrap()),
                    1 => std::future::pending().await,
                    // DATA of no stream.
                    _ => raw.write_all(&[0; 9]).await.unwrap(),
                }
            }
        };
        streams(TokioIo::new(tcp), Builder::new(), tasks, handle)
    });
    assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
    world.run(async {
        let mut app = world.app().await;
        let responses = [(); 2].map(|()| app.send_request(get("http://hello/"), true).unwrap().0);
        for response in responses {
            assert_eq!(response.await.unwrap().status(), 502);
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 3, "each came once");
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

/// A part of a body that is no longer kept must never arrive as all of it.
#[test]
fn a_refused_stream_whose_body_is_not_kept_is_not_tried_again() {
    const LARGE: usize = 200_000;
    let world = World::new(Upstream::Http2);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut body = request.into_body();
            let mut heard = 0;
            while heard < LARGE {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                heard += data.len();
            }
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    });
    let error = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        send(&mut stream, vec![7; LARGE].into()).await.unwrap();
        response.await.unwrap_err()
    });
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n{CLOSE}", 2 * LARGE);
    let heard = world.run(ask(&world, &(head + &"7".repeat(LARGE))));
    assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
    assert_eq!(count.load(Ordering::Relaxed), 2, "each came once");
}

/// A client-streaming call sends its messages one by one.
#[test]
fn a_small_body_is_kept_in_however_many_pieces_it_comes() {
    for pieces in [15, 16, 17, 100] {
        let world = World::new(Upstream::Http2);
        let count = Arc::new(AtomicUsize::new(0));
        let (counted, (heard, hears)) = (count.clone(), async_channel::unbounded());
        world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
            let (first, heard) = (counted.fetch_add(1, Ordering::Relaxed) == 0, heard.clone());
            async move {
                let mut body = request.into_body();
                for _ in 0..if first { pieces } else { 0 } {
                    heard.send(body.data().await.unwrap().unwrap()).await.unwrap();
                }
                if first {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                assert_eq!(read(&mut body).await.unwrap(), [7].repeat(pieces));
                respond.send_response(Response::new(()), true).unwrap();
            }
        });
        let status = world.run(async {
            let mut app = world.app().await;
            let request = Request::post("http://hello/").body(()).unwrap();
            let (response, mut upload) = app.send_request(request, false).unwrap();
            for _ in 0..pieces {
                upload.send_data(Bytes::from_static(&[7]), false).unwrap();
                assert_eq!(hears.recv().await.unwrap(), [7][..]);
            }
            // The first attempt may have been given up by now.
            let _ = upload.send_data(Bytes::new(), true);
            response.await.map(|response| response.status().as_u16())
        });
        assert_eq!(status.ok(), Some(200), "{pieces}");
        assert_eq!(count.load(Ordering::Relaxed), 2, "{pieces}");
    }
}
