//! Who answers at an address: the way an engine checks itself, and finds out
//! whether another one is alive. Blocking, for the start path alone.

use super::wire::{HEADER, QR, Reader, rtype, wire_name};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Asks `server` for the TXT of `_runsd.` under `domain`: the nonce of the
/// engine there, or `None` if somebody else answers. Blocks for at most
/// `timeout`.
///
/// # Errors
/// What the operating system says: `ConnectionRefused` where nobody has the
/// port, `TimedOut` where nothing was heard.
pub fn probe(server: SocketAddr, domain: &str, timeout: Duration) -> io::Result<Option<String>> {
    let name = format!("_runsd.{}", domain.trim_end_matches('.'));
    ask(server, &name, rtype::TXT, timeout).map(|packet| nonce(&packet))
}

/// Asks `server` for the address of `name` and takes any answer for a sign of
/// life. Blocks for at most `timeout`.
///
/// # Errors
/// What the operating system says; `TimedOut` where nothing was heard.
pub fn is_alive(server: SocketAddr, name: &str, timeout: Duration) -> io::Result<()> {
    ask(server, name, rtype::A, timeout).map(|_| ())
}

/// Asks `server` for the IPv4 addresses of `name`, as an app's resolver would.
/// Blocks for at most `timeout`.
///
/// # Errors
/// As [`is_alive`].
pub fn look_up(server: SocketAddr, name: &str, timeout: Duration) -> io::Result<Vec<Ipv4Addr>> {
    let packet = ask(server, name, rtype::A, timeout)?;
    Ok(addresses(&packet).unwrap_or_default())
}

/// Sends one question and waits for the packet that answers it.
fn ask(server: SocketAddr, name: &str, kind: u16, timeout: Duration) -> io::Result<Vec<u8>> {
    let silence = || io::Error::from(io::ErrorKind::TimedOut);
    let until = Instant::now() + timeout;
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let mut query = vec![0x52, 0x44, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(wire_name(name).ok_or(io::ErrorKind::InvalidInput)?);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    socket.send(&query)?;
    let mut buffer = [0; 1024];
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        socket.set_read_timeout(Some(left.ok_or_else(silence)?))?;
        let length = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What a read that has waited too long is called depends on the system.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(silence()),
            received => received?,
        };
        let packet = buffer.get(..length).unwrap_or_default();
        let (asked, came) = (query.get(HEADER..), packet.get(HEADER..query.len()));
        if packet.get(..2) == query.get(..2) && asked == came {
            return Ok(packet.to_vec());
        }
    }
}

/// The addresses among the answers.
fn addresses(packet: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let mut reader = Reader::new(packet);
    let header = reader.header()?;
    reader.plain_name()?;
    reader.take(4)?;
    let mut found = Vec::new();
    for _ in 0..header.counts[1] {
        let record = reader.record()?;
        if let (rtype::A, Ok(octets)) = (record.rtype, <[u8; 4]>::try_from(record.data)) {
            found.push(Ipv4Addr::from(octets));
        }
    }
    Some(found)
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
