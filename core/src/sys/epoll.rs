//! epoll(7) and eventfd(2): a set of descriptors that tells of changes, and a
//! bell that wakes who waits on it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A set of descriptors. Each is told of when it changes, once (edge-triggered).
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// What has changed at one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The key it was added under.
    pub(crate) key: u64,
    /// There is something to read, an end or an error included.
    pub(crate) readable: bool,
    /// There is room to write, or writing fails at once.
    pub(crate) writable: bool,
    /// The peer has ended its direction, or the connection is gone: whatever
    /// is still to be read, the end comes after it without another word.
    pub(crate) ended: bool,
}

/// Room for what one wait finds.
pub(crate) struct Edges {
    list: Vec<libc::epoll_event>,
    found: usize,
}

/// An event counter; ringing it makes it readable.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

fn owned(result: RawFd) -> io::Result<OwnedFd> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

impl Epoll {
    /// An empty set, which programs that this process becomes do not inherit.
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no memory is passed.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Epoll)
    }

    /// Adds a descriptor for good, both directions: until it is closed, and
    /// with it every copy in another process. What it can do now counts as its
    /// first change.
    pub(crate) fn add(&self, descriptor: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let wanted = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: wanted as u32, u64: key };
        let (set, descriptor) = (self.0.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: the event outlives the call.
        match unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until something changes, at most `limit`, which is rounded up to
    /// milliseconds. Finds nothing where the limit is over or a signal came.
    pub(crate) fn wait(&self, changes: &mut Edges, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map_or(-1, |limit| {
            i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        changes.found = 0;
        let (room, size) = (changes.list.as_mut_ptr(), changes.list.len());
        let size = i32::try_from(size).unwrap_or(i32::MAX);
        // SAFETY: the room has that size, outlives the call, and is initialised.
        let found = unsafe { libc::epoll_wait(self.0.as_raw_fd(), room, size, limit) };
        match usize::try_from(found) {
            Ok(found) => changes.found = found,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Edges {
    /// Room for `most` changes.
    pub(crate) fn new(most: usize) -> Edges {
        Edges { list: vec![libc::epoll_event { events: 0, u64: 0 }; most], found: 0 }
    }

    /// What the last wait has found.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Edge> + '_ {
        self.list.iter().take(self.found).map(|event| {
            let (events, key) = (event.events as i32, event.u64);
            let told = |of: i32| events & of != 0;
            let broken = libc::EPOLLERR | libc::EPOLLHUP;
            Edge {
                key,
                readable: told(libc::EPOLLIN | libc::EPOLLRDHUP | broken),
                writable: told(libc::EPOLLOUT | broken),
                ended: told(libc::EPOLLRDHUP | broken),
            }
        })
    }
}

impl Bell {
    /// A bell that has not been rung.
    pub(crate) fn new() -> io::Result<Bell> {
        // SAFETY: no memory is passed.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Bell)
    }

    /// Rings it. A set that watches it tells of every ring, so that it need not
    /// be read; its counter lasts for 2⁶⁴ rings.
    pub(crate) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the bytes outlive the call.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn found(set: &Epoll) -> Vec<Edge> {
        let mut edges = Edges::new(8);
        set.wait(&mut edges, Some(Duration::ZERO)).unwrap();
        edges.iter().collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let set = Epoll::new().unwrap();
        let (ours, mut peer) = UnixStream::pair().unwrap();
        set.add(ours.as_fd(), 7).unwrap();
        let writable = Edge { key: 7, readable: false, writable: true, ended: false };
        assert_eq!(found(&set), [writable]);
        assert_eq!(found(&set), []);
        for _ in 0..2 {
            peer.write_all(b"x").unwrap();
            assert_eq!(found(&set), [Edge { readable: true, ..writable }]);
            assert_eq!(found(&set), []);
        }
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(found(&set), [Edge { readable: true, ended: true, ..writable }]);
        assert_eq!(found(&set), []);
    }

    #[test]
    fn what_is_closed_is_out_and_a_copy_elsewhere_keeps_its_key() {
        let set = Epoll::new().unwrap();
        let (ours, mut peer) = UnixStream::pair().unwrap();
        set.add(ours.as_fd(), 7).unwrap();
        let copy = ours.try_clone().unwrap();
        drop(ours);
        peer.write_all(b"x").unwrap();
        assert_eq!(found(&set).iter().map(|edge| edge.key).collect::<Vec<_>>(), [7]);
        drop(copy);
        // The end of the peer's is the last thing that it could hear.
        drop(peer);
        assert_eq!(found(&set), []);
    }

    #[test]
    fn every_ring_is_told_although_nobody_reads_the_bell() {
        let (set, bell) = (Epoll::new().unwrap(), Bell::new().unwrap());
        set.add(bell.as_fd(), 1).unwrap();
        found(&set);
        for _ in 0..3 {
            bell.ring();
            assert!(found(&set).iter().any(|edge| edge.key == 1 && edge.readable));
            assert_eq!(found(&set), []);
        }
    }
}
