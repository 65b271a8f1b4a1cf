//! Fields that `Connection` names concern one connection alone, among the
//! trailers too, whichever versions meet. HTTP/2 has no such field.

use super::http1_apps::{connected, reply};
use super::world::{World, fields, get, hear, read, say};
use crate::net::Tcp;
use crate::proxy::Upstream;
use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;

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
