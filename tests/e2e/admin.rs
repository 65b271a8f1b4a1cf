//! The admin endpoint, as probes, Prometheus and jobs use it.

use cloudrun_sim::Options;
use runsd_tests::{Running, World, root, start};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
const ADMIN: &str = "--admin-addr=127.0.0.1:9903";

/// A connection to a port of the instance, once somebody listens there.
fn connect(world: &World, port: u16) -> TcpStream {
    let begun = Instant::now();
    loop {
        match world.sim.enter(move || TcpStream::connect(("127.0.0.1", port))) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return stream;
            }
            Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody at {port}: {error}"),
        }
        std::thread::yield_now();
    }
}

/// The status of an answer, and what it says.
fn ask(world: &World, line: &str, more: &str) -> (u16, String) {
    let mut stream = connect(world, 9903);
    let request = format!("{line} HTTP/1.1\r\nHost: localhost:9903\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).expect("the endpoint is there");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and its end");
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer:?}")), answer)
}

fn serve(world: &World, more: &[&str]) -> Running {
    let options = [&[ADMIN, "--resolv-conf-mode=leave"], more, &["serve"]].concat();
    start(&mut world.command(&options, &[]))
}

/// The samples of a page, read by Prometheus' own parser.
fn samples(page: &str) -> Value {
    let mut parser = Command::new(root().join(".venv/bin/python"));
    parser.arg(root().join("tests/apps/read_metrics.py"));
    let mut parser = parser
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/setup test makes the environment");
    let mut input = parser.stdin.take().expect("it was asked for");
    input.write_all(page.as_bytes()).expect("the parser reads");
    drop(input);
    let read = parser.wait_with_output().expect("the parser ends");
    assert!(read.status.success(), "{page}");
    serde_json::from_slice(&read.stdout).expect("JSON")
}

/// Every kind of work, between two looks at the metrics.
const WORK: &str = r#"
set -e
metrics() { curl -sS -m 30 http://localhost:9903/metrics; }
metrics; echo '# CUT'
curl -sS -m 30 -o /dev/null 'http://hello/[1-7]'
curl -sS -m 30 -o /dev/null http://status/?code=404
curl -sS -m 30 -o /dev/null --http2-prior-knowledge http://hello/
curl -sS -m 30 -o /dev/null http://hello.us-east1.999999999999.run.internal/
curl -sS -m 30 -o /dev/null http://example.com/
curl -sS -m 30 -o /dev/null http://example.com/
metrics
"#;

#[test]
fn metrics_are_the_requests_that_were_made() {
    let world = World::default();
    let ran = world.run(&[ADMIN], &["bash", "-c", WORK]);
    let (before, after) = ran.ok().split_once("# CUT\n").expect("two pages");
    let (before, after) = (samples(before), samples(after));
    let grew = |name: &str| {
        let value = |page: &Value| page[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
        value(&after) - value(&before)
    };
    for (name, by) in [
        ("runsd_proxy_requests_total", 10.0),
        ("runsd_proxy_connections_total", 4.0),
        ("runsd_proxy_errors_total", 1.0),
        ("runsd_proxy_responses_total{code=2xx}", 8.0),
        ("runsd_proxy_responses_total{code=4xx}", 2.0),
        ("runsd_proxy_responses_total{code=none}", 0.0),
        ("runsd_proxy_request_duration_seconds_count", 10.0),
        ("runsd_proxy_request_duration_seconds_bucket{le=+Inf}", 10.0),
        ("runsd_proxy_requests_active", 0.0),
        ("runsd_upstream_connections_total", 3.0),
        ("runsd_upstream_connect_duration_seconds_count", 3.0),
        ("runsd_upstream_handshake_duration_seconds_count", 3.0),
        ("runsd_upstream_connections_kept{http=1}", 2.0),
        ("runsd_upstream_connections_kept{http=2}", 1.0),
        ("runsd_token_fetches_total", 2.0),
        ("runsd_token_fetch_duration_seconds_count", 2.0),
        ("runsd_token_cache_entries", 2.0),
        ("runsd_token_failures_total", 0.0),
        ("runsd_panics_total", 0.0),
    ] {
        assert_eq!(grew(name), by, "{name}");
    }
    assert!(grew("runsd_upstream_handshake_duration_seconds_sum") > 0.0);
    assert!(grew("runsd_dns_queries_total") >= 8.0, "two questions for each name");
    assert!(grew("runsd_dns_local_total") >= 6.0);
    assert!(grew("runsd_dns_forwarded_total") >= 1.0, "example.com is asked for");
    assert_eq!(grew("runsd_dns_forward_duration_seconds_count"), grew("runsd_dns_forwarded_total"));
    assert!(grew("runsd_dns_cached_total") >= 1.0, "and remembered");
    let version = format!("runsd_build_info{{tls=rustls,version={}}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(after[version], 1.0);
}

#[test]
fn the_page_explains_every_metric() {
    let world = World::default();
    let ran = world.run(&[ADMIN], &["curl", "-sS", "http://localhost:9903/metrics"]);
    let page = std::fs::read_to_string(root().join("docs/observability.md")).expect("the page");
    let names = ran.ok().lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("| `{name}")), "{name} is not explained");
    }
}

#[test]
fn a_sidecar_is_ready_from_when_it_knows_where_it_is_until_it_drains() {
    let world = World::default();
    world.sim.metadata().fail_next(1_000_000, 503);
    let sidecar = serve(&world, &[]);
    let (status, said) = ask(&world, "GET /readyz", "");
    assert_eq!((status, said.contains("not known yet where we run")), (503, true), "{said}");
    assert_eq!(ask(&world, "GET /healthz", "").0, 200);
    world.sim.metadata().fail_next(0, 503);
    let begun = Instant::now();
    while ask(&world, "GET /readyz", "").0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it never gets ready");
    }
    // A request that is under way holds the drain up.
    let mut busy = connect(&world, 80);
    let head = "POST / HTTP/1.1\r\nHost: upload\r\nContent-Length: 4\r\n\r\n";
    busy.write_all(head.as_bytes()).expect("the sidecar is there");
    let begun = Instant::now();
    while world.sim.front().requests().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the request never arrives");
    }
    sidecar.signal(libc::SIGTERM);
    let begun = Instant::now();
    let said = loop {
        let (status, said) = ask(&world, "GET /readyz", "");
        if status == 503 {
            break said;
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on being ready");
    };
    assert!(said.ends_with("draining\n"), "{said}");
    busy.write_all(b"done").expect("the sidecar is there");
    let mut answer = String::new();
    busy.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(sidecar.wait().code, Some(0));
}

#[test]
fn a_job_ends_its_sidecar_in_order() {
    let world = World::default();
    let sidecar = serve(&world, &[]);
    for (line, more, expected) in [
        ("GET /quitquitquit", "", 405),
        ("POST /quitquitquit", "Origin: http://localhost:9903\r\n", 403),
        ("POST /quitquitquit", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("POST http://evil.example/quitquitquit", "", 403),
        ("GET /metrics", "Host: localhost\r\n", 400),
        ("POST /metrics", "", 405),
        ("HEAD /healthz", "", 200),
    ] {
        assert_eq!(ask(&world, line, more).0, expected, "{line} {more}");
    }
    let rebound = "GET /config HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    let mut stream = connect(&world, 9903);
    stream.write_all(rebound.as_bytes()).expect("the endpoint is there");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (status, said) = ask(&world, "POST /quitquitquit", "Content-Length: 0\r\n");
    assert_eq!((status, said.ends_with("as you wish\n")), (200, true), "{said}");
    let ran = sidecar.wait();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:#?}");
}

#[test]
fn a_command_ends_runsd_and_nothing_else_does() {
    let world = World::default();
    let quit =
        ["curl", "-sS", "-X", "POST", "-w", "%{http_code}", "http://localhost:9903/quitquitquit"];
    let ran = world.run(&[ADMIN], &quit);
    assert!(ran.ok().ends_with("end that\n409"), "{ran:#?}");
}

#[test]
fn the_settings_in_force_have_their_origins_and_no_secrets() {
    let file = std::env::temp_dir().join(format!("runsd-admin-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"threads": 2}"#).expect("a temporary file");
    let world = World::new(Options::default());
    let path = file.to_string_lossy().into_owned();
    let app = ["curl", "-sS", "http://localhost:9903/config"];
    let mut command = world.command(&[ADMIN, "--config", &path], &app);
    command.env("RUNSD_ACCESS_LOG", "true").env("CLOUD_RUN_ID_TOKEN", "sekret.sekret.sekret");
    let ran = start(&mut command).wait();
    std::fs::remove_file(&file).expect("a temporary file");
    let page: Value = serde_json::from_str(ran.ok()).expect("JSON");
    let of = |key: &str| {
        let setting = &page["settings"][key];
        let text = |part: &str| setting[part].as_str().unwrap_or_default().to_owned();
        (text("value"), text("origin"), text("from"))
    };
    let expected = |value: &str, origin: &str, from: &str| {
        (value.to_owned(), origin.to_owned(), from.to_owned())
    };
    assert_eq!(of("admin_addr"), expected("127.0.0.1:9903", "flag", "--admin-addr"));
    assert_eq!(of("access_log"), expected("true", "environment", "RUNSD_ACCESS_LOG"));
    assert_eq!(of("threads"), expected("2", "file", &path));
    assert_eq!(of("region"), expected("us-central1", "detected", ""));
    assert_eq!(of("project"), expected("123456789012", "detected", ""));
    assert_eq!(of("upstream_http"), expected("auto", "default", ""));
    assert_eq!(of("id_token"), expected("hidden", "environment", "CLOUD_RUN_ID_TOKEN"));
    assert_eq!(page["mode"], "full");
    assert_eq!(page["dns_addrs"][0], "127.0.0.1:53");
    assert!(!ran.out.contains("sekret"), "{}", ran.out);
}

#[test]
fn settings_that_were_read_again_are_those_in_force() {
    let file = std::env::temp_dir().join(format!("runsd-reread-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"allow": ["hello"]}"#).expect("a temporary file");
    let world = World::default();
    let sidecar = serve(&world, &["--config", &file.to_string_lossy()]);
    let allowed = || {
        let (_, answer) = ask(&world, "GET /config", "");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let page: Value = serde_json::from_str(body).expect("JSON");
        page["settings"]["allow"]["value"].to_string()
    };
    assert_eq!(allowed(), r#"["hello"]"#);
    std::fs::write(&file, r#"{"allow": ["hello", "orders"]}"#).expect("a temporary file");
    sidecar.signal(libc::SIGHUP);
    let begun = Instant::now();
    while allowed() != r#"["hello","orders"]"# {
        assert!(begun.elapsed() < PATIENCE, "it is never read again: {}", allowed());
    }
    std::fs::remove_file(&file).expect("a temporary file");
    sidecar.signal(libc::SIGTERM);
    assert_eq!(sidecar.wait().code, Some(0));
}

#[test]
fn a_taken_port_costs_the_endpoint_alone_unless_strict() {
    let world = World::default();
    // Our own nameserver has that one.
    let taken = "--admin-addr=127.0.0.1:53";
    let ran = world.run(&[taken], &["sh", "-c", "curl -sS http://hello/"]);
    assert_eq!(ran.ok(), "hello from hello (us-central1)\n", "{ran:#?}");
    assert!(ran.err.contains("no admin endpoint"), "{ran:#?}");
    assert!(ran.err.contains("127.0.0.1:53"), "{ran:#?}");
    let strict = world.run(&[taken, "--strict"], &["true"]);
    assert_eq!(strict.code, Some(70), "{strict:#?}");
}
