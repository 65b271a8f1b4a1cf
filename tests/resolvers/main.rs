//! Resolvers of all kinds against the DNS server: what C libraries, language
//! runtimes and DNS tools ask, what they make of the answers, how often they
//! ask, and what a hostile nameserver can do to them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod lookups;
mod rfc8906;
mod served;
mod upstream;
mod wire;
