//! Log records on their way to a callback in C.

use crate::border::infallible;
use crate::status;
use runsd::{Level, Record};
use std::ffi::{CString, c_char, c_void};
use std::time::UNIX_EPOCH;

/// One log record, borrowed during the call of a log callback.
#[allow(non_camel_case_types, reason = "the name in C")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct runsd_log_record {
    /// The size of this structure in this version of the library.
    pub size: usize,
    /// `RUNSD_LOG_ERROR` to `RUNSD_LOG_TRACE`.
    pub level: i32,
    /// When it was said, in nanoseconds since 1970 in UTC.
    pub unix_ns: u64,
    /// The part of runsd that speaks, such as `dns`.
    pub target: *const c_char,
    /// One sentence or more, without a final newline and without secrets.
    pub message: *const c_char,
}

/// Who gives a caller's `user` up.
type DropUser = Option<unsafe extern "C" fn(*mut c_void)>;

/// A caller's callback with its `user`, which is given up with it.
pub(crate) struct Listener {
    callback: unsafe extern "C" fn(*mut c_void, *const runsd_log_record),
    user: *mut c_void,
    drop_user: DropUser,
}

// SAFETY: the contract of `runsd_config_set_log` is that both functions may be
// called with `user` from any thread.
unsafe impl Send for Listener {}
// SAFETY: as above; each engine calls from one thread at a time.
unsafe impl Sync for Listener {}

impl Listener {
    pub(crate) fn new(
        callback: unsafe extern "C" fn(*mut c_void, *const runsd_log_record),
        user: *mut c_void,
        drop_user: DropUser,
    ) -> Listener {
        Listener { callback, user, drop_user }
    }

    pub(crate) fn tell(&self, record: &Record<'_>) {
        let target = text(record.room);
        let message = text(record.message);
        let since = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = runsd_log_record {
            size: size_of::<runsd_log_record>(),
            level: level(record.level),
            unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            target: target.as_ptr(),
            message: message.as_ptr(),
        };
        // SAFETY: the caller promised that this may be called; the record and
        // its strings outlive the call.
        unsafe { (self.callback)(self.user, &raw const record) };
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(drop_user) = self.drop_user {
            // SAFETY: the caller promised it, and a value is dropped once.
            infallible((), || unsafe { drop_user(self.user) });
        }
    }
}

/// C ends a string at its first NUL; a message may quote one.
fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}

fn level(level: Level) -> i32 {
    match level {
        Level::Error => status::RUNSD_LOG_ERROR,
        Level::Warn => status::RUNSD_LOG_WARN,
        Level::Info => status::RUNSD_LOG_INFO,
        Level::Debug => status::RUNSD_LOG_DEBUG,
        _ => status::RUNSD_LOG_TRACE,
    }
}
