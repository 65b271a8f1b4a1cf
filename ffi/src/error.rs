//! Errors: a code for programs, a sentence for people, the system's own number.

use crate::border::{borrow, free, infallible};
use crate::status::{self, Status};
use runsd::ErrorKind;
use std::ffi::{CString, c_char};

/// Why a call failed. The caller owns it; it does not change.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct runsd_error {
    code: Status,
    message: CString,
    os: i32,
}

/// The same before it is handed over.
pub(crate) struct Failure {
    code: Status,
    message: String,
    os: i32,
}

impl Failure {
    fn new(code: Status, message: String) -> Failure {
        Failure { code, message, os: 0 }
    }

    pub(crate) fn null(what: &str) -> Failure {
        Failure::new(status::RUNSD_E_NULL, format!("{what} is NULL"))
    }

    pub(crate) fn utf8(what: &str) -> Failure {
        Failure::new(status::RUNSD_E_UTF8, format!("{what} is not UTF-8"))
    }

    pub(crate) fn panic() -> Failure {
        let text = "an internal error; please report it with what the process wrote to stderr";
        Failure::new(status::RUNSD_E_PANIC, text.to_owned())
    }

    pub(crate) fn forked() -> Failure {
        Failure::new(status::RUNSD_E_FORKED, "the engine is the parent process's".to_owned())
    }

    pub(crate) fn freed() -> Failure {
        let text = "this engine has been freed; nothing can be asked of it any more";
        Failure::new(status::RUNSD_E_STATE, text.to_owned())
    }

    pub(crate) fn code(&self) -> Status {
        self.code
    }
}

impl From<runsd::Error> for Failure {
    fn from(error: runsd::Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::Config => status::RUNSD_E_CONFIG,
            ErrorKind::State => status::RUNSD_E_STATE,
            ErrorKind::Busy => status::RUNSD_E_BUSY,
            ErrorKind::Forked => status::RUNSD_E_FORKED,
            ErrorKind::Timeout => status::RUNSD_E_TIMEOUT,
            ErrorKind::AddrInUse => status::RUNSD_E_ADDR_IN_USE,
            ErrorKind::Permission => status::RUNSD_E_PERMISSION,
            ErrorKind::Io => status::RUNSD_E_IO,
            ErrorKind::ResolvConf => status::RUNSD_E_RESOLV,
            ErrorKind::Metadata => status::RUNSD_E_METADATA,
            _ => status::RUNSD_E_PANIC,
        };
        let os = error.io_error().and_then(std::io::Error::raw_os_error).unwrap_or_default();
        Failure { code, message: error.to_string(), os }
    }
}

impl From<Failure> for runsd_error {
    fn from(failure: Failure) -> runsd_error {
        // C ends a string at its first NUL; a message may quote one.
        let message = CString::new(failure.message.replace('\0', "\\0")).unwrap_or_default();
        runsd_error { code: failure.code, message, os: failure.os }
    }
}

/// The code of an error; `RUNSD_E_NULL` for NULL. Does not block.
///
/// # Safety
/// `error` is NULL or an error that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_error_code(error: *const runsd_error) -> Status {
    infallible(status::RUNSD_E_PANIC, || {
        // SAFETY: NULL or valid by this function's contract.
        unsafe { borrow(error, "error") }.map_or(status::RUNSD_E_NULL, |error| error.code)
    })
}

/// What happened and what to do, valid until the error is freed; an empty
/// string for NULL. Does not block.
///
/// # Safety
/// `error` is NULL or an error that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_error_message(error: *const runsd_error) -> *const c_char {
    infallible(c"".as_ptr(), || {
        // SAFETY: NULL or valid by this function's contract.
        unsafe { borrow(error, "error") }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
    })
}

/// The operating system's error number, or 0. Does not block.
///
/// # Safety
/// `error` is NULL or an error that has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_error_os(error: *const runsd_error) -> i32 {
    // SAFETY: NULL or valid by this function's contract.
    infallible(0, || unsafe { borrow(error, "error") }.map_or(0, |error| error.os))
}

/// Frees an error; NULL is fine.
///
/// # Safety
/// `error` is NULL or an error that has not been freed, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_error_free(error: *mut runsd_error) {
    // SAFETY: every error that callers see came from `Box::into_raw`.
    unsafe { free(error) }
}
