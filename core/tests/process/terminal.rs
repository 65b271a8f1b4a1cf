//! Job control: a terminal, a shell of a few lines on it, and runsd as its job.

use super::{Way, python};
use std::process::{Command, Stdio};

/// Opens a terminal, runs SHELL on it, and types what a person would when the
/// line that it answers to has appeared. Prints all that the terminal showed.
const PERSON: &str = r"
import os, pty, select, sys, time
shell, script = sys.argv[1], sys.argv[2]
answers = [pair.split('>') for pair in script.split(',')]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, '-c', shell] + sys.argv[3:])
shown, deadline = '', time.monotonic() + 30
while time.monotonic() < deadline:
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    if not read:
        break
    shown += read.decode().replace('\r', '')
    if answers and answers[0][0] + '\n' in shown:
        typed = answers.pop(0)[1]
        for written, key in (('^Z', '\x1a'), ('^C', '\x03'), ('$', '\n')):
            typed = typed.replace(written, key)
        os.write(terminal, typed.encode())
print(shown)
os.kill(pid, 9)
";

/// A shell with job control: runs its arguments as a job in the foreground; when
/// that stops, says so and brings it back.
const SHELL: &str = r"
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    print('job has the terminal', os.tcgetpgrp(0) == job)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        print('job ended', os.waitstatus_to_exitcode(status), flush=True)
        break
    print('job stopped', flush=True)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
";

/// No shell: runs its arguments as the leader of the session, as `docker run
/// -it` does.
const NO_SHELL: &str = "
import os, sys
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Says what happens to it, and exits with 5 when it has read a line.
const APP: &str = "
import os, signal, sys
def say(*what):
    # In one call, since a signal may come while it is in another.
    os.write(1, (' '.join(map(str, what)) + '\\n').encode())
signal.signal(signal.SIGINT, lambda *_: say('interrupted'))
signal.signal(signal.SIGCONT, lambda *_: say('continued', os.tcgetpgrp(0) == os.getpgrp()))
say('leads', os.getpgrp() == os.getpid(), os.tcgetpgrp(0) == os.getpgrp())
say('read', sys.stdin.readline().strip())
sys.exit(5)
";

fn shown(shell: &str, answers: &str) -> Vec<String> {
    let mut words = vec![python(), "-c", PERSON, shell, answers];
    let job = Way::Supervised.prefix();
    words.extend(job);
    words.extend([python(), "-c", APP]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // What was typed is shown too, in the same lines.
    let text = String::from_utf8(output.stdout).unwrap().replace("^Z", "").replace("^C", "");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_job_is_interrupted_stopped_and_continued_as_without_runsd() {
    let answers = "leads True True>^C,interrupted>^Z,continued True>hello$";
    let expected = [
        "leads True True",
        "interrupted",
        "job has the terminal True",
        "job stopped",
        "continued True",
        "hello",
        "read hello",
        "job has the terminal True",
        "job ended 5",
    ];
    assert_eq!(shown(SHELL, answers), expected);
}

#[test]
fn what_nobody_would_continue_is_not_stopped() {
    let answers = "leads True True>^Z,continued True>hello$";
    let expected = ["leads True True", "continued True", "hello", "read hello"];
    assert_eq!(shown(NO_SHELL, answers), expected);
}
