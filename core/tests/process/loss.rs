//! What runsd cannot do without is lost: it says so, ends the command, and
//! exits with 70. The socket is shut down from outside, through a copy of it.

use super::{Running, Way, python};
use std::process::{Command, Stdio};

/// Shuts down the one socket of process PID that listens, as the kernel would
/// not do by itself: SHUT PID.
const SHUT: &str = "
import ctypes, os, socket, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
process, shut = os.pidfd_open(pid), 0
def what(name):
    try:
        return os.readlink(f'/proc/{pid}/fd/{name}')
    except FileNotFoundError:
        return 'closed meanwhile'
for name in os.listdir(f'/proc/{pid}/fd'):
    if what(name).startswith('socket:'):
        copy = libc.syscall(438, process, int(name), 0)  # pidfd_getfd
        assert copy >= 0, os.strerror(ctypes.get_errno())
        one = socket.socket(fileno=copy)
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.shutdown(socket.SHUT_RDWR)
            shut += 1
assert shut == 1, shut
";

fn lose_listener(pid: u32) {
    let pid = pid.to_string();
    let output = Command::new(python()).args(["-c", SHUT, &pid]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_lost_listener_ends_runsd_and_says_why() {
    if !super::is_root() {
        return;
    }
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut command = Way::Supervised.command(&[], &[], &["sh", "-c", script]);
    command.stderr(Stdio::piped());
    let mut app = Running::start(command);
    let said = super::lines(app.child.stderr.take().unwrap());
    lose_listener(app.pid());
    assert_eq!(app.line(), "asked");
    let line = said.recv_timeout(super::LIMIT).unwrap();
    assert!(line.contains("runsd cannot go on") && line.contains("proxy listener"), "{line}");
    assert!(line.contains("ending the command"), "{line}");
    assert_eq!(app.code(), Some(70));
}

#[test]
fn a_sidecar_that_loses_its_listener_ends_too() {
    if !super::is_root() {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsd"));
    command.args(["--mode=proxy", "--proxy-addr=127.0.0.1:0", "--log-level=info", "serve"]);
    let mut child = command.env_clear().stderr(Stdio::piped()).spawn().unwrap();
    let said = super::lines(child.stderr.take().unwrap());
    // It says that it serves.
    said.recv_timeout(super::LIMIT).unwrap();
    lose_listener(child.id());
    let line = said.recv_timeout(super::LIMIT).unwrap();
    assert!(line.contains("runsd cannot go on"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(70));
}
