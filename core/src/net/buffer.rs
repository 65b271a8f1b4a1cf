//! Read buffers that stay initialised, so that reading needs neither zeroing
//! nor unsafe code, and that do not grow without being told to.

use futures_lite::io::AsyncRead;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes that have been read and not used yet.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read used all the room there was: more is better next time.
    filled: bool,
    /// Everything that was ever consumed, until it is asked for.
    consumed: u64,
}

/// The first size of a buffer: most heads fit. In bytes.
const FIRST: usize = 8 * 1024;

/// A peer that fills it sends bulk: few steps, because each zeroes memory.
const GROWTH: usize = 8;

impl Buffer {
    /// What has been read and not consumed.
    pub fn readable(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops `count` bytes from the front, at most all of them.
    pub fn consume(&mut self, count: usize) {
        let start = self.start.saturating_add(count).min(self.end);
        self.consumed += (start - self.start) as u64;
        self.start = start;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// How many bytes have been consumed since they were last taken account of.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The same, and takes account of them.
    pub fn take_consumed(&mut self) -> u64 {
        std::mem::take(&mut self.consumed)
    }

    /// Swaps memory with `other` if neither holds anything.
    pub fn swap_empty(&mut self, other: &mut Buffer) {
        if self.is_empty() && other.is_empty() {
            std::mem::swap(self, other);
        }
    }

    /// Gives the memory back if nothing is left.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Buffer { consumed: self.consumed, ..Buffer::default() };
        }
    }

    /// Gives the memory back that bulk needed, if nothing is left.
    pub fn trim(&mut self) {
        if self.bytes.len() > FIRST {
            self.release();
        }
    }

    /// Reads once, making room up to `most` bytes. `Ok(0)` is the end of the
    /// stream, or a buffer that is full.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(most);
        let Some(room) = self.bytes.get_mut(self.end..) else { return Poll::Ready(Ok(0)) };
        let room_size = room.len();
        let read = ready!(Pin::new(io).poll_read(context, room))?;
        self.filled = read == room_size;
        self.end = self.end.saturating_add(read).min(self.bytes.len());
        Poll::Ready(Ok(read))
    }

    /// Whether it holds as much as it may.
    pub fn is_full(&self, most: usize) -> bool {
        self.end - self.start >= most
    }

    fn make_room(&mut self, most: usize) {
        let is_short = self.filled && self.is_empty();
        if self.end < self.bytes.len() && !is_short {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if (self.end == self.bytes.len() || is_short) && self.bytes.len() < most {
            let size = (self.bytes.len() * GROWTH).clamp(FIRST.min(most), most);
            self.bytes.resize(size, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    fn fill(buffer: &mut Buffer, mut input: &[u8], most: usize) -> usize {
        block_on(poll_fn(|context| buffer.poll_fill(context, &mut input, most))).unwrap()
    }

    #[test]
    fn what_is_read_is_there_until_it_is_consumed() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, b"hello", 64), 5);
        buffer.consume(2);
        assert_eq!(buffer.readable(), b"llo");
        assert_eq!(fill(&mut buffer, b" you", 64), 4);
        assert_eq!(buffer.readable(), b"llo you");
        buffer.consume(100);
        assert!(buffer.is_empty());
        assert_eq!((buffer.take_consumed(), buffer.take_consumed()), (9, 0));
    }

    #[test]
    fn it_grows_for_a_peer_that_fills_it_and_shrinks_again() {
        let (mut buffer, input) = (Buffer::default(), vec![1; 100_000]);
        for size in [FIRST, 4 * FIRST, 4 * FIRST] {
            assert_eq!(fill(&mut buffer, &input, 4 * FIRST), size);
            buffer.consume(size);
        }
        assert_eq!(fill(&mut buffer, b"few", 4 * FIRST), 3);
        buffer.trim();
        assert_eq!(buffer.readable(), b"few");
        buffer.consume(3);
        buffer.trim();
        assert_eq!(fill(&mut buffer, &input, 4 * FIRST), FIRST);
    }

    #[test]
    fn it_grows_to_its_bound_and_no_further() {
        let (mut buffer, input) = (Buffer::default(), vec![1; 100_000]);
        let mut total = 0;
        while !buffer.is_full(20_000) {
            total += fill(&mut buffer, &input[total..], 20_000);
        }
        assert_eq!((total, buffer.readable().len()), (20_000, 20_000));
        assert_eq!(fill(&mut buffer, &input, 20_000), 0);
        buffer.consume(15_000);
        assert_eq!(fill(&mut buffer, &input, 20_000), 15_000);
    }
}
