//! What of this machine stands in the way.

use super::explain::STEP;
use super::report::Report;
use crate::cloudrun::URL_ZONE;
use crate::dns::{Original, ResolvConf, is_alive, look_up};
use crate::engine::base::{Base, Plans};
use crate::engine::bind;
use crate::engine::error::Error;
use crate::engine::mode::{Mode, Plan};
use crate::net::{OwnAddresses, block_on, deadline};
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

/// How names reach the app, and what keeps them from it.
pub(super) fn mode(report: &mut Report, plans: &Plans, plan: &Plan, nested: bool) {
    let detail = format!("{} mode", plan.mode);
    match (&plan.because, plans.foreign_proxy, plan.mode) {
        _ if nested => report.ok("mode", "off mode: a runsd is at work here already"),
        (Some(because), ..) => report.warn("mode", detail, because.clone()),
        (None, Some(variable), Mode::Proxy) => report.warn(
            "mode",
            format!("{detail}, but the environment names a proxy already ({variable})"),
            format!("unset {variable} for runsd, or let that proxy be: names will not lead here"),
        ),
        (None, ..) => report.ok("mode", detail),
    }
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
        [
            ("dns port", bind::dns(&config.dns_addrs, &own).map(|bound| bound.addresses)),
            ("proxy port", bind::proxy(&config.proxy_addrs, &own).map(|bound| bound.addresses)),
        ]
    })?;
    for (what, bound) in all {
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

/// Whether the full mode could write it.
pub(super) fn resolv_conf(report: &mut Report, plans: &Plans) {
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
            report.fail(
                "metadata",
                fault.to_string(),
                Some(
                    "on Cloud Run this passes; --region and --project say where we are without it, \
                     but tokens come from it alone"
                        .into(),
                ),
            );
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
