//! TCP: listeners with the options that runsd needs, and byte streams.
//!
//! A stream remembers that a read emptied its socket and waits for the reactor
//! then, instead of asking the kernel in vain: of the six reads that a small
//! request took, four found nothing. async-std's stream asks first, always, so
//! these are the streams of async-io, which async-std's own are made of.

use super::ours::Ours;
use async_io::Async;
use futures_lite::io::{AsyncRead, AsyncWrite};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(crate) use crate::sys::HungUp;

/// Connections that may wait to be accepted: a burst of first requests must
/// not be refused.
const BACKLOG: i32 = 1024;

/// A TCP connection. Clones share the socket.
#[derive(Debug)]
pub struct Tcp {
    socket: Arc<Ours<Async<std::net::TcpStream>>>,
    /// The last read left nothing in the socket; news of more comes from the
    /// reactor.
    emptied: bool,
}

impl Clone for Tcp {
    fn clone(&self) -> Tcp {
        Tcp { socket: self.socket.clone(), emptied: false }
    }
}

/// A TCP listener.
#[derive(Debug)]
pub struct TcpListener(Ours<Async<std::net::TcpListener>>);

impl TcpListener {
    /// Binds and listens. Port 0 lets the kernel choose. An IPv6 address takes
    /// no IPv4 traffic. Does not block.
    ///
    /// # Errors
    /// What the operating system says, `AddrInUse` and `PermissionDenied` above all.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A restarted engine takes its ports back although old connections linger.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener(Ours::new(Async::new(socket.into())?)))
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the operating system says; see [`super::Tasks::accept_loop`].
    pub async fn accept(&self) -> io::Result<(Tcp, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        let _ = stream.get_ref().set_nodelay(true);
        Ok((Tcp::new(Arc::new(Ours::new(stream))), peer))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        // A forked child may hold a copy of the descriptor: shutting the
        // socket down frees the port at once all the same.
        let _ = SockRef::from(self.0.get_ref()).shutdown(Shutdown::Both);
    }
}

impl Tcp {
    fn new(socket: Arc<Ours<Async<std::net::TcpStream>>>) -> Tcp {
        Tcp { socket, emptied: false }
    }

    /// Connects to an address, without a time limit of its own.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn connect(address: SocketAddr) -> io::Result<Tcp> {
        let stream = Async::<std::net::TcpStream>::connect(address).await?;
        let _ = stream.get_ref().set_nodelay(true);
        Ok(Tcp::new(Arc::new(Ours::new(stream))))
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the operating system says.
    #[cfg(test)]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Makes the next read ask the kernel even where the reactor has told of
    /// nothing: after a while in which this process may not have run.
    pub fn look_again(&mut self) {
        self.emptied = false;
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.get_ref().shutdown(how)
    }

    /// Whether bytes, or the end, have come and nobody has read them. Does not
    /// block.
    pub fn has_unread(&self) -> bool {
        let mut room = [std::mem::MaybeUninit::uninit()];
        match SockRef::from(self.socket.get_ref()).peek(&mut room) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Whether the peer has ended its direction or broken the connection off,
    /// however much of what it sent before is still unread. Does not block.
    pub(crate) fn hung_up(&self) -> Option<HungUp> {
        crate::sys::hung_up(self.socket.get_ref().as_raw_fd())
    }

    /// Makes closing reset the connection instead of ending it in order, so
    /// that the peer cannot mistake a broken exchange for a finished one.
    pub fn reset_on_close(&self) {
        let _ = SockRef::from(self.socket.get_ref()).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.emptied {
                ready!(self.socket.poll_readable(context))?;
                self.emptied = false;
            }
            match self.socket.get_ref().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.emptied = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => {
                    // A short read has taken all there was. Whatever comes
                    // later, the end included, is told when the reactor is
                    // asked to watch: it reports states, not changes.
                    self.emptied = count > 0 && count < buffer.len();
                    return Poll::Ready(Ok(count));
                }
                failed => return Poll::Ready(failed),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &**self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &**self.socket).poll_write_vectored(context, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the sending direction; the other stays open (half-close).
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn bytes_go_both_ways_and_each_direction_closes_by_itself() {
        async_io::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = Tcp::connect(address).await.unwrap();
            let (mut server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            client.write_all(b"ping").await.unwrap();
            client.close().await.unwrap();
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"ping");
            server.write_all(b"pong").await.unwrap();
            drop(server);
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"pong");
        });
    }

    #[test]
    fn what_nobody_has_read_is_seen_and_stays() {
        async_io::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let mut client = Tcp::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            assert!(!client.has_unread());
            server.write_all(b"xy").await.unwrap();
            let mut one = [0];
            client.read_exact(&mut one).await.unwrap();
            assert!(client.has_unread());
            client.read_exact(&mut one).await.unwrap();
            assert!(!client.has_unread());
            drop(server);
            assert_eq!(client.read(&mut one).await.unwrap(), 0);
            assert!(client.has_unread());
        });
    }

    #[test]
    fn an_end_is_seen_behind_what_nobody_has_read() {
        async_io::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            let mut client = Tcp::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(b"unread").await.unwrap();
            assert_eq!(server.hung_up(), None);
            client.close().await.unwrap();
            assert_eq!(server.hung_up(), Some(HungUp::Ended { unread: 6 }));
            client.reset_on_close();
            drop(client);
            assert_eq!(server.hung_up(), Some(HungUp::Broken));
        });
    }

    #[test]
    fn a_port_is_free_at_once_when_its_listener_goes() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        TcpListener::bind(address).unwrap();
    }
}
