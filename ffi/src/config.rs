//! Configurations: settings collected one by one, checked when an engine starts.

use crate::border::{fallible, free, infallible, text};
use crate::error::{Failure, runsd_error};
use crate::log::{Listener, runsd_log_record};
use crate::status::{RUNSD_ABI_VERSION, Status};
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// Settings for engines. One thread at a time.
#[allow(non_camel_case_types, reason = "the name in C")]
#[derive(Default)]
pub struct runsd_config {
    settings: Vec<(String, String)>,
    listener: Option<Arc<Listener>>,
}

impl runsd_config {
    pub(crate) fn builder(&self) -> runsd::Builder {
        let settings = self.settings.iter();
        let builder = settings
            .fold(runsd::Engine::builder(), |builder, (key, value)| builder.set(key, value));
        match self.listener.clone() {
            Some(listener) => builder.log(move |record| listener.tell(record)),
            None => builder,
        }
    }
}

/// A log callback: `user` is what `runsd_config_set_log` was given, `record` is
/// valid during the call.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type runsd_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, record: *const runsd_log_record)>;

/// Gives the `user` of a log callback up.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type runsd_drop_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

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
#[must_use]
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

/// Sends the log of engines that are started with this configuration to
/// `callback` instead of standard error; the key `log_level` says what is worth
/// a record. Each engine calls it from one thread of its own, one record at a
/// time, and never after `runsd_stop` or `runsd_engine_free` has returned; while
/// it is busy records wait, and those that find no room are counted and told as
/// one record. In it `runsd_stop` and `runsd_wait` answer `RUNSD_E_BUSY`, and
/// `runsd_engine_free` leaves the stopping to another thread.
///
/// `drop_user`, which may be NULL, is called exactly once with `user`: when the
/// configuration has been freed or given another callback, and the last engine
/// that was started with it has stopped; on the thread where that happens.
/// It is not called if this function fails. Does not block.
///
/// # Safety
/// `config` is NULL or not freed and used by no other thread; `callback` and
/// `drop_user` may be called with `user` from any thread.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn runsd_config_set_log(
    config: *mut runsd_config,
    callback: runsd_log_fn,
    user: *mut c_void,
    drop_user: runsd_drop_fn,
) -> Status {
    let work = || {
        // SAFETY: NULL or valid and not shared, by this function's contract.
        let config = unsafe { config.as_mut() }.ok_or_else(|| Failure::null("config"))?;
        let callback = callback.ok_or_else(|| Failure::null("callback"))?;
        config.listener = Some(Arc::new(Listener::new(callback, user, drop_user)));
        Ok(())
    };
    // SAFETY: NULL is fine.
    unsafe { fallible(std::ptr::null_mut(), work) }
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
