//! runsd: service discovery and authentication for Cloud Run, as a library.
//!
//! An [`Engine`] makes `http://hello` reach the Cloud Run service *hello*,
//! authenticated and over TLS: it answers DNS for the names of services, takes
//! `/etc/resolv.conf` over, and runs a reverse proxy that adds an identity
//! token to each request. Where that is not permitted, it runs the proxy alone
//! and says with [`Engine::env`] how to use it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! let engine = runsd::Engine::builder().region("us-east1").start()?;
//! println!("{} mode", engine.mode());
//! engine.stop(Duration::from_secs(5))?;
//! # Ok::<(), runsd::Error>(())
//! ```
//!
//! The engine runs on threads of its own and needs no async runtime of the
//! caller's; [`Builder::start_async`], [`Engine::wait_async`] and
//! [`Engine::stop_async`] are futures for any runtime. Everything it opens,
//! writes or starts is gone after [`Engine::stop`], which dropping the last
//! handle does too.
//!
//! The reactor is one for the process, so a child that is forked from it cannot
//! use an engine: calls there answer [`ErrorKind::Forked`], and the parent's
//! engine goes on serving both.

// What callers see has a name that they can write: nothing of async-std's, of
// the TLS library's or of the rooms' own gets out.
#![deny(unnameable_types)]

mod auth;
#[cfg(feature = "cli")]
pub mod cli;
mod cloudrun;
mod control;
mod dns;
mod engine;
mod http1;
mod names;
mod net;
mod proxy;
mod settings;
mod sys;
mod telemetry;

pub use engine::{
    Builder, Engine, Error, ErrorKind, Finding, Mode, Report, ResolvConf, State, Stats, StopReport,
    Verdict, diagnose, explain,
};
pub use telemetry::{Level, Record};

/// The version of this library, `MAJOR.MINOR.PATCH`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
