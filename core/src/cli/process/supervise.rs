//! The loop of the main thread while COMMAND runs: signals go to the child,
//! orphans are reaped, and a failure of runsd itself ends both.

use super::exit::Code;
use super::spawn::Child;
use crate::sys::{self, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a child may take to end after runsd itself has failed; Cloud Run
/// gives the same to a container that is to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How any thread tells the main thread that runsd cannot go on.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Alarm(Arc<AtomicBool>);

impl Alarm {
    /// Wakes the main thread.
    pub(in crate::cli) fn ring(&self) {
        self.0.store(true, Ordering::Release);
        // The main thread looks at the alarm whenever a signal comes, and
        // SIGCHLD is the one that is never forwarded.
        let _ = sys::send(sys::own_pid(), libc::SIGCHLD);
    }

    /// Whether it was rung.
    pub(in crate::cli) fn rings(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Cares for the child until it has ended, and returns with what runsd is to
/// exit. If the alarm rings, `explain` is called once, and the child is ended.
/// Blocks; must be called on the main thread, after signals were taken over.
pub(in crate::cli) fn supervise(child: Child, alarm: &Alarm, explain: &dyn Fn()) -> Code {
    supervise_for(PATIENCE, child, alarm, explain)
}

fn supervise_for(patience: Duration, child: Child, alarm: &Alarm, explain: &dyn Fn()) -> Code {
    let mut watch = Watch { child, ending: Ending::Not };
    loop {
        if let Some(code) = watch.reap() {
            if let Some(terminal) = &mut watch.child.terminal {
                terminal.take_back();
            }
            return if watch.ending == Ending::Not { code } else { Code::INTERNAL };
        }
        if alarm.rings() && watch.ending == Ending::Not {
            explain();
            watch.send(libc::SIGTERM);
            watch.ending = Ending::By(Instant::now() + patience);
        }
        if let Some(signal) = sys::next_signal(watch.time_left()) {
            watch.forward(signal);
        }
    }
}

/// Waits, without a child, until a signal says to end or the alarm rings; a
/// SIGHUP calls `reload`. Blocks; must be called on the main thread, after
/// signals were taken over.
pub(in crate::cli) fn wait_until_told(alarm: &Alarm, reload: &dyn Fn()) {
    while !alarm.rings() {
        match sys::next_signal(None).map(|signal| signal.number) {
            Some(libc::SIGTERM | libc::SIGINT | libc::SIGQUIT) => return,
            Some(libc::SIGHUP) => reload(),
            // As PID 1 we inherit the orphans of whatever else runs here.
            Some(libc::SIGCHLD) => while sys::next_change().is_some() {},
            // A shell's job control, which a blocked signal would defeat.
            Some(libc::SIGTSTP) => {
                let _ = sys::send(sys::own_pid(), libc::SIGSTOP);
            }
            _ => {}
        }
    }
}

/// Whether the child is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Not,
    /// It was asked to, and has until then.
    By(Instant),
    Killed,
}

struct Watch {
    child: Child,
    ending: Ending,
}

impl Watch {
    /// Takes all the news of children; the code, if ours has ended.
    fn reap(&mut self) -> Option<Code> {
        while let Some((pid, change)) = sys::next_change() {
            if pid != self.child.pid {
                continue;
            }
            match (Code::of(change), change, &mut self.child.terminal) {
                (Some(code), _, _) => {
                    // Those who ended before it are still to be reaped.
                    while sys::next_change().is_some() {}
                    return Some(code);
                }
                (None, sys::Change::Stopped(signal), Some(terminal)) => {
                    terminal.child_stopped(signal);
                }
                _ => {}
            }
        }
        None
    }

    /// How long to wait for a signal; a child out of time is killed.
    fn time_left(&mut self) -> Option<Duration> {
        let Ending::By(until) = self.ending else { return None };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.send(libc::SIGKILL);
            self.ending = Ending::Killed;
            return None;
        }
        Some(left)
    }

    fn forward(&mut self, signal: Signal) {
        let terminal_sent = signal.by_kernel
            && [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGWINCH]
                .contains(&signal.number);
        match signal.number {
            libc::SIGCHLD => {}
            // Our own closed pipe or full file is not the child's.
            libc::SIGPIPE | libc::SIGXFSZ if signal.by_ourselves => {}
            // The terminal told its whole foreground group, the child among it,
            // and a shell waits for all of it to stop.
            libc::SIGTSTP if terminal_sent && !self.child.own_group => {
                if sys::own_pid() != 1 && !sys::leads_session() {
                    let _ = sys::send(sys::own_pid(), libc::SIGSTOP);
                }
            }
            _ if terminal_sent && !self.child.own_group => {}
            // A shell has brought us to the foreground without a word, as `fg`
            // does with a job that runs: the terminal told our group, and would
            // have told the child's.
            number if terminal_sent => {
                if let Some(terminal) = &mut self.child.terminal {
                    terminal.lend();
                }
                let _ = sys::send(-self.child.pid, number);
            }
            libc::SIGCONT => match &mut self.child.terminal {
                Some(terminal) => terminal.resume(),
                None => self.send(libc::SIGCONT),
            },
            number => self.send(number),
        }
    }

    fn send(&self, signal: libc::c_int) {
        let to = if self.child.whole_group { -self.child.pid } else { self.child.pid };
        // It may have ended, which its own SIGCHLD is about to say, or have
        // become another user, where a runsd that is not root has no say.
        let _ = sys::send(to, signal);
    }
}

#[cfg(test)]
#[path = "supervise_tests.rs"]
mod tests;
