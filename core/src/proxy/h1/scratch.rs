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
        self.upload.trim();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(self);
            }
        });
    }
}
