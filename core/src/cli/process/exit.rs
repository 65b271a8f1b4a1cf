//! Exit codes: the child's own, a shell's for what ended it, and runsd's.

use crate::sys::Change;
use std::process::ExitCode;

/// With what runsd exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Code(u8);

impl Code {
    /// All is well.
    pub(in crate::cli) const SUCCESS: Code = Code(0);
    /// What was looked at does not work.
    pub(in crate::cli) const FAILED: Code = Code(1);
    /// A mistake in the options.
    pub(in crate::cli) const USAGE: Code = Code(2);
    /// runsd itself failed; sysexits' EX_SOFTWARE.
    pub(in crate::cli) const INTERNAL: Code = Code(70);
    /// COMMAND was found and cannot be executed.
    pub(super) const NOT_EXECUTABLE: Code = Code(126);
    /// COMMAND was not found.
    pub(super) const NOT_FOUND: Code = Code(127);

    /// The code of a child that ended; none while it is only stopped.
    pub(super) fn of(change: Change) -> Option<Code> {
        match change {
            Change::Exited(code) => u8::try_from(code).ok().map(Code),
            Change::Killed(signal) => u8::try_from(128 + signal).ok().map(Code),
            Change::Stopped(_) => None,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_shells() {
        assert_eq!(Code::of(Change::Exited(143)), Some(Code(143)));
        assert_eq!(Code::of(Change::Killed(libc::SIGTERM)), Some(Code(143)));
        assert_eq!(Code::of(Change::Killed(64)), Some(Code(192)));
        assert_eq!(Code::of(Change::Exited(255)), Some(Code(255)));
        assert_eq!(Code::of(Change::Stopped(libc::SIGTSTP)), None);
    }
}
