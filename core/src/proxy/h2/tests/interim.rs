//! Interim responses, and what waits for them, whichever versions meet.

use super::http1_apps::{CLOSE, ask, connected, reply};
use super::world::{World, fields, get, hear, read, say, send};
use crate::net::Tcp;
use crate::proxy::Upstream;
use crate::proxy::limits::INTERIM;
use crate::proxy::testing::Hand;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;

/// A service of this version whose interim and final responses have fields that
/// concern its connection alone, the interim one a length as well.
fn service(world: &World, upstream: Upstream) {
    if upstream == Upstream::Http1 {
        world.listen("hello", false, |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            let hop = "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
                       Proxy-Authenticate: Basic\r\nLink: x\r\n";
            let early = format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n{hop}\r\n");
            say(&mut tcp, &format!("{early}HTTP/1.1 204 No Content\r\n{hop}\r\n")).await;
        });
        return;
    }
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let of = |status: u16| {
            let mut head = Response::builder().status(status).body(()).unwrap();
            *head.headers_mut() = fields(&[("proxy-authenticate", "Basic"), ("link", "x")]);
            head
        };
        let mut early = of(103);
        early.headers_mut().insert("content-length", 3.into());
        respond.send_informational(early).unwrap();
        respond.send_response(of(204), true).unwrap();
    });
}

#[test]
fn what_concerns_one_connection_ends_here_in_every_response() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        service(&world, upstream);
        let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                        HTTP/1.1 204 No Content\r\nlink: x\r\nconnection: close\r\n\r\n";
        assert_eq!(old.to_lowercase(), expected.to_lowercase(), "{upstream:?}");
        let heard: [HeaderMap; 2] = world.run(async {
            let mut app = world.app().await;
            let (mut response, _) = app.send_request(get("http://hello/"), true).unwrap();
            let early = poll_fn(|context| response.poll_informational(context)).await;
            [early.unwrap().unwrap().headers().clone(), response.await.unwrap().headers().clone()]
        });
        let link = fields(&[("link", "x")]);
        assert_eq!(heard, [link.clone(), link], "{upstream:?}");
    }
}

#[test]
fn an_app_of_http10_gets_none() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        service(&world, upstream);
        let heard = world.run(ask(&world, "GET / HTTP/1.0\r\nHost: hello\r\n\r\n"));
        assert!(heard.starts_with("HTTP/1.1 204 No Content\r\n"), "{upstream:?}: {heard}");
    }
}

/// It reads none, so that nothing would hold them back.
#[test]
fn those_without_end_for_an_app_of_http10_are_a_bad_gateway() {
    for (count, status) in [(INTERIM, 204), (INTERIM + 1, 502)] {
        let world = World::new(Upstream::Http1);
        world.listen("hello", false, move |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count)).await;
            say(&mut tcp, "HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        let heard = world.run(ask(&world, "GET / HTTP/1.0\r\nHost: hello\r\n\r\n"));
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{count}: {heard}");
    }
}

#[test]
fn nothing_becomes_another_protocol_unasked() {
    let world = World::new(Upstream::Http1);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "\r\n\r\n").await;
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n";
        say(&mut tcp, &format!("{switched}\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    });
    let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
    assert!(old.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{old}");
    assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 502);
    // HTTP/2 has no such response (RFC 9113 §8.6).
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let switched = Response::builder().status(101).body(()).unwrap();
        respond.send_informational(switched).unwrap();
        // The proxy may have left by now.
        let _ = respond.send_response(Response::new(()), true);
    });
    let old = world.run(ask(&world, &format!("POST / HTTP/1.1\r\n{CLOSE}")));
    assert!(old.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{old}");
    let post = Request::post("http://hello/").body(()).unwrap();
    assert_eq!(world.run(world.ask(post, None)).status(), 502);
}

/// Nobody knows whether what waits is a whole head or half of one.
#[test]
fn no_answer_follows_a_head_that_a_panic_has_left_unsent() {
    use futures_lite::AsyncReadExt;
    let world = World::new(Upstream::Http1);
    world.listen("unspeakable", false, |mut tcp: Tcp| async move {
        hear(&mut tcp, "\r\n\r\n").await;
        // Both come together: the first is written, and nothing sent, when the
        // second is told of.
        say(&mut tcp, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nnonsense\r\n\r\n").await;
    });
    world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, "GET / HTTP/1.1\r\nHost: unspeakable\r\n\r\n").await;
        let mut heard = Vec::new();
        let end = app.read_to_end(&mut heard).await.map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
        assert_eq!(String::from_utf8_lossy(&heard), "");
    });
    assert_eq!(world.counters.panics.get(), 1);
}

const EXPECTS: &str =
    "POST / HTTP/1.1\r\nHost: hello\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

/// The clock stands still: it is the word that lets the body go.
#[test]
fn a_body_goes_as_soon_as_its_word_has_come() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::by(Hand::new(), upstream);
        world.listen("hello", false, |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, "HTTP/1.1 100 Continue\r\n\r\n").await;
            hear(&mut tcp, "body").await;
            say(&mut tcp, "HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        if upstream == Upstream::Http2 {
            world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
                let word = Response::builder().status(100).body(()).unwrap();
                respond.send_informational(word).unwrap();
                assert_eq!(read(&mut request.into_body()).await.unwrap(), b"body");
                let done = Response::builder().status(204).body(()).unwrap();
                respond.send_response(done, true).unwrap();
            });
        }
        world.run(async {
            let mut app = connected(&world).await;
            say(&mut app, EXPECTS).await;
            reply(&mut app, "HTTP/1.1 100 Continue\r\n\r\n").await;
            say(&mut app, "body").await;
            let heard = reply(&mut app, "\r\n\r\n").await;
            assert!(heard.starts_with("HTTP/1.1 204 "), "{upstream:?}: {heard}");
        });
    }
}

/// A service that answers without the word and reads the body all the same; the
/// clock stands still.
fn impatient(world: &World, upstream: Upstream) {
    if upstream == Upstream::Http1 {
        return world.listen("hello", false, |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nyes ").await;
            hear(&mut tcp, "body").await;
            say(&mut tcp, "body").await;
        });
    }
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let length = Response::builder().header("content-length", 8).body(()).unwrap();
        let mut stream = respond.send_response(length, false).unwrap();
        send(&mut stream, Bytes::from_static(b"yes ")).await.unwrap();
        let body = read(&mut request.into_body()).await.unwrap();
        stream.send_data(body.into(), true).unwrap();
    });
}

#[test]
fn a_body_that_its_app_sends_after_the_response_has_begun_goes_on() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::by(Hand::new(), upstream);
        impatient(&world, upstream);
        world.run(async {
            // At once, and when it has heard the response.
            for ahead in [true, false] {
                let mut app = connected(&world).await;
                say(&mut app, &[EXPECTS, if ahead { "body" } else { "" }].concat()).await;
                let head = reply(&mut app, "yes ").await;
                assert!(head.contains("Connection: close\r\n"), "{upstream:?}: {head}");
                if !ahead {
                    say(&mut app, "body").await;
                }
                assert_eq!(reply(&mut app, "").await, "body", "{upstream:?} {ahead}");
            }
        });
    }
}

/// An app that has ended its direction amid its body has no claim to the rest of
/// the response, but what it got must not look like the whole.
#[test]
fn a_response_that_an_app_gives_up_does_not_end_well() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::by(Hand::new(), upstream);
        world.listen("hello", false, |mut tcp: Tcp| async move {
            hear(&mut tcp, "\r\n\r\n").await;
            say(&mut tcp, "HTTP/1.1 200 OK\r\n\r\nyes ").await;
            hear(&mut tcp, "never").await;
        });
        if upstream == Upstream::Http2 {
            world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                send(&mut stream, Bytes::from_static(b"yes ")).await.unwrap();
                let _ = read(&mut request.into_body()).await;
            });
        }
        let end = world.run(async {
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            let mut app = connected(&world).await;
            say(&mut app, "POST / HTTP/1.0\r\nHost: hello\r\nContent-Length: 9\r\n\r\nbody").await;
            reply(&mut app, "yes ").await;
            app.close().await.unwrap();
            app.read_to_end(&mut Vec::new()).await
        });
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "{upstream:?}");
    }
}

/// An app of HTTP/2 that leaves before there is a response, with its request whole
/// or in the middle of it.
#[test]
fn an_app_of_http2_that_leaves_before_the_response_closes_the_services_connection() {
    for whole in [true, false] {
        let world = World::by(Hand::new(), Upstream::Http1);
        let (seen, sees) = async_channel::bounded(1);
        world.listen("hello", false, move |mut tcp: Tcp| {
            let seen = seen.clone();
            async move {
                use futures_lite::AsyncReadExt;
                hear(&mut tcp, "\r\n\r\n").await;
                seen.send("heard").await.unwrap();
                let _ = tcp.read_to_end(&mut Vec::new()).await;
                seen.send("closed").await.unwrap();
            }
        });
        world.run(async {
            let mut app = world.app().await;
            let request = Request::post("http://hello/").body(()).unwrap();
            let (response, upload) = app.send_request(request, whole).unwrap();
            assert_eq!(sees.recv().await.unwrap(), "heard");
            drop((response, upload));
            assert_eq!(sees.recv().await.unwrap(), "closed");
        });
    }
}
