//! What a simulation can be told before it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::front::Seen;
use crate::google::Login;

/// Called with every request whose status has just been decided.
pub type Observer = Arc<dyn Fn(&Seen) + Send + Sync>;

/// What a simulation can be told before it starts.
#[derive(Clone)]
pub struct Options {
    /// The region of the instance (`us-central1`).
    pub region: String,
    /// The number of its project (`123456789012`).
    pub project_number: String,
    /// The id of its project (`sim-project`).
    pub project_id: String,
    /// The part of the older URL form that stands for the project (`abcde12345`).
    pub project_hash: String,
    /// `K_SERVICE`: the service that the command plays (`caller`).
    pub service: String,
    /// The email of its service account.
    pub email: String,
    /// Further services that exist; they answer like `hello`.
    pub services: Vec<String>,
    /// Services whose callers get 403 from the start.
    pub deny: Vec<String>,
    /// Further services that need no token; they answer like `public`.
    pub public: Vec<String>,
    /// Services whose ingress is internal: from here they do not exist.
    pub internal: Vec<String>,
    /// Services and an audience of their own that their tokens may be for, besides
    /// the URL.
    pub audiences: Vec<(String, String)>,
    /// Services and how long each waits before it answers.
    pub latency: Vec<(String, Duration)>,
    /// The command runs on a laptop instead: nothing of Cloud Run is in its
    /// environment, no metadata server answers, and this is how somebody is logged
    /// in there.
    pub laptop: Option<Login>,
    /// The round-trip time between the instance and the front end (0).
    pub rtt: Duration,
    /// Everything on 127.0.0.1 and kernel-chosen ports, without namespaces (false).
    pub loopback: bool,
    /// Whether the servers get a network of their own, where the kernel can (true).
    pub apart: bool,
    /// Whether the instance has `::1` (true).
    pub ipv6: bool,
    /// The content of `/etc/resolv.conf`; `None`: like Cloud Run.
    pub resolv_conf: Option<Vec<u8>>,
    /// Told of every request that the front end answers.
    pub observer: Option<Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-central1".into(),
            project_number: "123456789012".into(),
            project_id: "sim-project".into(),
            project_hash: "abcde12345".into(),
            service: "caller".into(),
            email: "123456789012-compute@developer.gserviceaccount.com".into(),
            services: Vec::new(),
            deny: Vec::new(),
            public: Vec::new(),
            internal: Vec::new(),
            audiences: Vec::new(),
            latency: Vec::new(),
            laptop: None,
            rtt: Duration::ZERO,
            loopback: false,
            apart: true,
            ipv6: true,
            resolv_conf: None,
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("region", &self.region)
            .field("project_number", &self.project_number)
            .field("service", &self.service)
            .field("rtt", &self.rtt)
            .field("laptop", &self.laptop)
            .field("loopback", &self.loopback)
            .field("ipv6", &self.ipv6)
            .finish_non_exhaustive()
    }
}
