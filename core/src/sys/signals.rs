//! Sets of signals, and a signal that was taken.

use libc::c_int;

/// Signals that an instruction of the thread itself causes; blocking these
/// would turn a fault into a silent death.
pub(super) const SYNCHRONOUS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// The kernel's own form of a set: bit `n - 1` is signal `n`. libc's form
/// leaves out two or three signals that an app may well be sent.
#[cfg(feature = "cli")]
pub(super) type SignalSet = u64;

/// The set of one signal.
#[cfg(feature = "cli")]
pub(super) const fn bit(signal: c_int) -> SignalSet {
    1 << (signal - 1)
}

/// Every signal that can be waited for.
#[cfg(feature = "cli")]
pub(super) const ASYNCHRONOUS: SignalSet = {
    let mut set = !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
    let mut index = 0;
    while index < SYNCHRONOUS.len() {
        set &= !bit(SYNCHRONOUS[index]);
        index += 1;
    }
    set
};

/// A signal that was sent to this process.
#[cfg(feature = "cli")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    /// Its number.
    pub(crate) number: c_int,
    /// The kernel itself sent it, as a terminal's driver does.
    pub(crate) by_kernel: bool,
    /// This process sent it to itself, or a write to a closed pipe did.
    pub(crate) by_ourselves: bool,
}
