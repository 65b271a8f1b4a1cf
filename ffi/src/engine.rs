//! Engines.

use crate::border::{borrow, fallible, fill, infallible};
use crate::config::runsd_config;
use crate::error::{Failure, runsd_error};
use crate::handles;
use crate::status::{self, Status};
use runsd::{Engine, State};
use std::ffi::c_char;
use std::net::SocketAddr;
use std::time::Duration;

/// A running engine. Any thread may use it, several at once. A pointer to one is
/// a number that nobody may follow; it is never used again, so that one which has
/// been freed is told from every other: functions answer `RUNSD_E_STATE`, 0, or
/// nothing at all.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct runsd_engine {
    _nothing: [u8; 0],
}

/// What `runsd_stop` did. Set `size` to `sizeof(runsd_stop_report)` before.
#[allow(non_camel_case_types, reason = "the name in C")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct runsd_stop_report {
    /// The size of this structure as the caller was compiled with it.
    pub size: usize,
    /// Exchanges that were under way when the time ran out, and were cut.
    pub aborted: u64,
}

/// Starts an engine and stores it in `*out`: when this returns, its sockets are
/// bound and resolv.conf is written or left on purpose. The caller frees it with
/// `runsd_engine_free`. Blocks, usually for some milliseconds and for at most
/// about 2 s while the metadata server is silent. `RUNSD_E_FORKED` in a process
/// that was forked from one that had an engine.
///
/// # Safety
/// `config` is NULL or not freed and not being changed; `out` is NULL or
/// writable; `error` is NULL or writable.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn runsd_start(
    config: *const runsd_config,
    out: *mut *mut runsd_engine,
    error: *mut *mut runsd_error,
) -> Status {
    let work = || {
        // SAFETY: NULL or valid by this function's contract.
        let config = unsafe { borrow(config, "config") }?;
        if out.is_null() {
            return Err(Failure::null("out"));
        }
        let handle = handles::insert(config.builder().start()?)?;
        // SAFETY: not NULL, so writable by this function's contract.
        unsafe { out.write(handle) };
        Ok(())
    };
    // SAFETY: `error` is NULL or writable by this function's contract.
    unsafe { fallible(error, work) }
}

/// Stops an engine: restores resolv.conf, refuses new work, lets what is under
/// way finish for at most `drain_ms` milliseconds, then cuts it. `report` may be
/// NULL. Calling it again, or from several threads, gives the same report, and
/// the least `drain_ms` counts. Blocks for at most about that, and for as long as
/// a log callback takes for the last records. The engine must still be freed.
/// `RUNSD_E_BUSY` in the engine's own log callback; `RUNSD_E_FORKED` in a child
/// process, with what to do there.
///
/// # Safety
/// `report` is NULL or writable, with its `size` set; `error` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_stop(
    engine: *const runsd_engine,
    drain_ms: u32,
    report: *mut runsd_stop_report,
    error: *mut *mut runsd_error,
) -> Status {
    let work = || {
        let stopped = handles::engine(engine)?.stop(Duration::from_millis(drain_ms.into()))?;
        if !report.is_null() {
            // SAFETY: not NULL, so it begins with its size by this function's contract.
            let size = unsafe { (*report).size };
            let value = runsd_stop_report { size, aborted: stopped.aborted as u64 };
            // SAFETY: writable in its size by this function's contract.
            unsafe { fill(report, size, &value) };
        }
        Ok(())
    };
    // SAFETY: `error` is NULL or writable by this function's contract.
    unsafe { fallible(error, work) }
}

/// Waits until an engine has stopped or failed, for at most `timeout_ms`
/// milliseconds; a negative number waits without end. `RUNSD_E_TIMEOUT` if it
/// still runs; if it failed, another error whose message is the cause.
/// `RUNSD_E_BUSY` in the engine's own log callback; `RUNSD_E_FORKED` in a child
/// process. Freeing the engine meanwhile stops it, and ends the wait.
///
/// # Safety
/// `cause` is NULL or writable.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn runsd_wait(
    engine: *const runsd_engine,
    timeout_ms: i64,
    cause: *mut *mut runsd_error,
) -> Status {
    let work = || {
        handles::engine(engine)?.wait(u64::try_from(timeout_ms).ok().map(Duration::from_millis))?;
        Ok(())
    };
    // SAFETY: `cause` is NULL or writable by this function's contract.
    unsafe { fallible(cause, work) }
}

/// Where an engine is in its life: `RUNSD_RUNNING` and so on; 0 for NULL and for
/// one that has been freed. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn runsd_state(engine: *const runsd_engine) -> i32 {
    infallible(0, || {
        let engine = match handles::engine(engine) {
            Ok(engine) => engine,
            Err(failure) if failure.code() == status::RUNSD_E_FORKED => {
                return status::RUNSD_FORKED;
            }
            Err(_) => return 0,
        };
        match engine.state() {
            State::Running => status::RUNSD_RUNNING,
            State::Stopping => status::RUNSD_STOPPING,
            State::Stopped => status::RUNSD_STOPPED,
            State::Forked => status::RUNSD_FORKED,
            _ => status::RUNSD_FAILED,
        }
    })
}

/// Writes the `index`-th address of the proxy as `ADDRESS:PORT` into `buffer`,
/// as snprintf would: cut to `capacity` with its NUL, and the length that was
/// needed without it is returned; 0 past the last address. Does not block; also
/// in a child process, which the proxy serves too.
///
/// # Safety
/// `buffer` is NULL or has `capacity` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_proxy_addr(
    engine: *const runsd_engine,
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the same contract.
    infallible(0, || unsafe {
        address(engine, |it| it.proxy_addrs().get(index).copied(), buffer, capacity)
    })
}

/// Writes the `index`-th address where DNS is answered; as `runsd_proxy_addr`.
///
/// # Safety
/// As `runsd_proxy_addr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_dns_addr(
    engine: *const runsd_engine,
    index: usize,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the same contract.
    infallible(0, || unsafe {
        address(engine, |it| it.dns_addrs().get(index).copied(), buffer, capacity)
    })
}

/// Writes the address of the admin endpoint, which the key `admin_addr` asks for;
/// as `runsd_proxy_addr`, and 0 where there is none.
///
/// # Safety
/// As `runsd_proxy_addr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn runsd_admin_addr(
    engine: *const runsd_engine,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    // SAFETY: the same contract.
    infallible(0, || unsafe { address(engine, Engine::admin_addr, buffer, capacity) })
}

/// # Safety
/// As `runsd_proxy_addr`.
unsafe fn address(
    engine: *const runsd_engine,
    which: impl Fn(&Engine) -> Option<SocketAddr>,
    buffer: *mut c_char,
    capacity: usize,
) -> usize {
    let Ok(engine) = handles::engine(engine) else { return 0 };
    let Some(address) = which(&engine) else { return 0 };
    let text = address.to_string();
    if !buffer.is_null() && capacity > 0 {
        let length = text.len().min(capacity - 1);
        // SAFETY: `buffer` has `capacity` writable bytes by this function's
        // contract, and `length` is below that.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), length);
            buffer.add(length).write(0);
        }
    }
    text.len()
}

/// Frees an engine, and stops it at once if it still runs; NULL is fine, and so is
/// one that has been freed: nothing happens. Blocks until its threads have ended,
/// but in its own log callback, where another thread stops it. In a child process
/// it leaves everything as it is, on purpose.
#[unsafe(no_mangle)]
pub extern "C" fn runsd_engine_free(engine: *mut runsd_engine) {
    infallible((), || handles::free(engine));
}
