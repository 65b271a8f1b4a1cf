//! What `runsd` does with a command line that makes sense.

use super::args::{self, Task};
use super::process::{self, Alarm, Child, Code, Identity, Plan};
use crate::settings;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    process::take_over_signals();
    let parsed = match args::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(ending) => {
            eprint!("{}", ending.text);
            return if ending.is_error { Code::USAGE } else { Code::SUCCESS }.into();
        }
    };
    let config = match settings::resolve(&[parsed.flags]) {
        Ok(c) => c,
        Err(e) => {
            eprintln!("{e}");
            return Code::USAGE.into();
        }
    };
    let user = match config.user.as_deref().map(Identity::find).transpose() {
        Ok(u) => u,
        Err(e) => {
            eprintln!("runsd: error: {e}");
            return Code::USAGE.into();
        }
    };
    let Task::Run(argv) = parsed.task else { return Code::SUCCESS.into() };
    let mut plan =
        Plan { argv: &argv, user: user.as_ref(), whole_group: config.forward_to_group, env: &[] };
    if config.mode == settings::ModeChoice::Off || config.routes.is_empty() {
        let error = process::replace_this_process(&plan);
        eprintln!("runsd: error: {error}");
        return error.code().into();
    }
    let env = [("http_proxy".to_owned(), "x".to_owned())];
    plan.env = &env;
    crate::sys::raise_open_files();
    crate::sys::with_signals_blocked(|| ());
    match Child::spawn(&plan) {
        Ok(child) => process::supervise(child, &Alarm::default(), &|| ()).into(),
        Err(error) => {
            eprintln!("runsd: error: {error}");
            error.code().into()
        }
    }
}
