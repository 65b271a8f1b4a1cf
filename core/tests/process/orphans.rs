//! Orphans are reaped, by PID 1 and by a subreaper alike.

use super::{Way, python};

/// Leaves 1,000 orphans, and waits until none of them is there any more, not
/// as a zombie either.
const ORPHANS: &str = "
import os, sys, time
for _ in range(1000):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
def siblings():
    found = 0
    for name in os.listdir('/proc'):
        if name.isdigit() and int(name) != os.getpid():
            try:
                fields = open(f'/proc/{name}/stat').read().rsplit(')', 1)[1].split()
            except OSError:
                continue
            found += int(fields[1]) == os.getppid()
    return found
deadline = time.monotonic() + 30
while siblings() and time.monotonic() < deadline:
    time.sleep(0.01)
print(os.getppid() == int(sys.argv[1] or os.getppid()), siblings())
";

#[test]
fn a_thousand_orphans_leave_no_zombie_as_a_subreaper() {
    let output = Way::Supervised.output(&[], &[python(), "-c", ORPHANS, ""]);
    assert_eq!(output, "True 0\n");
}

#[test]
fn a_thousand_orphans_leave_no_zombie_as_pid_1() {
    if !super::is_root() {
        return;
    }
    let launcher = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let output = Way::Supervised.output(&launcher, &[python(), "-c", ORPHANS, "1"]);
    assert_eq!(output, "True 0\n");
}

#[test]
fn an_exit_code_is_kept_when_sigchld_was_ignored() {
    let ignoring = "
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])
";
    let launcher = [python(), "-c", ignoring];
    let status = Way::Supervised.command(&launcher, &[], &["sh", "-c", "exit 9"]).status();
    assert_eq!(status.unwrap().code(), Some(9));
}
