//! Settings: one table from which flags, environment variables, the JSON file
//! and the keys of every language are made.
//!
//! It owns names, defaults, parsing and validation; it reads no environment
//! and no files, but takes what was read as [`Layer`]s. The engine gets one
//! immutable [`Config`]; as typed and as resolved are two types, so that
//! nothing downstream can meet a value that has not been checked.

#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "flags and help"))]

mod config;
#[cfg(test)]
pub(crate) mod documents;
mod layers;
mod table;
mod values;

pub use config::{Config, LogFormat, ModeChoice, ResolvConfMode, UpstreamHttp};
pub use layers::{Layer, Origin, Problems, Said, log_format, resolve, said};
pub use table::{Form, SETTINGS, Scope, Setting, find, misspelt};
pub use values::distance;
