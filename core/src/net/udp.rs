//! UDP sockets.

use super::ours::Ours;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for datagrams that arrive while the engine is busy, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A UDP socket.
#[derive(Debug)]
pub struct UdpSocket(Ours<async_std::net::UdpSocket>);

impl UdpSocket {
    /// Binds a socket that serves. Port 0 lets the kernel choose. An IPv6
    /// address takes no IPv4 traffic. Does not block.
    ///
    /// # Errors
    /// What the operating system says, `AddrInUse` and `PermissionDenied` above all.
    pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel may grant less; what it grants is better than nothing.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&address.into())?;
        Ok(UdpSocket(Ours::new(std::net::UdpSocket::from(socket).into())))
    }

    /// A socket on a random port that talks with `peer` alone: the kernel
    /// drops datagrams from elsewhere and reports a closed port at once.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn connect(peer: SocketAddr) -> io::Result<UdpSocket> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(any)?;
        // Connecting a datagram socket sends nothing and cannot wait.
        socket.connect(peer)?;
        Ok(UdpSocket(Ours::new(socket.into())))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Waits for a datagram; a longer one than `buffer` is cut.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer).await
    }

    /// Sends one datagram to `peer`.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.0.send_to(bytes, peer).await
    }

    /// Waits for a datagram from the connected peer.
    ///
    /// # Errors
    /// `ConnectionRefused` if nobody listens there, else what the operating system says.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes).await
    }
}
