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

/// A command that has left an orphan before anybody could look: it says who
/// its parent is.
const AT_ONCE: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    pid_t init = getppid();
    int done[2];
    char end;
    if (pipe(done) != 0) return 1;
    pid_t middle = fork();
    if (middle == 0) {
        middle = getpid();
        if (fork() == 0) {
            while (getppid() == middle) {}
            printf("%s\n", getppid() == init ? "adopted" : "lost");
            return 0;
        }
        _exit(0);
    }
    close(done[1]);
    waitpid(middle, NULL, 0);
    /* The end of the orphan is the end of this. */
    return (int)read(done[0], &end, 1);
}
"#;

#[test]
fn the_first_orphan_is_adopted_however_early_it_comes() {
    let (source, program) = (
        format!("{}/at-once.c", env!("CARGO_TARGET_TMPDIR")),
        format!("{}/at-once", env!("CARGO_TARGET_TMPDIR")),
    );
    std::fs::write(&source, AT_ONCE).unwrap();
    let made = std::process::Command::new("cc").args(["-O1", "-o", &program, &source]).status();
    assert!(made.unwrap().success());
    for attempt in 0..50 {
        let output = Way::Supervised.output(&[], &[&program]);
        assert_eq!(output, "adopted\n", "attempt {attempt}");
    }
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
