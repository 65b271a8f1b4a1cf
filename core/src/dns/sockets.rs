//! How many sockets questions upstream may have at once: each has one of its
//! own, and the proxy and the app of an embedding program need descriptors too.
//!
//! It owns that bound and what is kept of it for the names that the proxy
//! itself looks up. The race calls it for each attempt.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Attempts of as many questions as may be under way, in turns.
const MOST: usize = 3 * super::forward::MOST_FLIGHTS;
/// Those that only the proxy's own questions may have, at most.
const MOST_KEPT: usize = 64;

/// Sockets that may be open.
#[derive(Debug)]
pub(super) struct Sockets {
    most: usize,
    kept: usize,
    open: AtomicUsize,
}

/// Room for one socket, given back when this goes.
#[derive(Debug)]
pub(super) struct Room<'s>(&'s Sockets);

impl Sockets {
    /// Half of the descriptors that this process may have, and an eighth for
    /// what the proxy itself asks.
    pub(super) fn within(descriptors: usize) -> Sockets {
        let (most, kept) = ((descriptors / 2).min(MOST), (descriptors / 8).min(MOST_KEPT));
        Sockets { most, kept, open: AtomicUsize::new(0) }
    }

    /// Room for one more, also of what is `kept`.
    pub(super) fn take(&self, kept: bool) -> Option<Room<'_>> {
        let room = Room(self);
        let most = self.most + if kept { self.kept } else { 0 };
        (self.open.fetch_add(1, Ordering::Relaxed) < most).then_some(room)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_descriptors_is_for_others_and_some_are_kept() {
        for (descriptors, most, kept) in [(64, 32, 8), (1024, 512, 64), (1 << 20, 3072, 64)] {
            let sockets = Sockets::within(descriptors);
            let clients: Vec<_> = std::iter::from_fn(|| sockets.take(false)).collect();
            assert_eq!(clients.len(), most);
            let own: Vec<_> = std::iter::from_fn(|| sockets.take(true)).collect();
            assert_eq!(own.len(), kept);
            drop(own);
            assert!(sockets.take(false).is_none());
            drop(clients);
            assert!(sockets.take(false).is_some());
            assert_eq!(sockets.open.load(Ordering::Relaxed), 0);
        }
    }
}
