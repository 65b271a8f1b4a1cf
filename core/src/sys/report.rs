//! What comes back from a child: why it did not begin, and how it ended.

use libc::c_int;

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It exited with this code.
    Exited(c_int),
    /// This signal ended it.
    Killed(c_int),
    /// This signal stopped it.
    Stopped(c_int),
}

impl Change {
    /// Reads the status that waitpid(2) gives; `None` for one that is not news.
    pub(super) fn of(status: c_int) -> Option<Change> {
        if libc::WIFEXITED(status) {
            Some(Change::Exited(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            Some(Change::Killed(libc::WTERMSIG(status)))
        } else if libc::WIFSTOPPED(status) {
            Some(Change::Stopped(libc::WSTOPSIG(status)))
        } else {
            None
        }
    }
}

/// What the child was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// Making its process group, or taking the terminal.
    Group,
    /// Giving up the groups of this process.
    Groups,
    /// Becoming another group.
    GroupId,
    /// Becoming another user.
    UserId,
    /// Executing a file.
    Exec,
}

/// Why a program did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What failed.
    pub(crate) step: Step,
    /// The system's error number.
    pub(crate) errno: c_int,
    /// For [`Step::Exec`]: which of the paths this is about.
    pub(crate) path: usize,
}

impl Fault {
    /// As bytes for the pipe between child and parent. Async-signal-safe.
    pub(super) fn bytes(self) -> [u8; 9] {
        let [e0, e1, e2, e3] = self.errno.to_ne_bytes();
        let [p0, p1, p2, p3] = u32::try_from(self.path).unwrap_or(u32::MAX).to_ne_bytes();
        [self.step as u8, e0, e1, e2, e3, p0, p1, p2, p3]
    }

    /// From what [`Fault::bytes`] made.
    pub(super) fn from_bytes([step, e0, e1, e2, e3, p0, p1, p2, p3]: [u8; 9]) -> Fault {
        let steps = [Step::Group, Step::Groups, Step::GroupId, Step::UserId];
        Fault {
            step: steps.get(usize::from(step)).copied().unwrap_or(Step::Exec),
            errno: c_int::from_ne_bytes([e0, e1, e2, e3]),
            path: u32::from_ne_bytes([p0, p1, p2, p3]) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_pipe() {
        let steps = [Step::Group, Step::Groups, Step::GroupId, Step::UserId];
        for step in steps.into_iter().chain([Step::Exec]) {
            let fault = Fault { step, errno: libc::EACCES, path: 70_000 };
            assert_eq!(Fault::from_bytes(fault.bytes()), fault);
        }
    }
}
