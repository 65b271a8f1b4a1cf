//! `cloudrun-sim`: the simulated Cloud Run as a program.
//!
//! Owns the command line and the exit code; everything else is the library's,
//! which it uses as any other caller would.

mod arguments;
mod demo;
mod program;
mod report;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Action, Arguments};

/// What a shell would answer for a command that could not be started is 126 or
/// 127; this one says that the simulation itself failed.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    let Arguments { action, place, run } = Arguments::parse();
    let result = match action {
        Some(Action::Demo(demo)) => demo::run(&place, &demo),
        None => program::run(&place, &run),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cloudrun-sim: {error}");
            ExitCode::from(FAILED)
        }
    }
}
