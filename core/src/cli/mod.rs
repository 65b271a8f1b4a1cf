//! The command line: from what was typed to a process that does it.
//!
//! It owns the arguments, the child process and the exit code; it calls the
//! engine through the library's public face, and nothing calls it but the
//! program's `main`.

mod args;
mod completions;
mod legacy;
#[cfg(test)]
mod manual;
mod process;
mod run;

pub use run::main;
