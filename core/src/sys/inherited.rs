//! The state that a child must find again, read before `main`: the standard
//! library ignores SIGPIPE and would open the closed ones among the descriptors
//! 0 to 2 before the program's own first line.

use super::process;
use super::signals::{SignalSet, bit};
use libc::c_int;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

static IGNORED: AtomicU64 = AtomicU64::new(0);
static MASK: AtomicU64 = AtomicU64::new(0);
static OPEN_FILES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// The descriptors below this one that were closed, as bits.
static CLOSED: AtomicI32 = AtomicI32::new(0);

const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

#[used]
#[unsafe(link_section = ".init_array")]
static READ: extern "C" fn() = read;

extern "C" fn read() {
    let ignored = SIGNALS.filter(|signal| disposition(*signal) == libc::SIG_IGN);
    IGNORED.store(ignored.fold(0, |set, signal| set | bit(signal)), Relaxed);
    MASK.store(process::set_mask(libc::SIG_BLOCK, 0), Relaxed);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let [soft, hard] = &OPEN_FILES;
    soft.store(limit.rlim_cur, Relaxed);
    hard.store(limit.rlim_max, Relaxed);
    // SAFETY: no memory is passed.
    let closed = (0..3).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } == -1);
    CLOSED.store(closed.fold(0, |set, fd| set | 1 << fd), Relaxed);
    fill(CLOSED.load(Relaxed));
}

/// Opens something in the place of these descriptors, with which nobody can
/// talk. The standard library would put /dev/null there, and end the process
/// where the image has none.
fn fill(closed: c_int) {
    for _ in (0..3).filter(|fd| closed & 1 << fd != 0) {
        // SAFETY: a C string; each takes the lowest descriptor that is free.
        unsafe {
            if libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) == -1 {
                libc::epoll_create1(0);
            }
        }
    }
}

/// The soft and the hard limit of open files.
pub(super) fn open_files() -> (libc::rlim_t, libc::rlim_t) {
    let [soft, hard] = &OPEN_FILES;
    (soft.load(Relaxed), hard.load(Relaxed))
}

/// The kernel's sigaction: handler, flags, restorer, mask. libc's own call
/// refuses the signals that it keeps for itself.
type Action = [usize; 4];

fn disposition(signal: c_int) -> libc::sighandler_t {
    let mut action: Action = [0; 4];
    // SAFETY: the action is as large as the kernel's; nothing is changed.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<Action>(),
            &raw mut action,
            size_of::<SignalSet>(),
        )
    };
    action[0]
}

/// Sets a disposition without a handler: SIG_DFL or SIG_IGN.
pub(super) fn set_disposition(signal: c_int, disposition: libc::sighandler_t) {
    let action: Action = [disposition, 0, 0, 0];
    // SAFETY: the action is as large as the kernel's, and names no handler.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const action,
            std::ptr::null_mut::<Action>(),
            size_of::<SignalSet>(),
        )
    };
}

/// Everything but the mask is as it was before `main`. Async-signal-safe.
pub(super) fn restore_but_mask() {
    let ignored = IGNORED.load(Relaxed);
    for signal in SIGNALS {
        let was = if ignored & bit(signal) == 0 { libc::SIG_DFL } else { libc::SIG_IGN };
        set_disposition(signal, was);
    }
    process::set_open_files(open_files());
    let closed = CLOSED.load(Relaxed);
    for fd in (0..3).filter(|fd| closed & 1 << fd != 0) {
        // SAFETY: what is there was put there by `fill`.
        unsafe { libc::close(fd) };
    }
}

/// The signal mask is as it was before `main`. Async-signal-safe.
pub(super) fn restore_mask() {
    process::set_mask(libc::SIG_SETMASK, MASK.load(Relaxed));
}
