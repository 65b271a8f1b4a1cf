//! The frames of DNS over TCP (RFC 1035, section 4.2.2): a length, a message.
//!
//! It owns them for both directions, server and upstream, and knows nothing of
//! what is in them.

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::io;

/// Reads one message. Memory grows with what arrives, not with what the length
/// claims.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let (length, mut message) = (u16::from_be_bytes(length), Vec::new());
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
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::block_on;

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

    #[test]
    fn a_length_that_only_claims_costs_nothing() {
        let mut stream = b"\xFF\xFFshort".as_slice();
        let error = block_on(read_frame(&mut stream)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(block_on(write_frame(&mut Vec::new(), &[0; 65_536])).is_err());
    }
}
