//! Counts.

use crate::border::{fallible, fill};
use crate::engine::runsd_engine;
use crate::error::Failure;
use crate::handles;
use crate::status::Status;

/// Counts since an engine's start. Set `size` to `sizeof(runsd_stats)` before;
/// fields that the library does not know stay as they are.
#[allow(non_camel_case_types, reason = "the name in C")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct runsd_stats {
    /// The size of this structure as the caller was compiled with it.
    pub size: usize,
    /// DNS queries received.
    pub dns_queries: u64,
    /// DNS queries passed to the original nameservers.
    pub dns_forwarded: u64,
    /// DNS queries answered with SERVFAIL.
    pub dns_failed: u64,
    /// Connections that apps opened to the proxy.
    pub proxy_connections: u64,
    /// Requests that apps sent.
    pub proxy_requests: u64,
    /// Requests that the proxy itself answered with an error.
    pub proxy_errors: u64,
    /// Connections opened to services.
    pub upstream_connections: u64,
    /// Requests sent on a connection that had been used before.
    pub upstream_reused: u64,
    /// Tokens fetched from their source.
    pub token_fetches: u64,
    /// Token fetches that failed.
    pub token_failures: u64,
    /// Internal errors caught, each of which ended one exchange.
    pub panics: u64,
}

/// Reads the counts of an engine. Does not block; any thread, also in a log
/// callback, and after the engine has stopped. `RUNSD_E_FORKED` in a child
/// process.
///
/// # Safety
/// `engine` is NULL or not freed; `stats` is NULL or writable, with its `size` set.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn runsd_get_stats(
    engine: *const runsd_engine,
    stats: *mut runsd_stats,
) -> Status {
    let work = || {
        let engine = handles::engine(engine)?;
        if stats.is_null() {
            return Err(Failure::null("stats"));
        }
        if engine.state() == runsd::State::Forked {
            return Err(Failure::forked());
        }
        // SAFETY: not NULL, so it begins with its size by this function's contract.
        let size = unsafe { (*stats).size };
        let now = engine.stats();
        let value = runsd_stats {
            size,
            dns_queries: now.dns_queries,
            dns_forwarded: now.dns_forwarded,
            dns_failed: now.dns_failed,
            proxy_connections: now.proxy_connections,
            proxy_requests: now.proxy_requests,
            proxy_errors: now.proxy_errors,
            upstream_connections: now.upstream_connections,
            upstream_reused: now.upstream_reused,
            token_fetches: now.token_fetches,
            token_failures: now.token_failures,
            panics: now.panics,
        };
        // SAFETY: writable in its size by this function's contract.
        unsafe { fill(stats, size, &value) };
        Ok(())
    };
    // SAFETY: NULL is fine.
    unsafe { fallible(std::ptr::null_mut(), work) }
}
