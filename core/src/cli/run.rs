//! What `runsd` does with a command line that makes sense.

use super::args::{self, Parsed, Task};
use super::process::{self, Alarm, Child, Code, Identity, Plan};
use crate::{Engine, Error, ErrorKind, Mode};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// How long a sidecar lets work end: the platform kills after 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// The program; with what it exits.
pub fn main() -> ExitCode {
    process::take_over_signals();
    let code = match args::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => begin(parsed),
        Err(ending) if ending.is_error => {
            let _ = std::io::stderr().write_all(ending.text.as_bytes());
            Code::USAGE
        }
        Err(ending) => {
            // Nobody is left to tell that help cannot be printed.
            let _ = std::io::stdout().write_all(ending.text.as_bytes());
            Code::SUCCESS
        }
    };
    code.into()
}

fn begin(parsed: Parsed) -> Code {
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(std::io::stderr(), "runsd: internal error: {panic}; please report it");
    }));
    match parsed.task {
        Task::Run(ref argv) => {
            let argv = argv.clone();
            run(parsed, &argv)
        }
        Task::Serve => serve(parsed),
    }
}

fn run(parsed: Parsed, argv: &[OsString]) -> Code {
    let builder = Engine::builder().flags(parsed.flags, parsed.file);
    let config = match builder.config() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let user = match config.user.as_deref().map(Identity::find).transpose() {
        Ok(user) => user,
        Err(error) => return fail(&error, Code::USAGE),
    };
    let plan = Plan { argv, env: &[], user: user.as_ref(), whole_group: config.forward_to_group };
    let engine = match builder.start() {
        Ok(engine) => engine,
        Err(error) => return refuse(&error),
    };
    if engine.mode() == Mode::Off {
        let error = process::replace_this_process(&plan);
        return fail(&error, error.code());
    }
    let code = attend(&engine, &Plan { env: engine.env(), ..plan });
    // What ends with the child is over; a failure was told when it happened.
    let _ = engine.stop(Duration::ZERO);
    code
}

/// Runs the child while the engine serves it.
fn attend(engine: &Engine, plan: &Plan<'_>) -> Code {
    let alarm = Alarm::default();
    let bell = alarm.clone();
    engine.when_failed(move || bell.ring());
    process::raise_open_files();
    match Child::spawn(plan) {
        Ok(child) => process::supervise(child, &alarm, &|| explain(engine)),
        Err(error) => fail(&error, error.code()),
    }
}

/// Serves without a child, as a sidecar, until it is told to end; SIGHUP makes
/// it read its routes and the list of allowed names again.
fn serve(parsed: Parsed) -> Code {
    let again = Engine::builder().flags(parsed.flags.clone(), parsed.file.clone());
    let engine = match Engine::builder().flags(parsed.flags, parsed.file).start() {
        Ok(engine) => engine,
        Err(error) => return refuse(&error),
    };
    if engine.mode() == Mode::Off {
        let error = "there is nothing to serve: this is not Cloud Run, and no --route is given. \
                     Give one, or run COMMAND directly";
        return fail(&error, Code::USAGE);
    }
    let alarm = Alarm::default();
    let bell = alarm.clone();
    engine.when_failed(move || bell.ring());
    process::raise_open_files();
    loop {
        if alarm.rings() {
            explain(&engine);
            let _ = engine.stop(Duration::ZERO);
            return Code::INTERNAL;
        }
        let signal = process::next_signal(None);
        if signal.is_some_and(|signal| signal.number == libc::SIGHUP) {
            engine.reload(&again);
            continue;
        }
        let ends = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];
        if signal.is_some_and(|signal| ends.contains(&signal.number)) {
            return match engine.stop(DRAIN) {
                Ok(_) => Code::SUCCESS,
                Err(error) => fail(&error, Code::INTERNAL),
            };
        }
    }
}

/// Says why the engine cannot go on.
fn explain(engine: &Engine) {
    if let Err(cause) = engine.wait(Some(Duration::ZERO)) {
        fail(&cause, Code::INTERNAL);
    }
}

fn refuse(error: &Error) -> Code {
    fail(error, if error.kind() == ErrorKind::Config { Code::USAGE } else { Code::INTERNAL })
}

fn fail(error: &dyn std::fmt::Display, code: Code) -> Code {
    let _ = writeln!(std::io::stderr(), "runsd: error: {error}");
    code
}
