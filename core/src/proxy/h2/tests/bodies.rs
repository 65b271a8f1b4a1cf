//! Large bodies, and readers that stall.

use super::super::intake::Intake;
use super::world::{World, get, read, send, streams};
use crate::net::{Tcp, TcpListener, TokioIo};
use crate::proxy::Upstream;
use bytes::Bytes;
use futures_lite::AsyncReadExt;
use h2::server::{Builder, SendResponse};
use h2::{Reason, client};
use http::{Request, Response};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

const LARGE: usize = 10 * 1024 * 1024;

fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

#[test]
fn ten_megabytes_go_both_ways() {
    let world = World::new(Upstream::Http2);
    world.service("echo", |request, mut respond: SendResponse<Bytes>| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            send(&mut stream, data).await.unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let echo = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://echo/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        let sending = async {
            send(&mut stream, pattern(LARGE)).await.unwrap();
            stream.send_data(Bytes::new(), true).unwrap();
        };
        let reading = async { read(response.await.unwrap().body_mut()).await.unwrap() };
        futures_lite::future::zip(sending, reading).await.1
    });
    assert!(echo == pattern(LARGE));
}

/// Waits until `number` no longer grows while everything else may run.
pub async fn settled(number: &AtomicUsize) -> usize {
    let (mut last, mut quiet) = (0, 0);
    while quiet < 20 {
        crate::net::sleep(std::time::Duration::from_millis(5)).await;
        let now = number.load(Ordering::Relaxed);
        quiet = if now == last && now > 0 { quiet + 1 } else { 0 };
        last = now;
    }
    last
}

#[test]
fn a_stalled_reader_holds_windows_and_no_more_and_starves_nobody() {
    let world = World::new(Upstream::Http2);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let counted = counted.clone();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() == "/small" {
                stream.send_data(Bytes::from_static(b"small"), true).unwrap();
                return;
            }
            let piece = pattern(16 * 1024);
            while counted.load(Ordering::Relaxed) < LARGE {
                if send(&mut stream, piece.clone()).await.is_err() {
                    return;
                }
                counted.fetch_add(piece.len(), Ordering::Relaxed);
            }
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let (stalled, _) = app.send_request(get("http://hello/"), true).unwrap();
        let stalled = stalled.await.unwrap();
        let held = settled(&taken).await;
        assert!(held < 2 * 1024 * 1024, "{held} bytes for a reader that does not read");
        let small = app.send_request(get("http://hello/small"), true).unwrap().0;
        assert_eq!(read(small.await.unwrap().body_mut()).await.unwrap(), b"small");
        drop(stalled);
    });
}

#[test]
fn a_stalled_service_holds_windows_and_no_more() {
    let world = World::new(Upstream::Http2);
    let (go, goes) = async_channel::bounded::<()>(1);
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let goes = goes.clone();
        async move {
            let _ = goes.recv().await;
            let length = read(&mut request.into_body()).await.unwrap().len();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(length.to_string().into(), true).unwrap();
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        let sent = AtomicUsize::new(0);
        let sending = async {
            while sent.load(Ordering::Relaxed) < LARGE {
                send(&mut stream, pattern(64 * 1024)).await.unwrap();
                sent.fetch_add(64 * 1024, Ordering::Relaxed);
            }
            stream.send_data(Bytes::new(), true).unwrap();
        };
        let watching = async {
            let held = settled(&sent).await;
            assert!(held < 2 * 1024 * 1024, "{held} bytes for a service that does not read");
            go.close();
        };
        futures_lite::future::zip(sending, watching).await;
        let heard = read(response.await.unwrap().body_mut()).await.unwrap();
        assert_eq!(heard, LARGE.to_string().into_bytes());
    });
}

#[test]
fn tiny_messages_to_a_slow_reader_do_not_kill_the_connection() {
    let world = World::new(Upstream::Http2);
    const MESSAGES: usize = 50_000;
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        for _ in 0..MESSAGES {
            send(&mut stream, Bytes::from_static(b"seven b")).await.unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    world.run(async {
        let mut app = world.app().await;
        let mut response = app.send_request(get("http://hello/"), true).unwrap().0.await.unwrap();
        // The service runs ahead while nobody reads.
        for _ in 0..1000 {
            futures_lite::future::yield_now().await;
        }
        let body = read(response.body_mut()).await.unwrap();
        assert_eq!(body.len(), MESSAGES * 7);
    });
}

#[test]
fn tiny_messages_to_a_slow_service_do_not_kill_the_apps_connection() {
    let world = World::new(Upstream::Http2);
    const MESSAGES: usize = 50_000;
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        // The app runs ahead while nobody reads.
        for _ in 0..1000 {
            futures_lite::future::yield_now().await;
        }
        let body = read(&mut request.into_body()).await.unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(body.len().to_string().into(), true).unwrap();
    });
    world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut upload) = app.send_request(request, false).unwrap();
        for _ in 0..MESSAGES {
            send(&mut upload, Bytes::from_static(b"seven b")).await.unwrap();
        }
        upload.send_data(Bytes::new(), true).unwrap();
        let heard = read(response.await.unwrap().body_mut()).await.unwrap();
        assert_eq!(heard, (MESSAGES * 7).to_string().into_bytes());
    });
}

/// How a body ends that its app breaks off, as a service of this version sees it:
/// what has come of it, and whether it seems whole.
fn broken_off(upstream: Upstream, http2: bool) -> (Vec<u8>, bool) {
    let world = World::new(upstream);
    let (seen, sees) = async_channel::unbounded();
    let tell = seen.clone();
    world.listen("hello", false, move |mut tcp: Tcp| {
        let tell = tell.clone();
        async move {
            let mut heard = super::world::hear(&mut tcp, "part").await.into_bytes();
            tell.send((Vec::new(), false)).await.unwrap();
            let _ = tcp.read_to_end(&mut heard).await;
            let whole = heard.ends_with(b"0\r\n\r\n");
            tell.send((b"part".to_vec(), whole)).await.unwrap();
        }
    });
    if upstream == Upstream::Http2 {
        world.service("hello", move |request, _respond: SendResponse<Bytes>| {
            let seen = seen.clone();
            async move {
                let mut body = request.into_body();
                let part = body.data().await.unwrap().unwrap();
                seen.send((Vec::new(), false)).await.unwrap();
                let whole = read(&mut body).await.is_ok();
                seen.send((part.to_vec(), whole)).await.unwrap();
            }
        });
    }
    world.run(async {
        if http2 {
            let mut app = world.app().await;
            let request = Request::post("http://hello/").body(()).unwrap();
            let (response, mut upload) = app.send_request(request, false).unwrap();
            upload.send_data(Bytes::from_static(b"part"), false).unwrap();
            sees.recv().await.unwrap();
            upload.send_reset(Reason::CANCEL);
            drop(response);
        } else {
            let mut app = super::http1_apps::connected(&world).await;
            let head = "POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n";
            super::world::say(&mut app, &format!("{head}4\r\npart\r\n")).await;
            sees.recv().await.unwrap();
        }
        sees.recv().await.unwrap()
    })
}

#[test]
fn a_body_that_is_broken_off_is_never_a_whole_one() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        for http2 in [true, false] {
            let seen = broken_off(upstream, http2);
            assert_eq!(seen, (b"part".to_vec(), false), "{upstream:?} {http2}");
        }
    }
}

/// The service hears why, but never that nothing was wrong; `length`: of a body whose
/// end the proxy has, where it must wait for room.
#[test]
fn the_reason_of_an_app_that_resets_reaches_the_service() {
    for (length, reason, expected) in [
        (None, Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (None, Reason::NO_ERROR, Reason::CANCEL),
        (Some(100_000), Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (Some(100_000), Reason::NO_ERROR, Reason::CANCEL),
    ] {
        let world = World::new(Upstream::Http2);
        let (seen, sees) = async_channel::bounded(1);
        world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
            let seen = seen.clone();
            async move {
                let mut body = request.into_body();
                body.data().await.unwrap().unwrap();
                seen.send(None).await.unwrap();
                let told = poll_fn(|context| respond.poll_reset(context)).await;
                seen.send(Some(told.unwrap())).await.unwrap();
            }
        });
        let told = world.run(async {
            let mut app = world.app().await;
            let request = Request::post("http://hello/").body(()).unwrap();
            let (_response, mut upload) = app.send_request(request, false).unwrap();
            match length {
                None => upload.send_data(Bytes::from_static(b"part"), false).unwrap(),
                Some(length) => {
                    send(&mut upload, pattern(length)).await.unwrap();
                    upload.send_data(Bytes::new(), true).unwrap();
                }
            }
            assert_eq!(sees.recv().await.unwrap(), None);
            // Another exchange has come and gone: the proxy has passed on what it can.
            assert_eq!(world.ask(get("http://nobody/"), None).await.status(), 421);
            upload.send_reset(reason);
            sees.recv().await.unwrap()
        });
        assert_eq!(told, Some(expected), "{length:?} {reason:?}");
    }
}

/// Two ends of one connection.
async fn pair() -> (Tcp, Tcp) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let near = Tcp::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Whether a body of `length` bytes that is all there is passed on to a stream
/// whose connection has not had its turn since it was opened.
fn goes_at_once(length: usize) -> bool {
    let world = World::new(Upstream::Http2);
    let (told, told_of) = async_channel::bounded(1);
    let (tasks, body) = (world.tasks.clone(), pattern(length));
    world.run(async move {
        let (app, service) = pair().await;
        let handle = move |request: Request<h2::RecvStream>, _: SendResponse<Bytes>| {
            let told = told.clone();
            async move {
                let mut intake = Intake::keeping(request.into_body());
                let arrived = |context: &mut Context<'_>| {
                    intake.poll_fetch(context).unwrap();
                    if intake.queued() < length { Poll::Pending } else { Poll::Ready(()) }
                };
                poll_fn(arrived).await;
                let (near, _far) = pair().await;
                let opening = client::handshake(TokioIo::new(near));
                let (mut sender, _connection) = opening.await.unwrap();
                let (_, mut stream) = sender.send_request(get("http://a/"), false).unwrap();
                let once = poll_fn(|context| {
                    Poll::Ready(intake.poll_forward(context, &mut stream, |_| ()).is_ready())
                });
                told.send(once.await).await.unwrap();
            }
        };
        tasks.spawn(
            "streams",
            streams(TokioIo::new(service), Builder::new(), tasks.clone(), handle),
        );
        let (sender, connection) = client::handshake(TokioIo::new(app)).await.unwrap();
        tasks.spawn("an app", async move { connection.await.unwrap_or_default() });
        let mut sender = sender.ready().await.unwrap();
        let (_response, mut stream) = sender.send_request(get("http://b/"), false).unwrap();
        stream.send_data(body, true).unwrap();
        told_of.recv().await.unwrap()
    })
}

#[test]
fn a_small_body_goes_with_its_head_and_a_large_one_waits_for_room() {
    assert!(goes_at_once(15));
    assert!(!goes_at_once(8 * 1024));
}

#[test]
fn a_small_body_waits_for_a_service_that_has_no_room_for_it() {
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |tcp: Tcp| async move {
        let mut builder = Builder::new();
        builder.initial_window_size(0);
        let mut connection = builder.handshake(TokioIo::new(tcp)).await.unwrap();
        // Whoever has this answer knows the settings.
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let _: h2::SendStream<Bytes> = respond.send_response(Response::new(()), true).unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        connection.set_initial_window_size(2).unwrap();
        let serving = async {
            let body = read(&mut request.into_body()).await.unwrap();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(body.into(), true).unwrap();
        };
        let driving = async { while connection.accept().await.is_some() {} };
        futures_lite::future::zip(serving, driving).await;
    });
    assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 200);
    let request = Request::post("http://hello/").body(()).unwrap();
    assert_eq!(world.run(world.ask(request, Some(b"small"))).body, b"small");
    assert_eq!(world.counters.upstream_connections.get(), 1);
}
