//! epoll(7) and eventfd(2): a set of descriptors that tells of changes, and a
//! bell that wakes who waits on it. By rustix, as reading and writing: glibc's
//! `epoll_wait` is a point where a thread may be cancelled.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// epoll_wait(2) counts milliseconds, in 32 bits.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A set of descriptors. Each is told of when it changes, once (edge-triggered).
#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

/// What has changed at one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    /// The key it was added under.
    pub(super) key: u64,
    /// There is something to read, an end or an error included.
    pub(super) readable: bool,
    /// There is room to write, or writing fails at once.
    pub(super) writable: bool,
    /// The peer has ended its direction, or the connection is gone: whatever
    /// is still to be read, the end comes after it without another word.
    pub(super) ended: bool,
}

/// Changes taken from the kernel at once: more wait for the next turn.
const BATCH: usize = 256;

/// Room for what one wait finds.
pub(super) struct Room([MaybeUninit<Event>; BATCH]);

/// An event counter; ringing it makes it readable.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Epoll {
    /// An empty set, which programs that this process becomes do not inherit.
    pub(super) fn new() -> io::Result<Epoll> {
        Ok(Epoll(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Adds a descriptor for good, both directions: until it is closed, and
    /// with it every copy in another process. What it can do now counts as its
    /// first change.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.0, descriptor, EventData::new_u64(key), wanted)?)
    }

    /// Waits until something changes, at most `limit`, which is rounded up to
    /// milliseconds. Finds nothing where the limit is over or a signal came.
    pub(super) fn wait<'a>(
        &self,
        room: &'a mut Room,
        limit: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Edge> + 'a> {
        let limit = limit.and_then(|limit| Timespec::try_from(limit.min(LONGEST)).ok());
        let found: &[Event] = match epoll::wait(&self.0, &mut room.0, limit.as_ref()) {
            Ok((found, _)) => found,
            Err(Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        Ok(found.iter().map(Edge::from))
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Room {
    /// With nothing in it yet.
    pub(super) fn new() -> Room {
        Room([const { MaybeUninit::uninit() }; BATCH])
    }
}

impl From<&Event> for Edge {
    fn from(event: &Event) -> Edge {
        let (flags, key) = (event.flags, event.data.u64());
        let broken = EventFlags::ERR | EventFlags::HUP;
        Edge {
            key,
            readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken),
            writable: flags.intersects(EventFlags::OUT | broken),
            ended: flags.intersects(EventFlags::RDHUP | broken),
        }
    }
}

impl Bell {
    /// A bell that has not been rung.
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings it. A set that watches it tells of every ring, so that it need not
    /// be read; its counter lasts for 2⁶⁴ rings.
    pub(super) fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
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
        set.wait(&mut Room::new(), Some(Duration::ZERO)).unwrap().collect()
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
