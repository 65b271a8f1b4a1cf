//! What the program's own tests cannot bring about: a failure of runsd itself.
//! Signals are a matter of a whole process, so each case is a process: this
//! test binary again, told by a variable which case to play. It begins with
//! every signal blocked, because the test harness has threads of its own.

use super::*;
use crate::Engine;
use crate::cli::process::{Plan, take_over_signals};
use std::ffi::OsString;
use std::process::{Command, Output};

const CASE: &str = "RUNSD_TEST_CASE";

const BLOCKED: &str = "
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
";

/// A child that says when it is there, and ends when asked to.
const OBEYS: &str = "
import os, signal, sys
os.kill(os.getppid(), signal.SIGWINCH)
signal.sigwait({signal.SIGTERM})
print('asked', flush=True)
sys.exit(3)
";

/// A child that says when it is there, and does not end.
const REFUSES: &str = "
import os, signal
os.kill(os.getppid(), signal.SIGWINCH)
signal.sigwait({signal.SIGUSR1})
";

/// Plays a case in a process of its own.
fn play(case: &str) -> Output {
    let this = std::env::current_exe().unwrap();
    // With one thread, what a test says stands behind its name.
    let how = ["--exact", "--nocapture", "--test-threads=2"];
    Command::new("timeout")
        .args(["-s", "KILL", "180", "python3", "-c", BLOCKED])
        .arg(this)
        .arg("cli::process::supervise::tests::one_case")
        .args(how)
        .env(CASE, case)
        .output()
        .unwrap()
}

/// The process of a case; without one, there is nothing to test.
#[test]
fn one_case() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (patience, script) = match case.as_str() {
        "obeys" | "loses a thread" => (PATIENCE, OBEYS),
        "refuses" => (Duration::ZERO, REFUSES),
        other => panic!("there is no case {other:?}"),
    };
    take_over_signals();
    let argv = ["python3", "-c", script].map(OsString::from);
    let child = Child::spawn(&Plan { argv: &argv, ..Plan::default() }).unwrap();
    // It is there; this signal is not for forwarding.
    while sys::next_signal(None).map(|signal| signal.number) != Some(libc::SIGWINCH) {}
    let alarm = Alarm::default();
    let engine = Engine::builder().environment(|_| None).set("mode", "proxy").start().unwrap();
    engine.when_failed({
        let alarm = alarm.clone();
        move || alarm.ring()
    });
    let ringing = std::thread::spawn({
        let (alarm, engine) = (alarm.clone(), engine.clone());
        move || match case.as_str() {
            "loses a thread" => engine.lose_a_thread(false),
            _ => alarm.ring(),
        }
    });
    let code = supervise_for(patience, child, &alarm, &|| println!("explained"));
    ringing.join().unwrap();
    println!("{:?} {code:?}", engine.state());
}

fn lines(output: &Output) -> Vec<&str> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let of_the_case =
        |line: &&str| ["explained", "asked"].contains(line) || line.ends_with("Code(70)");
    text.lines().filter(of_the_case).collect()
}

#[test]
fn a_failure_is_explained_and_the_child_asked_to_end() {
    let output = play("obeys");
    assert_eq!(lines(&output), ["explained", "asked", "Running Code(70)"], "{output:?}");
}

#[test]
fn a_child_that_does_not_end_is_killed() {
    let output = play("refuses");
    assert_eq!(lines(&output), ["explained", "Running Code(70)"], "{output:?}");
}

#[test]
fn a_lost_engine_thread_ends_both() {
    let output = play("loses a thread");
    assert_eq!(lines(&output), ["explained", "asked", "Failed Code(70)"], "{output:?}");
}
