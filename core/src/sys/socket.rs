//! What no read of a socket can tell: whether its peer has gone, behind bytes
//! that nobody has read yet; and how many there may be.

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

/// How many descriptors this process may have, by its soft limit of now.
pub(crate) fn most_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
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
