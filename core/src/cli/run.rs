//! What `runsd` does with a command line that makes sense: the engine first,
//! then COMMAND, and both end in the opposite order.

use super::args::{self, Ending, Task};
use super::process::{self, Alarm, Child, Code, Identity, Plan};
use crate::settings::{Config, Layer, ModeChoice};
use crate::sys;
use crate::{Builder, Engine, Error, ErrorKind, Mode, Report, Verdict};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// What the command line says, once it has been read.
static SAID: OnceLock<(Layer, Option<PathBuf>)> = OnceLock::new();

/// How long a sidecar lets exchanges finish: Cloud Run kills it 10 s after SIGTERM.
const DRAIN: Duration = Duration::from_secs(8);

/// The program `runsd`. Must be called on the main thread, before there is any
/// other; blocks until all is done, or turns this process into COMMAND.
pub fn main() -> ExitCode {
    // Before any thread, so that none of them ever takes a signal.
    process::take_over_signals();
    panic::set_hook(Box::new(tell_panic));
    // Unwinding stops the engine, which puts resolv.conf back, and the kernel
    // ends the child with this process.
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Code::INTERNAL).into()
}

fn run() -> Code {
    let parsed = match args::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(ending) => return end(&ending),
    };
    SAID.get_or_init(|| (parsed.flags, parsed.file));
    if matches!(parsed.task, Task::Run(_) | Task::Serve) {
        process::raise_open_files();
    } else {
        // Who only looks at things is ended by Ctrl-C as every program is.
        process::give_signals_back();
    }
    match parsed.task {
        Task::Run(argv) => command(builder(), &argv),
        Task::Serve => serve(builder(), &builder()),
        Task::Explain { name, json } => show(crate::explain(builder(), &name), json),
        Task::Doctor { name, json } => show(crate::diagnose(builder(), name.as_deref()), json),
    }
}

/// An engine as the command line wants it.
fn builder() -> Builder {
    match SAID.get() {
        Some((flags, file)) => Engine::builder().flags(flags.clone(), file.clone()),
        None => Engine::builder(),
    }
}

/// Runs COMMAND under the engine, or alone where that has nothing to do.
fn command(builder: Builder, argv: &[OsString]) -> Code {
    let config = match builder.config() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let user = match config.user.as_deref().map(Identity::find).transpose() {
        Ok(user) => user,
        Err(error) => {
            tell(&error);
            return Code::USAGE;
        }
    };
    let engine = match builder.start() {
        Ok(engine) => engine,
        Err(error) if is_the_machines(&error) && may_stand_aside(&config) => {
            return stand_aside(&error, argv, user.as_ref());
        }
        Err(error) => return refuse(&error),
    };
    let whole_group = config.forward_to_group;
    let plan = Plan { argv, env: engine.env(), user: user.as_ref(), whole_group };
    if engine.mode() == Mode::Off {
        return run_alone(&plan);
    }
    let code = match Child::spawn(&plan) {
        Ok(child) => {
            let alarm = alarm(&engine);
            process::supervise(child, &alarm, &|| tell_failure(&engine, "ending the command"))
        }
        Err(error) if error.is_shortage() && may_stand_aside(&config) => {
            // A failure of the engine would have been told.
            let _ = engine.stop(Duration::ZERO);
            return stand_aside(&error, argv, user.as_ref());
        }
        Err(error) => {
            tell(&error);
            error.code()
        }
    };
    // The command has ended, so nobody waits for what is under way; and a
    // failure of the engine has been told.
    let _ = engine.stop(Duration::ZERO);
    code
}

/// Whether COMMAND is to run although nothing can be served here: runsd is not
/// to keep an app from starting, unless the user asked for just that, or for a
/// mode that cannot be had.
fn may_stand_aside(config: &Config) -> bool {
    !config.strict && config.mode == ModeChoice::Auto
}

/// Whether it is this machine that stands in the way, and not what was asked for.
fn is_the_machines(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::Permission | ErrorKind::Io | ErrorKind::ResolvConf
    )
}

/// Says why there is no runsd, and becomes COMMAND.
fn stand_aside(why: &dyn Display, argv: &[OsString], user: Option<&Identity>) -> Code {
    tell(&format_args!(
        "{why}. The command runs without runsd, and names of services lead nowhere; with --strict \
         it would not run"
    ));
    run_alone(&Plan { argv, user, ..Plan::default() })
}

/// Becomes COMMAND; what is returned is why that failed.
fn run_alone(plan: &Plan<'_>) -> Code {
    let error = process::replace_this_process(plan);
    tell(&error);
    error.code()
}

/// Prints a report; its exit code is 1 where something failed.
fn show(report: Result<Report, Error>, json: bool) -> Code {
    let report = match report {
        Ok(report) => report,
        Err(error) => return refuse(&error),
    };
    let text = if json { report.to_json() + "\n" } else { report.to_string() };
    // A closed standard output leaves nobody to tell.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    if report.verdict() == Verdict::Failure { Code::FAILED } else { Code::SUCCESS }
}

/// Serves until told to end; SIGHUP makes it read its routes and the list of
/// allowed names again, as `again` finds them then.
fn serve(builder: Builder, again: &Builder) -> Code {
    let engine = match builder.start() {
        Ok(engine) => engine,
        Err(error) => return refuse(&error),
    };
    if engine.mode() == Mode::Off {
        tell(
            &"there is nothing to serve: this is not Cloud Run and no --route, --region or \
              --project is given, or another runsd serves here already; runsd doctor tells which",
        );
        return Code::USAGE;
    }
    // As if somebody had sent the signal that says so.
    engine.when_asked_to_quit(|| {
        let _ = sys::send(sys::own_pid(), libc::SIGTERM);
    });
    let alarm = alarm(&engine);
    process::wait_until_told(&alarm, &|| engine.reload(again));
    let failed = alarm.rings();
    if failed {
        tell_failure(&engine, "ending");
    }
    // A failure has been told.
    let _ = engine.stop(if failed { Duration::ZERO } else { DRAIN });
    if failed { Code::INTERNAL } else { Code::SUCCESS }
}

/// An alarm that rings if the engine fails.
fn alarm(engine: &Engine) -> Alarm {
    let alarm = Alarm::default();
    let rung = alarm.clone();
    engine.when_failed(move || rung.ring());
    alarm
}

fn tell_failure(engine: &Engine, consequence: &str) {
    if let Err(error) = engine.wait(Some(Duration::ZERO)) {
        tell(&format_args!("runsd cannot go on: {error}; {consequence}"));
    }
}

/// Help, the version, or a mistake.
fn end(ending: &Ending) -> Code {
    if ending.is_error {
        tell(&ending.text.trim_start_matches("error: ").trim_end());
        return Code::USAGE;
    }
    // A closed standard output leaves nobody to tell.
    let _ = io::stdout().lock().write_all(ending.text.as_bytes());
    Code::SUCCESS
}

/// The engine did not start.
fn refuse(error: &Error) -> Code {
    tell(error);
    match error.kind() {
        ErrorKind::Config => Code::USAGE,
        _ => Code::INTERNAL,
    }
}

/// Says an error as the log would, in one call, so that lines of other
/// processes do not come between.
fn tell(error: &dyn Display) {
    let line = builder().error_line(&error.to_string());
    // A closed standard error leaves nobody to tell.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// One line for a panic, wherever it happens: what it ends is said elsewhere.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    if sys::is_engine_thread() {
        return sys::note_panic(panic.location());
    }
    let payload = panic.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    let what = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = what.unwrap_or("no message");
    match panic.location() {
        Some(place) => tell(&format_args!("internal error at {place}: {what}; please report it")),
        None => tell(&format_args!("internal error: {what}; please report it")),
    }
}
