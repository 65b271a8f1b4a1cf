//! The numbers runsd keeps about itself. Each is one relaxed addition, so that
//! counting costs nothing that could be measured; each is monotonic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// The upper bounds of a histogram's buckets, in nanoseconds, and as Prometheus
/// writes them, in seconds: from what a connection of the pool takes to what a
/// cold start does.
const BOUNDS: [(u64, &str); 14] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
];

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts one that took `time`.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|(bound, _)| nanoseconds <= *bound);
        let bucket = at.and_then(|at| self.buckets.get(at)).unwrap_or(&self.beyond);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Each bound in seconds with the count of those that took no longer.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut sum = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        bounds.zip(self.buckets.iter().chain([&self.beyond])).map(move |(bound, bucket)| {
            sum += bucket.load(Ordering::Relaxed);
            (bound, sum)
        })
    }

    /// All of their times, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// Requests by how they were answered.
#[derive(Debug, Default)]
pub struct Answered([Counter; 6]);

impl Answered {
    /// Counts one that got `status`; `None`: it got none.
    pub fn add(&self, status: Option<u16>) {
        let class = status.map_or(0, |status| usize::from(status / 100).min(5));
        if let Some(counter) = self.0.get(class) {
            counter.add();
        }
    }

    /// Each class with its count.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
        classes.into_iter().zip(self.0.iter().map(Counter::get))
    }
}

/// Every counter of one engine.
#[derive(Debug, Default)]
pub struct Counters {
    /// DNS queries received.
    pub dns_queries: Counter,
    /// DNS queries answered from our own zones.
    pub dns_local: Counter,
    /// DNS queries answered from the cache.
    pub dns_cached: Counter,
    /// DNS queries passed to the original nameservers.
    pub dns_forwarded: Counter,
    /// DNS queries answered with SERVFAIL.
    pub dns_failed: Counter,
    /// How long the original nameservers took.
    pub dns_time: Histogram,
    /// Connections that apps opened to the proxy.
    pub proxy_connections: Counter,
    /// Requests that apps sent.
    pub proxy_requests: Counter,
    /// Requests that the proxy itself answered with an error.
    pub proxy_errors: Counter,
    /// Requests that have ended, by the status that the app got.
    pub proxy_answered: Answered,
    /// How long requests took, from their head to the end of the answer. One
    /// that became a tunnel is not among them.
    pub proxy_time: Histogram,
    /// Connections opened to services.
    pub upstream_connections: Counter,
    /// How long TCP connections to services took to open.
    pub connect_time: Histogram,
    /// How long TLS handshakes with services took.
    pub handshake_time: Histogram,
    /// Requests sent on a connection that had been used before.
    pub upstream_reused: Counter,
    /// Tokens fetched from their source.
    pub token_fetches: Counter,
    /// Token fetches that failed.
    pub token_failures: Counter,
    /// How long the source of tokens took.
    pub token_time: Histogram,
    /// Panics caught, each of which ended one exchange.
    pub panics: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_every_bucket_that_it_fits() {
        let histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 60_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counts[..3], [("0.0005", 1), ("0.001", 2), ("0.0025", 3)]);
        assert_eq!(counts[13..], [("10.0", 3), ("+Inf", 4)]);
        assert!((histogram.seconds() - 60.003).abs() < 1e-9);
    }

    #[test]
    fn bounds_are_what_they_say() {
        for (nanoseconds, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert!((seconds * 1e9 - nanoseconds as f64).abs() < 1.0, "{text}");
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn every_status_has_its_class() {
        let answered = Answered::default();
        for status in [None, Some(101), Some(200), Some(204), Some(421), Some(502), Some(999)] {
            answered.add(status);
        }
        let each: Vec<_> = answered.each().collect();
        let expected = [("none", 1), ("1xx", 1), ("2xx", 2), ("3xx", 0), ("4xx", 1), ("5xx", 2)];
        assert_eq!(each, expected);
    }
}
