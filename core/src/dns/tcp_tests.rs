//! DNS over TCP on loopback sockets.

use super::super::forward::Forwarder;
use super::super::server::Server;
use super::super::testing::*;
use super::*;
use crate::net::OwnAddresses;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

struct Serving {
    running: Running,
    address: SocketAddr,
    /// A second listener of the same server.
    other: SocketAddr,
}

fn serving(upstream: &[SocketAddr], limits: Limits) -> Serving {
    let running = Running::new();
    let forwarder = Forwarder::new(
        upstream.to_vec(),
        OwnAddresses::default(),
        running.tasks.clone(),
        Arc::new(Hand::default()),
    );
    let (tasks, drain) = (running.tasks.clone(), running.drain.watch());
    let server = Server::new(zone(true), forwarder, tasks, drain, Arc::new(|_: &str| ()));
    let open = Arc::new(Open::new(limits));
    let [address, other] = [(); 2].map(|()| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        server.serve_tcp(listener, open.clone());
        address
    });
    Serving { running, address, other }
}

fn connect(serving: &Serving) -> TcpStream {
    connect_to(serving.address)
}

fn connect_to(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn frame(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes(), packet].concat()
}

fn receive(mut stream: &TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

/// An answer of 50 KB.
fn large(query: &[u8]) -> Vec<Vec<u8>> {
    let records: Vec<_> = (0..200).map(|_| record(16, 60, &[99; 250])).collect();
    vec![response(query, 0x0180, [&records, &[], &[]])]
}

/// Asks for that until the connection is closed.
fn ask_without_reading(mut stream: TcpStream) {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let queries = frame(&named(1, "example.com")).repeat(1000);
    let error = (0..10_000).find_map(|_| stream.write_all(&queries).err()).unwrap();
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    assert!([BrokenPipe, ConnectionReset].contains(&error.kind()), "{error}");
}

/// Waits for the end of the connection; a reset is one too.
fn is_closed(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

fn named(id: u8, name: &str) -> Vec<u8> {
    let mut packet = query(name, 1);
    packet[1] = id;
    packet
}

#[test]
fn queries_may_come_together_or_byte_by_byte() {
    let serving = serving(&[], Limits::default());
    let mut stream = connect(&serving);
    let both = [frame(&named(1, "localhost")), frame(&named(2, "hello.us-east1"))].concat();
    stream.write_all(&both).unwrap();
    assert_eq!((receive(&stream)[1], receive(&stream)[1]), (1, 2));
    for byte in frame(&named(3, "localhost")) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(receive(&stream)[1], 3);
}

#[test]
fn answers_come_as_they_are_ready_and_large_ones_whole() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let slow = move |query: &[u8]| {
        let _ = gate.recv();
        let records: Vec<_> = (0..200).map(|last| record(1, 60, &[10, 0, 0, last])).collect();
        vec![response(query, 0x0180, [&records, &[], &[]])]
    };
    let upstream = Upstream::new(Box::new(|_| panic!("asked over UDP")), Box::new(slow));
    let serving = serving(&[upstream.address], Limits::default());
    let mut stream = connect(&serving);
    stream.write_all(&frame(&named(1, "example.com"))).unwrap();
    stream.write_all(&frame(&named(2, "localhost"))).unwrap();
    assert_eq!(receive(&stream)[1], 2);
    open.send(()).unwrap();
    let reply = receive(&stream);
    assert_eq!((reply[1], read(&reply).answers.len()), (1, 200));
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answers() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let slow = move |query: &[u8]| {
        let _ = gate.recv();
        vec![address(query, 60, 1)]
    };
    let upstream = Upstream::new(Box::new(|_| Vec::new()), Box::new(slow));
    let serving = serving(&[upstream.address], Limits::default());
    let mut stream = connect(&serving);
    stream.write_all(&frame(&named(1, "example.com"))).unwrap();
    stream.write_all(&frame(&named(2, "localhost"))).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive(&stream)[1], 2);
    open.send(()).unwrap();
    assert_eq!(receive(&stream)[1], 1);
    assert!(is_closed(&stream));
}

#[test]
fn who_is_idle_is_closed() {
    let limits = Limits { idle: Duration::from_millis(20), ..Limits::default() };
    let serving = serving(&[], limits);
    assert!(is_closed(&connect(&serving)));
    let mut stream = connect(&serving);
    stream.write_all(&[0]).unwrap();
    assert!(is_closed(&stream), "half a frame is idle too");
}

#[test]
fn who_does_not_read_its_answers_is_closed() {
    let upstream = Upstream::new(Box::new(|_| Vec::new()), Box::new(large));
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let serving = serving(&[upstream.address], limits);
    // More answers than any socket holds; asking fails once the other side has closed.
    ask_without_reading(connect(&serving));
}

#[test]
fn who_holds_the_most_of_too_much_is_closed() {
    let upstream = Upstream::new(Box::new(|_| Vec::new()), Box::new(large));
    // Nobody is closed for being slow: one client alone could wait with more.
    let limits = Limits { idle: PATIENCE * 6, bytes: 1 << 20, ..Limits::default() };
    let serving = serving(&[upstream.address], limits);
    let (modest, late) = (connect(&serving), connect_to(serving.other));
    let ask = |mut stream: &TcpStream| {
        stream.write_all(&frame(&named(1, "localhost"))).unwrap();
        assert_eq!(receive(stream)[1], 1);
    };
    ask(&modest);
    ask_without_reading(connect(&serving));
    // Half a message of which nobody knows how long it will take is held too.
    let halves: Vec<TcpStream> = (0..17).map(|_| connect(&serving)).collect();
    for mut half in &halves {
        half.write_all(&[0xFF, 0xFF, 0]).unwrap();
    }
    let closed = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut reader = *stream;
        reader.read(&mut [0]).is_ok_and(|read| read == 0)
    };
    until(|| halves.iter().filter(closed).count() == 1);
    [&modest, &late].into_iter().for_each(ask);
}

#[test]
fn the_idlest_makes_room() {
    let serving = serving(&[], Limits { connections: 3, ..Limits::default() });
    let ask = |mut stream: &TcpStream| {
        stream.write_all(&frame(&named(1, "localhost"))).unwrap();
        assert_eq!(receive(stream)[1], 1);
    };
    let streams = [connect(&serving), connect(&serving), connect(&serving)];
    streams.iter().for_each(ask);
    ask(&streams[0]);
    let another = connect(&serving);
    ask(&another);
    assert!(is_closed(&streams[1]));
    [&streams[0], &streams[2], &another].into_iter().for_each(ask);
}

#[test]
fn the_limit_is_of_all_listeners_together() {
    let serving = serving(&[], Limits { connections: 2, ..Limits::default() });
    let ask = |mut stream: &TcpStream| {
        stream.write_all(&frame(&named(1, "localhost"))).unwrap();
        assert_eq!(receive(stream)[1], 1);
    };
    let (one, two) = (connect(&serving), connect_to(serving.other));
    [&one, &two].into_iter().for_each(ask);
    let three = connect_to(serving.other);
    ask(&three);
    assert!(is_closed(&one));
    [&two, &three].into_iter().for_each(ask);
}

#[test]
fn one_that_waits_for_its_answer_is_not_the_idlest() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let slow = move |query: &[u8]| {
        let _ = gate.recv();
        vec![address(query, 60, 1)]
    };
    let upstream = Upstream::new(Box::new(|_| Vec::new()), Box::new(slow));
    let limits = Limits { connections: 2, ..Limits::default() };
    let serving = serving(&[upstream.address], limits);
    let (mut waits, mut idle) = (connect(&serving), connect(&serving));
    waits.write_all(&frame(&named(1, "example.com"))).unwrap();
    until(|| upstream.asked() == 1);
    idle.write_all(&frame(&named(2, "localhost"))).unwrap();
    receive(&idle);
    let mut third = connect(&serving);
    third.write_all(&frame(&named(3, "localhost"))).unwrap();
    receive(&third);
    assert!(is_closed(&idle));
    open.send(()).unwrap();
    assert_eq!(receive(&waits)[1], 1);
}

#[test]
fn what_is_no_query_gets_no_answer_and_the_connection_goes_on() {
    let serving = serving(&[], Limits::default());
    let mut stream = connect(&serving);
    stream.write_all(&frame(b"")).unwrap();
    stream.write_all(&frame(b"noise")).unwrap();
    stream.write_all(&frame(&named(9, "localhost"))).unwrap();
    assert_eq!(receive(&stream)[1], 9);
    let counters = &serving.running.counters;
    assert_eq!((counters.dns_queries.get(), counters.panics.get()), (1, 0));
}

#[test]
fn a_drain_waits_for_answers_that_are_on_their_way() {
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let answer = move |query: &[u8]| {
        let _ = gate.recv();
        vec![address(query, 60, 9)]
    };
    let upstream = Upstream::new(Box::new(|_| Vec::new()), Box::new(answer));
    let mut serving = serving(&[upstream.address], Limits::default());
    let mut stream = connect(&serving);
    stream.write_all(&frame(&query("example.com", 1))).unwrap();
    until(|| upstream.asked() == 1);
    let drain = std::mem::take(&mut serving.running.drain);
    let watch = drain.watch();
    let finishing = std::thread::spawn(move || crate::net::block_on(drain.finish(PATIENCE)));
    until(|| watch.is_draining());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!finishing.is_finished(), "somebody waits for an answer");
    go_on.send(()).unwrap();
    assert_eq!(code(&receive(&stream)), 0);
    assert_eq!(finishing.join().unwrap(), 0);
    assert!(is_closed(&stream));
}

#[test]
fn an_idle_connection_does_not_hold_up_a_drain() {
    let mut serving = serving(&[], Limits::default());
    let mut stream = connect(&serving);
    stream.write_all(&frame(&named(1, "localhost"))).unwrap();
    receive(&stream);
    let drain = std::mem::take(&mut serving.running.drain);
    assert_eq!(crate::net::block_on(drain.finish(PATIENCE)), 0);
    assert!(is_closed(&stream));
    assert!(serving.running.failed.is_empty());
}
