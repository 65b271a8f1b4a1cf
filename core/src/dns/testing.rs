//! What the tests of this room share: queries, replies read by hickory as an
//! independent judge, an engine, and nameservers that follow a script.

use super::wire::Query;
use super::zone::{Kind, LocalZone, Zone, ZoneConfig};
use crate::net::{BoxFuture, Clock, Drain, Executing, block_on};
use crate::telemetry::{Counters, Log};
use async_channel::Sender;
use hickory_proto::op::Message;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Longer than anything that works takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The question of `name` and `qtype`, class IN.
pub(super) fn question(name: &str, qtype: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(qtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// A query with RD, ID 0x1234 and no OPT.
pub(super) fn query(name: &str, qtype: u16) -> Vec<u8> {
    let header = [0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [header.as_slice(), &question(name, qtype)].concat()
}

/// The same with an OPT of this size, and DO if asked.
pub(super) fn edns_query(name: &str, qtype: u16, size: u16, dnssec_ok: bool) -> Vec<u8> {
    let mut query = query(name, qtype);
    query[11] = 1;
    query.extend([0, 0, 41]);
    query.extend(size.to_be_bytes());
    query.extend([0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    query
}

pub(super) fn parsed(packet: &[u8]) -> Query {
    Query::parse(packet).unwrap()
}

/// A record whose owner is the question's name.
pub(super) fn record(rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xC0, 0x0C];
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

/// An SOA of the root with this TTL and MINIMUM.
pub(super) fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
    let mut data = vec![0, 0];
    for number in [1, 2, 3, 4, minimum] {
        data.extend(number.to_be_bytes());
    }
    let mut bytes = record(6, ttl, &data);
    bytes.splice(..2, [0]);
    bytes
}

/// The response to `query` with these flags besides QR, and these sections.
pub(super) fn response(query: &[u8], flags: u16, sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let mut bytes = query[..2].to_vec();
    bytes.extend((0x8000 | flags).to_be_bytes());
    bytes.extend([0, 1]);
    for section in sections {
        bytes.extend((section.len() as u16).to_be_bytes());
    }
    bytes.extend(&query[12..name_end + 4]);
    bytes.extend(sections.concat().concat());
    bytes
}

/// A response with one A record.
pub(super) fn address(query: &[u8], ttl: u32, last: u8) -> Vec<u8> {
    response(query, 0x0180, [&[record(1, ttl, &[10, 0, 0, last])], &[], &[]])
}

/// What hickory makes of a reply.
pub(super) fn read(reply: &[u8]) -> Message {
    Message::from_vec(reply).unwrap()
}

/// RCODE of a reply, the upper bits left out.
pub(super) fn code(reply: &[u8]) -> u8 {
    reply[3] & 0x0F
}

/// Zones as an engine configures them, with one service and one that panics.
pub(super) fn zone(ipv6: bool) -> Zone {
    let classify = |name: &str| match name {
        "hello.run.internal"
        | "hello.us-east1.run.internal"
        | "hello.us-east1"
        | "a.route.far.below.run.internal"
        | "routed.example" => Kind::Service,
        "us-east1.run.internal" => Kind::EmptyNonTerminal,
        "metadata" | "metadata.us-east1" => Kind::NoSuchName,
        "panic.run.internal" => panic!("on purpose"),
        name if name.ends_with(".run.internal") => Kind::NoSuchName,
        _ => Kind::NotOurs,
    };
    Zone::new(ZoneConfig {
        domain: "run.internal".to_owned(),
        classify: Arc::new(classify),
        ipv4: Ipv4Addr::LOCALHOST,
        ipv6: ipv6.then_some(Ipv6Addr::LOCALHOST),
        local: vec![LocalZone {
            zone: "google.internal".to_owned(),
            hosts: vec!["metadata.google.internal".to_owned()],
            address: Ipv4Addr::new(169, 254, 169, 254),
        }],
        nonce: "nonce-1".to_owned(),
    })
}

/// An executor on a thread of its own.
pub(super) struct Running {
    pub(super) tasks: crate::net::Tasks,
    pub(super) counters: Arc<Counters>,
    pub(super) failed: async_channel::Receiver<String>,
    pub(super) drain: Drain,
    stop: async_channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn new() -> Running {
        let (failing, failed) = async_channel::bounded(1);
        let counters = Arc::new(Counters::default());
        let executing = Executing::new(Log::discard(), counters.clone(), failing).unwrap();
        let tasks = executing.tasks();
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            let _ = executing.run(stopped.recv());
        });
        let (drain, thread) = (Drain::default(), Some(thread));
        Running { tasks, counters, failed, drain, stop, thread }
    }

    /// Runs `future` on the executor's thread and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (send, receive) = async_channel::bounded(1);
        self.tasks.spawn("test", async move {
            let _ = send.send(future.await).await;
        });
        block_on(receive.recv()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.close();
        self.thread.take().map(JoinHandle::join);
    }
}

/// What a nameserver does with a query: the datagrams it sends.
type Script = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// Queries in the order in which they came, and whether over TCP.
type Heard = Vec<(bool, Vec<u8>)>;

/// A nameserver on a loopback port, over UDP and TCP, that follows a script.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    /// What it was asked.
    pub(super) heard: Arc<Mutex<Heard>>,
}

impl Upstream {
    /// `udp` and `tcp` map a query to replies. The threads end with the process.
    pub(super) fn new(udp: Script, tcp: Script) -> Upstream {
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
                break (listener, socket);
            }
        };
        let address = socket.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut udp, mut tcp) = (udp, tcp);
        let note = heard.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                note.lock().unwrap().push((false, buffer[..length].to_vec()));
                for reply in udp(&buffer[..length]) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        let note = heard.clone();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                note.lock().unwrap().push((true, query.clone()));
                for reply in tcp(&query) {
                    let length = (reply.len() as u16).to_be_bytes();
                    stream.write_all(&[&length, reply.as_slice()].concat()).unwrap();
                }
            }
        });
        Upstream { address, heard }
    }

    /// One that answers over UDP alone.
    pub(super) fn udp(mut script: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Upstream {
        Upstream::new(Box::new(move |query| vec![script(query)]), Box::new(|_| Vec::new()))
    }

    pub(super) fn asked(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

/// A port of the loopback where nobody answers: the kernel refuses datagrams
/// to a socket from any but its peer, and the socket keeps others off the port.
pub(super) fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    std::mem::forget(socket);
    address
}

/// Numbers that look random and are the same every time (xorshift64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A clock whose every sleep ends when the test says so, in order of length;
/// it stands where the test puts it.
#[derive(Default)]
pub(super) struct Hand {
    passed: Mutex<Duration>,
    sleepers: Mutex<Vec<(Duration, Sender<()>)>>,
    zero: OnceLock<Instant>,
}

impl Hand {
    pub(super) fn advance(&self, time: Duration) {
        let mut passed = self.passed.lock().unwrap();
        *passed += time;
        let now = *passed;
        self.sleepers.lock().unwrap().retain(|(until, wake)| {
            let over = *until <= now;
            if over {
                wake.close();
            }
            !over
        });
    }

    /// How many sleep.
    pub(super) fn sleeping(&self) -> usize {
        self.sleepers.lock().unwrap().len()
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        *self.zero.get_or_init(Instant::now) + *self.passed.lock().unwrap()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + *self.passed.lock().unwrap()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = async_channel::bounded(1);
        let until = *self.passed.lock().unwrap() + time;
        self.sleepers.lock().unwrap().push((until, wake));
        Box::pin(async move {
            let _ = woken.recv().await;
        })
    }
}

/// Waits, without sleeping, until something becomes true.
pub(super) fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it never became true");
        std::thread::yield_now();
    }
}
