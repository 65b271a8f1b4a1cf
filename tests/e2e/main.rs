//! The whole program in a simulated Cloud Run: what users do, as they do it.

mod access_log;
mod admin;
mod apps;
mod bad_input;
mod dist;
mod elsewhere;
mod examples;
mod inspect;
mod laptop;
mod modes;
mod names;
mod process;
mod resolv_conf;
mod secrets;
mod settings;
mod tokens;
mod versions;
