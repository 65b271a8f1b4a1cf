//! The distance between the instance and the front end.
//!
//! Owns the delaying of bytes and the way a connection ends; knows nothing of
//! what the bytes mean. `front::tls` puts every accepted connection through it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::wire::Duplex;

/// The bytes that may be under way in one direction: enough for 1 Gbit/s at 60 ms.
const IN_FLIGHT: usize = 8 << 20;
const PIECE: usize = 64 << 10;

/// Tells a connection to end with a reset instead of an orderly close.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResetSwitch(Arc<AtomicBool>);

impl ResetSwitch {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A TCP connection that obeys a [`ResetSwitch`] when it is dropped.
struct Guarded {
    tcp: TcpStream,
    switch: ResetSwitch,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.switch.0.load(Ordering::SeqCst) {
            // A connection that is already gone needs no reset.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// The front end's side of `tcp`, `rtt` away from the other side. The kernel
/// completes TCP's own handshake without delay, so the first bytes pay for it.
pub(crate) fn at_distance(tcp: TcpStream, rtt: Duration) -> (Box<dyn Duplex>, ResetSwitch) {
    let switch = ResetSwitch::default();
    // The simulator answers with many small writes; a timer of the kernel's must
    // not add to the delays that are asked for.
    let _ = tcp.set_nodelay(true);
    let near = Guarded { tcp, switch: switch.clone() };
    if rtt.is_zero() {
        return (Box::new(near), switch);
    }
    let (far, ours) = tokio::io::duplex(PIECE);
    let (near_read, near_write) = tokio::io::split(near);
    let (our_read, our_write) = tokio::io::split(ours);
    tokio::spawn(async move {
        tokio::join!(
            carry(near_read, our_write, rtt / 2, rtt),
            carry(our_read, near_write, rtt / 2, Duration::ZERO)
        );
    });
    (Box::new(far), switch)
}

/// Moves bytes one way: each piece leaves `delay` after it came.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    first: Duration,
) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Bytes, _)>();
    let earliest = Instant::now() + delay + first;
    let reading = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            // An error ends this direction as its end does.
            let size = from.read(&mut buffer).await.unwrap_or_default();
            let due = earliest.max(Instant::now() + delay);
            let piece = Bytes::copy_from_slice(buffer.get(..size).unwrap_or_default());
            let count = u32::try_from(size).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&room).acquire_many_owned(count).await else { return };
            if sender.send((due, piece, permit)).is_err() || size == 0 {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece, permit)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                break;
            }
            drop(permit);
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
