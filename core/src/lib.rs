//! runsd: service discovery and authentication for Cloud Run.

pub mod auth;
pub mod names;
pub mod net;
pub mod telemetry;
