//! One byte stream, plain or encrypted, behind one type.

use super::buffer::Incoming;
use super::tcp::Tcp;
use super::tls::{self, TlsStream};
use futures_lite::io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A connection to a service or from an app.
pub enum Stream {
    /// In the clear.
    Plain(Tcp),
    /// Inside TLS.
    Tls(Box<TlsStream>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.tcp())
    }
}

impl Stream {
    /// Whether it is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Makes the next read ask the kernel; see [`Tcp::look_again`].
    pub fn look_again(&self) {
        match self {
            Stream::Plain(tcp) => tcp.look_again(),
            Stream::Tls(stream) => tls::tcp_of(stream).look_again(),
        }
    }

    /// Whether a read may find something without a word of the connection below.
    fn holds_something(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(stream) => tls::holds_something(stream),
        }
    }

    /// Whether a read may find something: bytes, the end or an error. Does not
    /// ask the kernel.
    pub fn has_news(&self) -> bool {
        self.holds_something() || self.tcp().has_news()
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &Tcp {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(stream) => tls::tcp_of(stream),
        }
    }
}

impl Incoming for Stream {
    fn poll_news(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.holds_something() { Poll::Ready(()) } else { self.tcp().poll_news(context) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer).map_err(plainly),
        }
    }
}

/// A read's error in words for whoever called: the libraries' own are about TLS,
/// and of a length.
fn plainly(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "it closed the connection and had not ended TLS")
        }
        _ => error,
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Stream::Tls(stream) => tls::poll_write_vectored(stream, context, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    /// Ends the sending direction, for TLS with a close_notify alert.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_close(context),
            Stream::Tls(tls) => Pin::new(tls).poll_close(context),
        }
    }
}
