//! What of fields ends here, among the trailers too, whichever versions meet: those
//! that `Connection` names, which HTTP/2 has not, and white space around values,
//! which is no part of them.

use super::http1_apps::{CLOSE, ask, connected, reply};
use super::world::{Heard, World, fields, get, hear, read, say};
use crate::net::Tcp;
use crate::proxy::Upstream;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;

const ASKED: &str = "POST / HTTP/1.1\r\nHost: hello\r\nConnection: x-hop\r\n\
                     Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Hop: 1\r\nX-Sum: 2\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nTransfer-Encoding: chunked\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Hop: 1\r\nX-Sum: 2\r\n\r\n";

/// A service of HTTP/1.1; what it hears of a request ends with `until`.
fn service(world: &World, until: &'static str) -> async_channel::Receiver<String> {
    let (heard, hears) = async_channel::bounded(1);
    world.listen("hello", false, move |mut tcp: Tcp| {
        let heard = heard.clone();
        async move {
            heard.send(hear(&mut tcp, until).await).await.unwrap();
            say(&mut tcp, ANSWER).await;
        }
    });
    hears
}

#[test]
fn between_http1_and_http1() {
    let world = World::new(Upstream::Http1);
    let hears = service(&world, "2\r\n\r\n");
    let (request, response) = world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, ASKED).await;
        (hears.recv().await.unwrap(), reply(&mut app, "2\r\n\r\n").await)
    });
    assert!(request.ends_with("0\r\nX-Sum: 2\r\n\r\n"), "{request}");
    assert!(response.ends_with("0\r\nX-Sum: 2\r\n\r\n"), "{response}");
}

#[test]
fn from_a_service_of_http1_to_an_app_of_http2() {
    let world = World::new(Upstream::Http1);
    let _hears = service(&world, "\r\n\r\n");
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.trailers.unwrap(), fields(&[("x-sum", "2")]));
}

#[test]
fn from_an_app_of_http1_to_a_service_of_http2() {
    let world = World::new(Upstream::Http2);
    let (heard, hears) = async_channel::bounded(1);
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let heard = heard.clone();
        async move {
            let mut body = request.into_body();
            read(&mut body).await.unwrap();
            heard.send(body.trailers().await.unwrap().unwrap()).await.unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let trailers = world.run(async {
        let mut app = connected(&world).await;
        say(&mut app, ASKED).await;
        hears.recv().await.unwrap()
    });
    assert_eq!(trailers, fields(&[("x-sum", "2")]));
}

/// Fields of which every value has white space around it, and of which none has.
fn padded() -> [HeaderMap; 2] {
    [fields(&[("x-a", " a\t"), ("x-a", "\t ")]), fields(&[("x-a", "a"), ("x-a", "")])]
}

#[test]
fn white_space_around_the_values_of_an_app_ends_here() {
    let [sent, expected] = padded();
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        let (heard, hears) = async_channel::unbounded();
        let old = service(&world, "0\r\nx-a: a\r\nx-a: \r\n\r\n");
        if upstream == Upstream::Http2 {
            world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
                let heard = heard.clone();
                async move {
                    heard.send(request.headers().clone()).await.unwrap();
                    let mut body = request.into_body();
                    read(&mut body).await.unwrap();
                    heard.send(body.trailers().await.unwrap().unwrap()).await.unwrap();
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        }
        world.run(async {
            let mut app = world.app().await;
            let mut request = Request::post("http://hello/").body(()).unwrap();
            *request.headers_mut() = sent.clone();
            let (response, mut upload) = app.send_request(request, false).unwrap();
            upload.send_trailers(sent.clone()).unwrap();
            assert_eq!(response.await.unwrap().status(), 200, "{upstream:?}");
            if upstream == Upstream::Http1 {
                let text = old.recv().await.unwrap();
                assert!(text.contains("\r\nx-a: a\r\nx-a: \r\n"), "{text}");
                return;
            }
            for _ in 0..2 {
                assert_eq!(hears.recv().await.unwrap(), expected);
            }
        });
    }
}

#[test]
fn white_space_around_the_values_of_a_service_ends_here() {
    let [sent, expected] = padded();
    let world = World::new(Upstream::Http2);
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let sent = sent.clone();
        async move {
            let mut early = Response::builder().status(103).body(()).unwrap();
            *early.headers_mut() = sent.clone();
            respond.send_informational(early).unwrap();
            let mut response = Response::new(());
            *response.headers_mut() = sent.clone();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_trailers(sent).unwrap();
        }
    });
    let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
    assert_eq!(old.matches("x-a: a\r\nx-a: \r\n").count(), 3, "{old}");
    world.run(async {
        let mut app = world.app().await;
        let (mut response, _) = app.send_request(get("http://hello/"), true).unwrap();
        let early = poll_fn(|context| response.poll_informational(context)).await;
        assert_eq!(*early.unwrap().unwrap().headers(), expected);
        let heard = Heard::all(response).await.unwrap();
        assert_eq!(*heard.head.headers(), expected);
        assert_eq!(heard.trailers.unwrap(), expected);
    });
}
