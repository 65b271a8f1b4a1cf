//! HTTP clients, unchanged, under runsd: bodies, redirects, cookies, interim
//! responses, trailers; and events that must not wait for each other.

use crate::apps;
use runsd_tests::World;

const BASE: [&str; 6] = ["keep-alive", "uploads", "downloads", "redirect", "cookies", "statuses"];

/// Runs an app and asserts what it did, and what the services saw of it.
fn passes(app: &[String], extras: &[&str]) {
    let world = World::default();
    let command: Vec<&str> = app.iter().map(String::as_str).collect();
    let ran = world.run(&[], &command);
    let wanted: Vec<&str> = BASE.iter().chain(extras).copied().collect();
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), wanted, "{app:?}");
    let seen = world.sim.front().requests();
    assert!(seen.iter().all(|seen| seen.audience.is_some()), "each has its token");
    let landed: Vec<_> = seen.iter().filter(|seen| seen.target == "/landed").collect();
    assert!(landed.iter().all(|seen| seen.status == 200) && !landed.is_empty(), "{landed:?}");
    let with_cookies = seen.iter().find(|seen| seen.target == "/with-cookies").expect("it came");
    let cookies: Vec<String> = with_cookies
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert_eq!(cookies.join("; "), "a=1; b=2", "{app:?}");
    let (requests, connections) = (seen.len(), world.sim.front().connections());
    assert!(connections < requests / 2, "{connections} connections for {requests} requests");
}

/// COVERAGE.md 3, 10, 12, 24, 29: `requests`.
#[test]
fn pythons_requests() {
    passes(&apps::python("requests_app.py"), &[]);
}

/// COVERAGE.md 3, 10, 12, 24, 29: `httpx` over HTTP/1.1.
#[test]
fn pythons_httpx() {
    let mut app = apps::python("httpx_app.py");
    app.push("1".into());
    passes(&app, &[]);
}

/// COVERAGE.md 3, 10, 17, 19, 29: `httpx` over HTTP/2.
#[test]
fn pythons_httpx_over_http2() {
    let mut app = apps::python("httpx_app.py");
    app.push("2".into());
    passes(&app, &[]);
}

/// COVERAGE.md 3, 10, 11, 13, 29: `fetch`, undici, `node:http` and `node:http2`.
#[test]
fn nodes_clients() {
    passes(&apps::node("http.mjs"), &["interim responses", "trailers", "HTTP/2"]);
}

/// COVERAGE.md 3, 10, 11, 13, 29: Go's net/http over HTTP/1.1.
#[test]
fn gos_net_http() {
    let mut app = apps::go("http");
    app.push("1".into());
    passes(&app, &["interim responses", "trailers"]);
}

/// COVERAGE.md 3, 11, 13, 17, 29: Go's net/http over HTTP/2 without TLS.
#[test]
fn gos_net_http_over_http2() {
    let mut app = apps::go("http");
    app.push("2".into());
    passes(&app, &["interim responses", "trailers"]);
}

/// COVERAGE.md 3, 7, 10, 11, 13, 29: curl over both versions.
#[test]
fn curl() {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let world = World::default();
        let run = |arguments: &str, url: &str| {
            let mut all = vec![version];
            all.extend(arguments.split_whitespace());
            all.push(url);
            let ran = world.curl(&all);
            ran.ok().to_owned()
        };
        // Some versions of curl cannot use a connection of HTTP/2 without TLS
        // twice, whoever serves it; httpx and Go follow redirects over it.
        if version == "--http1.1" {
            assert!(run("-L", "http://redirect/").starts_with("landed\n 200"));
        }
        let hints = run("-i -d body", "http://hints/");
        assert!(hints.contains(" 103 "), "{version}: {hints}");
        assert!(hints.to_lowercase().contains("link: </style.css>; rel=preload"), "{hints}");
        let expected = run("-i -d body -H Expect:100-continue", "http://hints/");
        assert!(expected.contains(" 100 ") && expected.contains("hints 4\n"), "{expected}");
        let trailers = run("-i -d body", "http://trailers/");
        assert!(trailers.to_lowercase().contains("x-sim-trailer: end"), "{version}: {trailers}");
        let head = run("-I", "http://download/?bytes=123456");
        assert!(head.to_lowercase().contains("content-length: 123456"), "{version}: {head}");
        assert!(run("-X PURGE", "http://hello/").ends_with(" 200"), "an unknown method");
        assert!(run("-X OPTIONS --request-target *", "http://hello/").ends_with(" 200"));
        for code in ["200", "207", "299", "404", "425", "599", "799", "999"] {
            let said = run("", &format!("http://status/?code={code}"));
            assert_eq!(said, format!("status {code}\n {code}"), "{version}");
        }
        let seen = world.sim.front().requests();
        assert!(seen.iter().all(|seen| seen.audience.is_some()), "{version}");
        assert!(seen.iter().any(|seen| seen.method == "PURGE"), "{version}");
    }
}

/// COVERAGE.md 17, 18, 22: a burst from nghttp2's load generator, one connection
/// with many streams and many connections, without one failure.
#[test]
fn h2load_in_a_burst() {
    let world = World::default();
    for (connections, streams) in [("1", "100"), ("50", "2"), ("10", "50")] {
        let app = ["h2load", "-n", "3000", "-c", connections, "-m", streams, "http://hello/"];
        let ran = world.run(&[], &app);
        let wanted = "3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored";
        assert!(ran.ok().contains(wanted), "{connections} × {streams}: {ran:#?}");
        assert!(ran.out.contains("status codes: 3000 2xx"), "{ran:#?}");
    }
    let ran = world.run(&[], &["h2load", "--h1", "-n", "3000", "-c", "50", "http://hello/"]);
    assert!(ran.ok().contains("3000 succeeded, 0 failed"), "{ran:#?}");
}

/// COVERAGE.md 14: an event is sent only when the one before it was acknowledged,
/// so that a proxy that held one back would hang.
#[test]
fn events_arrive_one_by_one() {
    for version in ["1", "2"] {
        let world = World::default();
        let mut app = apps::python("events_app.py");
        app.push(version.into());
        let command: Vec<&str> = app.iter().map(String::as_str).collect();
        let ran = world.run(&[], &command);
        let wanted: String = (0..100).map(|number| format!("event {number}\n")).collect();
        assert_eq!(ran.ok(), wanted, "HTTP/{version}");
    }
}
