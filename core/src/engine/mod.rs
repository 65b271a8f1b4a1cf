//! The engine: starts every room, introduces them to each other, and stops them.
//!
//! It owns the threads, the executor, the listeners' addresses and the state
//! that callers see; it is the only room that knows all others and none knows
//! it. The command line and the language interfaces call it through `lib.rs`.

mod admin;
mod base;
mod bind;
mod builder;
mod dispatch;
mod effective;
mod elsewhere;
mod environment;
mod error;
mod handle;
mod holder;
mod inspect;
#[cfg(test)]
mod loss;
mod mode;
mod start;
mod takeover;
mod threads;
mod voice;

pub use builder::{Builder, ResolvConf};
pub use error::{Error, ErrorKind};
pub use handle::{Engine, State, Stats, StopReport};
pub use inspect::{Finding, Report, Verdict, diagnose, explain};
pub use mode::Mode;
