//! Starting: the best mode that works, and nothing left behind by one that
//! does not.

use super::admin::{self, Desk, Serving};
use super::base::{self, Base, Plans};
use super::bind;
use super::builder::Builder;
use super::error::{Error, ErrorKind};
use super::handle::{Engine, Facts, Shared};
use super::mode::{self, Mode};
use super::takeover::{self, Owned, Predecessor};
use crate::cloudrun::{METADATA_ADDRESS, METADATA_NAMES};
use crate::dns::{Original, ResolvConf};
use crate::net::{Hurry, block_on, deadline};
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

    /// What starts a task in it.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> crate::net::Tasks {
        self.base.tasks.clone()
    }

    /// The means to shorten a stop that is under way.
    pub(super) fn hurry(&self) -> Hurry {
        self.base.drain.hurry()
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
    if let Some(parent) = sys::forked_from() {
        return Err(Error::forked(parent));
    }
    // Ends, with every record told, when this start fails.
    let (plans, dispatcher) = builder.plans()?;
    let (facts, running) = choose(&plans)?;
    // One that has nothing to do has touched nothing; but what fails on Cloud
    // Run, a start in a child, is to fail at home too.
    sys::claim_process().map_err(Error::forked)?;
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
fn choose(plans: &Plans) -> Result<(Facts, Option<Running>), Error> {
    let facts = mode::Facts { on_platform: plans.on_platform, app_port: plans.app_port };
    let plan = mode::choose(&plans.config, facts);
    if plan.mode == Mode::Off {
        plans.log.debug("engine", format_args!("nothing to do here; the mode is off"));
        return Ok((idle(plans), None));
    }
    let mut because = plan.because;
    let original = match takeover::original(plans) {
        Ok(original) => original,
        Err(error) if plan.mode == Mode::Full => {
            because = Some(gives_way(&plans.config, error)?);
            Original::default()
        }
        // The other modes do without the file.
        Err(_) => Original::default(),
    };
    let full_mode = plan.mode == Mode::Full && because.is_none();
    if full_mode {
        takeover::is_taken(&plans.config)?;
    }
    let predecessor = takeover::predecessor(&original);
    if predecessor == Predecessor::AtWork {
        plans.log.debug("engine", format_args!("runsd is at work here already; the mode is off"));
        return Ok((idle(plans), None));
    }
    base::tell_assumed_nameserver(plans, &ResolvConf::parse(&original.bytes));
    if full_mode {
        if !takeover::rewrites(&plans.config) {
            takeover::recover(plans, &original, predecessor);
        }
        match full(plans, &original) {
            Ok(ready) => return run(ready, Mode::Full, plans),
            Err(error) => because = Some(gives_way(&plans.config, error)?),
        }
    }
    takeover::recover(plans, &original, predecessor);
    instead(plans, &original, because.as_deref())
}

/// Why the proxy mode takes the full mode's place.
///
/// # Errors
/// The same error where it may not: the user asked for the full mode, or has
/// made a mistake in the settings.
fn gives_way(config: &Config, error: Error) -> Result<String, Error> {
    let passing = matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::Permission | ErrorKind::Io | ErrorKind::ResolvConf
    );
    if passing && config.mode == ModeChoice::Auto { Ok(error.to_string()) } else { Err(error) }
}

/// The proxy mode, unless the user has switched off what it consists of;
/// `because`: why there is no full mode, if one was to be had.
fn instead(
    plans: &Plans,
    original: &Original,
    because: Option<&str>,
) -> Result<(Facts, Option<Running>), Error> {
    if let (true, Some(because)) = (plans.config.strict, because) {
        return Err(Error::new(ErrorKind::Io, format!("no full mode: {because}")));
    }
    if plans.config.proxy {
        let ready = proxy(plans, original, because)?;
        return run(ready, Mode::Proxy, plans);
    }
    let because = because.map(|because| format!(": {because}")).unwrap_or_default();
    let text = format!(
        "names of services lead nowhere: the proxy is switched off (--proxy off), and there is no \
         full mode here{because}"
    );
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

/// DNS, resolv.conf and the proxy on port 80.
fn full(plans: &Plans, original: &Original) -> Result<Ready, Error> {
    let base = Base::start(plans, &ResolvConf::parse(&original.bytes))?;
    let taken = base.prepare_tls(&plans.config).and_then(|()| takeover::full(plans, &base));
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
fn proxy(plans: &Plans, original: &Original, because: Option<&str>) -> Result<Ready, Error> {
    let base = Base::start(plans, &ResolvConf::parse(&original.bytes))?;
    let listening = listen(plans, &base, because.is_some())
        .and_then(|addresses| tell_proxy(plans, because, &addresses).map(|()| addresses));
    match listening {
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

/// Says in one line why there is no full mode, and whom the proxy will not
/// reach; nothing, where the app is told of the proxy and that was wanted.
///
/// # Errors
/// With `strict`, that the environment already names a proxy.
fn tell_proxy(plans: &Plans, because: Option<&str>, addresses: &[SocketAddr]) -> Result<(), Error> {
    const DEAF: &str = "Java and Node's fetch (without NODE_USE_ENV_PROXY=1)";
    let instead = because.map(|because| format!("proxy mode instead of full mode: {because}. "));
    let instead = instead.unwrap_or_default();
    let Some(name) = plans.foreign_proxy else {
        if because.is_some() {
            let told = "The app is told of the proxy by http_proxy, which";
            plans.log.warn("engine", format_args!("{instead}{told} {DEAF} ignore"));
        }
        return Ok(());
    };
    let address = addresses.first().map(|address| format!(" (http://{address})"));
    let text = format!(
        "{instead}The environment already names a proxy ({name}), which is left as it is: names \
         of services lead to runsd only in clients that are pointed at its own proxy{}. {DEAF} \
         heed no such variable at all",
        address.unwrap_or_default()
    );
    if plans.config.strict {
        return Err(Error::new(ErrorKind::State, text));
    }
    plans.log.warn("engine", format_args!("{text}"));
    Ok(())
}

/// Binds and serves. Where proxy mode is second best (`gives_way`), a port that
/// was asked for may be what stood in the way: then any other will do.
fn listen(plans: &Plans, base: &Base, gives_way: bool) -> Result<Vec<SocketAddr>, Error> {
    let config = &plans.config;
    // A port of the kernel's choice cannot be in anybody's way.
    let any = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mut wanted = config.proxy_addrs.clone();
    if gives_way {
        wanted.retain(|address| Some(address.port()) != plans.app_port);
    }
    if wanted.is_empty() || config.proxy_addrs == Config::default().proxy_addrs {
        wanted.clone_from(&any);
    }
    let bind = |wanted: Vec<SocketAddr>| {
        let own = base.own.clone();
        base.on_engine(move || bind::proxy(&wanted, &own))?
    };
    let bound = match bind(wanted) {
        Err(_) if gives_way => bind(any)?,
        bound => bound?,
    };
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
    let settled = async {
        base.place.settled().await;
        if plans.config.access_log {
            // So that the first records have their traces too.
            base.traces.settled().await;
        }
    };
    let _ = block_on(deadline(PLACE, settled));
    let Err(missing) = base.place.both() else { return Ok(()) };
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
        Err(error) if plans.config.strict || !plans.by_command => {
            running.stop(Duration::ZERO);
            return Err(error);
        }
        // What is only looked at costs no app the names of services.
        Err(error) => {
            plans.log.warn("engine", format_args!("there is no admin endpoint: {error}"));
            None
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_silent_metadata_server_is_waited_for_once_whatever_is_asked_of_it() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = silent.local_addr().unwrap().to_string();
        let took = || {
            let builder = Engine::builder()
                .environment(|name| (name == "K_SERVICE").then(|| "me".into()))
                .set("mode", "proxy")
                .set("strict", "true")
                .set("access_log", "true")
                .set("metadata_host", &host);
            let begun = Instant::now();
            let error = builder.start().map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Metadata, "{error}");
            begun.elapsed()
        };
        // A busy machine delays one start or two; what waits twice is never in time.
        let in_time = (0..5).find_map(|_| Some(took()).filter(|took| *took < PLACE * 2));
        assert!(in_time.is_some_and(|took| took >= PLACE), "{in_time:?}");
    }
}
