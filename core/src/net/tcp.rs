//! TCP: listeners with the options that runsd needs, and byte streams.
//!
//! A stream remembers that a read emptied its socket, or a write filled it, and
//! waits for the reactor then, instead of asking the kernel in vain: of the six
//! reads that a small request took, four found nothing. The reactor is the
//! engine's own, which watches a socket once for all; async-std's streams would
//! have to be watched anew for each event.

use super::buffer::Incoming;
use super::reactor::{Direction, Rank, Watched};
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(crate) use crate::sys::HungUp;

/// Connections that may wait to be accepted: a burst of first requests must
/// not be refused.
const BACKLOG: i32 = 1024;
/// More pieces than that the kernel does not take at once (`UIO_MAXIOV`).
const MOST_SLICES: usize = 1024;

/// A TCP connection. Clones share the socket. One task at a time may wait to
/// read it, and one to write it.
#[derive(Clone, Debug)]
pub struct Tcp(Arc<Watched<std::net::TcpStream>>);

/// A TCP listener.
#[derive(Debug)]
pub struct TcpListener(Watched<std::net::TcpListener>);

impl TcpListener {
    /// Binds and listens. Port 0 lets the kernel choose. An IPv6 address takes
    /// no IPv4 traffic. Does not block.
    ///
    /// # Errors
    /// What the operating system says, `AddrInUse` and `PermissionDenied` above all.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        // A restarted engine takes its ports back although old connections linger.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener(Watched::new(socket.into(), false, Rank::UnderWay)?))
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// What the operating system says; see [`super::Tasks::accept_loop`].
    pub async fn accept(&self) -> io::Result<(Tcp, SocketAddr)> {
        let accepting = poll_fn(|context| {
            self.0.poll_with(Direction::Read, context, std::net::TcpListener::accept)
        });
        let ((stream, peer), _) = accepting.await?;
        stream.set_nonblocking(true)?;
        let _ = stream.set_nodelay(true);
        Ok((Tcp(Arc::new(Watched::new(stream, true, Rank::New)?)), peer))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        // A forked child may hold a copy of the descriptor: shutting the
        // socket down frees the port at once all the same.
        let _ = SockRef::from(self.0.get()).shutdown(Shutdown::Both);
    }
}

impl Tcp {
    /// Connects to an address, without a time limit of its own.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn connect(address: SocketAddr) -> io::Result<Tcp> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let _ = socket.set_tcp_nodelay(true);
        let stream = Watched::new(std::net::TcpStream::from(socket), false, Rank::UnderWay)?;
        // Writable means that the attempt is over; a failed one has left an error.
        let connected = |stream: &std::net::TcpStream| match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        };
        poll_fn(|context| stream.poll_with(Direction::Write, context, connected)).await?;
        Ok(Tcp(Arc::new(stream)))
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// What the operating system says.
    #[cfg(test)]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Whether a read may find something: bytes, the end or an error. Does not
    /// ask the kernel.
    pub fn has_news(&self) -> bool {
        self.0.has_news()
    }

    /// Makes the next read ask the kernel even where the reactor has told of
    /// nothing: after a while in which this process may not have run.
    pub fn look_again(&self) {
        self.0.look_again();
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.get().shutdown(how)
    }

    /// Whether bytes, or the end, have come and nobody has read them. Does not
    /// block.
    pub fn has_unread(&self) -> bool {
        let mut room = [std::mem::MaybeUninit::uninit()];
        match SockRef::from(self.0.get()).peek(&mut room) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Whether the peer has ended its direction or broken the connection off,
    /// however much of what it sent before is still unread. Does not block.
    pub(crate) fn hung_up(&self) -> Option<HungUp> {
        crate::sys::hung_up(self.0.get().as_raw_fd())
    }

    /// Makes closing reset the connection instead of ending it in order, so
    /// that the peer cannot mistake a broken exchange for a finished one.
    pub fn reset_on_close(&self) {
        let _ = SockRef::from(self.0.get()).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Incoming for Tcp {
    fn poll_news(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(Direction::Read, context).map(drop)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.0.poll_with(Direction::Read, context, |stream| {
            let (count, _) = recv(stream, &mut *buffer, RecvFlags::empty())?;
            Ok(count)
        });
        let (count, seen) = ready!(read)?;
        if count > 0 && count < buffer.len() {
            // A short read has taken all there was (epoll(7)).
            self.0.exhausted(Direction::Read, seen);
        }
        Poll::Ready(Ok(count))
    }
}

impl Tcp {
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        size: usize,
        send: impl FnMut(&std::net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let (count, seen) = ready!(self.0.poll_with(Direction::Write, context, send))?;
        if count > 0 && count < size {
            self.0.exhausted(Direction::Write, seen);
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes.len(), |stream| Ok(send(stream, bytes, SendFlags::NOSIGNAL)?))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most are one record: the kernel takes one piece for less.
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
        // Of what is not even tried, nothing says that there is no room for it.
        let slices = &slices[..slices.len().min(MOST_SLICES)];
        let size = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(context, size, |stream| {
            let mut nothing = SendAncillaryBuffer::default();
            Ok(sendmsg(stream, slices, &mut nothing, SendFlags::NOSIGNAL)?)
        })
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
    use crate::net::block_on;
    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn bytes_go_both_ways_and_each_direction_closes_by_itself() {
        block_on(async {
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
    fn a_burst_of_connections_may_wait_to_be_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        // Where the queue is full the kernel answers nothing, and this would end late.
        let patience = std::time::Duration::from_secs(1);
        let connect = |_| std::net::TcpStream::connect_timeout(&address, patience);
        let waiting: io::Result<Vec<_>> = (0..400).map(connect).collect();
        assert!(waiting.is_ok(), "{waiting:?}");
    }

    #[test]
    fn more_pieces_than_the_kernel_takes_at_once_go_one_part_after_the_other() {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let mut client = Tcp::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let (pieces, mut sent) = (vec![IoSlice::new(b"x"); 3 * MOST_SLICES], 0);
            while sent < pieces.len() {
                sent += client.write_vectored(&pieces[sent..]).await.unwrap();
            }
            server.read_exact(&mut [0; 3 * MOST_SLICES]).await.unwrap();
        });
    }

    #[test]
    fn what_nobody_has_read_is_seen_and_stays() {
        block_on(async {
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
        // An address of its own: whoever wants any port of the usual one may get this one.
        let listener = TcpListener::bind("127.0.0.77:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        TcpListener::bind(address).unwrap();
    }
}
