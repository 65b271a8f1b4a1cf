//! The bridge from our byte streams to tokio's I/O traits, which the HTTP/2
//! library speaks. The traits alone: there is no tokio runtime in the process.

use super::buffer::{Buffer, Incoming};
use futures_lite::io::AsyncWrite;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::ReadBuf;

/// A stream of ours with tokio's face.
#[derive(Debug)]
pub struct TokioIo<S> {
    stream: S,
    /// What has been read and not taken yet. The library's own room is not
    /// initialised and would have to be zeroed before each look at the stream,
    /// although most looks find nothing.
    landed: Buffer,
    /// How many use it now, where somebody counts them.
    users: Option<Arc<AtomicUsize>>,
}

/// The most that is read at once, in bytes: two TLS records.
const LANDING: usize = 32 * 1024;

impl<S> TokioIo<S> {
    /// Bridges `stream`.
    pub fn new(stream: S) -> TokioIo<S> {
        TokioIo::with_prefix(stream, Buffer::default())
    }

    /// Bridges `stream`, of which `prefix` has been read already.
    pub fn with_prefix(stream: S, prefix: Buffer) -> TokioIo<S> {
        TokioIo { stream, landed: prefix, users: None }
    }

    /// The same, of which `users` says how many use it: while there is none, it
    /// keeps no room for bulk.
    pub fn used_by(self, users: Arc<AtomicUsize>) -> TokioIo<S> {
        TokioIo { users: Some(users), ..self }
    }
}

impl<S: Incoming> tokio::io::AsyncRead for TokioIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let TokioIo { stream, landed, users } = self.get_mut();
        if landed.is_empty() {
            let filled = landed.poll_fill(context, stream, LANDING);
            // Not between two pieces of a body: nothing has come yet most of the
            // times that somebody looks.
            if filled.is_pending()
                && users.as_ref().is_some_and(|users| users.load(Ordering::Relaxed) == 0)
            {
                landed.trim();
            }
            ready!(filled)?;
        }
        let bytes = landed.readable();
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..count).unwrap_or_default());
        landed.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> tokio::io::AsyncWrite for TokioIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    /// Always: a frame's head and its payload then make one TLS record.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, poll_once};
    use futures_lite::io::{AsyncRead, Cursor};
    use tokio::io::AsyncRead as _;

    impl Incoming for Cursor<Vec<u8>> {}

    fn read(io: &mut TokioIo<Cursor<Vec<u8>>>, room: usize) -> Vec<u8> {
        let mut bytes = vec![0; room];
        let mut buffer = ReadBuf::new(&mut bytes);
        block_on(poll_fn(|context| Pin::new(&mut *io).poll_read(context, &mut buffer))).unwrap();
        buffer.filled().to_vec()
    }

    /// Gives so many bytes, then none yet; keeps how much room it was offered.
    struct Bursts {
        left: usize,
        offered: Vec<usize>,
    }

    impl Incoming for Bursts {}

    impl AsyncRead for Bursts {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            room: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.offered.push(room.len());
            let count = self.left.min(room.len());
            self.left -= count;
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }
    }

    #[test]
    fn the_room_for_bulk_is_given_back_when_nobody_uses_it() {
        let users = Arc::new(AtomicUsize::new(1));
        let mut io = TokioIo::new(Bursts { left: 0, offered: Vec::new() }).used_by(users.clone());
        let mut bytes = vec![0; LANDING];
        let mut largest = |io: &mut TokioIo<Bursts>, sent: usize| {
            io.stream.left = sent;
            let mut reads = || {
                let mut buffer = ReadBuf::new(&mut bytes);
                block_on(poll_once(poll_fn(|context| {
                    Pin::new(&mut *io).poll_read(context, &mut buffer)
                })))
            };
            while reads().is_some() {}
            io.stream.offered.drain(..).max()
        };
        let first = largest(&mut io, 100).unwrap();
        assert!(first < LANDING, "{first}");
        assert_eq!(largest(&mut io, 5 * LANDING), Some(LANDING));
        assert_eq!(largest(&mut io, 100), Some(LANDING), "it may go on");
        users.store(0, Ordering::Relaxed);
        assert_eq!(largest(&mut io, 0), Some(LANDING));
        assert_eq!(largest(&mut io, 100), Some(first));
    }

    #[test]
    fn the_prefix_is_read_first_and_in_pieces() {
        let mut prefix = Buffer::default();
        let mut early: &[u8] = b"early";
        block_on(poll_fn(|context| prefix.poll_fill(context, &mut early, 64))).unwrap();
        let mut io = TokioIo::with_prefix(Cursor::new(b" late".to_vec()), prefix);
        assert_eq!(read(&mut io, 3), b"ear");
        assert_eq!(read(&mut io, 64), b"ly");
        assert_eq!(read(&mut io, 64), b" late");
        assert_eq!(read(&mut io, 64), b"");
    }
}
