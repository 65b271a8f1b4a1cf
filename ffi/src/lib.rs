//! librunsd: the engine behind a C interface, one file per noun of the header.
//!
//! It owns the translation between C's values and the engine's, and nothing
//! else; it must see the public API of the crate `runsd` alone. C programs call
//! it, and every language that can call C. Each export passes through
//! [`border`], so that no panic ever reaches a caller.

mod border;
mod config;
mod engine;
mod error;
mod handles;
mod log;
mod stats;
mod status;

pub use config::{
    runsd_config, runsd_config_free, runsd_config_new, runsd_config_set, runsd_config_set_log,
    runsd_drop_fn, runsd_log_fn,
};
pub use engine::{
    runsd_admin_addr, runsd_dns_addr, runsd_engine, runsd_engine_free, runsd_proxy_addr,
    runsd_start, runsd_state, runsd_stop, runsd_stop_report, runsd_wait,
};
pub use error::{
    runsd_error, runsd_error_code, runsd_error_free, runsd_error_message, runsd_error_os,
};
pub use log::runsd_log_record;
pub use stats::{runsd_get_stats, runsd_stats};
pub use status::*;
