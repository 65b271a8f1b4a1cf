//! Single exchanges: what reaches the service, and what comes back.

use super::http1_apps::ask;
use super::world::{Heard, World, fields, get, read, send};
use crate::net::SystemClock;
use crate::proxy::{Config, Upstream};
use crate::telemetry::Level;
use bytes::Bytes;
use h2::{Reason, server::SendResponse};
use http::{Method, Request, Response, Uri};
use std::sync::Arc;

fn ok() -> Response<()> {
    Response::new(())
}

#[test]
fn a_unary_call_comes_back_with_its_trailers() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let (head, mut body) = request.into_parts();
        let heard = read(&mut body).await.unwrap();
        let end = body.trailers().await.unwrap().unwrap();
        let mut stream = respond.send_response(ok(), false).unwrap();
        let path = head.uri.path_and_query().unwrap().as_str().as_bytes().to_vec();
        stream.send_data([path, heard].concat().into(), false).unwrap();
        stream.send_trailers(end).unwrap();
    });
    let heard = world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello//a/../b%2F?q=%zz;").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b" body"), false).unwrap();
        let trailers = fields(&[("x-sum", "1"), ("authorization", "no"), ("grpc-status", "0")]);
        stream.send_trailers(trailers).unwrap();
        Heard::all(response).await.unwrap()
    });
    assert_eq!(heard.body, b"//a/../b%2F?q=%zz; body");
    assert_eq!(heard.trailers.unwrap(), fields(&[("x-sum", "1"), ("grpc-status", "0")]));
}

#[test]
fn the_head_is_what_the_app_sent_and_nothing_more() {
    let world = World::new(Upstream::Http2);
    let (seen, sees) = async_channel::bounded(1);
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let seen = seen.clone();
        async move {
            let (head, _) = request.into_parts();
            seen.send((head.uri, head.headers)).await.unwrap();
            respond.send_response(ok(), true).unwrap();
        }
    });
    let sent = [("te", "trailers"), ("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b")];
    let (uri, heard) = world.run(async {
        let mut request = get("http://hello/");
        *request.headers_mut() = fields(&[("host", "hello"), ("proxy-authorization", "x")]);
        for (name, value) in sent {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        assert!(world.ask(request, None).await.bare);
        sees.recv().await.unwrap()
    });
    assert!(uri.authority().unwrap().as_str().starts_with("localhost:"));
    assert_eq!(uri.scheme_str(), Some("http"));
    let text = |(name, value): (&'_ http::HeaderName, &'_ http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    // The order within one name stays; that of names has no meaning in HTTP/2.
    let mut heard: Vec<_> = heard.iter().map(text).collect();
    heard.sort_by(|one, other| one.0.cmp(&other.0));
    let mut sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    sent.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(heard, sent);
}

#[test]
fn trailers_only_stays_so() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut head = ok();
        *head.headers_mut() = fields(&[("grpc-status", "5")]);
        respond.send_response(head, true).unwrap();
    });
    let heard = world.run(world.ask(get("http://hello/"), Some(b"")));
    assert!(heard.bare);
    assert_eq!(heard.field("grpc-status"), Some("5"));
}

#[test]
fn what_has_no_body_ends_with_its_head_whatever_follows() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let status = request.uri().path().trim_start_matches('/').parse::<u16>().unwrap();
        let head = Response::builder().status(status).header("x-kept", "1").body(()).unwrap();
        let mut stream = respond.send_response(head, false).unwrap();
        // The proxy may have heard enough.
        let _ = stream.send_data(Bytes::from_static(b"poison"), true);
    });
    for (method, status) in [(Method::GET, 204), (Method::GET, 304), (Method::HEAD, 200)] {
        let mut request = get(&format!("http://hello/{status}"));
        *request.method_mut() = method;
        let heard = world.run(world.ask(request, None));
        assert_eq!((heard.status(), heard.field("x-kept")), (status, Some("1")));
        assert!(heard.bare && heard.body.is_empty(), "{status}");
    }
    assert_eq!(world.counters.upstream_connections.get(), 1);
}

#[test]
fn large_trailers_pass() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(ok(), false).unwrap();
        stream.send_trailers(fields(&[("x-large", &"x".repeat(64 * 1024))])).unwrap();
    });
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.trailers.unwrap()["x-large"].len(), 64 * 1024);
}

#[test]
fn large_heads_and_trailers_of_an_app_pass() {
    let world = World::new(Upstream::Http2);
    let large = "x".repeat(64 * 1024);
    let expected = large.clone();
    world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
        let expected = expected.clone();
        async move {
            let (head, mut body) = request.into_parts();
            assert_eq!(head.headers["x-large"], expected.as_str());
            read(&mut body).await.unwrap();
            assert_eq!(body.trailers().await.unwrap().unwrap()["x-large"], expected.as_str());
            respond.send_response(ok(), true).unwrap();
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").header("x-large", &large).body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_trailers(fields(&[("x-large", &large)])).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        for status in [100, 103] {
            let interim = Response::builder().status(status).header("link", "x").body(()).unwrap();
            respond.send_informational(interim).unwrap();
        }
        respond.send_response(ok(), true).unwrap();
    });
    world.run(async {
        let mut app = world.app().await;
        let (mut response, _) = app.send_request(get("http://hello/"), true).unwrap();
        for status in [100, 103] {
            let interim = std::future::poll_fn(|context| response.poll_informational(context));
            assert_eq!(interim.await.unwrap().unwrap().status(), status);
        }
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
fn both_directions_flow_at_once() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(ok(), false).unwrap();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            stream.send_data(data, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    world.run(async {
        let mut app = world.app().await;
        let request = Request::post("http://hello/").body(()).unwrap();
        let (response, mut stream) = app.send_request(request, false).unwrap();
        let mut echo = response.await.unwrap().into_body();
        for word in ["one", "two", "three"] {
            stream.send_data(word.into(), false).unwrap();
            assert_eq!(echo.data().await.unwrap().unwrap(), word);
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert!(echo.data().await.is_none_or(|data| data.unwrap().is_empty()));
    });
}

#[test]
fn an_app_that_cancels_cancels_the_service() {
    let world = World::new(Upstream::Http2);
    let (seen, sees) = async_channel::bounded(1);
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let seen = seen.clone();
        async move {
            let mut stream = respond.send_response(ok(), false).unwrap();
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
            let reset = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            seen.send(reset.unwrap()).await.unwrap();
        }
    });
    let reason = world.run(async {
        let mut app = world.app().await;
        let (response, mut stream) =
            app.send_request(Request::post("http://hello/").body(()).unwrap(), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "x");
        stream.send_reset(Reason::CANCEL);
        sees.recv().await.unwrap()
    });
    assert_eq!(reason, Reason::CANCEL);
}

#[test]
fn an_app_that_leaves_before_the_response_cancels_the_service() {
    let world = World::new(Upstream::Http2);
    let (seen, sees) = async_channel::bounded(2);
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let seen = seen.clone();
        async move {
            seen.send(Reason::NO_ERROR).await.unwrap();
            let reset = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            seen.send(reset.unwrap()).await.unwrap();
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let sent = app.send_request(get("http://hello/"), true).unwrap();
        sees.recv().await.unwrap();
        drop(sent);
        assert_eq!(sees.recv().await.unwrap(), Reason::CANCEL);
    });
}

#[test]
fn a_service_that_resets_resets_the_app_with_its_reason() {
    let world = World::new(Upstream::Http2);
    world.service("before", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_reset(Reason::ENHANCE_YOUR_CALM);
    });
    world.service("within", |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(ok(), false).unwrap();
        send(&mut stream, Bytes::from_static(b"x")).await.unwrap();
        stream.send_reset(Reason::CANCEL);
    });
    world.service("quietly", |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(ok(), false).unwrap();
        send(&mut stream, Bytes::from_static(b"x")).await.unwrap();
        stream.send_reset(Reason::NO_ERROR);
    });
    for (name, reason) in [
        ("before", Reason::ENHANCE_YOUR_CALM),
        ("within", Reason::CANCEL),
        // No client may take a part for the whole.
        ("quietly", Reason::INTERNAL_ERROR),
    ] {
        let error = world.run(async {
            let mut app = world.app().await;
            let url = format!("http://{name}/");
            Heard::all(app.send_request(get(&url), true).unwrap().0).await.unwrap_err()
        });
        assert_eq!((error.reason(), error.is_remote()), (Some(reason), true), "{name}");
    }
}

#[test]
fn a_wrong_content_length_is_never_a_clean_end() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut head = ok();
        *head.headers_mut() = fields(&[("content-length", "10")]);
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::from_static(b"short"), true).unwrap();
    });
    let error = world.run(async {
        let mut app = world.app().await;
        Heard::all(app.send_request(get("http://hello/"), true).unwrap().0).await.unwrap_err()
    });
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
}

#[test]
fn errors_of_our_own_are_for_whoever_looks_where_the_access_log_has_them_too() {
    for (access_log, level) in [(false, Level::Warn), (true, Level::Debug)] {
        let config = Config {
            upstream: Upstream::Http2,
            forward: false,
            refuse_pages: false,
            rewrite_redirects: true,
            access_log,
        };
        let world = World::with(Arc::new(SystemClock), config);
        world.run(world.ask(get("http://stranger/"), None));
        world.run(ask(&world, "GET / HTTP/1.1\r\nHost: stranger\r\nConnection: close\r\n\r\n"));
        let said = world.said.lock().unwrap();
        let of_it = |line: &str| line.starts_with("\"stranger\" is not in the list");
        let told = said.iter().filter(|(_, line)| of_it(line)).map(|(level, _)| *level);
        assert_eq!(told.collect::<Vec<_>>(), [level; 2], "{said:?}");
    }
}

#[test]
fn errors_of_our_own_speak_the_callers_language() {
    let world = World::new(Upstream::Http2);
    let plain = world.run(world.ask(get("http://stranger/"), None));
    assert_eq!(
        (plain.status(), plain.field("content-type")),
        (421, Some("application/problem+json"))
    );
    assert!(plain.field("proxy-status").unwrap().starts_with("runsd; error=http_request_denied"));
    assert!(String::from_utf8(plain.body).unwrap().contains("--allow"));
    let mut request = Request::post("http://stranger/").body(()).unwrap();
    *request.headers_mut() = fields(&[("content-type", "application/grpc+proto")]);
    let grpc = world.run(world.ask(request, Some(b"x")));
    assert_eq!((grpc.status(), grpc.field("grpc-status"), grpc.bare), (200, Some("5"), true));
    assert_eq!(grpc.field("content-type"), Some("application/grpc"));
    let mut connect = get("http://stranger/");
    *connect.method_mut() = Method::CONNECT;
    *connect.uri_mut() = "stranger:80".parse().unwrap();
    assert_eq!(world.run(world.ask(connect, None)).status(), 405);
    assert_eq!(world.counters.proxy_errors.get(), 3);
}

#[test]
fn hosts_that_disagree_are_malformed() {
    let world = World::new(Upstream::Http2);
    for hosts in [["other", "other"], ["hello", "hello"], ["", "hello"], ["u@hello", ""]] {
        let error = world.run(async {
            let mut request = get("http://hello/");
            for host in hosts.iter().filter(|host| !host.is_empty()) {
                request.headers_mut().append("host", host.parse().unwrap());
            }
            if hosts[0].is_empty() {
                *request.uri_mut() = "http://u@hello/".parse().unwrap();
            }
            let mut app = world.app().await;
            Heard::all(app.send_request(request, true).unwrap().0).await.unwrap_err()
        });
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{hosts:?}");
    }
}

#[test]
fn the_same_length_twice_is_refused_both_ways() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        let mut head = ok();
        *head.headers_mut() = fields(&[("content-length", "2"), ("content-length", "2")]);
        let mut stream = respond.send_response(head, false).unwrap();
        let _ = stream.send_data(Bytes::from_static(b"ok"), true);
    });
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.status(), 502);
    let error = world.run(async {
        let mut app = world.app().await;
        let mut request = Request::post("http://hello/").body(()).unwrap();
        *request.headers_mut() = fields(&[("content-length", "2"), ("content-length", "2")]);
        let (response, mut stream) = app.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
        Heard::all(response).await.unwrap_err()
    });
    assert_eq!((error.reason(), error.is_remote()), (Some(Reason::PROTOCOL_ERROR), true));
}

#[test]
fn interim_responses_without_end_are_a_bad_gateway() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        for _ in 0..2 * crate::proxy::limits::INTERIM {
            let interim = Response::builder().status(103).body(()).unwrap();
            if respond.send_informational(interim).is_err() {
                return;
            }
        }
        let _ = respond.send_response(ok(), true);
    });
    assert_eq!(world.run(world.ask(get("http://hello/"), None)).status(), 502);
}

#[test]
fn a_path_begins_with_a_slash_but_for_the_asterisk_of_options() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_response(ok(), true).unwrap();
    });
    let ask = |method: Method, path: &str| {
        world.run(async {
            let uri = Uri::builder().scheme("http").authority("hello").path_and_query(path);
            let mut request = get("http://hello/");
            (*request.method_mut(), *request.uri_mut()) = (method, uri.build().unwrap());
            let mut app = world.app().await;
            Heard::all(app.send_request(request, true).unwrap().0).await
        })
    };
    assert_eq!(ask(Method::OPTIONS, "*").unwrap().status(), 200);
    assert_eq!(ask(Method::GET, "*").unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
    // To a service of HTTP/1.1 it would be no request.
    for (method, path) in [(Method::GET, "?x"), (Method::OPTIONS, "?x")] {
        let error = ask(method, path).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{path}");
    }
}

#[test]
fn a_drain_lets_open_streams_finish_and_opens_no_others() {
    let world = World::new(Upstream::Http2);
    let (go, goes) = async_channel::bounded::<()>(1);
    world.service("hello", move |_, mut respond: SendResponse<Bytes>| {
        let goes = goes.clone();
        async move {
            let mut stream = respond.send_response(ok(), false).unwrap();
            goes.recv().await.unwrap();
            stream.send_data(Bytes::from_static(b"whole"), true).unwrap();
        }
    });
    world.run(async {
        let mut app = world.app().await;
        let response = app.send_request(get("http://hello/"), true).unwrap().0.await.unwrap();
        world.drain.start();
        while std::future::poll_fn(|context| app.poll_ready(context)).await.is_ok() {
            futures_lite::future::yield_now().await;
        }
        go.send(()).await.unwrap();
        assert_eq!(read(&mut response.into_body()).await.unwrap(), b"whole");
    });
}

#[test]
fn a_panic_ends_its_exchange_alone() {
    let world = World::new(Upstream::Http2);
    world.service("hello", |_, mut respond: SendResponse<Bytes>| async move {
        respond.send_response(ok(), true).unwrap();
    });
    world.run(async {
        let mut app = world.app().await;
        for (url, status) in
            [("http://hello/", 200), ("http://panic/", 502), ("http://hello/", 200)]
        {
            app = app.ready().await.unwrap();
            let response = app.send_request(get(url), true).unwrap().0.await.unwrap();
            assert_eq!(response.status(), status, "{url}");
        }
    });
    assert_eq!(world.counters.panics.get(), 1);
}
