//! What there is too little of: descriptors, processes. The app runs all the
//! same, with the limits that it was given.

use super::{Running, Way, python};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// Says what its parent may open, and waits to be told to end.
const PARENT: &str = "
import os, resource, sys
print('ready', resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
print(resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE), flush=True)
sys.stdin.read()
";

#[test]
fn runsd_may_open_what_the_kernel_permits_and_the_command_what_it_could() {
    let launcher = ["prlimit", "--nofile=64:512"];
    let output = Way::Supervised.output(&launcher, &[python(), "-c", PARENT]);
    assert_eq!(output, "ready (64, 512)\n(512, 512)\n");
}

/// Runs `command` where runsd can have neither what it needs nor all it wants.
fn short(launcher: &[&str], options: &[&str]) -> std::process::Output {
    let mut words: Vec<&str> = launcher.to_vec();
    words.push(env!("CARGO_BIN_EXE_runsd"));
    words.extend(options);
    words.extend(["--route=nowhere=http://127.0.0.1:1", "--", "sh", "-c", "echo runs; exit 3"]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn without_descriptors_the_command_runs_alone_unless_strict() {
    // From too few for anything to too few for the pipe to the child.
    let mut alone = 0;
    for most in 4..24 {
        let limit = format!("--nofile={most}:{most}");
        let launcher = ["prlimit", &limit];
        let output = short(&launcher, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"runs\n", "{most}: {errors}");
        assert_eq!(output.status.code(), Some(3), "{most}: {errors}");
        let told = errors.lines().filter(|line| line.contains("runs without runsd")).count();
        assert!(told <= 1 && errors.lines().count() == told, "{most}: {errors}");
        alone += told;
        let strict = short(&launcher, &["--strict"]);
        assert_eq!(strict.status.code(), Some(if told == 1 { 70 } else { 3 }), "{most}");
    }
    assert!(alone > 0, "the limits are no limits");
}

#[test]
fn without_processes_the_command_runs_alone_unless_strict() {
    if !super::is_root() {
        return;
    }
    // Processes count for a user in all name spaces, so this one is nobody
    // else's; root is above the limit.
    let id = std::process::id();
    let user = 60_000 + id % 5_000;
    let copy = format!("{}/runsd-for-a-user-{id}", std::env::temp_dir().display());
    super::copy_program(env!("CARGO_BIN_EXE_runsd"), copy.as_ref(), "755");
    let run = |most: u32, options: &[&str]| {
        let limit = format!("--nproc={most}:{most}");
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
        command.args(["--clear-groups", "prlimit"]);
        command.args([limit.as_str(), copy.as_str()]).args(options);
        command.args(["--route=nowhere=http://127.0.0.1:1", "--", "echo", "runs"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
    };
    // From too few for a thread to too few for the child.
    let mut alone = Vec::new();
    for most in 1..8 {
        let output = run(most, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"runs\n"[..]), "{errors}");
        let told = errors.lines().filter(|line| line.contains("runs without runsd")).count();
        assert!(told <= 1 && errors.lines().count() == told, "{most}: {errors}");
        if most == 1 {
            assert!(errors.contains("cannot start a thread"), "{errors}");
            assert!(errors.contains("--strict"), "{errors}");
        }
        let strict = run(most, &["--strict"]);
        assert_eq!(strict.status.code(), Some(if told == 1 { 70 } else { 0 }), "{most}");
        alone.push(told == 1);
    }
    assert_eq!(alone, [true, true, true, false, false, false, false]);
    std::fs::remove_file(&copy).unwrap();
}

#[test]
fn connections_that_find_no_descriptor_are_accepted_later() {
    let show = "import os; print('ready', flush=True); print(os.environ['http_proxy'], flush=True); \
                input()";
    let launcher = ["prlimit", "--nofile=40:40"];
    let options = ["--log-level=warn"];
    let mut command = Way::Supervised.command(&launcher, &options, &[python(), "-c", show]);
    command.stderr(Stdio::piped());
    let mut app = Running::start(command);
    let address = app.line().trim_start_matches("http://").to_owned();
    // More than it can have; the kernel holds those that it does not take.
    let waiting: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let said = super::lines(app.child.stderr.take().unwrap());
    let line = said.recv_timeout(super::LIMIT).unwrap();
    assert!(line.contains("cannot accept a connection"), "{line}");
    drop(waiting);
    let mut served = TcpStream::connect(&address).unwrap();
    served.set_read_timeout(Some(super::LIMIT)).unwrap();
    served.write_all(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    served.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}
