//! Read buffers that stay initialised, so that reading needs neither zeroing
//! nor unsafe code, and that do not grow without being told to.

use futures_lite::io::AsyncRead;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// How much memory of that size a thread keeps for who reads next. In buffers.
const SPARE: usize = 64;

thread_local! {
    /// Who waits for a peer gives its memory to who reads: a thousand silent
    /// connections hold none, and what was used last is in the processor's cache.
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What a buffer is filled from.
pub trait Incoming: AsyncRead + Unpin {
    /// `Pending` where a read would find nothing, and the task is woken when it
    /// may: this takes less than reading, and no memory. Whoever cannot tell is
    /// always ready.
    fn poll_news(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

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

    /// Gives the memory back if nothing is left.
    pub fn release(&mut self) {
        if self.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            *self = Buffer { consumed: self.consumed, ..Buffer::default() };
            if bytes.len() == FIRST {
                keep(bytes);
            }
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
        io: &mut impl Incoming,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        // One that is full says so whether there is news or not.
        let is_full = self.is_full(most.max(self.bytes.len()));
        if !is_full && io.poll_news(context).is_pending() {
            self.lend();
            return Poll::Pending;
        }
        self.make_room(most);
        let room = self.bytes.get_mut(self.end..).filter(|room| !room.is_empty());
        let Some(room) = room else { return Poll::Ready(Ok(0)) };
        let room_size = room.len();
        let Poll::Ready(read) = Pin::new(io).poll_read(context, room) else {
            self.lend();
            return Poll::Pending;
        };
        let read = read?;
        self.filled = read == room_size;
        self.end = self.end.saturating_add(read).min(self.bytes.len());
        Poll::Ready(Ok(read))
    }

    /// Whether it holds as much as it may.
    pub fn is_full(&self, most: usize) -> bool {
        self.end - self.start >= most
    }

    /// Gives memory of the first size to who reads next, if nothing is left and
    /// it was enough.
    fn lend(&mut self) {
        if self.bytes.len() == FIRST && !self.filled {
            self.release();
        }
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
            let first = self.bytes.is_empty() && size == FIRST;
            match SPARES.with_borrow_mut(|spares| if first { spares.pop() } else { None }) {
                Some(spare) => self.bytes = spare,
                None => self.bytes.resize(size, 0),
            }
        }
    }
}

/// Keeps memory for who reads next on this thread.
fn keep(bytes: Vec<u8>) {
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARE {
            spares.push(bytes);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn};

    impl Incoming for &[u8] {}

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
    fn who_waits_holds_nothing_and_who_reads_next_gets_it() {
        let mut io = Peer { says: b"hello" };
        let (mut first, mut second) = (Buffer::default(), Buffer::default());
        let fill = |buffer: &mut Buffer, io: &mut Peer| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            buffer.poll_fill(&mut context, io, 4 * FIRST).map(Result::unwrap)
        };
        assert_eq!(fill(&mut first, &mut io), Poll::Ready(5));
        let place = first.bytes.as_ptr();
        assert_eq!(fill(&mut first, &mut io), Poll::Pending);
        assert_eq!((first.readable(), first.bytes.as_ptr()), (&b"hello"[..], place));
        first.consume(5);
        assert_eq!(fill(&mut first, &mut io), Poll::Pending);
        assert_eq!(first.bytes.capacity(), 0);
        io.says = b"hi";
        assert_eq!(fill(&mut second, &mut io), Poll::Ready(2));
        assert_eq!((second.readable(), second.bytes.as_ptr()), (&b"hi"[..], place));
        // Nobody keeps without end.
        let many = (0..2 * SPARE).map(|_| vec![0; FIRST]);
        many.for_each(keep);
        assert_eq!(SPARES.with_borrow(Vec::len), SPARE);
    }

    #[test]
    fn who_has_no_news_is_not_read_and_what_is_full_says_so() {
        struct Silent;
        impl AsyncRead for Silent {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(Err(io::ErrorKind::Other.into()))
            }
        }
        impl Incoming for Silent {
            fn poll_news(&self, _: &mut Context<'_>) -> Poll<()> {
                Poll::Pending
            }
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut buffer = Buffer::default();
        fill(&mut buffer, b"hello", FIRST);
        assert!(buffer.poll_fill(&mut context, &mut Silent, FIRST).is_pending());
        assert_eq!(buffer.readable(), b"hello");
        buffer.consume(5);
        assert!(buffer.poll_fill(&mut context, &mut Silent, FIRST).is_pending());
        assert_eq!(buffer.bytes.capacity(), 0, "it has been lent");
        fill(&mut buffer, &[b'x'; FIRST], FIRST);
        let full = buffer.poll_fill(&mut context, &mut Silent, FIRST);
        assert!(matches!(full, Poll::Ready(Ok(0))), "one that is full says so: {full:?}");
    }

    /// Says something once, and waits.
    struct Peer {
        says: &'static [u8],
    }

    impl Incoming for Peer {}

    impl AsyncRead for Peer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            room: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let says = std::mem::take(&mut self.says);
            if says.is_empty() {
                return Poll::Pending;
            }
            room[..says.len()].copy_from_slice(says);
            Poll::Ready(Ok(says.len()))
        }
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
