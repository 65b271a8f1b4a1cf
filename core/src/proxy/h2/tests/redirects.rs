//! Redirects of a service to itself, between apps and services of either
//! version: they get the app's own name for it, unless that is switched off.

use super::http1_apps::ask;
use super::world::{World, fields, get, hear, say};
use crate::net::SystemClock;
use crate::proxy::{Config, Upstream};
use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use std::sync::Arc;

/// A proxy to a service that redirects to a path of its own URL.
fn redirecting(upstream: Upstream, rewrite_redirects: bool) -> World {
    let config = Config {
        upstream,
        forward: false,
        refuse_pages: false,
        rewrite_redirects,
        access_log: false,
    };
    let world = World::with(Arc::new(SystemClock), config);
    if upstream == Upstream::Http2 {
        world.service("hello", |request, mut respond: SendResponse<Bytes>| async move {
            let mut head = Response::builder().status(302).body(()).unwrap();
            let here = request.uri().authority().unwrap();
            *head.headers_mut() = fields(&[("location", &format!("http://{here}/next?a"))]);
            respond.send_response(head, true).unwrap();
        });
    } else {
        world.listen("hello", false, |mut tcp| async move {
            let asked = hear(&mut tcp, "\r\n\r\n").await;
            let here = asked.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
            let location = format!("Location: http://{here}/next?a\r\n");
            say(&mut tcp, &format!("HTTP/1.1 302 Found\r\n{location}Content-Length: 0\r\n\r\n"))
                .await;
        });
    }
    world
}

/// Where both kinds of app are sent.
fn locations(world: &World) -> [String; 2] {
    world.run(async {
        let text = ask(world, "GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n").await;
        let lines = text.to_lowercase();
        let old = lines.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        let new = world.ask(get("http://hello/"), None).await;
        [old.to_owned(), new.field("location").unwrap().to_owned()]
    })
}

#[test]
fn a_redirect_to_the_service_itself_keeps_the_apps_name() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let found = locations(&redirecting(upstream, true));
        assert_eq!(found, ["http://hello/next?a"; 2], "{upstream:?}");
    }
}

#[test]
fn a_redirect_passes_untouched_where_that_is_wished() {
    for upstream in [Upstream::Http1, Upstream::Http2] {
        for found in locations(&redirecting(upstream, false)) {
            let begins = found.starts_with("http://localhost:");
            assert!(begins && found.ends_with("/next?a"), "{upstream:?}: {found}");
        }
    }
}
