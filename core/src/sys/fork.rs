//! Forks of the embedding program: which process the engine belongs to, and
//! the sockets of which a child must not keep a copy.
//!
//! The reactor is one for the whole process, and so is what stands here. A
//! child has the memory of its parent but none of its threads, so everything
//! that a child may run is free of locks.

use std::os::fd::RawFd;
use std::sync::Once;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize};

/// A process id, or the id of the group that this process leads.
pub(crate) type Pid = libc::pid_t;

/// The process that first touched the reactor; 0 while none has.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// Set in a child: an id alone cannot tell, since namespaces give it anew.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// One bit for each descriptor that is a socket of ours. What is never touched
/// of these 128 KiB takes no memory.
static SOCKETS: [AtomicU64; LARGEST / 64] = [const { AtomicU64::new(0) }; LARGEST / 64];
/// How many words of it have ever been in use, so that a child looks at few.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Descriptors above stay open in children.
const LARGEST: usize = 1 << 20;

/// Makes this process the one that engines belong to.
///
/// # Errors
/// The id of the process that they belong to, from which this one was forked.
pub(crate) fn claim_process() -> Result<(), Pid> {
    if let Some(parent) = forked_from() {
        return Err(parent);
    }
    // First, so that a child which is forked meanwhile knows that it is one.
    OWNER.store(own_pid(), Release);
    static HOOKED: Once = Once::new();
    // SAFETY: the handler is async-signal-safe and stays for as long as the
    // code does; only a lack of memory makes this fail, and then children keep
    // their copies.
    HOOKED.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
    Ok(())
}

/// The process that engines belong to, if this is another one.
pub(crate) fn forked_from() -> Option<Pid> {
    let owner = OWNER.load(Acquire);
    let forked = owner != 0 && (IN_CHILD.load(Relaxed) || owner != own_pid());
    forked.then_some(owner)
}

fn own_pid() -> Pid {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpid() }
}

/// Remembers a socket, so that children close their copy of it.
pub(crate) fn remember(socket: RawFd) {
    if let Some((word, bit)) = place(socket) {
        USED.fetch_max(word + 1, AcqRel);
        if let Some(word) = SOCKETS.get(word) {
            word.fetch_or(bit, AcqRel);
        }
    }
}

/// Forgets a socket; to be called before it is closed, since its number may be
/// another file's right after.
pub(crate) fn forget(socket: RawFd) {
    if let Some((word, bit)) = place(socket)
        && let Some(word) = SOCKETS.get(word)
    {
        word.fetch_and(!bit, AcqRel);
    }
}

fn place(socket: RawFd) -> Option<(usize, u64)> {
    let number = usize::try_from(socket).ok().filter(|number| *number < LARGEST)?;
    Some((number / 64, 1 << (number % 64)))
}

/// Runs in the child of every fork. Async-signal-safe.
extern "C" fn in_child() {
    IN_CHILD.store(true, Relaxed);
    for (index, word) in SOCKETS.iter().take(USED.load(Acquire)).enumerate() {
        let mut bits = word.swap(0, AcqRel);
        while bits != 0 {
            let socket = index * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: a socket of the parent's that nothing in this process uses.
            unsafe { libc::close(socket as RawFd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_descriptor_has_its_bit() {
        assert_eq!(place(0), Some((0, 1)));
        assert_eq!(place(63), Some((0, 1 << 63)));
        assert_eq!(place(64), Some((1, 1)));
        assert_eq!(place(-1), None);
        assert_eq!(place(1 << 20), None);
    }

    #[test]
    fn the_process_that_claims_is_not_forked() {
        assert_eq!(claim_process(), Ok(()));
        assert_eq!(claim_process(), Ok(()));
        assert_eq!(forked_from(), None);
    }
}
