//! Prometheus' text format, version 0.0.4: families of samples with their help.
//! Labels have values from fixed lists alone; nothing that an app types gets in.

use super::counters::{Counters, Histogram};
use std::fmt::Write;

/// The media type of what [`Exposition`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics that is being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP runsd_{name} {help}\n# TYPE runsd_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let mut list = String::new();
        for (label, value) in labels {
            let separator = if list.is_empty() { "" } else { "," };
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(list, "{separator}{label}=\"{escaped}\"");
        }
        let list = if list.is_empty() { list } else { format!("{{{list}}}") };
        let _ = writeln!(self.text, "runsd_{name}{list} {value}");
    }

    /// A number that only grows; the name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// Numbers that only grow, told apart by one label.
    pub fn counters(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl Iterator<Item = (&'static str, u64)>,
    ) {
        self.family(name, "counter", help);
        for (of, value) in values {
            self.sample(name, &[(label, of)], value);
        }
    }

    /// A number that goes up and down, with its labels.
    pub fn gauge(&mut self, name: &str, help: &str, values: &[(&[(&str, &str)], u64)]) {
        self.family(name, "gauge", help);
        for (labels, value) in values {
            self.sample(name, labels, value);
        }
    }

    /// How long things took.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut count = 0;
        for (bound, value) in histogram.cumulative() {
            self.sample(&format!("{name}_bucket"), &[("le", bound)], value);
            count = value;
        }
        self.sample(&format!("{name}_sum"), &[], histogram.seconds());
        self.sample(&format!("{name}_count"), &[], count);
    }
}

impl Counters {
    /// Writes every counter.
    pub fn expose(&self, out: &mut Exposition) {
        self.expose_dns(out);
        self.expose_proxy(out);
        for (name, help, counter) in [
            (
                "upstream_connections_total",
                "Connections opened to services.",
                &self.upstream_connections,
            ),
            (
                "upstream_reused_total",
                "Requests sent on a connection that had been used before.",
                &self.upstream_reused,
            ),
            ("token_fetches_total", "Times the source of tokens was asked.", &self.token_fetches),
            ("token_failures_total", "Times it gave no token.", &self.token_failures),
            (
                "panics_total",
                "Internal errors that ended one exchange each; please report them.",
                &self.panics,
            ),
        ] {
            out.counter(name, help, counter.get());
        }
        let help = "How long TCP connections to services took to open, in seconds.";
        out.histogram("upstream_connect_duration_seconds", help, &self.connect_time);
        let help = "How long TLS handshakes with services took, in seconds.";
        out.histogram("upstream_handshake_duration_seconds", help, &self.handshake_time);
        let help = "How long the source of tokens took, in seconds.";
        out.histogram("token_fetch_duration_seconds", help, &self.token_time);
    }

    fn expose_dns(&self, out: &mut Exposition) {
        for (name, help, counter) in [
            ("dns_queries_total", "DNS queries received.", &self.dns_queries),
            ("dns_local_total", "DNS queries answered from runsd's own zones.", &self.dns_local),
            ("dns_cached_total", "DNS queries answered from the cache.", &self.dns_cached),
            (
                "dns_forwarded_total",
                "DNS questions put to the original nameservers.",
                &self.dns_forwarded,
            ),
            ("dns_failed_total", "DNS queries answered with SERVFAIL.", &self.dns_failed),
        ] {
            out.counter(name, help, counter.get());
        }
        let help = "How long the original nameservers took, in seconds.";
        out.histogram("dns_forward_duration_seconds", help, &self.dns_time);
    }

    fn expose_proxy(&self, out: &mut Exposition) {
        for (name, help, counter) in [
            (
                "proxy_connections_total",
                "Connections that apps opened to the proxy.",
                &self.proxy_connections,
            ),
            ("proxy_requests_total", "Requests that apps sent.", &self.proxy_requests),
            (
                "proxy_errors_total",
                "Requests that runsd itself answered with an error.",
                &self.proxy_errors,
            ),
        ] {
            out.counter(name, help, counter.get());
        }
        out.counters(
            ("proxy_responses_total", "code"),
            "Requests that have ended, by the class of the status that the app got.",
            self.proxy_answered.each(),
        );
        let ended: u64 = self.proxy_answered.each().map(|(_, count)| count).sum();
        let active = self.proxy_requests.get().saturating_sub(ended);
        out.gauge("proxy_requests_active", "Requests under way.", &[(&[], active)]);
        let help = "From a request's head to the end of its answer, in seconds.";
        out.histogram("proxy_request_duration_seconds", help, &self.proxy_time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_page_has_help_type_and_samples() {
        let mut page = Exposition::default();
        page.counter("a_total", "As.", 3);
        page.gauge("b", "Bs.", &[(&[("x", "1"), ("y", "q\"\\\n")], 2)]);
        assert_eq!(
            page.into_text(),
            "# HELP runsd_a_total As.\n# TYPE runsd_a_total counter\nrunsd_a_total 3\n\
             # HELP runsd_b Bs.\n# TYPE runsd_b gauge\n\
             runsd_b{x=\"1\",y=\"q\\\"\\\\\\n\"} 2\n"
        );
    }

    #[test]
    fn a_histogram_counts_up_to_infinity() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(250));
        let mut page = Exposition::default();
        page.histogram("t_seconds", "T.", &histogram);
        let text = page.into_text();
        for line in [
            "# TYPE runsd_t_seconds histogram",
            "runsd_t_seconds_bucket{le=\"0.1\"} 0",
            "runsd_t_seconds_bucket{le=\"0.25\"} 1",
            "runsd_t_seconds_bucket{le=\"+Inf\"} 1",
            "runsd_t_seconds_sum 0.25",
            "runsd_t_seconds_count 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n--\n{text}");
        }
    }

    #[test]
    fn every_counter_is_on_the_page() {
        let counters = Counters::default();
        counters.proxy_requests.add();
        counters.proxy_requests.add();
        counters.proxy_answered.add(Some(204));
        let mut page = Exposition::default();
        counters.expose(&mut page);
        let text = page.into_text();
        for line in [
            "runsd_proxy_requests_total 2",
            "runsd_proxy_responses_total{code=\"2xx\"} 1",
            "runsd_proxy_requests_active 1",
            "runsd_dns_queries_total 0",
            "runsd_token_fetch_duration_seconds_count 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n--\n{text}");
        }
        // One family for each field of the struct, and the gauge made of two.
        assert_eq!(text.matches("# TYPE").count(), 20);
    }
}
