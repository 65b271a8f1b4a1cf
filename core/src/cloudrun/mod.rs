//! What is true of Cloud Run only.
//!
//! It owns the platform's facts: how to tell that we are on it, its metadata
//! server, its regions and the URLs it gives to services. It implements the
//! generic rooms' two questions, [`crate::names::Directory`] and
//! [`crate::auth::TokenSource`]; the engine puts it in their place.

mod adc;
mod answer;
mod directory;
mod metadata;
mod place;
mod refusal;
mod regions;
mod spent;
mod token;
mod traces;
mod urls;

pub use adc::{AdcTokens, CredentialsPlace};
pub use answer::{is_front_ends, unheard_region, wants_http2};
pub use directory::{CloudRunDirectory, Rules};
pub use metadata::Metadata;
pub use place::Place;
pub use refusal::{refusal, remedy};
pub use spent::is_spent;
pub use token::{FixedToken, MetadataTokens};
pub use traces::{TRACE_FIELDS, Traces};

use std::net::Ipv4Addr;

/// Words that are never services: they are this machine's or the platform's.
pub const RESERVED: &[&str] = &["localhost", "metadata", "google.internal"];

/// The zone of the URLs that services get.
pub const URL_ZONE: &str = "run.app";

/// The zone in which the platform names its metadata server, answered locally:
/// the platform's own DNS once answered SERVFAIL for names it did not know
/// there, which stops a resolver's walk along its search list.
pub const PLATFORM_ZONE: &str = "google.internal";

/// The names of the metadata server in that zone.
pub const METADATA_NAMES: &[&str] = &["metadata.google.internal"];

/// The metadata server's address.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// What kind of workload the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It serves requests.
    Service,
    /// It runs to its end.
    Job,
    /// It pulls work.
    WorkerPool,
}

/// Tells by the variables that the container contract promises whether we are
/// on Cloud Run; not by the nameserver's address, which the platform may change.
pub fn detect(is_set: impl Fn(&str) -> bool) -> Option<Kind> {
    [
        ("K_SERVICE", Kind::Service),
        ("CLOUD_RUN_JOB", Kind::Job),
        ("CLOUD_RUN_WORKER_POOL", Kind::WorkerPool),
    ]
    .into_iter()
    .find(|(name, _)| is_set(name))
    .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_known_by_its_variables() {
        assert_eq!(detect(|name| name == "K_SERVICE"), Some(Kind::Service));
        assert_eq!(detect(|name| name == "CLOUD_RUN_JOB"), Some(Kind::Job));
        assert_eq!(detect(|name| name == "CLOUD_RUN_WORKER_POOL"), Some(Kind::WorkerPool));
        assert_eq!(detect(|name| name == "PORT"), None);
    }
}
