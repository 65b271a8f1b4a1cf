//! A queue of pieces of a body. Most bodies that wait are one piece, which needs
//! no memory beside itself.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// The queue; no piece in it is empty.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Empty where the queue is.
    front: Bytes,
    behind: VecDeque<Bytes>,
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(!self.front.is_empty()) + self.behind.len()
    }

    /// The size of the first piece, in bytes.
    pub(super) fn front_len(&self) -> usize {
        self.front.len()
    }

    pub(super) fn push_back(&mut self, piece: Bytes) {
        if self.front.is_empty() {
            self.front = piece;
        } else {
            self.behind.push_back(piece);
        }
    }

    pub(super) fn push_front(&mut self, piece: Bytes) {
        let second = std::mem::replace(&mut self.front, piece);
        if !second.is_empty() {
            self.behind.push_front(second);
        }
    }

    pub(super) fn pop_back(&mut self) -> Option<Bytes> {
        self.behind.pop_back().or_else(|| self.pop_front(usize::MAX))
    }

    /// Makes one piece of all, in memory of its own.
    pub(super) fn join(&mut self) {
        let size = self.front.len() + self.behind.iter().map(Bytes::len).sum::<usize>();
        let mut joined = BytesMut::with_capacity(size);
        while let Some(piece) = self.pop_front(usize::MAX) {
            joined.extend_from_slice(&piece);
        }
        self.front = joined.freeze();
    }

    /// The first piece, or its beginning where it has more than `most` bytes.
    pub(super) fn pop_front(&mut self, most: usize) -> Option<Bytes> {
        if self.front.is_empty() {
            return None;
        }
        if self.front.len() > most {
            return Some(self.front.split_to(most));
        }
        let next = self.behind.pop_front().unwrap_or_default();
        Some(std::mem::replace(&mut self.front, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order_from_both_ends() {
        let mut pieces = Pieces::default();
        assert_eq!((pieces.len(), pieces.pop_front(1), pieces.pop_back()), (0, None, None));
        for piece in ["bcd", "ef", "g"] {
            pieces.push_back(Bytes::from(piece));
        }
        pieces.push_front(Bytes::from("a"));
        assert_eq!((pieces.len(), pieces.front_len()), (4, 1));
        let taken = [pieces.pop_front(9), pieces.pop_front(2), pieces.pop_back()];
        assert_eq!(taken.map(Option::unwrap), ["a", "bc", "g"]);
        let taken = [pieces.pop_front(9), pieces.pop_back()];
        assert_eq!(taken.map(Option::unwrap), ["d", "ef"]);
        assert!(pieces.is_empty());
        for piece in ["h", "i", "jk"] {
            pieces.push_back(Bytes::from(piece));
        }
        pieces.join();
        assert_eq!((pieces.len(), pieces.pop_back().unwrap()), (1, Bytes::from("hijk")));
        pieces.join();
        assert!(pieces.is_empty());
    }
}
