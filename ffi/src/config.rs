//! Configurations: settings collected one by one, checked when an engine starts.

use crate::border::{fallible, free, infallible, text};
use crate::error::{Failure, runsd_error};
use crate::status::{RUNSD_ABI_VERSION, Status};
use std::ffi::c_char;

/// Settings for engines. One thread at a time.
#[allow(non_camel_case_types, reason = "the name in C")]
#[derive(Default)]
pub struct runsd_config {
    settings: Vec<(String, String)>,
}

impl runsd_config {
    pub(crate) fn builder(&self) -> runsd::Builder {
        let settings = self.settings.iter();
        settings.fold(runsd::Engine::builder(), |builder, (key, value)| builder.set(key, value))
    }
}

/// A configuration with nothing set, or NULL if the library does not implement
/// the interface of version `abi`; pass `RUNSD_ABI_VERSION`. The caller frees it
/// with `runsd_config_free`. Does not block.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn runsd_config_new(abi: u32) -> *mut runsd_config {
    infallible(std::ptr::null_mut(), || {
        if abi == RUNSD_ABI_VERSION { Box::into_raw(Box::default()) } else { std::ptr::null_mut() }
    })
}

/// Sets one setting by its key, such as `region`; lists as a JSON array or
/// comma-separated, `routes` as a JSON array. Keys and values are checked by
/// `runsd_start`, which tells of all problems at once. Does not block.
///
/// # Safety
/// `config` is NULL or not freed and used by no other thread; `key` and `value`
/// are NULL or NUL-terminated; `error` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_config_set(
    config: *mut runsd_config,
    key: *const c_char,
    value: *const c_char,
    error: *mut *mut runsd_error,
) -> Status {
    let work = || {
        // SAFETY: NULL or valid and not shared, by this function's contract.
        let config = unsafe { config.as_mut() }.ok_or_else(|| Failure::null("config"))?;
        // SAFETY: NULL or NUL-terminated by this function's contract.
        let setting = unsafe { (text(key, "key")?, text(value, "value")?) };
        config.settings.push(setting);
        Ok(())
    };
    // SAFETY: `error` is NULL or writable by this function's contract.
    unsafe { fallible(error, work) }
}

/// Frees a configuration; NULL is fine. Engines that were started with it go on.
///
/// # Safety
/// `config` is NULL or not freed yet, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_config_free(config: *mut runsd_config) {
    // SAFETY: every configuration came from `Box::into_raw`.
    unsafe { free(config) }
}
