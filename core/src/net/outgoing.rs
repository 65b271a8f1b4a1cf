//! Bytes on their way to a peer, which can be kept to be sent once more.

use futures_lite::io::AsyncWrite;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Sent bytes are dropped from the front when they take this much, so that a
/// peer that never catches up costs a bounded copy and no growth. In bytes.
const COMPACT: usize = 64 * 1024;

/// What an outbox keeps between messages: a head of the usual size. In bytes.
const FEW: usize = 8 * 1024;

/// An outbox.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    kept: bool,
    unflushed: bool,
    /// Everything that was ever written, until it is asked for.
    total: u64,
}

impl Outgoing {
    /// The bytes, to append to; what has been sent and is kept stands first.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes wait.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    /// Whether everything has been written and flushed.
    pub fn is_sent(&self) -> bool {
        self.left() == 0 && !self.unflushed
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.sent, self.kept, self.unflushed) = (0, false, false);
    }

    /// Whether bytes stay here after they were sent, until this is taken back.
    pub fn keep(&mut self, kept: bool) {
        self.kept = kept;
        if !kept && self.left() == 0 {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    /// Whether everything that was ever appended is still here.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// How many of the kept bytes have been written.
    pub fn written(&self) -> usize {
        self.sent
    }

    /// How many bytes have been written since this was last asked.
    pub fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.total)
    }

    /// Begins again with the first kept byte.
    pub fn rewind(&mut self) {
        (self.sent, self.unflushed) = (0, false);
    }

    /// Gives the memory back if nothing is left.
    pub fn release(&mut self) {
        if self.left() == 0 {
            *self = Outgoing { total: self.total, ..Outgoing::default() };
        }
    }

    /// Gives the memory back that bulk needed, if nothing is left.
    pub fn trim(&mut self) {
        if self.bytes.capacity() > FEW {
            self.release();
        }
    }

    /// Swaps memory with `other`, which holds nothing, if nothing is left here.
    pub fn lend(&mut self, other: &mut Vec<u8>) {
        if self.left() == 0 && !self.kept && self.bytes.capacity() <= FEW {
            self.bytes.clear();
            self.sent = 0;
            std::mem::swap(&mut self.bytes, other);
        }
    }

    /// Writes everything and flushes it.
    pub fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        io: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while let Some(waiting) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *io).poll_write(context, waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.sent += count;
                    self.total += count as u64;
                }
            }
            self.unflushed = true;
            if !self.kept && self.sent >= COMPACT {
                self.bytes.drain(..self.sent.min(self.bytes.len()));
                self.sent = 0;
            }
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(context))?;
            self.unflushed = false;
        }
        if !self.kept {
            self.bytes.clear();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    fn send(outgoing: &mut Outgoing) -> Vec<u8> {
        let mut wire = Vec::new();
        block_on(poll_fn(|context| outgoing.poll_send(context, &mut wire))).unwrap();
        wire
    }

    #[test]
    fn what_is_kept_can_be_sent_again() {
        let mut outgoing = Outgoing::default();
        outgoing.keep(true);
        outgoing.bytes().extend_from_slice(b"hello");
        assert_eq!(send(&mut outgoing), b"hello");
        assert!(outgoing.is_sent());
        outgoing.bytes().extend_from_slice(b" again");
        assert_eq!(send(&mut outgoing), b" again");
        assert_eq!((outgoing.take_sent(), outgoing.take_sent()), (11, 0));
        outgoing.rewind();
        assert_eq!(send(&mut outgoing), b"hello again");
        outgoing.keep(false);
        outgoing.rewind();
        assert_eq!(send(&mut outgoing), b"");
    }

    #[test]
    fn what_has_been_sent_does_not_pile_up() {
        let mut outgoing = Outgoing::default();
        for _ in 0..100 {
            outgoing.bytes().extend_from_slice(&[0; 50_000]);
            assert_eq!(send(&mut outgoing).len(), 50_000);
        }
        assert!(outgoing.bytes().capacity() < 200_000);
    }
}
