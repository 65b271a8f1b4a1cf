//! Where the token goes, and what happens when a service refuses it.

use crate::world::{World, fields, get, token};
use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use runsd::proxy::Upstream;

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
        let heard = crate::world::read(&mut body).await.unwrap();
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
