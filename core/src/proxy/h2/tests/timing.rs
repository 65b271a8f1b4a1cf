//! What takes time, on a clock that the test moves: nothing here waits for it.

use super::http1_apps::{connected, reply};
use super::renewal;
use super::world::{World, get, read, say, streams, token};
use crate::net::{Tcp, TokioIo};
use crate::proxy::Upstream;
use crate::proxy::limits::{CONTINUE, IDLE, LINGER, LOOK};
use crate::proxy::testing::Hand;
use bytes::Bytes;
use futures_lite::future::{poll_once, yield_now};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use h2::server::{Builder, SendResponse};
use h2::{Reason, SendStream};
use http::{Request, Response};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_body_whose_service_says_nothing_waits_a_second_and_no_longer() {
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    let (heard, hears) = async_channel::unbounded();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let heard = heard.clone();
        async move {
            heard.send(String::new()).await.unwrap();
            let body = read(&mut request.into_body()).await.unwrap();
            heard.send(String::from_utf8(body).unwrap()).await.unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    world.run(async {
        let mut app = connected(&world).await;
        let expects = "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
        say(&mut app, &format!("POST / HTTP/1.1\r\nHost: hello\r\n{expects}")).await;
        assert_eq!(hears.recv().await.unwrap(), "", "the head alone");
        clock.until_sleepers(1, CONTINUE).await;
        clock.pass(CONTINUE - MOMENT);
        at_rest(&world).await;
        assert!(hears.is_empty());
        clock.pass(MOMENT);
        assert_eq!(hears.recv().await.unwrap(), "body");
        assert!(reply(&mut app, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

/// One more exchange has come and gone: what could be done has been.
async fn at_rest(world: &World) {
    assert_eq!(world.ask(get("http://nobody/"), None).await.status(), 421);
}

#[test]
fn a_connection_that_is_too_old_by_the_wall_clock_is_not_used_again() {
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_response(Response::new(()), true).unwrap();
    });
    world.run(async {
        for (later, connections) in [(Duration::ZERO, 1), (IDLE, 1), (IDLE + MOMENT, 2)] {
            // The process has not run meanwhile: its own clock stands still.
            clock.pass_on_the_wall(later);
            assert_eq!(world.ask(get("http://hello/"), None).await.status(), 200);
            assert_eq!(world.counters.upstream_connections.get(), connections, "{later:?}");
            at_rest(&world).await;
        }
        clock.set_back(MOMENT);
        assert_eq!(world.ask(get("http://hello/"), None).await.status(), 200);
        assert_eq!(world.counters.upstream_connections.get(), 3);
    });
}

/// While a stream is open a silent connection is pinged, and one that does not
/// answer has died, whatever TCP thinks of it.
#[test]
fn a_connection_whose_peer_has_fallen_silent_ends_with_its_ping() {
    const PING: Duration = Duration::from_secs(30);
    const PONG: Duration = Duration::from_secs(20);
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    let (seen, sees) = async_channel::bounded(1);
    let (turn, turns) = async_channel::bounded::<()>(1);
    world.listen("hello", false, move |tcp: Tcp| {
        let (seen, turns) = (seen.clone(), turns.clone());
        async move {
            let mut connection = Builder::new().handshake(TokioIo::new(tcp)).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let _: SendStream<Bytes> = respond.send_response(Response::new(()), true).unwrap();
            let answered = async { turns.recv().await.unwrap() };
            futures_lite::future::or(answered, async { drop(connection.accept().await) }).await;
            // In between, nobody would answer a ping.
            seen.send(()).await.unwrap();
            turns.recv().await.unwrap();
            let open = connection.accept().await.unwrap().unwrap();
            seen.send(()).await.unwrap();
            // Nobody reads on: the host is gone.
            std::future::pending::<()>().await;
            drop((connection, open));
        }
    });
    world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
        reply(&mut app, "\r\n\r\n").await;
        turn.send(()).await.unwrap();
        sees.recv().await.unwrap();
        // The sweep of the pools sleeps as long as a ping waits for its turn.
        clock.until_sleepers(2, PING).await;
        clock.pass(PING);
        at_rest(&world).await;
        let waiting = (clock.sleepers(PING), clock.sleepers(PONG));
        assert_eq!(waiting, (2, 0), "without a stream nothing is asked");
        turn.send(()).await.unwrap();
        say(&mut app, "POST / HTTP/1.1\r\nHost: hello\r\nContent-Length: 0\r\n\r\n").await;
        sees.recv().await.unwrap();
        clock.pass(PING);
        clock.until_sleepers(1, PONG).await;
        clock.pass(PONG - MOMENT);
        at_rest(&world).await;
        clock.pass(MOMENT);
        let heard = reply(&mut app, "\r\n\r\n").await;
        assert!(heard.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{heard}");
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

/// A service that tells when a request has come and why it was cancelled.
fn cancellable(world: &World) -> async_channel::Receiver<Option<Reason>> {
    let (seen, sees) = async_channel::unbounded();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let seen = seen.clone();
        async move {
            let _body = request.into_body();
            seen.send(None).await.unwrap();
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            seen.send(Some(reason.unwrap())).await.unwrap();
        }
    });
    sees
}

#[test]
fn an_app_that_leaves_cancels_its_streams_without_waiting() {
    let world = World::by(Hand::new(), Upstream::Http2);
    let sees = cancellable(&world);
    // The clock stands still: no timer has a part in this.
    world.run(async {
        let mut app = world.app().await;
        let sent = app.send_request(get("http://hello/"), true).unwrap();
        assert_eq!(sees.recv().await.unwrap(), None);
        drop(sent);
        assert_eq!(sees.recv().await.unwrap(), Some(Reason::CANCEL));
        let request = Request::post("http://hello/").body(()).unwrap();
        let tcp = Tcp::connect(world.proxy).await.unwrap();
        let (mut app, connection) = h2::client::handshake(TokioIo::new(tcp.clone())).await.unwrap();
        world.tasks.spawn("an app's connection", async move {
            let _ = connection.await;
        });
        let _sent = app.send_request(request, false).unwrap();
        assert_eq!(sees.recv().await.unwrap(), None);
        tcp.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(sees.recv().await.unwrap(), Some(Reason::CANCEL));
    });
}

#[test]
fn an_app_of_http1_that_leaves_cancels_its_stream_within_a_second() {
    const EXPECTING: &str =
        "PUT / HTTP/1.1\r\nHost: hello\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    let sees = cancellable(&world);
    world.run(async {
        for (request, waits) in [
            ("GET / HTTP/1.1\r\nHost: hello\r\n\r\n", true),
            ("PUT / HTTP/1.1\r\nHost: hello\r\nContent-Length: 4\r\n\r\nbody", true),
            ("PUT / HTTP/1.1\r\nHost: hello\r\nContent-Length: 9\r\n\r\nbody", false),
            ("PUT / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbody", false),
            (EXPECTING, false),
        ] {
            let mut app = connected(&world).await;
            say(&mut app, request).await;
            assert_eq!(sees.recv().await.unwrap(), None);
            drop(app);
            if waits {
                // It may have ended its own direction alone.
                clock.until_sleepers(1, LINGER).await;
                clock.pass(LINGER);
            }
            assert_eq!(sees.recv().await.unwrap(), Some(Reason::CANCEL), "{request}");
        }
    });
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn an_app_of_http1_that_leaves_behind_a_stalled_body_is_noticed_within_a_second() {
    assert!(LOOK + LINGER <= Duration::from_secs(1));
    const LARGE: usize = 64 * 1024 * 1024;
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    let sees = cancellable(&world);
    world.run(async {
        for (length, lingers) in [(2 * LARGE, false), (0, true)] {
            let mut app = connected(&world).await;
            let framing = match length {
                0 => "Transfer-Encoding: chunked".to_owned(),
                _ => format!("Content-Length: {length}"),
            };
            say(&mut app, &format!("PUT / HTTP/1.1\r\nHost: hello\r\n{framing}\r\n\r\n")).await;
            assert_eq!(sees.recv().await.unwrap(), None);
            let piece = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
            // As much as the proxy takes, and no more: what an app has not got rid
            // of stands before its end, and nobody can see that.
            let mut sent = 0;
            while clock.sleepers(LOOK) == 0 {
                assert!(sent < LARGE, "nothing has held the app up");
                app.write_all(&piece).await.unwrap();
                sent += piece.len();
                at_rest(&world).await;
            }
            clock.pass(LOOK);
            at_rest(&world).await;
            let waiting = (clock.sleepers(LOOK), clock.sleepers(LINGER));
            assert_eq!(waiting, (1, 0), "it is still there");
            drop(app);
            clock.pass(LOOK);
            if lingers {
                // All of a body of unknown length may stand behind.
                clock.until_sleepers(1, LINGER).await;
                clock.pass(LINGER);
            }
            assert_eq!(sees.recv().await.unwrap(), Some(Reason::CANCEL));
        }
    });
}

/// Lets time pass until the proxy has noticed that the app has ended its direction.
async fn noticed_after(world: &World, clock: &Hand, mut app: Tcp) -> Duration {
    app.close().await.unwrap();
    let mut heard = Vec::new();
    let mut ended = pin!(app.read_to_end(&mut heard));
    let mut passed = Duration::ZERO;
    loop {
        at_rest(world).await;
        if poll_once(ended.as_mut()).await.is_some() {
            return passed;
        }
        clock.pass(LOOK);
        passed += LOOK;
        assert!(passed < Duration::from_secs(60), "it never is");
    }
}

#[test]
fn an_app_of_http1_that_leaves_before_its_service_is_there_is_noticed_within_a_second() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let clock = Hand::new();
        let world = World::by(clock.clone(), upstream);
        let somewhere = "127.0.0.1:1".parse().unwrap();
        world.lead_to("far", "silent", somewhere, false);
        // Its token is waited for before its connection.
        world.lead("poor", somewhere, true);
        let (_never, late) = async_channel::unbounded();
        *world.tokens.late.lock().unwrap() = Some(late);
        world.run(async {
            for name in ["far", "poor"] {
                for (body, whole) in [
                    ("\r\n", true),
                    ("Content-Length: 4\r\n\r\nbody", true),
                    ("Content-Length: 9\r\n\r\nbody", false),
                ] {
                    let mut app = connected(&world).await;
                    say(&mut app, &format!("PUT / HTTP/1.1\r\nHost: {name}\r\n{body}")).await;
                    at_rest(&world).await;
                    // It is waited for as long as that takes.
                    clock.pass(Duration::from_secs(5));
                    at_rest(&world).await;
                    let case = format!("{upstream:?} {name} {body}");
                    let after = noticed_after(&world, &clock, app).await;
                    // One that is whole may have ended its own direction alone.
                    let within =
                        if whole { LINGER..=Duration::from_secs(1) } else { Duration::ZERO..=LOOK };
                    assert!(within.contains(&after), "{case}: {after:?}");
                }
            }
        });
    }
}

#[test]
fn an_app_that_has_left_gets_one_while_for_all_that_its_request_waits_for() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let clock = Hand::new();
        let world = World::by(clock.clone(), upstream);
        world.lead_to("slow", "silent", "127.0.0.1:1".parse().unwrap(), true);
        let (gives, late) = async_channel::unbounded();
        *world.tokens.late.lock().unwrap() = Some(late);
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, "GET / HTTP/1.1\r\nHost: slow\r\n\r\n").await;
            at_rest(&world).await;
            app.close().await.unwrap();
            let mut heard = Vec::new();
            let mut ended = pin!(app.read_to_end(&mut heard));
            // It is seen at the first look. Then the token comes, and the connection never.
            clock.pass(LOOK);
            at_rest(&world).await;
            clock.pass(LINGER - LOOK);
            gives.send(token("late").unwrap()).await.unwrap();
            at_rest(&world).await;
            assert!(poll_once(ended.as_mut()).await.is_none(), "{upstream:?}");
            clock.pass(LOOK);
            at_rest(&world).await;
            assert!(poll_once(ended.as_mut()).await.is_some(), "{upstream:?}");
        });
    }
}

/// Over HTTP/2 at once.
#[test]
fn an_app_that_leaves_while_its_token_is_renewed_is_noticed_within_a_second() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let clock = Hand::new();
        let world = World::by(clock.clone(), upstream);
        let heard = renewal::service(&world, upstream);
        *world.tokens.ready.lock().unwrap() = token("old");
        let (renewing, late) = async_channel::unbounded();
        *world.tokens.late.lock().unwrap() = Some(late);
        // Who waits for another token holds a receiver, beside the one that is kept.
        let until_waiting = async |count: usize| {
            while renewing.receiver_count() != 1 + count {
                yield_now().await;
            }
        };
        world.run(async {
            let mut old = connected(&world).await;
            say(&mut old, "GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
            until_waiting(1).await;
            // It is waited for as long as that takes.
            clock.pass(Duration::from_secs(5));
            at_rest(&world).await;
            let after = noticed_after(&world, &clock, old).await;
            assert!((LINGER..=Duration::from_secs(1)).contains(&after), "{upstream:?}: {after:?}");
            until_waiting(0).await;
            let mut new = world.app().await;
            let sent = new.send_request(get("http://hello/"), true).unwrap();
            until_waiting(1).await;
            drop(sent);
            until_waiting(0).await;
        });
        assert_eq!(heard.load(Ordering::Relaxed), 2, "{upstream:?}: each came once");
    }
}

#[test]
fn what_a_drain_cuts_in_the_end_is_reset() {
    for request in [
        "GET / HTTP/1.0\r\nHost: hello\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: hello\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    ] {
        let mut world = World::new(Upstream::Http1);
        let (ended, ends) = async_channel::bounded(1);
        world.listen("hello", false, move |mut tcp: Tcp| {
            let ended = ended.clone();
            async move {
                let heard = super::world::hear(&mut tcp, "\r\n\r\n").await;
                // Both end with the connection, and neither says more.
                let head = if heard.contains("Upgrade") {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\n"
                };
                say(&mut tcp, &format!("{head}\r\npart")).await;
                let end = tcp.read_to_end(&mut Vec::new()).await;
                ended.send(end.map_err(|error| error.kind())).await.unwrap();
            }
        });
        let drain = std::mem::take(&mut world.drain);
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, request).await;
            reply(&mut app, "part").await;
            assert_eq!(drain.finish(Duration::ZERO).await, 1);
            let end = app.read_to_end(&mut Vec::new()).await;
            assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{request}");
            assert!(ends.recv().await.unwrap().is_err() || !request.contains("Upgrade"));
        });
    }
}

#[test]
fn streams_that_a_drain_cuts_in_the_end_do_not_end_well() {
    let mut world = World::new(Upstream::Http2);
    let tasks = world.tasks.clone();
    world.listen("hello", false, move |tcp| {
        let handle = |_, mut respond: SendResponse<Bytes>| async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"part"), false).unwrap();
            let _ = std::future::poll_fn(|context| stream.poll_reset(context)).await;
        };
        streams(TokioIo::new(tcp), Builder::new(), tasks.clone(), handle)
    });
    let drain = std::mem::take(&mut world.drain);
    world.run(async {
        let mut app = world.app().await;
        let response = app.send_request(get("http://hello/"), true).unwrap().0;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "part");
        drain.finish(Duration::ZERO).await;
        assert!(body.data().await.unwrap().is_err());
    });
}
