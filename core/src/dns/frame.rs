//! The frames of DNS over TCP (RFC 1035, section 4.2.2): a length, a message.
//!
//! It owns them for both directions, server and upstream, and knows nothing of
//! what is in them.

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io::{self, IoSlice};

/// Reads one message. Memory grows with what arrives, not with what the length
/// claims.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = read_length(stream).await?;
    read_message(stream, length).await
}

/// Reads how long the next message is, in bytes.
pub(super) async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    Ok(u16::from_be_bytes(length))
}

/// Reads a message of so many bytes, as [`read_frame`] does.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    length: u16,
) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message).await?;
    if message.len() < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}

/// Writes one message, in one piece where the socket takes it.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let length = length.to_be_bytes();
    let mut pieces = [IoSlice::new(&length), IoSlice::new(message)];
    let mut left = pieces.as_mut_slice();
    while !left.is_empty() {
        match stream.write_vectored(left).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut left, written),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::block_on;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        block_on(write_frame(&mut bytes, b"one")).unwrap();
        block_on(write_frame(&mut bytes, b"")).unwrap();
        assert_eq!(bytes, b"\0\x03one\0\0");
        let mut stream = bytes.as_slice();
        assert_eq!(block_on(read_frame(&mut stream)).unwrap(), b"one");
        assert_eq!(block_on(read_frame(&mut stream)).unwrap(), b"");
        assert!(block_on(read_frame(&mut stream)).is_err());
    }

    /// Takes a byte at a time.
    struct Slow(Vec<u8>);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.extend(bytes.first());
            Poll::Ready(Ok(bytes.len().min(1)))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_message_goes_in_as_many_pieces_as_it_must() {
        let mut slow = Slow(Vec::new());
        block_on(write_frame(&mut slow, b"slowly")).unwrap();
        assert_eq!(slow.0, b"\0\x06slowly");
    }

    #[test]
    fn a_length_that_only_claims_costs_nothing() {
        let mut stream = b"\xFF\xFFshort".as_slice();
        let error = block_on(read_frame(&mut stream)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(block_on(write_frame(&mut Vec::new(), &[0; 65_536])).is_err());
    }
}
