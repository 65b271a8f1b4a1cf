//! The nameserver, truthful and scripted.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use cloudrun_sim::{Behaviour, Options, Sim, addresses};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(30);

/// The answer's bytes over UDP; `None`: none in that time.
fn ask(sim: &Sim, name: &str, kind: RecordType, patience: Duration) -> Option<Vec<u8>> {
    let query = query(name, kind);
    sim.enter(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.connect((addresses::METADATA, 53)).unwrap();
        socket.send(&query).unwrap();
        let mut buffer = [0; 4096];
        let size = socket.recv(&mut buffer).ok()?;
        Some(buffer[..size].to_vec())
    })
}

fn answer(sim: &Sim, name: &str, kind: RecordType) -> Message {
    Message::from_vec(&ask(sim, name, kind, PATIENCE).unwrap()).unwrap()
}

fn ask_tcp(sim: &Sim, name: &str) -> Message {
    let query = query(name, RecordType::A);
    let bytes = sim.enter(move || {
        let mut tcp = TcpStream::connect((addresses::METADATA, 53)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
        tcp.write_all(&query).unwrap();
        let mut size = [0; 2];
        tcp.read_exact(&mut size).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
        tcp.read_exact(&mut answer).unwrap();
        answer
    });
    Message::from_vec(&bytes).unwrap()
}

fn first(message: &Message) -> String {
    message.answers.first().map(|record| record.data.to_string()).unwrap_or_default()
}

#[test]
fn the_platforms_names_resolve_and_others_do_not() {
    let sim = Sim::start(Options::default()).unwrap();
    for (name, address) in [
        ("hello-123456789012.us-central1.run.app.", "198.18.0.10"),
        ("HELLO-abcde12345-uc.a.Run.App.", "198.18.0.10"),
        ("example.com.", "198.18.0.20"),
        ("metadata.google.internal.", "169.254.169.254"),
    ] {
        assert_eq!(first(&answer(&sim, name, RecordType::A)), address, "{name}");
        let none = answer(&sim, name, RecordType::AAAA);
        assert_eq!(none.metadata.response_code, ResponseCode::NoError);
        assert!(none.answers.is_empty() && none.authorities.len() == 1);
    }
    for name in ["hello.", "run.app.", "hello.nowhere.run.app.", "hello.google.internal."] {
        let negative = answer(&sim, name, RecordType::A);
        assert_eq!(negative.metadata.response_code, ResponseCode::NXDomain, "{name}");
        assert_eq!(negative.authorities.len(), 1, "an SOA says how long");
    }
    assert_eq!(sim.dns().count("hello-ABCDE12345-uc.a.run.app"), 2);
    assert_eq!(sim.dns().queries()[2].name, "HELLO-abcde12345-uc.a.Run.App");
    assert_eq!(sim.dns().queries()[3].qtype, 28);
}

#[test]
fn scripts_change_answers_until_they_are_taken_back() {
    let sim = Sim::start(Options::default()).unwrap();
    let dns = sim.dns();
    let name = "example.com.";
    let code = |sim: &Sim| answer(sim, name, RecordType::A).metadata.response_code;
    dns.script("*", Behaviour::Nxdomain);
    assert_eq!(code(&sim), ResponseCode::NXDomain);
    dns.script("Example.COM", Behaviour::Servfail);
    assert_eq!(code(&sim), ResponseCode::ServFail, "a name's own script goes first");
    dns.script("example.com", Behaviour::Refused);
    assert_eq!(code(&sim), ResponseCode::Refused);
    dns.script("example.com", Behaviour::WrongId);
    assert_eq!(answer(&sim, name, RecordType::A).metadata.id, 8);
    dns.script("example.com", Behaviour::Garbage);
    assert!(Message::from_vec(&ask(&sim, name, RecordType::A, PATIENCE).unwrap()).is_err());
    dns.script("example.com", Behaviour::Silent);
    assert_eq!(ask(&sim, name, RecordType::A, Duration::from_millis(200)), None);
    dns.script("example.com", Behaviour::Address(vec![Ipv6Addr::LOCALHOST.into()]));
    assert_eq!(first(&answer(&sim, name, RecordType::AAAA)), "::1");
    assert!(answer(&sim, name, RecordType::A).answers.is_empty());
    dns.script("example.com", Behaviour::Delay(Duration::from_millis(50)));
    let begun = Instant::now();
    assert_eq!(code(&sim), ResponseCode::NoError);
    assert!(begun.elapsed() >= Duration::from_millis(50));
    dns.unscript();
    assert_eq!(first(&answer(&sim, name, RecordType::A)), "198.18.0.20");
}

#[test]
fn a_truncated_answer_is_whole_over_tcp() {
    let sim = Sim::start(Options::default()).unwrap();
    sim.dns().script("example.com", Behaviour::Truncate);
    let cut = answer(&sim, "example.com.", RecordType::A);
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(first(&ask_tcp(&sim, "example.com.")), "198.18.0.20");
    let tcp: Vec<bool> = sim.dns().queries().iter().map(|query| query.tcp).collect();
    assert_eq!(tcp, [false, true]);
    sim.dns().clear();
    assert!(sim.dns().queries().is_empty());
}

#[test]
fn the_systems_own_resolver_finds_the_names() {
    let sim = Sim::start(Options::default()).unwrap();
    let output = sim.command("getent").args(["ahostsv4", "www.example.com"]).output().unwrap();
    assert!(output.stdout.starts_with(b"198.18.0.20"), "{output:?}");
    assert!(sim.dns().count("www.example.com") > 0);
}
