//! The vectors that a request is served with. A connection has them while a
//! request is under way, and the next request, of whichever connection, gets
//! them as they are: idle connections hold none, and what was used last is
//! still in the processor's cache.

use crate::http1::{RequestHead, ResponseHead};
use crate::net::Outgoing;
use std::cell::RefCell;

/// How many are kept by a thread for requests to come: more than it has under
/// way at once, unless services are slow.
const SPARE: usize = 64;

thread_local! {
    #[expect(clippy::vec_box, reason = "they are handed on, not copied")]
    static SPARES: RefCell<Vec<Box<Scratch>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    pub(super) upload: Outgoing,
    /// Memory for what goes to the app.
    pub(super) reply: Vec<u8>,
}

impl Scratch {
    /// One that another request has left, or a new one.
    pub(super) fn lend() -> Box<Scratch> {
        SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Leaves it to a request to come.
    pub(super) fn give_back(mut self: Box<Scratch>) {
        // What a broken-off request has left of its body is nobody's.
        self.upload.clear();
        self.upload.trim();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_body_that_was_broken_off_is_not_kept() {
        let mut scratch = Scratch::lend();
        scratch.upload.keep(true);
        scratch.upload.bytes().resize(100_000, 0);
        scratch.give_back();
        let mut next = Scratch::lend();
        assert_eq!((next.upload.left(), next.upload.is_kept()), (0, false));
        assert_eq!(next.upload.bytes().capacity(), 0);
    }
}
