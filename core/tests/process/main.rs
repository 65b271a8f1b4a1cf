//! The program as an entrypoint: what COMMAND finds, what it is sent, what is
//! left behind. Each test runs the real program beside a direct run of the same
//! command; nothing here needs a network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod begin;
mod exits;
mod limits;
mod loss;
mod orphans;
mod rights;
mod signals;
mod terminal;
mod user;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// How long anything may take before a test fails; far above what it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// How a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Without runsd.
    Direct,
    /// runsd has nothing to do, and becomes the command.
    Replaced,
    /// runsd serves, and the command is its child.
    Supervised,
}

impl Way {
    /// Everything before the command.
    fn prefix(self) -> Vec<&'static str> {
        let runsd = env!("CARGO_BIN_EXE_runsd");
        match self {
            Way::Direct => Vec::new(),
            Way::Replaced => vec![runsd, "--"],
            // A mode that needs no port of its own and no network.
            Way::Supervised => {
                let route = "--route=nowhere=http://127.0.0.1:1";
                vec![runsd, "--mode=proxy", "--proxy-addr=127.0.0.1:0", route, "--"]
            }
        }
    }

    /// `command` this way, with options of runsd, and `launcher` before it all.
    fn command(self, launcher: &[&str], options: &[&str], command: &[&str]) -> Command {
        let mut words: Vec<&str> = launcher.to_vec();
        let prefix = self.prefix();
        if let Some((dashes, runsd)) = prefix.split_last() {
            words.extend(runsd);
            words.extend(options);
            words.push(dashes);
        }
        words.extend(command);
        // A shell in between, because the standard library does not start every
        // program in the same way, and some ways leave other signals ignored.
        let mut built = Command::new("/bin/sh");
        built
            .args(["-c", "exec \"$@\"", "sh"])
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        built
    }

    /// What `command` prints this way.
    fn output(self, launcher: &[&str], command: &[&str]) -> String {
        let output = self.command(launcher, &[], command).stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {command:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A command that is running; it is killed when dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    /// Starts it, and waits until it says `ready`.
    fn start(mut command: Command) -> Running {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let running = Running { lines: lines(child.stdout.take().unwrap()), child };
        assert_eq!(running.line(), "ready");
        running
    }

    /// The next line that it prints.
    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    /// Waits until neither it nor a child of it holds its output.
    fn wait_for_end_of_output(&self) {
        let ended = self.lines.recv_timeout(LIMIT);
        assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends runsd a signal, by name or number.
    fn signal(&self, signal: &str) {
        kill(signal, self.pid());
    }

    /// Waits for runsd's own exit code; `None` if a signal ended it.
    fn code(mut self) -> Option<i32> {
        self.wait_for_end_of_output();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

/// Copies a program to where it is to be run, with these permissions. Another
/// process does it: a child that a neighbour test forks meanwhile would hold a
/// file of ours open for writing, and the kernel runs no such program.
fn copy_program(from: &str, to: &Path, mode: &str) {
    let mut command = Command::new("install");
    assert!(command.args(["-m", mode, from]).arg(to).status().unwrap().success());
}

fn kill(signal: &str, pid: u32) {
    let line = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
}

/// The one child of a process.
fn child(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap_or_else(|_| panic!("not one child of {pid}: {children:?}"))
}

/// What the kernel says that a process does; `T`: it has been stopped.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_its_name) = stat.rsplit_once(") ").unwrap();
    behind_its_name.chars().next().unwrap()
}

/// The interpreter itself: what is first in PATH may be a script that picks one.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let print = ["-c", "import sys; print(sys.executable)"];
        let output = Command::new("python3").args(print).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// Whether the tests run as root, without which some cannot be run.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    let root = id == b"0\n";
    assert!(root || std::env::var_os("CI").is_none(), "in CI nothing is left out: run it as root");
    root
}
