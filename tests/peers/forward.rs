//! Proxy mode: apps that are told of runsd by `http_proxy` reach services with
//! a token, and everything else as if runsd were not there.

use crate::apps;
use crate::sidecar::Sidecar;
use cloudrun_sim::{Behaviour, Options};
use runsd_tests::{Ran, World};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

const ANSWERS: &str = "200 hello from hello (us-central1)\n\
                       200 hello from hello (us-east1)\n\
                       200 external\n\
                       200 external\n";

fn run(world: &World, app: &[String]) -> Ran {
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    world.run(&["--mode", "proxy"], &app)
}

/// Services get a token; the host elsewhere never sees one, nor the names of
/// ours, in the clear or over TLS.
fn nothing_leaks(world: &World, services: usize) {
    let seen = world.sim.front().requests();
    assert_eq!(seen.len(), services, "{seen:?}");
    assert!(seen.iter().all(|seen| seen.audience.is_some()), "{seen:?}");
    let schemes: Vec<String> =
        world.sim.front().external().into_iter().map(|seen| seen.scheme).collect();
    assert_eq!(schemes, ["http", "https"]);
    for seen in world.sim.front().external() {
        for (name, value) in &seen.headers {
            let token = value.starts_with(b"Bearer") || name.contains("uthorization");
            assert!(!token, "{name} went to {}", seen.host);
            assert!(!name.to_lowercase().starts_with("proxy-"), "{name} is for us");
        }
    }
}

fn reaches_everything(app: &[String]) {
    let world = World::default();
    assert_eq!(run(&world, app).ok(), ANSWERS, "{app:?}");
    nothing_leaks(&world, 2);
}

fn python(what: &str) -> Vec<String> {
    let mut app = apps::python("proxied_app.py");
    app.push(what.to_owned());
    app
}

/// COVERAGE.md 1, 4, 6, 29: `requests` through a proxy.
#[test]
fn pythons_requests() {
    reaches_everything(&python("requests"));
}

/// COVERAGE.md 1, 4, 6, 29: `httpx` through a proxy.
#[test]
fn pythons_httpx() {
    reaches_everything(&python("httpx"));
}

/// COVERAGE.md 1, 4, 6, 29: Go's net/http through a proxy.
#[test]
fn gos_net_http() {
    reaches_everything(&apps::go("proxied"));
}

/// COVERAGE.md 1, 4, 6, 29: curl through a proxy.
#[test]
fn curl() {
    let world = World::default();
    let script = "for url in http://hello/ http://hello.us-east1.run.internal/ \
                  http://example.com/ https://example.com/; do \
                  https_proxy=$http_proxy curl -sS -m 30 -w '%{http_code} ' -o /tmp/body.$$ $url; \
                  cat /tmp/body.$$; rm /tmp/body.$$; done";
    let app: Vec<String> = ["sh", "-c", script].map(str::to_owned).into();
    assert_eq!(run(&world, &app).ok(), ANSWERS);
    nothing_leaks(&world, 2);
}

/// COVERAGE.md 6: grpcio sends CONNECT for the service itself, and calls it within.
#[test]
fn pythons_grpcio() {
    let world = World::default();
    assert_eq!(run(&world, &python("grpc")).ok(), "answered\n");
    let seen = world.sim.front().requests();
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|seen| seen.audience.is_some() && seen.protocol == "HTTP/2"));
}

/// A client of Pub/Sub goes on working: gRPC over TLS in a tunnel that nobody
/// looks into, with the app's own token, which it got past the proxy.
#[test]
fn pubsubs_kind_of_traffic_is_relayed_blindly() {
    let world = World::default();
    let host = "grpc-123456789012.us-central1.run.app";
    let mut app = python("pubsub");
    app.push(host.to_owned());
    let ran = run(&world, &app);
    assert_eq!((ran.ok(), ran.err.as_str()), ("answered 200\n", ""));
    let seen = world.sim.front().requests();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let fields: Vec<&str> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!fields.contains(&"x-serverless-authorization"), "{fields:?}");
    assert_eq!((seen[0].status, seen[0].protocol.as_str()), (200, "HTTP/2"));
    assert_eq!(world.sim.metadata().token_fetches(), 1, "runsd has no part in it");
}

/// Neighbours are found as without runsd: by /etc/hosts and the search list.
#[test]
fn neighbours_are_reached_by_hosts_and_search_list() {
    let resolv_conf = b"nameserver 169.254.169.254\nsearch corp.example\n".to_vec();
    let world = World::new(Options { resolv_conf: Some(resolv_conf), ..Options::default() });
    world.sim.dns().script("db.corp.example", Behaviour::Address(vec![[127, 0, 0, 2].into()]));
    world.sim.enter(|| {
        let mut hosts = std::fs::read_to_string("/etc/hosts").expect("a file");
        hosts.push_str("127.0.0.3 cache\n");
        std::fs::write("/etc/hosts", hosts).expect("the instance's own file");
    });
    let mut heard = Vec::new();
    for (name, address) in [("db", "127.0.0.2:8089"), ("cache", "127.0.0.3:8089")] {
        let neighbour = world.sim.enter(move || TcpListener::bind(address)).expect("a free port");
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = neighbour.accept().expect("the proxy");
            let mut head = [0; 1024];
            let length = stream.read(&mut head).expect("a request");
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nneighbour";
            stream.write_all(answer).expect("the proxy is there");
            let _ = tell.send(String::from_utf8_lossy(&head[..length]).into_owned());
        });
        let app = ["curl", "-sS", "-m", "30", &format!("http://{name}:8089/x")].map(str::to_owned);
        assert_eq!(run(&world, &app).ok(), "neighbour", "{name}");
        heard.push(told.recv().expect("a head").to_lowercase());
    }
    for head in heard {
        assert!(
            head.starts_with("get /x http/1.1\r\n") && !head.contains("authorization"),
            "{head}"
        );
    }
}

/// COVERAGE.md 6: a reverse proxy is no forward proxy.
#[test]
fn connect_is_refused_outside_proxy_mode() {
    let sidecar = Sidecar::default();
    for target in ["example.com:443", "hello:80"] {
        let said =
            sidecar.say(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
        assert_eq!(said.status(), 405, "{said:?}");
    }
    let elsewhere = sidecar.say(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(elsewhere.status(), 421, "{elsewhere:?}");
    assert_eq!(sidecar.world.sim.front().external(), []);
}
