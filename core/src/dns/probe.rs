//! Who answers at an address: the way an engine checks itself, and finds out
//! whether another one is alive. Blocking, for the start path alone.

use super::wire::{HEADER, QR, Reader, rtype, wire_name};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Asks `server` for the TXT of `_runsd.` under `domain`: the nonce of the
/// engine there, or `None` if none answers. Blocks for at most `timeout`.
pub fn probe(server: SocketAddr, domain: &str, timeout: Duration) -> Option<String> {
    let until = Instant::now() + timeout;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    let mut query = vec![0x52, 0x44, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(wire_name(&format!("_runsd.{}", domain.trim_end_matches('.')))?);
    query.extend([0, 16, 0, 1]);
    socket.send(&query).ok()?;
    let mut buffer = [0; 1024];
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).ok()?;
        let length = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            received => received.ok()?,
        };
        let packet = buffer.get(..length)?;
        let (asked, came) = (query.get(HEADER..), packet.get(HEADER..query.len()));
        if packet.get(..2) == query.get(..2) && asked == came {
            return nonce(packet);
        }
    }
}

/// The first string of the first TXT among the answers.
fn nonce(packet: &[u8]) -> Option<String> {
    let mut reader = Reader::new(packet);
    let header = reader.header()?;
    reader.plain_name()?;
    reader.take(4)?;
    if header.flags & QR == 0 {
        return None;
    }
    for _ in 0..header.counts[1] {
        let record = reader.record()?;
        if record.rtype == rtype::TXT {
            let (length, text) = record.data.split_first()?;
            return String::from_utf8(text.get(..usize::from(*length))?.to_vec()).ok();
        }
    }
    None
}
