//! The numbers runsd keeps about itself; each is monotonic unless it says so.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number, safe to change from any thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Every counter of one engine.
#[derive(Debug, Default)]
pub struct Counters {
    /// DNS queries received.
    pub dns_queries: Counter,
    /// DNS queries passed to the original nameservers.
    pub dns_forwarded: Counter,
    /// DNS queries answered with SERVFAIL.
    pub dns_failed: Counter,
    /// Connections that apps opened to the proxy.
    pub proxy_connections: Counter,
    /// Requests that apps sent.
    pub proxy_requests: Counter,
    /// Requests that the proxy itself answered with an error.
    pub proxy_errors: Counter,
    /// Connections opened to services.
    pub upstream_connections: Counter,
    /// Requests sent on a connection that had been used before.
    pub upstream_reused: Counter,
    /// Tokens fetched from their source.
    pub token_fetches: Counter,
    /// Token fetches that failed.
    pub token_failures: Counter,
    /// Panics caught, each of which ended one exchange.
    pub panics: Counter,
}
