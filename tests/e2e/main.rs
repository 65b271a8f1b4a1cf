//! The whole program in a simulated Cloud Run: what users do, as they do it.

mod access_log;
mod admin;
mod apps;
mod bad_input;
mod dist;
mod elsewhere;
mod inspect;
mod names;
mod process;
mod secrets;
mod settings;
mod tokens;
mod versions;
