//! Status codes: fixed numbers, never used for something else.

use crate::border::infallible;
use std::ffi::{CStr, c_char};

/// What a function answers: `RUNSD_OK` or one of `RUNSD_E_…`.
pub type Status = i32;

/// The version of this interface; pass it to `runsd_config_new`.
pub const RUNSD_ABI_VERSION: u32 = 1;

/// Done.
pub const RUNSD_OK: Status = 0;
/// A pointer that must not be NULL is.
pub const RUNSD_E_NULL: Status = 1;
/// A string is not UTF-8.
pub const RUNSD_E_UTF8: Status = 2;
/// A setting is wrong; the message lists every problem.
pub const RUNSD_E_CONFIG: Status = 3;
/// The call does not fit the engine's state.
pub const RUNSD_E_STATE: Status = 4;
/// Another engine of this process has it, or the call was made in a log callback.
pub const RUNSD_E_BUSY: Status = 5;
/// Called in a child process that was forked from the engine's.
pub const RUNSD_E_FORKED: Status = 6;
/// It took too long.
pub const RUNSD_E_TIMEOUT: Status = 7;
/// A port is taken; the message says by whom.
pub const RUNSD_E_ADDR_IN_USE: Status = 8;
/// The operating system does not permit it.
pub const RUNSD_E_PERMISSION: Status = 9;
/// The operating system failed.
pub const RUNSD_E_IO: Status = 10;
/// resolv.conf cannot be taken over.
pub const RUNSD_E_RESOLV: Status = 11;
/// The metadata server does not say where we are.
pub const RUNSD_E_METADATA: Status = 12;
/// A defect of runsd; please report it.
pub const RUNSD_E_PANIC: Status = 99;

/// A log record's level: failed for good.
pub const RUNSD_LOG_ERROR: i32 = 1;
/// A log record's level: works less well than it should.
pub const RUNSD_LOG_WARN: i32 = 2;
/// A log record's level: a milestone.
pub const RUNSD_LOG_INFO: i32 = 3;
/// A log record's level: for whoever looks into something odd.
pub const RUNSD_LOG_DEBUG: i32 = 4;
/// A log record's level: everything.
pub const RUNSD_LOG_TRACE: i32 = 5;

/// `runsd_state`: not running yet.
pub const RUNSD_STARTING: i32 = 1;
/// `runsd_state`: serving.
pub const RUNSD_RUNNING: i32 = 2;
/// `runsd_state`: finishing what is under way.
pub const RUNSD_STOPPING: i32 = 3;
/// `runsd_state`: left in order, for good.
pub const RUNSD_STOPPED: i32 = 4;
/// `runsd_state`: lost a part without which it does not go on.
pub const RUNSD_FAILED: i32 = 5;
/// `runsd_state`: the engine belongs to the parent process.
pub const RUNSD_FORKED: i32 = 6;

/// The version of this interface that the library implements. Does not block;
/// any thread.
#[unsafe(no_mangle)]
pub extern "C" fn runsd_abi_version() -> u32 {
    RUNSD_ABI_VERSION
}

/// The version of the library, `MAJOR.MINOR.PATCH`, as a static string. Does
/// not block; any thread.
#[unsafe(no_mangle)]
pub extern "C" fn runsd_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// The name of a status, such as `RUNSD_E_CONFIG`, as a static string; never
/// NULL. Does not block; any thread.
#[unsafe(no_mangle)]
pub extern "C" fn runsd_status_name(status: Status) -> *const c_char {
    infallible(c"".as_ptr(), || name(status).as_ptr())
}

fn name(status: Status) -> &'static CStr {
    match status {
        RUNSD_OK => c"RUNSD_OK",
        RUNSD_E_NULL => c"RUNSD_E_NULL",
        RUNSD_E_UTF8 => c"RUNSD_E_UTF8",
        RUNSD_E_CONFIG => c"RUNSD_E_CONFIG",
        RUNSD_E_STATE => c"RUNSD_E_STATE",
        RUNSD_E_BUSY => c"RUNSD_E_BUSY",
        RUNSD_E_FORKED => c"RUNSD_E_FORKED",
        RUNSD_E_TIMEOUT => c"RUNSD_E_TIMEOUT",
        RUNSD_E_ADDR_IN_USE => c"RUNSD_E_ADDR_IN_USE",
        RUNSD_E_PERMISSION => c"RUNSD_E_PERMISSION",
        RUNSD_E_IO => c"RUNSD_E_IO",
        RUNSD_E_RESOLV => c"RUNSD_E_RESOLV",
        RUNSD_E_METADATA => c"RUNSD_E_METADATA",
        RUNSD_E_PANIC => c"RUNSD_E_PANIC",
        _ => c"RUNSD_E_UNKNOWN",
    }
}
