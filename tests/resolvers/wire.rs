//! The wire: which queries reach the DNS server, read from the loopback device
//! itself, so that no counter of ours is believed.

use cloudrun_sim::Sim;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::Duration;

/// EtherType of IPv4; a socket for one type sees each packet once, as received.
const IPV4: u16 = 0x0800;
const SERVER: [u8; 4] = [127, 0, 0, 1];
const UDP: u8 = 17;
const TCP: u8 = 6;
/// The name that says that everything before it has been read.
const END: &str = "end-of-the-story";
/// Longer than a loaded machine takes to read a packet that has been sent.
const PATIENCE: Duration = Duration::from_secs(20);

/// One question as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name in the asker's spelling, without the final dot.
    pub name: String,
    /// The numeric type.
    pub qtype: u16,
}

/// What was seen.
#[derive(Clone, Debug)]
enum Seen {
    Question(Question),
    /// A TCP connection to the server.
    Connection,
}

/// An ear on the loopback device of a simulation.
pub struct Wire<'a> {
    sim: &'a Sim,
    heard: mpsc::Receiver<Seen>,
}

impl<'a> Wire<'a> {
    /// Begins to listen.
    pub fn listen(sim: &'a Sim) -> Wire<'a> {
        let mut socket = sim.enter(|| {
            let kind = Some(Protocol::from(i32::from(IPV4.to_be())));
            Socket::new(Domain::PACKET, Type::DGRAM, kind).expect("a packet socket, as root")
        });
        let (say, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut packet = [0; 65_536];
            while let Ok(size) = socket.read(&mut packet) {
                let seen = packet.get(..size).and_then(seen);
                if seen.is_some_and(|seen| say.send(seen).is_err()) {
                    return;
                }
            }
        });
        Wire { sim, heard }
    }

    /// Every question over UDP since the last call, but for runsd's question to
    /// itself.
    ///
    /// # Panics
    /// If there was a connection over TCP, which no look-up here needs.
    pub fn questions(&self) -> Vec<Question> {
        let (questions, connections) = self.all();
        assert_eq!(connections, 0, "a resolver turned to TCP: {questions:?}");
        questions
    }

    /// The questions over UDP and the number of TCP connections since the last call.
    pub fn all(&self) -> (Vec<Question>, usize) {
        self.sim.enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let label = [&[END.len() as u8], END.as_bytes(), &[0, 0, 1, 0, 1]].concat();
            let header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            socket.send_to(&[&header[..], &label].concat(), "127.0.0.1:53").expect("loopback");
        });
        let (mut questions, mut connections) = (Vec::new(), 0);
        loop {
            match self.heard.recv_timeout(PATIENCE).expect("the last packet is seen too") {
                Seen::Question(question) if question.name == END => {
                    return (questions, connections);
                }
                Seen::Question(question) if question.name.starts_with("_runsd.") => {}
                Seen::Question(question) => questions.push(question),
                Seen::Connection => connections += 1,
            }
        }
    }
}

/// What an IPv4 packet (RFC 791) to the server means.
fn seen(packet: &[u8]) -> Option<Seen> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let payload = packet.get(header..)?;
    let to_server = packet.get(16..20)? == SERVER && payload.get(2..4)? == [0, 53];
    match *packet.get(9)? {
        UDP if to_server => question(payload.get(8..)?).map(Seen::Question),
        // The first segment: SYN without ACK (RFC 9293 §3.1).
        TCP if to_server && payload.get(13)? & 0x12 == 0x02 => Some(Seen::Connection),
        _ => None,
    }
}

/// The question of a DNS message (RFC 1035 §4.1.2).
fn question(message: &[u8]) -> Option<Question> {
    let mut rest = message.get(12..)?;
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            rest = after;
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = after;
    }
    let qtype = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    Some(Question { name: labels.join("."), qtype })
}
