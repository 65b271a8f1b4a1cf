//! Signals reach COMMAND, all of them, always; and its life is tied to runsd's.

use super::{LIMIT, Running, Way, child, python, state};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Prints the number of each signal it gets, and exits with 7 at SIGTERM.
const ECHO: &str = "
import signal, sys
wanted = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
print('ready', flush=True)
while True:
    number = signal.sigwait(wanted)
    print(int(number), flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
";

fn echo() -> Running {
    Running::start(Way::Supervised.command(&[], &[], &[python(), "-c", ECHO]))
}

#[test]
fn every_signal_is_forwarded_as_often_as_it_comes() {
    let app = echo();
    // Numbers, because their names differ between shells: SIGHUP, SIGINT,
    // SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGCONT, SIGTSTP,
    // SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGWINCH, SIGIO, SIGPWR, real-time ones.
    let numbers = [1, 2, 3, 6, 10, 12, 13, 14, 18, 20, 21, 22, 23, 24, 28, 29, 30, 34, 50, 64];
    for round in 0..3 {
        for number in numbers {
            let number = number.to_string();
            app.signal(&number);
            assert_eq!(app.line(), number, "round {round}");
        }
    }
    app.signal("TERM");
    assert_eq!(app.line(), "15");
    assert_eq!(app.code(), Some(7));
}

#[test]
fn a_signal_from_before_the_child_existed_is_forwarded() {
    // It is pending when runsd begins, and blocked for the child too, or it
    // would end that before it could say so. Whoever runs the tests may ignore
    // it, as nohup does.
    let pending = "
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGHUP})
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGHUP)
os.execvp(sys.argv[1], sys.argv[1:])
";
    for way in [Way::Direct, Way::Replaced, Way::Supervised] {
        let launcher = [python(), "-c", pending];
        let app = Running::start(way.command(&launcher, &[], &[python(), "-c", ECHO]));
        let got: BTreeSet<String> = [app.line(), app.line()].into();
        assert_eq!(got, BTreeSet::from(["1".to_owned(), "10".to_owned()]), "{way:?}");
        app.signal("TERM");
        assert_eq!(app.line(), "15");
        assert_eq!(app.code(), Some(7), "{way:?}");
    }
}

#[test]
fn the_group_gets_signals_if_that_is_asked_for() {
    // Two processes of one group; the second is the child itself.
    let pair = r#"mkfifo "$FIFO"; "$0" -c "$1" > "$FIFO" & exec 3< "$FIFO"; read ready <&3
        cat <&3 & rm "$FIFO"; exec "$0" -c "$1""#;
    let fifo = format!("{}/group-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut command =
        Way::Supervised.command(&[], &["--forward-to-group"], &["sh", "-c", pair, python(), ECHO]);
    command.env("FIFO", fifo);
    let app = Running::start(command);
    // SIGWINCH, because cat, which is of the group too, does not mind it.
    for _ in 0..3 {
        app.signal("28");
        assert_eq!([app.line(), app.line()], ["28", "28"]);
    }
    app.signal("TERM");
    assert_eq!(app.line(), "15");
}

#[test]
fn without_a_terminal_the_child_stays_in_the_group() {
    let group = "import os; print(os.getpgrp() == os.getpgid(os.getppid()))";
    assert_eq!(Way::Supervised.output(&[], &[python(), "-c", group]), "True\n");
}

#[test]
fn a_child_does_not_outlive_runsd() {
    let root_only: &[&str] = &["--user=65534:65534"];
    for options in [&[], root_only] {
        if !options.is_empty() && !super::is_root() {
            continue;
        }
        let command = ["sh", "-c", "echo ready; exec sleep 1000"];
        let app = Running::start(Way::Supervised.command(&[], options, &command));
        app.signal("KILL");
        app.wait_for_end_of_output();
    }
}

#[test]
fn a_stopped_child_is_left_alone_without_a_terminal() {
    let app = Running::start(Way::Supervised.command(
        &[],
        &[],
        &["sh", "-c", "trap 'echo usr1' USR1; echo ready; kill -STOP $$; read line; exit 3"],
    ));
    // It has said so before it stops.
    let begun = Instant::now();
    while state(child(app.pid())) != 'T' {
        assert!(begun.elapsed() < LIMIT, "it never stops");
        std::thread::yield_now();
    }
    // runsd itself goes on, and continues the child when it is told to.
    app.signal("USR1");
    app.signal("CONT");
    assert_eq!(app.line(), "usr1");
    app.signal("KILL");
}

#[test]
fn a_sidecar_serves_until_told_to_end() {
    for signal in ["TERM", "INT"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsd"));
        let options = ["--mode=proxy", "--proxy-addr=127.0.0.1:0", "--log-level=info", "serve"];
        command.args(options).env_clear().stderr(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        // It says that it serves.
        let said = super::lines(child.stderr.take().unwrap());
        said.recv_timeout(LIMIT).unwrap();
        super::kill(signal, child.id());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
