//! Binding: every socket before anything is promised.

use super::error::Error;
use super::holder::{self, Transport};
use crate::net::{OwnAddresses, TcpListener, UdpSocket};
use std::io;
use std::net::SocketAddr;

/// The sockets of the DNS server.
pub(super) struct DnsSockets {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
}

/// The listeners of the proxy.
pub(super) struct ProxyListeners {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Binds UDP and TCP on every address. An address family that this machine
/// does not have is passed over, as long as one remains.
pub(super) fn dns(wanted: &[SocketAddr], own: &OwnAddresses) -> Result<DnsSockets, Error> {
    let mut sockets = DnsSockets { udp: Vec::new(), tcp: Vec::new(), addresses: Vec::new() };
    let mut absent = None;
    for &address in wanted {
        let fail = |transport, cause: io::Error| {
            let holder = holder_of(transport, address, &cause);
            Error::bind("dns", address, cause, holder.as_deref())
        };
        let (udp, tcp) = match dns_pair(address) {
            Ok(pair) => pair,
            Err((_, cause)) if is_absent(&cause) => {
                absent = Some(fail(Transport::Udp, cause));
                continue;
            }
            Err((transport, cause)) => return Err(fail(transport, cause)),
        };
        let bound = udp.local_addr().map_err(|cause| fail(Transport::Udp, cause))?;
        own.add(bound);
        sockets.addresses.push(bound);
        sockets.udp.push(udp);
        sockets.tcp.push(tcp);
    }
    match absent {
        Some(error) if sockets.addresses.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Both transports on one port, which the kernel may be asked to choose.
fn dns_pair(address: SocketAddr) -> Result<(UdpSocket, TcpListener), (Transport, io::Error)> {
    /// A port that is free for UDP may be taken for TCP: ask for another.
    const TRIES: usize = 16;
    let mut tries = 0;
    loop {
        tries += 1;
        let udp = UdpSocket::bind(address).map_err(|cause| (Transport::Udp, cause))?;
        let bound = udp.local_addr().map_err(|cause| (Transport::Udp, cause))?;
        match TcpListener::bind(bound) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(cause) if address.port() != 0 || tries == TRIES => {
                return Err((Transport::Tcp, cause));
            }
            Err(_) => {}
        }
    }
}

/// Binds the proxy's listeners; families as in [`dns`].
pub(super) fn proxy(wanted: &[SocketAddr], own: &OwnAddresses) -> Result<ProxyListeners, Error> {
    let mut bound = ProxyListeners { listeners: Vec::new(), addresses: Vec::new() };
    let mut absent = None;
    for &address in wanted {
        let fail = |cause: io::Error| {
            let holder = holder_of(Transport::Tcp, address, &cause);
            Error::bind("proxy", address, cause, holder.as_deref())
        };
        match TcpListener::bind(address) {
            Ok(listener) => {
                let local = listener.local_addr().map_err(fail)?;
                own.add(local);
                bound.addresses.push(local);
                bound.listeners.push(listener);
            }
            Err(cause) if is_absent(&cause) => absent = Some(fail(cause)),
            Err(cause) => return Err(fail(cause)),
        }
    }
    match absent {
        Some(error) if bound.addresses.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// Binds the admin endpoint's listener, and says where.
pub(super) fn admin(
    wanted: SocketAddr,
    own: &OwnAddresses,
) -> Result<(TcpListener, SocketAddr), Error> {
    let fail = |cause: io::Error| {
        let holder = holder_of(Transport::Tcp, wanted, &cause);
        Error::bind("admin", wanted, cause, holder.as_deref())
    };
    let listener = TcpListener::bind(wanted).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    own.add(address);
    Ok((listener, address))
}

fn is_absent(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AddrNotAvailable
        || cause.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn holder_of(transport: Transport, address: SocketAddr, cause: &io::Error) -> Option<String> {
    (cause.kind() == io::ErrorKind::AddrInUse).then(|| holder::of(transport, address)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    #[test]
    fn the_kernel_chooses_one_port_for_both_transports() {
        let own = OwnAddresses::default();
        let sockets = dns(&["127.0.0.1:0".parse().unwrap()], &own).unwrap();
        let (udp, tcp) = (&sockets.udp[0], &sockets.tcp[0]);
        assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        assert!(own.contains(sockets.addresses[0]));
    }

    #[test]
    fn a_taken_port_is_told_with_its_holder() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = proxy(&[address], &OwnAddresses::default()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        assert!(text.contains("--proxy-addr"), "{text}");
    }

    #[test]
    fn an_absent_address_is_passed_over_if_another_remains() {
        let own = OwnAddresses::default();
        // TEST-NET-1 (RFC 5737) is no address of this machine.
        let absent: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let bound = proxy(&[absent, "127.0.0.1:0".parse().unwrap()], &own).unwrap();
        assert_eq!(bound.addresses.len(), 1);
        assert!(proxy(&[absent], &own).is_err());
    }
}
