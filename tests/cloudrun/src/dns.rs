//! The nameserver of the platform.
//!
//! Owns which names exist and how an answer goes wrong on demand; knows nothing
//! of the servers behind the addresses. `sim` starts it, tests script it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::addresses::{EXTERNAL, FRONT, METADATA};

const TTL: u32 = 60;
const NEGATIVE_TTL: u32 = 30;
const PLAIN_UDP: u16 = 512;
const OUR_UDP: u16 = 1232;

/// One query as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name in the spelling of the asker, without the final dot.
    pub name: String,
    /// The numeric type: 1 is A, 28 is AAAA (RFC 1035 §3.2.2).
    pub qtype: u16,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// When it arrived.
    pub time: Instant,
}

/// How to answer a name instead of truthfully.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// SERVFAIL.
    Servfail,
    /// REFUSED.
    Refused,
    /// No answer.
    Silent,
    /// Over UDP an empty answer with TC; over TCP the truth.
    Truncate,
    /// The truth, later.
    Delay(Duration),
    /// Bytes that are no DNS message.
    Garbage,
    /// The truth with another id, as a forger would send.
    WrongId,
    /// NXDOMAIN.
    Nxdomain,
    /// These addresses: A and AAAA each get those of their family.
    Address(Vec<IpAddr>),
}

#[derive(Default)]
struct State {
    queries: Vec<Query>,
    scripts: HashMap<String, Behaviour>,
}

/// A handle on the simulated nameserver: what it was asked, how it answers.
#[derive(Clone, Default)]
pub struct Dns(Arc<Mutex<State>>);

enum Outcome {
    Message(Vec<u8>),
    Nothing,
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Dns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every query so far, in order.
    pub fn queries(&self) -> Vec<Query> {
        self.state().queries.clone()
    }

    /// How many queries there were for `name`, of any type, in any spelling.
    pub fn count(&self, name: &str) -> usize {
        let name = canonical(name);
        self.state().queries.iter().filter(|query| canonical(&query.name) == name).count()
    }

    /// Forgets the queries so far.
    pub fn clear(&self) {
        self.state().queries.clear();
    }

    /// Answers `name` (`*`: every name without a script of its own) this way.
    pub fn script(&self, name: &str, behaviour: Behaviour) {
        self.state().scripts.insert(canonical(name), behaviour);
    }

    /// Answers every name truthfully again.
    pub fn unscript(&self) {
        self.state().scripts.clear();
    }

    /// Answers over UDP until the simulation ends.
    pub(crate) async fn serve_udp(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; 65_535];
        loop {
            // An error here is an ICMP message about an earlier answer.
            let Ok((size, peer)) = socket.recv_from(&mut buffer).await else { continue };
            let query = buffer.get(..size).unwrap_or_default().to_vec();
            tokio::spawn(self.clone().datagram(Arc::clone(&socket), query, peer));
        }
    }

    async fn datagram(self, socket: Arc<UdpSocket>, query: Vec<u8>, peer: SocketAddr) {
        if let Outcome::Message(answer) = self.outcome(&query, false).await {
            // The asker may have gone.
            let _ = socket.send_to(&answer, peer).await;
        }
    }

    /// Answers over TCP until the simulation ends.
    pub(crate) async fn serve_tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let this = self.clone();
                    tokio::spawn(async move {
                        // A client that leaves early is no event here.
                        let _ = this.stream(stream).await;
                    });
                }
                // Out of descriptors, for instance: leave time for some to return.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let mut query = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut query).await?;
            if let Outcome::Message(answer) = self.outcome(&query, true).await {
                let size = u16::try_from(answer.len()).map_err(io::Error::other)?;
                let mut framed = size.to_be_bytes().to_vec();
                framed.extend_from_slice(&answer);
                stream.write_all(&framed).await?;
            }
        }
    }

    async fn outcome(&self, bytes: &[u8], tcp: bool) -> Outcome {
        let Ok(query) = Message::from_vec(bytes) else { return Outcome::Nothing };
        if query.metadata.message_type != MessageType::Query {
            return Outcome::Nothing;
        }
        let [question] = &query.queries[..] else {
            return message(code(&query, ResponseCode::FormErr), &query, tcp);
        };
        let name = question.name().to_ascii();
        let shown = name.trim_end_matches('.').to_owned();
        let behaviour = {
            let mut state = self.state();
            let known = state.scripts.get(&canonical(&shown)).or_else(|| state.scripts.get("*"));
            let known = known.cloned();
            let qtype = question.query_type().into();
            state.queries.push(Query { name: shown.clone(), qtype, tcp, time: Instant::now() });
            known
        };
        let truth = || truthful(&query, &canonical(&shown));
        let reply = match behaviour {
            None => truth(),
            Some(Behaviour::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                truth()
            }
            Some(Behaviour::Silent) => return Outcome::Nothing,
            Some(Behaviour::Garbage) => {
                let mut garbage = bytes.get(..2).unwrap_or_default().to_vec();
                garbage.extend_from_slice(&[0xff; 9]);
                return Outcome::Message(garbage);
            }
            Some(Behaviour::Servfail) => code(&query, ResponseCode::ServFail),
            Some(Behaviour::Refused) => code(&query, ResponseCode::Refused),
            Some(Behaviour::Nxdomain) => negative(&query, ResponseCode::NXDomain),
            Some(Behaviour::Address(addresses)) => positive(&query, &addresses),
            Some(Behaviour::Truncate) if tcp => truth(),
            Some(Behaviour::Truncate) => truth().truncate(),
            Some(Behaviour::WrongId) => {
                let mut reply = truth();
                reply.metadata.id = reply.metadata.id.wrapping_add(1);
                reply
            }
        };
        message(reply, &query, tcp)
    }
}

/// The bytes of a reply, cut to what the asker can take over UDP.
fn message(mut reply: Message, query: &Message, tcp: bool) -> Outcome {
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_UDP);
        reply.set_edns(edns);
    }
    let limit = if query.edns.is_some() { query.max_payload().max(PLAIN_UDP) } else { PLAIN_UDP };
    match reply.to_vec() {
        Ok(bytes) if tcp || bytes.len() <= usize::from(limit) => Outcome::Message(bytes),
        Ok(_) => reply.truncate().to_vec().map_or(Outcome::Nothing, Outcome::Message),
        Err(_) => Outcome::Nothing,
    }
}

fn code(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(query.queries.iter().cloned());
    reply
}

/// NXDOMAIN or NODATA, with the SOA that says how long (RFC 2308 §3).
fn negative(query: &Message, kind: ResponseCode) -> Message {
    let mut reply = code(query, kind);
    let name = |text| Name::from_ascii(text).unwrap_or_default();
    let soa = SOA::new(
        name("ns1.google.com."),
        name("dns-admin.google.com."),
        1,
        900,
        900,
        1800,
        NEGATIVE_TTL,
    );
    reply.add_authority(Record::from_rdata(Name::root(), NEGATIVE_TTL, RData::SOA(soa)));
    reply
}

fn positive(query: &Message, addresses: &[IpAddr]) -> Message {
    let Some(question) = query.queries.first() else { return code(query, ResponseCode::FormErr) };
    let records: Vec<Record> = addresses
        .iter()
        .filter_map(|address| match (address, question.query_type()) {
            (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A::from(*v4))),
            (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA::from(*v6))),
            _ => None,
        })
        .map(|data| Record::from_rdata(question.name().clone(), TTL, data))
        .collect();
    if records.is_empty() {
        return negative(query, ResponseCode::NoError);
    }
    let mut reply = code(query, ResponseCode::NoError);
    reply.add_answers(records);
    reply
}

fn truthful(query: &Message, name: &str) -> Message {
    if query.metadata.op_code != OpCode::Query {
        return code(query, ResponseCode::NotImp);
    }
    let internet = query.queries.first().is_some_and(|q| q.query_class() == DNSClass::IN);
    match address_of(name) {
        Some(address) if internet => positive(query, &[IpAddr::V4(address)]),
        _ => negative(query, ResponseCode::NXDomain),
    }
}

fn address_of(name: &str) -> Option<Ipv4Addr> {
    match name {
        "metadata.google.internal" => Some(METADATA),
        "example.com" | "www.example.com" => Some(EXTERNAL),
        name if crate::google::is_endpoint(name) => Some(FRONT),
        _ => {
            let (label, zone) = name.strip_suffix(".run.app")?.rsplit_once('.')?;
            let below = !label.is_empty() && (zone == "a" || crate::regions::is_region(zone));
            below.then_some(FRONT)
        }
    }
}
