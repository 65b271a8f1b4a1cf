//! runsd: service discovery and authentication for Cloud Run.

pub mod auth;
pub mod cloudrun;
pub mod control;
pub mod http1;
pub mod names;
pub mod net;
pub mod proxy;
pub mod settings;
pub mod telemetry;
