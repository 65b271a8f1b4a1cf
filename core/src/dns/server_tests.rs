//! The server over loopback sockets.

use super::super::probe;
use super::super::testing::*;
use super::*;
use crate::net::{OwnAddresses, block_on};
use std::sync::Mutex;
use std::time::Instant;

/// A server on a loopback port with what it told.
struct Serving {
    running: Running,
    address: SocketAddr,
    client: std::net::UdpSocket,
    told: Arc<Mutex<Vec<String>>>,
}

fn serving(upstream: &[SocketAddr]) -> Serving {
    let running = Running::new();
    let forwarder = Forwarder::new(
        upstream.to_vec(),
        OwnAddresses::default(),
        running.tasks.clone(),
        Arc::new(Hand::default()),
    );
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let looked_up = Arc::new(move |name: &str| hears.lock().unwrap().push(name.to_owned()));
    let (tasks, drain) = (running.tasks.clone(), running.drain.watch());
    let server = Server::new(zone(true), forwarder, tasks, drain, looked_up);
    let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = udp.local_addr().unwrap();
    server.serve(vec![udp], Vec::new());
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    Serving { running, address, client, told }
}

impl Serving {
    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        self.client.send(packet).unwrap();
        self.heard()
    }

    fn heard(&self) -> Vec<u8> {
        let mut buffer = [0; 65_536];
        let length = self.client.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }
}

#[test]
fn ours_is_answered_and_the_rest_forwarded() {
    let upstream = Upstream::udp(|query| address(query, 60, 9));
    let serving = serving(&[upstream.address]);
    let reply = serving.ask(&query("hello.us-east1", 1));
    assert_eq!(reply[reply.len() - 4..], [127, 0, 0, 1]);
    let client = query("example.com", 1);
    assert_eq!(serving.ask(&client), address(&client, 60, 9));
    assert_eq!(serving.ask(&client), address(&client, 60, 9));
    let counters = &serving.running.counters;
    assert_eq!((counters.dns_queries.get(), counters.dns_forwarded.get()), (3, 1));
    assert_eq!((counters.dns_failed.get(), upstream.asked()), (0, 1));
}

#[test]
fn what_is_no_query_is_dropped_and_what_is_wrong_answered() {
    let serving = serving(&[]);
    serving.client.send(b"noise").unwrap();
    let mut response = query("hello.us-east1", 1);
    response[2] |= 0x80;
    serving.client.send(&response).unwrap();
    let mut chaos = query("version.bind", 16);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(code(&serving.ask(&chaos)), 5);
    assert_eq!(serving.running.counters.dns_queries.get(), 1);
}

#[test]
fn a_lookup_of_a_service_is_told_after_its_reply() {
    let serving = serving(&[]);
    for (name, qtype) in [
        ("Hello.US-east1", 1),
        ("hello.run.internal", 28),
        ("hello.run.internal", 15),
        ("localhost", 1),
        ("nothing.run.internal", 1),
    ] {
        serving.ask(&query(name, qtype));
    }
    // One more reply proves that the queries before it are done with.
    serving.ask(&query("localhost", 1));
    assert_eq!(*serving.told.lock().unwrap(), ["hello.us-east1", "hello.run.internal"]);
}

#[test]
fn a_panic_is_servfail_for_one_query_alone() {
    let serving = serving(&[]);
    let reply = serving.ask(&query("panic.run.internal", 1));
    assert_eq!((code(&reply), &reply[..2]), (2, [0x12, 0x34].as_slice()));
    assert_eq!(code(&serving.ask(&query("hello.run.internal", 1))), 0);
    let counters = &serving.running.counters;
    assert_eq!((counters.panics.get(), counters.dns_failed.get()), (1, 1));
    assert!(serving.running.failed.is_empty());
}

#[test]
fn a_slow_upstream_holds_nobody_else_up() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let upstream = Upstream::udp(move |query| {
        let _ = gate.recv();
        address(query, 60, 9)
    });
    let serving = serving(&[upstream.address]);
    let slow = query("example.com", 1);
    serving.client.send(&slow).unwrap();
    assert_eq!(serving.ask(&query("localhost", 1))[12..17], query("localhost", 1)[12..17]);
    open.send(()).unwrap();
    drop(open);
    assert_eq!(serving.heard(), address(&slow, 60, 9));
}

#[test]
fn a_probe_finds_the_engine_and_nobody_else() {
    let serving = serving(&[]);
    let found = |server, domain| probe(server, domain, PATIENCE);
    assert_eq!(found(serving.address, "run.internal").unwrap().as_deref(), Some("nonce-1"));
    assert_eq!(found(serving.address, "RUN.internal.").unwrap().as_deref(), Some("nonce-1"));
    let refused = found(nobody(), "run.internal").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let other = Upstream::udp(|query| response(query, 0x0183, [&[], &[soa(1, 1)], &[]]));
    assert_eq!(found(other.address, "run.internal").unwrap(), None);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silence = probe(silent.local_addr().unwrap(), "run.internal", Duration::from_millis(10));
    assert_eq!(silence.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_drain_frees_the_port_and_is_no_failure() {
    let Serving { running, address, client, .. } = serving(&[]);
    client.send(&query("localhost", 1)).unwrap();
    client.recv(&mut [0; 512]).unwrap();
    let mut running = running;
    let drain = std::mem::take(&mut running.drain);
    assert_eq!(block_on(drain.finish(PATIENCE)), 0);
    let start = Instant::now();
    while std::net::UdpSocket::bind(address).is_err() {
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(running.failed.is_empty());
}

#[test]
fn twenty_thousand_queries_in_a_row_all_get_their_reply() {
    const WINDOW: u16 = 100;
    let serving = serving(&[]);
    let mut packet = query("hello.us-east1", 1);
    for round in 0..200_u16 {
        for id in 0..WINDOW {
            packet[..2].copy_from_slice(&(round * WINDOW + id).to_be_bytes());
            serving.client.send(&packet).unwrap();
        }
        for id in 0..WINDOW {
            let expected = (round * WINDOW + id).to_be_bytes();
            assert_eq!(serving.heard()[..2], expected, "UDP on loopback keeps its order");
        }
    }
}
