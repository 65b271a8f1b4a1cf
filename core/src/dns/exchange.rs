//! One question to one nameserver.
//!
//! It owns the wire side of asking: a socket of its own per attempt, a random
//! ID, what counts as the answer, and the change to TCP. It must not know
//! which nameservers there are or how long to wait; the race does.

use super::answer::Answer;
use super::frame::{read_frame, write_frame};
use super::reply::put_opt;
use super::wire::{AD, CD, OPCODE, QR, Query, RD, Reader, rcode};
use crate::net::{Tcp, UdpQuestion, deadline, is_shortage};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the rest of a truncated answer may take.
const TCP_PATIENCE: Duration = Duration::from_secs(2);
/// Frames that are read for one answer: a server that sends others without end
/// must not keep the thread.
const MOST_FRAMES: usize = 8;

/// A question as it goes upstream.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Name, type and class.
    pub(super) question: Vec<u8>,
    /// RD and CD as the client has them.
    pub(super) flags: u16,
    pub(super) dnssec_ok: bool,
    /// Whether the client itself came over TCP.
    pub(super) over_tcp: bool,
    /// Whether the proxy itself asks, and not a client of ours.
    pub(super) own: bool,
}

/// Why a nameserver gave no answer.
#[derive(Debug)]
pub(super) enum Bad {
    /// Nobody listens there, or the network failed.
    Unreachable,
    /// It answered SERVFAIL or REFUSED, with these explanations.
    Answered(Vec<u8>),
    /// There are too few descriptors, or too little memory, to ask.
    NoRoom,
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Bad {
        if is_shortage(&error) { Bad::NoRoom } else { Bad::Unreachable }
    }
}

impl Request {
    /// The request that `query` needs.
    pub(super) fn new(query: &Query, over_tcp: bool) -> Request {
        Request {
            question: query.question.clone(),
            flags: query.flags & (RD | CD),
            dnssec_ok: query.dnssec_ok(),
            over_tcp,
            own: false,
        }
    }

    /// The message. AD asks to be told what was validated (RFC 6840, section 5.7).
    fn encode(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut message = Vec::with_capacity(12 + self.question.len() + 11);
        message.extend(id.to_be_bytes());
        message.extend((self.flags | AD).to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        message.extend(&self.question);
        if edns {
            put_opt(&mut message, 0, self.dnssec_ok, &[]);
        }
        message
    }

    /// Asks `server` and waits without limit for what it says.
    ///
    /// # Errors
    /// [`Bad`] if another server should be asked.
    pub(super) async fn ask(&self, server: SocketAddr) -> Result<Answer, Bad> {
        let answer = match self.ask_once(server, true).await? {
            Heard::Answer(answer) => answer,
            // It does not know EDNS (RFC 6891, section 6.2.2).
            Heard::NoEdns => match self.ask_once(server, false).await? {
                Heard::Answer(answer) => answer,
                Heard::NoEdns => return Err(Bad::Answered(Vec::new())),
            },
        };
        match answer.code() {
            rcode::SERVFAIL | rcode::REFUSED => Err(Bad::Answered(answer.errors().to_vec())),
            _ => Ok(answer),
        }
    }

    async fn ask_once(&self, server: SocketAddr, edns: bool) -> Result<Heard, Bad> {
        // In boxes, because an attempt is as large as what it may wait for.
        if self.over_tcp {
            return Box::pin(self.ask_tcp(server, edns)).await;
        }
        match self.ask_udp(server, edns).await? {
            Heard::Answer(cut) if cut.is_truncated() => {
                // What fitted the datagram is better than nothing.
                match Box::pin(deadline(TCP_PATIENCE, self.ask_tcp(server, edns))).await {
                    Ok(Ok(whole)) => Ok(whole),
                    _ => Ok(Heard::Answer(cut)),
                }
            }
            heard => Ok(heard),
        }
    }

    async fn ask_udp(&self, server: SocketAddr, edns: bool) -> Result<Heard, Bad> {
        let id = random_id();
        let question = UdpQuestion::ask(server, &self.encode(id, edns))?;
        // Anything that is not the answer may be forged: wait on.
        Ok(question.answer(|packet| self.hear(packet, id, edns)).await?)
    }

    async fn ask_tcp(&self, server: SocketAddr, edns: bool) -> Result<Heard, Bad> {
        let (mut stream, id) = (Tcp::connect(server).await?, random_id());
        write_frame(&mut stream, &self.encode(id, edns)).await?;
        for _ in 0..MOST_FRAMES {
            let packet = read_frame(&mut stream).await?;
            if let Some(heard) = self.hear(&packet, id, edns) {
                return Ok(heard);
            }
        }
        Err(Bad::Unreachable)
    }

    fn hear(&self, packet: &[u8], id: u16, edns: bool) -> Option<Heard> {
        let header = Reader::new(packet).header()?;
        let opcode = header.flags & OPCODE;
        if header.id != id || header.flags & QR == 0 || opcode != 0 {
            return None;
        }
        let broken = header.flags & 0x0F == rcode::FORMERR;
        let answer = Answer::read(packet).filter(|answer| answer.answers(id, &self.question));
        match answer {
            Some(answer) if edns && broken && !answer.has_opt() => Some(Heard::NoEdns),
            Some(answer) => Some(Heard::Answer(answer)),
            // Old servers return nothing but the header.
            None if edns && broken && header.counts == [0; 4] => Some(Heard::NoEdns),
            None => None,
        }
    }
}

enum Heard {
    Answer(Answer),
    NoEdns,
}

/// A number that nobody off the path can guess: the standard library's keyed
/// hash of nothing, whose key comes from the operating system. The port, which
/// the kernel chooses, adds its own bits.
fn random_id() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}
