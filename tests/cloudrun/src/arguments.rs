//! The command line of `cloudrun-sim`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cloudrun_sim::{Login, Options};

const EXAMPLES: &str = "\
Examples:
  A call without a token, and what the front end saw of it:
    cloudrun-sim --log -- curl -i https://hello-123456789012.us-central1.run.app/
  A token from the metadata server, in a shell inside the instance:
    cloudrun-sim -- sh -c 'curl -H \"Metadata-Flavor: Google\" \\
      \"http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/\\
identity?audience=https://hello-123456789012.us-central1.run.app\"'
  A program that needs several services, 40 ms away:
    cloudrun-sim --service orders-api --service users-api --rtt 40 -- ./app

Inside: metadata server and nameserver on 169.254.169.254; every *.run.app host
leads to the front end, which checks identity tokens as Cloud Run does: without a
token 403, with one that is no good 401. They are at the other end of eth0, so the
command may listen on any port; on a kernel without veth interfaces, and there
only, not on 0.0.0.0 with 53, 80 or 443 (127.0.0.1 works). Every other address
refuses connections. The simulation's certificate authority is in the usual
bundles below /etc; programs that bring their own (Node, certifi) need it named:
--set-env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt.

Services: hello and public (no token needed), orders, users, billing (like hello),
  echo (the request back, byte for byte), status?code=N, slow?ms=N, redirect,
  upload, download?bytes=N[&chunked], stream?n=N&size=N&ms=N, sse, trailers,
  early (answers before it reads), hints (100 and 103), ws (WebSocket echo),
  grpc (/sim.Echo/Unary, ServerStream, ClientStream, Bidi, Fail),
  broken?how=reset|truncate|garbage|close-after-accept|half-head|bad-chunk|hang,
  push-close, idle-close.

Exit code: the command's; 128 + N for signal N; 126 where it cannot be started;
125 where the simulation cannot.";

/// Runs a command as a container of a simulated Cloud Run.
///
/// Without a command it serves until SIGINT or SIGTERM and prints how to get in.
/// Needs root, or a system that lets users make user namespaces; --loopback
/// needs neither. Nothing of the machine is changed, nothing is left behind.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Where the instance is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The region of the instance.
    #[arg(long, default_value = "us-central1")]
    region: String,
    /// The number of its project.
    #[arg(long, value_name = "NUMBER", default_value = "123456789012")]
    project_number: String,
    /// The id of its project.
    #[arg(long, value_name = "ID", default_value = "sim-project")]
    project_id: String,
    /// What stands for the project in the older URLs, SERVICE-HASH-CODE.a.run.app.
    #[arg(long, value_name = "HASH", default_value = "abcde12345")]
    project_hash: String,
    /// Its own service: K_SERVICE.
    #[arg(long, value_name = "NAME", default_value = "caller")]
    service_name: String,
    /// A further service that exists (repeatable); it answers like hello.
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// A service whose callers get 403 (repeatable).
    #[arg(long, value_name = "SERVICE")]
    deny: Vec<String>,
    /// A further service that needs no token (repeatable).
    #[arg(long, value_name = "SERVICE")]
    public: Vec<String>,
    /// A service whose ingress is internal: to this caller it does not exist
    /// (repeatable).
    #[arg(long, value_name = "SERVICE")]
    internal: Vec<String>,
    /// An audience that a service takes besides its URL (repeatable).
    #[arg(long, value_name = "SERVICE=AUDIENCE", value_parser = assignment)]
    audience: Vec<(String, String)>,
    /// How long a service waits before it answers (repeatable).
    #[arg(long, value_name = "SERVICE=MS", value_parser = latency)]
    latency: Vec<(String, Duration)>,
    /// Run the command as on a laptop: off Cloud Run, without a metadata server, and
    /// logged in with the key of a service account, as a user, as a user who acts as
    /// a service account, with another provider's token, or not at all.
    #[arg(long, value_name = "LOGIN", num_args = 0..=1, require_equals = true)]
    #[arg(value_parser = login, default_missing_value = "impersonated")]
    laptop: Option<Login>,
    /// The round-trip time to the front end, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    rtt: u64,
    /// Listen on 127.0.0.1 instead of making namespaces; the command learns the
    /// ports from its environment (GCE_METADATA_HOST, RUNSD_*).
    #[arg(long)]
    loopback: bool,
    /// Leave the instance without IPv6.
    #[arg(long)]
    no_ipv6: bool,
    /// Print each request that the front end saw on standard error.
    #[arg(long)]
    pub(crate) log: bool,
}

/// What to do there.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Add to the command's environment (repeatable).
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set_env: Vec<(String, String)>,
    /// At the end write the requests that the front end saw to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) requests_json: Option<PathBuf>,
    /// The command that plays the container.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show what becomes of the names that an app types, with runsd before it.
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The runsd to show.
    #[arg(long, value_name = "PATH")]
    pub(crate) runsd: PathBuf,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=VALUE".to_owned()),
    }
}

fn latency(text: &str) -> Result<(String, Duration), String> {
    let (service, time) = assignment(text)?;
    let time = time.parse().map_err(|_| "want SERVICE=MS".to_owned())?;
    Ok((service, Duration::from_millis(time)))
}

fn login(text: &str) -> Result<Login, String> {
    match text {
        "none" => Ok(Login::None),
        "key" => Ok(Login::Key),
        "user" => Ok(Login::User),
        "impersonated" => Ok(Login::Impersonated),
        "external" => Ok(Login::External),
        _ => Err("want none, key, user, impersonated or external".to_owned()),
    }
}

impl Place {
    /// What the library calls these.
    pub(crate) fn options(&self) -> Options {
        Options {
            region: self.region.clone(),
            project_number: self.project_number.clone(),
            project_id: self.project_id.clone(),
            project_hash: self.project_hash.clone(),
            service: self.service_name.clone(),
            services: self.services.clone(),
            deny: self.deny.clone(),
            public: self.public.clone(),
            internal: self.internal.clone(),
            audiences: self.audience.clone(),
            latency: self.latency.clone(),
            laptop: self.laptop,
            rtt: Duration::from_millis(self.rtt),
            loopback: self.loopback,
            ipv6: !self.no_ipv6,
            observer: self.log.then(crate::report::log),
            email: format!("{}-compute@developer.gserviceaccount.com", self.project_number),
            ..Options::default()
        }
    }
}
