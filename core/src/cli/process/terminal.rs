//! Job control: the terminal is lent to the child's process group while that
//! runs, so that an interactive shell works as COMMAND, and Ctrl-Z stops child
//! and runsd alike for the shell that started them.

use crate::sys::{self, Pid};

/// The terminal on standard input, which controls this process.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The child's group.
    child: Pid,
    lent: bool,
}

/// Whether standard input is a terminal, and whether it is ours to lend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No terminal: the child stays in our group.
    None,
    /// We are in the background: the child waits there too.
    Background,
    /// It is ours.
    Foreground,
}

/// Looks at standard input.
pub(super) fn standing() -> Standing {
    match sys::foreground() {
        None => Standing::None,
        Some(group) if group == sys::own_group() => Standing::Foreground,
        Some(_) => Standing::Background,
    }
}

impl Terminal {
    /// For a child that was started in a group of its own, with the terminal
    /// if it was ours.
    pub(super) fn of(child: Pid, standing: Standing) -> Option<Terminal> {
        let lent = standing == Standing::Foreground;
        (standing != Standing::None).then_some(Terminal { child, lent })
    }

    /// The child was stopped: so are we, until somebody continues us.
    pub(super) fn child_stopped(&mut self, signal: libc::c_int) {
        let wants_terminal = signal == libc::SIGTTIN || signal == libc::SIGTTOU;
        if wants_terminal && standing() == Standing::Foreground {
            // A shell brought us to the foreground without a word.
            return self.resume();
        }
        self.take_back();
        // Nobody would ever continue a session's leader, PID 1 above all; the
        // kernel does not stop such a process at Ctrl-Z either.
        if sys::own_pid() == 1 || sys::leads_session() || sys::send(0, libc::SIGSTOP).is_err() {
            self.resume();
        }
        // SIGCONT is what resumes; it is pending now, or will come.
    }

    /// We were continued: the child gets the terminal, if it is ours, and goes on.
    pub(super) fn resume(&mut self) {
        self.lend();
        // It may have ended meanwhile, which is not ours to mind here.
        let _ = sys::send(-self.child, libc::SIGCONT);
    }

    /// The child gets the terminal, if it is ours.
    pub(super) fn lend(&mut self) {
        match sys::foreground() {
            Some(group) if group == sys::own_group() => {
                self.lent = sys::set_foreground(self.child).is_ok();
            }
            // Whoever has it now has it from us, or took it while we were stopped.
            Some(group) => self.lent = group == self.child,
            None => self.lent = false,
        }
    }

    /// The terminal is ours again, if it was.
    pub(super) fn take_back(&mut self) {
        if std::mem::take(&mut self.lent) {
            // It fails if the terminal is gone, and then nobody needs it.
            let _ = sys::set_foreground(sys::own_group());
        }
    }
}
