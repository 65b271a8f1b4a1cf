//! What the kernel knows of a socket's peer and no read can tell: whether it has
//! gone, behind bytes that nobody has read yet.

use libc::{c_int, pollfd};

/// How a peer has ended its sending direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HungUp {
    /// The connection is broken.
    Broken,
    /// It has sent all it will; so many bytes of that are still unread.
    Ended {
        /// In bytes.
        unread: usize,
    },
}

/// Whether the peer of `socket` has hung up. Does not block.
pub(crate) fn hung_up(socket: c_int) -> Option<HungUp> {
    let mut asked = pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry is given, and the call returns at once.
    let told = unsafe { libc::poll(&raw mut asked, 1, 0) };
    if told <= 0 {
        return None;
    }
    if asked.revents & (libc::POLLERR | libc::POLLNVAL) != 0 {
        return Some(HungUp::Broken);
    }
    let mut unread: c_int = 0;
    // SAFETY: the request fills in the number that the pointer is to.
    let known = unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut unread) } == 0;
    let unread = usize::try_from(unread).unwrap_or_default();
    Some(if known { HungUp::Ended { unread } } else { HungUp::Broken })
}
