//! What of this machine stands in the way.

use super::explain::STEP;
use super::report::Report;
use crate::cloudrun::URL_ZONE;
use crate::dns::{Original, ResolvConf, is_alive, look_up};
use crate::engine::base::{Base, Plans};
use crate::engine::bind;
use crate::engine::error::Error;
use crate::engine::mode::{Mode, Plan};
use crate::engine::takeover;
use crate::net::{OwnAddresses, block_on, deadline};
use crate::settings::{Config, ModeChoice};
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

pub(super) fn platform(report: &mut Report, plans: &Plans) {
    if plans.on_platform {
        report.ok("platform", "Cloud Run, by its environment variables");
    } else if plans.config.routes.is_empty() {
        report.warn(
            "platform",
            "not Cloud Run (none of its environment variables is set), and there is no route",
            format!(
                "here only names with a route lead anywhere, as in --route \
                 hello=http://localhost:8081 or --route \
                 hello=https://hello-PROJECTNUMBER.REGION.{URL_ZONE}; on Cloud Run nothing needs to \
                 be set"
            ),
        );
    } else {
        let routes = plans.config.routes.iter().map(|route| route.name());
        let routes = routes.collect::<Vec<_>>().join(", ");
        report.ok("platform", format!("not Cloud Run; routes: {routes}"));
    }
}

/// The mode that a start would take here, and why it is not the full one: what
/// `plan` says, where it has a reason, gives way as [`start`](crate::engine::start)
/// does.
pub(super) fn mode(report: &mut Report, plans: &Plans, plan: &Plan) {
    let taken = match (&plan.because, plan.mode) {
        (None, mode) => plain(report, plans, mode),
        (Some(because), _) => instead(report, plans, because),
    };
    let taken = taken.map_or("none".to_owned(), |mode| mode.to_string());
    report.fact("mode", taken);
}

/// One that is taken as it was chosen.
fn plain(report: &mut Report, plans: &Plans, mode: Mode) -> Option<Mode> {
    let detail = format!("{mode} mode");
    let Some(variable) = plans.foreign_proxy.filter(|_| mode == Mode::Proxy) else {
        report.ok("mode", detail);
        return Some(mode);
    };
    let detail = format!("{detail}, but the environment names a proxy already ({variable})");
    let remedy =
        format!("unset {variable} for runsd, or let that proxy be: names will not lead here");
    if plans.config.strict {
        report.fail("mode", format!("none, by --strict: {detail}"), Some(remedy));
        return None;
    }
    report.warn("mode", detail, remedy);
    Some(mode)
}

/// What comes where the full mode cannot be had.
fn instead(report: &mut Report, plans: &Plans, because: &str) -> Option<Mode> {
    let Config { mode, strict, proxy, .. } = plans.config;
    let insisted = match (mode, strict) {
        (ModeChoice::Full, _) => Some("--mode full"),
        (_, true) => Some("--strict"),
        _ => None,
    };
    if let Some(option) = insisted {
        let detail = format!("none: runsd does not start, by {option}: {because}");
        let remedy = format!("mend that, or leave {option} out: then another mode takes its place");
        report.fail("mode", detail, Some(remedy));
        return None;
    }
    if !proxy {
        let detail = format!("off mode instead of full mode: {because}");
        let remedy =
            "mend that, or leave --proxy off out: as it is, names of services lead nowhere";
        report.warn("mode", detail, remedy);
        return Some(Mode::Off);
    }
    let detail = format!("proxy mode instead of full mode: {because}");
    let remedy = match plans.foreign_proxy {
        Some(variable) => format!(
            "mend that, or unset {variable} for runsd: the environment names a proxy already, and \
             names will not lead here"
        ),
        None => "the app is told of the proxy by http_proxy, which Java and Node's fetch (without \
                 NODE_USE_ENV_PROXY=1) ignore"
            .to_owned(),
    };
    report.warn("mode", detail, remedy);
    Some(Mode::Proxy)
}

/// Asks the runsd that is at work here, as an app's resolver does.
pub(super) fn dns_path(
    report: &mut Report,
    plans: &Plans,
    original: &Original,
    name: Option<&str>,
) {
    let Some(marker) = &original.marked else { return };
    let server = SocketAddr::new(marker.nameserver, 53);
    let zone = &plans.config.domain;
    let bare = crate::names::normal(name.unwrap_or("a-service"));
    let full = if bare.ends_with(&format!(".{zone}")) { bare } else { format!("{bare}.{zone}") };
    let remedy = "see runsd's own log lines in this container: it says why";
    match look_up(server, &full, STEP) {
        Ok(addresses) if addresses.iter().any(|address| address.is_loopback()) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            report.ok("dns path", format!("{server} says {full} is {}", list.join(", ")));
        }
        Ok(_) => report.fail(
            "dns path",
            format!("{server} knows no {full}"),
            Some("is it the name of a service? runsd explain NAME tells".into()),
        ),
        Err(error) => report.fail(
            "dns path",
            format!("the runsd at {server} does not answer for {full}: {error}"),
            Some(remedy.into()),
        ),
    }
}

/// Binds what the full mode would, for a moment.
pub(super) fn ports(report: &mut Report, plans: &Plans, base: &Base) -> Result<(), Error> {
    let own = OwnAddresses::default();
    let config = plans.config.clone();
    let list = |addresses: &[SocketAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let all = base.on_engine(move || {
        let dns = config.dns.then(|| bind::dns(&config.dns_addrs, &own));
        let proxy = config.proxy.then(|| bind::proxy(&config.proxy_addrs, &own));
        [
            ("dns port", dns.map(|bound| bound.map(|bound| bound.addresses))),
            ("proxy port", proxy.map(|bound| bound.map(|bound| bound.addresses))),
        ]
    })?;
    for (what, bound) in all.into_iter().filter_map(|(what, bound)| Some((what, bound?))) {
        match bound {
            Ok(addresses) => report.ok(what, format!("{} can be had", list(&addresses))),
            Err(error) => report.warn(
                what,
                error.to_string(),
                "without it runsd runs in proxy mode, which the app must heed (http_proxy)",
            ),
        }
    }
    Ok(())
}

/// Whether the full mode could write it, where it would.
pub(super) fn resolv_conf(report: &mut Report, plans: &Plans) {
    if !takeover::rewrites(&plans.config) {
        return;
    }
    let path = &plans.config.resolv_conf;
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => report.ok("resolv.conf", format!("{} can be written", path.display())),
        Err(error) => report.warn(
            "resolv.conf",
            format!("{} cannot be written: {error}", path.display()),
            "run as root with a writable /etc, or let the app heed http_proxy in proxy mode",
        ),
    }
}

/// Asks every nameserver something that only the world can answer.
pub(super) fn nameservers(report: &mut Report, plans: &Plans, resolv_conf: &ResolvConf) {
    let path = plans.config.resolv_conf.display();
    let asked: Vec<SocketAddr> = if plans.config.nameservers.is_empty() {
        resolv_conf.nameservers.iter().map(|address| SocketAddr::new(*address, 53)).collect()
    } else {
        plans.config.nameservers.clone()
    };
    if asked.is_empty() {
        let detail = format!("{path} names none");
        return report.warn("nameserver", detail, "name one with --nameserver");
    }
    for server in asked {
        // Any answer will do, and nobody else has one to this name.
        match is_alive(server, URL_ZONE, STEP) {
            Ok(()) => report.ok("nameserver", format!("{server} answers")),
            Err(error) => report.fail(
                "nameserver",
                format!("{server} does not answer: {error}"),
                Some("check the network; or name another with --nameserver".into()),
            ),
        }
    }
}

/// The metadata server, and what time it is there; `None` where none answers.
pub(super) fn metadata(
    report: &mut Report,
    plans: &Plans,
    base: &Base,
) -> Option<Option<SystemTime>> {
    if !plans.on_platform {
        return None;
    }
    let start = Instant::now();
    let host = base.metadata.host();
    match block_on(base.metadata.clock()) {
        Ok(date) => {
            let took = start.elapsed().as_millis();
            report.ok("metadata", format!("{host} answers, in {took} ms"));
            Some(date)
        }
        Err(fault) => {
            let alone = "--region and --project say where we are without it, but tokens come from \
                         it alone";
            let passes = if fault.is_final() { "" } else { "on Cloud Run this passes; " };
            report.fail("metadata", fault.to_string(), Some(format!("{passes}{alone}")));
            None
        }
    }
}

/// Who calls, elsewhere than on Cloud Run.
pub(super) fn credentials(report: &mut Report, plans: &Plans) {
    if plans.fixed_token.is_some() {
        return report.warn(
            "credentials",
            "the variable CLOUD_RUN_ID_TOKEN gives one token for every audience",
            "unset it unless it is meant: a token is good for an hour and for one service",
        );
    }
    if plans.on_platform {
        if plans.credentials.is_named() {
            report.warn(
                "credentials",
                "a credentials file is named in the environment, which runsd does not use here: \
                 on Cloud Run the service's own account calls",
                "give the service that account (gcloud run services update --service-account=...)",
            );
        }
        return;
    }
    match plans.credentials.look() {
        Ok(login) => match login.advice {
            Some(advice) => report.warn("credentials", login.detail, advice),
            None => report.ok("credentials", login.detail),
        },
        Err((detail, remedy)) => report.warn("credentials", detail, remedy),
    }
}

/// Whose certificates are trusted.
pub(super) fn certificates(report: &mut Report, base: &Base) {
    match base.dialer.tls().trusted() {
        Ok(trusted) => report.ok("tls roots", trusted),
        Err(error) => report.fail(
            "tls roots",
            error.to_string(),
            Some("name a PEM file of certificates with --ca-file, or leave that out".into()),
        ),
    }
}

/// Where we are.
pub(super) fn place(report: &mut Report, plans: &Plans, base: &Base) {
    if plans.on_platform {
        let _ = block_on(deadline(STEP, base.place.settled()));
    }
    match base.place.both() {
        Ok((region, project)) => {
            report.ok("place", format!("region {region}, project {project}"));
            report.fact("region", region);
            report.fact("project", project);
        }
        Err(missing) if plans.on_platform => {
            report.fail("place", missing, Some("set --region and --project".into()));
        }
        // Routes lead where they lead from anywhere.
        Err(_) => {}
    }
}
