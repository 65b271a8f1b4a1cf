//! Who has a port: so that "address in use" comes with a name.
//!
//! Linux lists sockets with their inode in `/proc/net`, and every process's
//! descriptors in `/proc/PID/fd`; where either cannot be read there is no name.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The transport whose table to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// The program that has a socket bound to this port, such as `nginx (pid 12)`.
pub(super) fn of(transport: Transport, address: SocketAddr) -> Option<String> {
    let tables: [&str; 2] = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(Path::new("/proc/net").join(table)).ok())
        .flat_map(|text| inodes(&text, transport, address.port()))
        .collect();
    processes().find(|process| holds(process, &inodes)).map(|process| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let pid = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{} (pid {pid})", name.trim())
    })
}

/// The inodes of the sockets that are bound to `port`: the column layout is
/// that of proc(5), with addresses in hexadecimal.
fn inodes(table: &str, transport: Transport, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let matches = |line: &&str| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1).is_some_and(|local| local.ends_with(&suffix));
        // 0A is LISTEN; an established connection does not hold the port.
        let state = columns.nth(1);
        local && (transport == Transport::Udp || state == Some("0A"))
    };
    table
        .lines()
        .skip(1)
        .filter(matches)
        .filter_map(|line| line.split_whitespace().nth(9).map(str::to_owned))
        .collect()
}

fn processes() -> impl Iterator<Item = std::path::PathBuf> {
    let is_process = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(is_process)
        .map(|entry| entry.path())
}

fn holds(process: &Path, inodes: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| {
        target
            .to_str()
            .and_then(|target| target.strip_prefix("socket:["))
            .and_then(|target| target.strip_suffix(']'))
            .is_some_and(|inode| inodes.iter().any(|known| known == inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of(Transport::Tcp, listener.local_addr().unwrap()).unwrap();
        assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(of(Transport::Udp, socket.local_addr().unwrap()).is_some());
        assert_eq!(of(Transport::Tcp, "127.0.0.1:1".parse().unwrap()), None);
    }
}
