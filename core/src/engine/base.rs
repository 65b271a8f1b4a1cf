//! What every mode needs: threads, executor, dialer, directory, tokens.

use super::environment::{self, Lookup};
use super::error::{Error, ErrorKind};
use super::threads::Threads;
use crate::auth::{TokenCache, TokenSource, Tokens};
use crate::cloudrun::{
    AdcTokens, CloudRunDirectory, CredentialsPlace, FixedToken, METADATA_ADDRESS, Metadata,
    MetadataTokens, Place, RESERVED, Rules, Traces,
};
use crate::control::Client;
use crate::dns::{Forwarder, Hosts, ResolvConf};
use crate::names::Grammar;
use crate::net::{
    Clock, Dialer, Drain, Executing, OwnAddresses, Roots, SystemClock, Tasks, Tls, block_on,
};
use crate::proxy::{self, Proxy, Upstream};
use crate::settings::{Config, Said, UpstreamHttp};
use crate::sys;
use crate::telemetry::{Counters, Log};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Where the machine's own host table is.
const HOSTS: &str = "/etc/hosts";

/// The variables by which clients find a proxy for `http://`.
const HTTP_PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// What an engine is made from; the same for every mode it tries.
pub(super) struct Plans {
    pub(super) config: Config,
    pub(super) log: Log,
    pub(super) on_platform: bool,
    /// The port that the app was told to listen on.
    pub(super) app_port: Option<u16>,
    /// Whether names without a route are services all the same: somebody asks
    /// elsewhere what would become of them on the platform.
    pub(super) as_if_there: bool,
    /// A token that the user gives for every audience.
    pub(super) fixed_token: Option<String>,
    /// Whose identity it is elsewhere than on the platform.
    pub(super) credentials: CredentialsPlace,
    /// Whether the environment says which certificates are trusted.
    pub(super) names_certificates: bool,
    /// The variables of a proxy that the environment already names.
    pub(super) foreign_proxy: Option<&'static str>,
    /// The `no_proxy` that the environment has.
    pub(super) no_proxy: Option<String>,
    /// Every setting as it was said.
    pub(super) said: Vec<Said>,
    /// An app waits for the start, which is to begin whatever stands in the way;
    /// a program that embeds the engine hears of it and decides.
    pub(super) by_command: bool,
}

impl Plans {
    pub(super) fn new(
        (config, said): (Config, Vec<Said>),
        log: Log,
        on_platform: bool,
        lookup: &Lookup,
    ) -> Plans {
        let is_set = |name: &&str| environment::text(lookup, name).is_some();
        let no_proxy = ["no_proxy", "NO_PROXY"];
        Plans {
            config,
            log,
            on_platform,
            as_if_there: false,
            credentials: CredentialsPlace::find(|name| environment::text(lookup, name)),
            fixed_token: environment::text(lookup, "CLOUD_RUN_ID_TOKEN"),
            names_certificates: ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(is_set),
            app_port: environment::text(lookup, "PORT").and_then(|port| port.parse().ok()),
            foreign_proxy: HTTP_PROXIES.into_iter().find(is_set),
            no_proxy: no_proxy.into_iter().find_map(|name| environment::text(lookup, name)),
            said,
            by_command: false,
        }
    }
}

/// Says whom we ask where resolv.conf names nobody: once, whatever modes were tried.
pub(super) fn tell_assumed_nameserver(plans: &Plans, resolv_conf: &ResolvConf) {
    if plans.on_platform
        && plans.config.nameservers.is_empty()
        && resolv_conf.nameservers.is_empty()
    {
        plans.log.warn(
            "engine",
            format_args!(
                "{} names no nameserver; asking the platform's, {METADATA_ADDRESS}. Name others \
                 with --nameserver",
                plans.config.resolv_conf.display()
            ),
        );
    }
}

/// Says which nameservers are ourselves: what is asked there would come back.
/// Whose resolv.conf names others too has probably started one of us before.
pub(super) fn tell_own_nameservers(plans: &Plans, forwarder: &Forwarder) {
    let (own, others) = forwarder.ourselves();
    if own.is_empty() || (others && plans.config.nameservers.is_empty()) {
        return;
    }
    let own: Vec<_> = own.iter().map(ToString::to_string).collect();
    let loss = if others { "" } else { ", so that no names but services' are found" };
    plans.log.warn(
        "engine",
        format_args!(
            "the nameserver {} is this runsd itself and is not asked{loss}; name another with \
             --nameserver, or another address to listen on with --dns-addr",
            own.join(", ")
        ),
    );
}

/// The rooms, introduced to each other and running on their threads.
pub(super) struct Base {
    pub(super) tasks: Tasks,
    pub(super) own: OwnAddresses,
    pub(super) place: Arc<Place>,
    pub(super) directory: Arc<CloudRunDirectory>,
    pub(super) forwarder: Forwarder,
    pub(super) drain: Drain,
    pub(super) counters: Arc<Counters>,
    pub(super) failed: async_channel::Receiver<String>,
    pub(super) tokens: Arc<dyn Tokens>,
    /// Where the tokens come from.
    pub(super) source: Arc<dyn TokenSource>,
    pub(super) metadata: Metadata,
    pub(super) dialer: Arc<Dialer>,
    pub(super) cache: TokenCache,
    /// The proxy, once there is one.
    pub(super) proxy: OnceLock<Proxy>,
    pub(super) traces: Arc<Traces>,
    executing: Arc<Executing>,
    threads: Threads,
}

impl Base {
    /// Starts the threads and begins to ask where we are.
    pub(super) fn start(plans: &Plans, resolv_conf: &ResolvConf) -> Result<Base, Error> {
        // The reactor is this process's from here on.
        sys::claim_process().map_err(Error::forked)?;
        let config = &plans.config;
        spare_descriptors()
            .map_err(|cause| Error::io("there are too few file descriptors to begin", cause))?;
        let (failing, failed) = async_channel::bounded(1);
        let counters = Arc::<Counters>::default();
        let executing = Executing::new(plans.log.clone(), counters.clone(), failing)
            .map(Arc::new)
            .map_err(|cause| Error::io("cannot watch sockets", cause))?;
        let tasks = executing.tasks();
        let threads = Threads::start(config.threads, &executing)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let own = OwnAddresses::default();
        let nameservers = nameservers(plans, resolv_conf);
        let forwarder = Forwarder::new(nameservers, own.clone(), tasks.clone(), clock.clone());
        let hosts = Hosts::read(Path::new(HOSTS));
        let resolve = crate::dns::resolver(forwarder.clone(), hosts, resolv_conf.search.clone());
        let roots =
            Roots { file: config.ca_file.clone(), by_environment: plans.names_certificates };
        let tls = Tls::new(roots, plans.log.clone());
        let dialer = Arc::new(Dialer::new(resolve, config.connect_to.clone(), tls, own.clone()));
        let metadata = Metadata::new(Client::new(dialer.clone()), config.metadata_host.as_deref());
        let place = Place::new(config.region.clone(), config.project.clone());
        if plans.on_platform {
            place.look_up(&metadata, &tasks, &clock);
        }
        let source = source(plans, &metadata, &dialer, &clock);
        let traces = Arc::<Traces>::default();
        if plans.on_platform && config.access_log {
            traces.look_up(metadata.clone(), &tasks, clock.clone());
        }
        settle_log(&tasks, clock.clone());
        let cache = TokenCache::new(source.clone(), clock, tasks.clone());
        let tokens: Arc<dyn Tokens> = Arc::new(cache.clone());
        let grammar = Grammar::new(&config.domain, RESERVED);
        let directory = Arc::new(CloudRunDirectory::new(grammar, rules(plans), place.clone()));
        let drain = Drain::default();
        Ok(Base {
            tasks,
            own,
            place,
            directory,
            forwarder,
            drain,
            counters,
            failed,
            tokens,
            source,
            metadata,
            dialer,
            cache,
            proxy: OnceLock::new(),
            traces,
            executing,
            threads,
        })
    }

    /// Runs `work` on an engine thread and waits for it: what touches the
    /// reactor first decides which thread its helper inherits signals from.
    pub(super) fn on_engine<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = async_channel::bounded(1);
        self.tasks.spawn("engine start", async move {
            let _ = send.send(work()).await;
        });
        block_on(receive.recv())
            .map_err(|_| Error::new(ErrorKind::Internal, "the engine's threads do not run"))
    }

    /// The proxy over this base; a `forward` one for apps that are told of it.
    pub(super) fn proxy(&self, plans: &Plans, forward: bool) -> Proxy {
        let config = &plans.config;
        let upstream = match config.upstream_http {
            UpstreamHttp::Auto => Upstream::Same,
            UpstreamHttp::One => Upstream::Http1,
            UpstreamHttp::Two => Upstream::Http2,
        };
        let proxy = Proxy::new(
            proxy::Config {
                upstream,
                forward,
                refuse_pages: forward && !plans.on_platform,
                rewrite_redirects: config.rewrite_redirects,
                access_log: config.access_log,
            },
            self.tasks.clone(),
            self.directory.clone(),
            self.tokens.clone(),
            self.dialer.clone(),
            (self.drain.watch(), self.traces.clone()),
            Arc::new(SystemClock),
        );
        let _ = self.proxy.set(proxy.clone());
        proxy
    }

    /// Reads the trusted certificates, where the user named them and must hear
    /// of a mistake. Elsewhere they are read when the first name is looked up:
    /// a start has no milliseconds to spare for them.
    pub(super) fn prepare_tls(&self, config: &Config) -> Result<(), Error> {
        if config.ca_file.is_none() {
            return Ok(());
        }
        let prepared = self.dialer.tls().prepare();
        prepared.map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    }

    /// Lets work end for at most `drain` and stops the threads; how many
    /// exchanges were cut.
    pub(super) fn stop(self, drain: Duration) -> usize {
        let aborted = block_on(self.drain.finish(drain));
        self.threads.join();
        drop(self.executing);
        aborted
    }
}

/// The reactor, which opens three, panics where there are none for it.
fn spare_descriptors() -> io::Result<()> {
    let held: io::Result<Vec<_>> = (0..4).map(|_| io::pipe()).collect();
    held.map(drop)
}

/// Who says who we are: the user, on the platform the metadata server and nobody
/// else, and elsewhere whatever credentials the machine has.
fn source(
    plans: &Plans,
    metadata: &Metadata,
    dialer: &Arc<Dialer>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn TokenSource> {
    if let Some(token) = &plans.fixed_token {
        return Arc::new(FixedToken(token.clone()));
    }
    if plans.on_platform {
        return Arc::new(MetadataTokens(metadata.clone()));
    }
    let client = Client::new(dialer.clone());
    let (place, log) = (plans.credentials.clone(), plans.log.clone());
    Arc::new(AdcTokens::new(place, client, metadata, clock.clone(), log))
}

/// Tells once a minute what the log has held back and nobody has said again.
fn settle_log(tasks: &Tasks, clock: Arc<dyn Clock>) {
    let log = tasks.log().clone();
    tasks.spawn("log repeats", async move {
        loop {
            clock.sleep(Duration::from_secs(60)).await;
            log.settle();
        }
    });
}

/// Where every other name is asked: what the user says, else what resolv.conf
/// says, else the platform's own resolver.
fn nameservers(plans: &Plans, resolv_conf: &ResolvConf) -> Vec<SocketAddr> {
    if !plans.config.nameservers.is_empty() {
        return plans.config.nameservers.clone();
    }
    let named: Vec<_> =
        resolv_conf.nameservers.iter().map(|address| SocketAddr::new(*address, 53)).collect();
    if named.is_empty() && plans.on_platform {
        return vec![SocketAddr::new(METADATA_ADDRESS.into(), 53)];
    }
    named
}

fn rules(plans: &Plans) -> Rules {
    let config = &plans.config;
    Rules {
        routes: config.routes.clone(),
        allow: config.allow.clone(),
        any_project: config.allow_projects.any,
        projects: config.allow_projects.numbers.clone(),
        hash: config.project_hash.clone(),
        by_grammar: plans.on_platform || plans.as_if_there,
    }
}
