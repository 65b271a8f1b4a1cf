//! Where the token goes, and what happens when a service refuses it.

use super::http1_apps::{CLOSE, ask};
use super::world::{Heard, World, fields, get, read, send, token};
use crate::proxy::Upstream;
use crate::proxy::testing::Hand;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use std::time::Duration;

/// A service that answers with the credentials it got.
fn mirror(world: &World) {
    world.tls_service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let mut head = Response::new(());
        for name in ["authorization", "x-serverless-authorization"] {
            for value in request.headers().get_all(name) {
                head.headers_mut().append(
                    format!("seen-{name}").parse::<http::HeaderName>().unwrap(),
                    value.clone(),
                );
            }
        }
        respond.send_response(head, true).unwrap();
    });
}

#[test]
fn the_token_goes_where_the_app_has_left_room() {
    let world = World::new(Upstream::Same);
    mirror(&world);
    *world.tokens.ready.lock().unwrap() = token("ours");
    let dead = "Bearer a.e30.SIGNATURE_REMOVED_BY_GOOGLE";
    for (own, serverless, expected) in [
        (None, None, (Some("Bearer ours"), None)),
        (Some("Basic x"), None, (Some("Basic x"), Some("Bearer ours"))),
        (None, Some("Bearer a.b.c"), (None, Some("Bearer a.b.c"))),
        (Some("Basic x"), Some(dead), (Some("Basic x"), Some("Bearer ours"))),
        (None, Some(dead), (None, Some("Bearer ours"))),
    ] {
        let mut request = get("http://hello/");
        if let Some(own) = own {
            request.headers_mut().extend(fields(&[("authorization", own)]));
        }
        if let Some(serverless) = serverless {
            request.headers_mut().extend(fields(&[("x-serverless-authorization", serverless)]));
        }
        let heard = world.run(world.ask(request, None));
        let seen =
            (heard.field("seen-authorization"), heard.field("seen-x-serverless-authorization"));
        assert_eq!(seen, expected);
    }
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn a_copy_grows_old_by_the_proxys_own_clock() {
    let clock = Hand::new();
    let world = World::by(clock.clone(), Upstream::Http2);
    mirror(&world);
    *world.tokens.ready.lock().unwrap() = token("ours");
    // It ends with the year 2099.
    let copy = "Bearer a.eyJleHAiOjQxMDI0NDQ4MDB9.c";
    for (years, seen) in [(0, copy), (200, "Bearer ours")] {
        clock.pass_on_the_wall(Duration::from_secs(years * 366 * 24 * 3600));
        let mut request = get("http://hello/");
        *request.headers_mut() = fields(&[("x-serverless-authorization", copy)]);
        let heard = world.run(world.ask(request, None));
        assert_eq!(heard.field("seen-x-serverless-authorization"), Some(seen));
        let request = format!("GET / HTTP/1.1\r\nX-Serverless-Authorization: {copy}\r\n{CLOSE}");
        let heard = world.run(ask(&world, &request));
        let line = format!("seen-x-serverless-authorization: {seen}\r\n");
        assert!(heard.contains(&line), "{heard}");
    }
}

#[test]
fn a_token_that_cannot_be_had_is_told_in_grpc_too() {
    let world = World::new(Upstream::Same);
    mirror(&world);
    let plain = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(plain.status(), 503);
    let mut request = Request::post("http://hello/").body(()).unwrap();
    *request.headers_mut() = fields(&[("content-type", "application/grpc")]);
    let grpc = world.run(world.ask(request, Some(b"x")));
    assert_eq!(grpc.field("grpc-status"), Some("16"));
    assert!(grpc.field("grpc-message").unwrap().contains("the account is gone"));
}

fn refuses_old(world: &World) {
    world.tls_service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let (head, mut body) = request.into_parts();
        let mut response = Response::new(());
        if head.headers["authorization"] == "Bearer old" {
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            let challenge = "Bearer error=\"invalid_token\" error_description=\"no\"";
            *response.headers_mut() = fields(&[("www-authenticate", challenge)]);
            respond.send_response(response, true).unwrap();
            return;
        }
        let heard = super::world::read(&mut body).await.unwrap();
        let mut stream = respond.send_response(response, false).unwrap();
        stream.send_data(heard.into(), true).unwrap();
    });
}

#[test]
fn a_refused_token_is_renewed_once_and_the_request_sent_again() {
    let world = World::new(Upstream::Same);
    refuses_old(&world);
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    let request = || Request::post("http://hello/").body(()).unwrap();
    let heard = world.run(world.ask(request(), Some(b"a body")));
    assert_eq!((heard.status(), heard.body.as_slice()), (200, b"a body".as_slice()));
    // No other token is to be had now: the service's own answer passes.
    let heard = world.run(world.ask(request(), Some(b"a body")));
    assert_eq!(heard.status(), 401);
}

#[test]
fn an_apps_own_refusal_passes() {
    let world = World::new(Upstream::Same);
    refuses_old(&world);
    *world.tokens.next.lock().unwrap() = token("new");
    let mut request = get("http://hello/");
    let own = [("authorization", "Bearer old"), ("x-serverless-authorization", "Bearer a.b.c")];
    *request.headers_mut() = fields(&own);
    assert_eq!(world.run(world.ask(request, None)).status(), 401);
    assert!(world.tokens.next.lock().unwrap().is_some());
}

#[test]
fn a_body_that_is_still_coming_is_sent_again_from_its_beginning() {
    let world = World::new(Upstream::Same);
    let (first, firsts) = async_channel::bounded(1);
    world.tls_service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let first = first.clone();
        async move {
            let (head, mut body) = request.into_parts();
            if head.headers["authorization"] == "Bearer new" {
                let heard = read(&mut body).await.unwrap();
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(heard.into(), true).unwrap();
                return;
            }
            assert_eq!(body.data().await.unwrap().unwrap(), "one ");
            let challenge = "Bearer error=\"invalid_token\"";
            let refusal = Response::builder().status(401).header("www-authenticate", challenge);
            respond.send_response(refusal.body(()).unwrap(), true).unwrap();
            first.send(()).await.unwrap();
        }
    });
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    let heard = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"one "), false).unwrap();
        firsts.recv().await.unwrap();
        stream.send_data(Bytes::from_static(b"two"), true).unwrap();
        Heard::all(response).await.unwrap()
    });
    assert_eq!((heard.status(), heard.body.as_slice()), (200, b"one two".as_slice()));
}

#[test]
fn the_trailers_of_a_request_are_sent_again_too() {
    let world = World::new(Upstream::Same);
    world.tls_service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let (head, mut body) = request.into_parts();
        assert_eq!(read(&mut body).await.unwrap(), b"a body");
        let trailers = body.trailers().await.unwrap().unwrap();
        if head.headers["authorization"] == "Bearer old" {
            let challenge = "Bearer error=\"invalid_token\"";
            let refusal = Response::builder().status(401).header("www-authenticate", challenge);
            respond.send_response(refusal.body(()).unwrap(), true).unwrap();
            return;
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_trailers(trailers).unwrap();
    });
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    let echoed = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"a body"), false).unwrap();
        stream.send_trailers(fields(&[("x-sum", "1"), ("x-sum", "2")])).unwrap();
        let mut body = response.await.unwrap().into_body();
        read(&mut body).await.unwrap();
        body.trailers().await.unwrap().unwrap()
    });
    assert_eq!(echoed, fields(&[("x-sum", "1"), ("x-sum", "2")]));
}

#[test]
fn a_body_too_large_to_keep_is_not_sent_again() {
    let world = World::new(Upstream::Same);
    world.tls_service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        read(&mut request.into_body()).await.unwrap();
        let challenge = "Bearer error=\"invalid_token\"";
        let refusal = Response::builder().status(401).header("www-authenticate", challenge);
        respond.send_response(refusal.body(()).unwrap(), true).unwrap();
    });
    *world.tokens.ready.lock().unwrap() = token("old");
    *world.tokens.next.lock().unwrap() = token("new");
    world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        send(&mut stream, vec![0; 200_000].into()).await.unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 401);
    });
    assert!(world.tokens.next.lock().unwrap().is_some());
}
