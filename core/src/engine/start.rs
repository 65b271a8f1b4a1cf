//! Starting: the best mode that works, and nothing left behind by one that
//! does not.

use super::admin::{self, Desk, Serving};
use super::base::{self, Base, Plans};
use super::bind;
use super::builder::Builder;
use super::error::{Error, ErrorKind};
use super::handle::{Engine, Facts, Shared};
use super::mode::{self, Mode};
use super::takeover::{self, Owned};
use crate::cloudrun::{METADATA_ADDRESS, METADATA_NAMES};
use crate::dns::{Original, ResolvConf};
use crate::net::{block_on, deadline};
use crate::settings::{Config, ModeChoice};
use crate::sys;
use crate::telemetry::{Counters, Log};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a start waits for the metadata server.
const PLACE: Duration = Duration::from_secs(2);

/// What there is to stop.
pub(super) struct Running {
    base: Base,
    resolv_conf: Option<Owned>,
    log: Log,
}

impl Running {
    /// Puts routes and allowed names in force, if they are sound.
    #[cfg(feature = "cli")]
    pub(super) fn reload(&self, config: Result<Config, Error>) {
        match config {
            Ok(Config { routes, allow, .. }) => {
                let (named, allowed) = (routes.len(), allow.len());
                self.base.directory.replace(routes, allow);
                self.log.info(
                    "engine",
                    format_args!("read again: {named} routes, {allowed} allowed names"),
                );
            }
            Err(error) => self.log.error(
                "engine",
                format_args!("routes and allowed names stay as they are: {error}"),
            ),
        }
    }

    /// Puts resolv.conf back, so that no new name leads here.
    pub(super) fn give_back(&mut self) {
        if let Some(owned) = self.resolv_conf.take() {
            owned.restore(&self.log);
        }
    }

    /// Puts resolv.conf back, and then ends everything else.
    pub(super) fn stop(mut self, drain: Duration) -> usize {
        self.give_back();
        let aborted = self.base.stop(drain);
        self.log.end();
        aborted
    }
}

/// One mode that works, before it is handed over.
pub(super) struct Ready {
    pub(super) base: Base,
    pub(super) resolv_conf: Option<Owned>,
    pub(super) dns_addrs: Vec<SocketAddr>,
    pub(super) proxy_addrs: Vec<SocketAddr>,
    pub(super) env: Vec<(String, String)>,
}

/// Starts an engine.
pub(super) fn start(builder: Builder) -> Result<Engine, Error> {
    sys::claim_process().map_err(Error::forked)?;
    let app_port = builder.app_port();
    // Ends, with every record told, when this start fails.
    let (plans, dispatcher) = builder.plans()?;
    let (facts, running) = choose(&plans, app_port)?;
    let watched =
        running.as_ref().map(|running| (running.base.tasks.clone(), running.base.failed.clone()));
    let shared = Shared::new(facts, running, dispatcher);
    if let Some((tasks, failed)) = watched {
        let told = Arc::downgrade(&shared);
        tasks.spawn("failure watch", async move {
            if let (Ok(cause), Some(shared)) = (failed.recv().await, told.upgrade()) {
                shared.fail(cause);
            }
        });
    }
    Ok(Engine::new(shared))
}

/// The best mode that works, running.
fn choose(plans: &Plans, app_port: Option<u16>) -> Result<(Facts, Option<Running>), Error> {
    let facts = mode::Facts { on_platform: plans.on_platform, app_port };
    let plan = mode::choose(&plans.config, facts);
    if plan.mode == Mode::Off {
        plans.log.debug("engine", format_args!("nothing to do here; the mode is off"));
        return Ok((idle(plans), None));
    }
    let (original, mode) = match takeover::original(plans) {
        Ok(original) => (original, plan.mode),
        Err(error) if plan.mode == Mode::Full => {
            if !may_give_way(&plans.config, &error) {
                return Err(error);
            }
            give_way(plans, &error)?;
            (Original::default(), Mode::Proxy)
        }
        // The other modes do without the file.
        Err(_) => (Original::default(), plan.mode),
    };
    if mode == Mode::Full {
        takeover::is_taken(&plans.config)?;
    }
    if takeover::is_nested(&plans.config, &original) {
        plans.log.debug("engine", format_args!("runsd is at work here already; the mode is off"));
        return Ok((idle(plans), None));
    }
    base::tell_assumed_nameserver(plans, &ResolvConf::parse(&original.bytes));
    if mode == Mode::Proxy || !plans.config.dns {
        takeover::recover(plans, &original);
    }
    if let Some(because) = &plan.because {
        give_way(plans, because)?;
    }
    if mode == Mode::Proxy {
        return fallback(plans, &original);
    }
    match full(plans, &original) {
        Ok(ready) => run(ready, Mode::Full, plans),
        Err(error) if may_give_way(&plans.config, &error) => {
            takeover::recover(plans, &original);
            give_way(plans, &error)?;
            fallback(plans, &original)
        }
        Err(error) => Err(error),
    }
}

/// The proxy mode, unless the user has switched off what it consists of.
fn fallback(plans: &Plans, original: &Original) -> Result<(Facts, Option<Running>), Error> {
    if plans.config.proxy {
        return proxy(plans, original).and_then(|ready| run(ready, Mode::Proxy, plans));
    }
    let text = "there is no full mode here, and the proxy is switched off (--proxy off): names of \
                services lead nowhere";
    if plans.config.strict {
        return Err(Error::new(ErrorKind::State, text));
    }
    plans.log.warn("engine", format_args!("{text}"));
    Ok((idle(plans), None))
}

fn idle(plans: &Plans) -> Facts {
    if let Some(address) = plans.config.admin_addr {
        plans.log.warn(
            "engine",
            format_args!(
                "the mode is off, so nothing is served, and no admin endpoint at {address}"
            ),
        );
    }
    Facts {
        mode: Mode::Off,
        dns_addrs: Vec::new(),
        proxy_addrs: Vec::new(),
        env: Vec::new(),
        counters: Arc::<Counters>::default(),
        admin_addr: None,
        desk: Desk::default(),
    }
}

/// Whether the proxy mode may take the full mode's place: not where the user
/// asked for the full one, nor for a mistake in the settings.
fn may_give_way(config: &Config, error: &Error) -> bool {
    let passing = matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::Permission | ErrorKind::Io | ErrorKind::ResolvConf
    );
    passing && config.mode == ModeChoice::Auto
}

/// Says why there is no full mode; with `strict` that is the end.
fn give_way(plans: &Plans, because: &dyn std::fmt::Display) -> Result<(), Error> {
    if plans.config.strict {
        let text = format!("no full mode: {because}");
        return Err(Error::new(ErrorKind::Io, text));
    }
    plans.log.warn(
        "engine",
        format_args!(
            "proxy mode instead of full mode: {because}. The app is told of the proxy by \
             http_proxy, which Java and Node's fetch (without NODE_USE_ENV_PROXY=1) ignore"
        ),
    );
    Ok(())
}

/// DNS, resolv.conf and the proxy on port 80.
fn full(plans: &Plans, original: &Original) -> Result<Ready, Error> {
    let base = Base::start(plans, &ResolvConf::parse(&original.bytes))?;
    let taken =
        base.prepare_tls(&plans.config).and_then(|()| takeover::full(plans, original, &base));
    match taken {
        Ok((resolv_conf, dns_addrs, proxy_addrs)) => {
            Ok(Ready { base, resolv_conf, dns_addrs, proxy_addrs, env: Vec::new() })
        }
        Err(error) => {
            base.stop(Duration::ZERO);
            Err(error)
        }
    }
}

/// The proxy alone, of which the app is told by its environment.
fn proxy(plans: &Plans, original: &Original) -> Result<Ready, Error> {
    let config = &plans.config;
    if let Some(name) = plans.foreign_proxy {
        let text = format!(
            "the environment already names a proxy ({name}), which is left as it is: names of \
             services will not lead to runsd"
        );
        if config.strict {
            return Err(Error::new(ErrorKind::State, text));
        }
        plans.log.warn("engine", format_args!("{text}"));
    }
    let base = Base::start(plans, &ResolvConf::parse(&original.bytes))?;
    match listen(plans, &base) {
        Ok(proxy_addrs) => {
            let env = match proxy_addrs.first() {
                Some(address) if plans.foreign_proxy.is_none() => proxy_env(plans, *address),
                _ => Vec::new(),
            };
            Ok(Ready { base, resolv_conf: None, dns_addrs: Vec::new(), proxy_addrs, env })
        }
        Err(error) => {
            base.stop(Duration::ZERO);
            Err(error)
        }
    }
}

fn listen(plans: &Plans, base: &Base) -> Result<Vec<SocketAddr>, Error> {
    let config = &plans.config;
    // A port of the kernel's choice cannot be in anybody's way.
    let wanted = if config.proxy_addrs == Config::default().proxy_addrs {
        vec![SocketAddr::from(([127, 0, 0, 1], 0))]
    } else {
        config.proxy_addrs.clone()
    };
    let own = base.own.clone();
    let bound = base.on_engine(move || bind::proxy(&wanted, &own))??;
    base.prepare_tls(config)?;
    if plans.on_platform && config.strict {
        await_place(plans, base)?;
    }
    base.proxy(plans, true).serve(bound.listeners);
    Ok(bound.addresses)
}

/// What tells an app of the proxy. Loopback and the metadata server stay its own.
fn proxy_env(plans: &Plans, address: SocketAddr) -> Vec<(String, String)> {
    let url = format!("http://{address}");
    let mut direct: Vec<String> = plans.no_proxy.iter().cloned().collect();
    direct.extend(["localhost", "127.0.0.1", "::1", "metadata"].map(str::to_owned));
    direct.push(METADATA_ADDRESS.to_string());
    direct.extend(METADATA_NAMES.iter().map(|name| (*name).to_owned()));
    let direct = direct.join(",");
    [("http_proxy", &url), ("HTTP_PROXY", &url), ("no_proxy", &direct), ("NO_PROXY", &direct)]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
}

/// Waits for a while to learn where we are.
pub(super) fn await_place(plans: &Plans, base: &Base) -> Result<(), Error> {
    if plans.config.access_log {
        // So that the first records have their traces too.
        let _ = block_on(deadline(PLACE, base.traces.settled()));
    }
    if block_on(deadline(PLACE, base.place.settled())).is_ok() {
        return Ok(());
    }
    let missing = base.place.both().err().unwrap_or_default();
    if plans.config.strict {
        return Err(Error::new(ErrorKind::Metadata, format!("not known where we run: {missing}")));
    }
    plans.log.warn(
        "engine",
        format_args!(
            "not known yet where we run: {missing}. The app starts; requests to services wait \
             until it is known. --region and --project say it without the metadata server"
        ),
    );
    Ok(())
}

fn run(ready: Ready, mode: Mode, plans: &Plans) -> Result<(Facts, Option<Running>), Error> {
    let Ready { base, resolv_conf, dns_addrs, proxy_addrs, env } = ready;
    let (desk, counters) = (Desk::default(), base.counters.clone());
    let serving = Serving { mode, dns_addrs: &dns_addrs, proxy_addrs: &proxy_addrs };
    let served = admin::serve(plans, &base, &desk, &serving);
    let running = Running { base, resolv_conf, log: plans.log.clone() };
    let admin_addr = match served {
        Ok(address) => address,
        Err(error) => {
            running.stop(Duration::ZERO);
            return Err(error);
        }
    };
    plans.log.info(
        "engine",
        format_args!("{mode} mode; DNS on {dns_addrs:?}, the proxy on {proxy_addrs:?}"),
    );
    if let Some(address) = admin_addr {
        plans.log.info("engine", format_args!("the admin endpoint is at http://{address}/"));
    }
    let facts = Facts { mode, dns_addrs, proxy_addrs, env, counters, admin_addr, desk };
    Ok((facts, Some(running)))
}
