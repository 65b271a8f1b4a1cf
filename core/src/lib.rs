//! runsd: service discovery and authentication for Cloud Run.

pub mod auth;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cloudrun;
pub mod control;
pub mod dns;
pub mod http1;
pub mod names;
pub mod net;
pub mod proxy;
pub mod settings;
pub(crate) mod sys;
pub mod telemetry;

/// The version of this package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
