//! What of this machine stands in the way, and what to do about it.

use super::explain::{STEP, place_and_target, token};
use super::report::Report;
use crate::cloudrun;
use crate::control::Client;
use crate::dns::{Original, ResolvConf, is_alive};
use crate::engine::base::{Base, Plans};
use crate::engine::bind;
use crate::engine::builder::Builder;
use crate::engine::error::Error;
use crate::engine::mode::{self, Mode};
use crate::engine::takeover;
use crate::names::Target;
use crate::net::{OwnAddresses, block_on};
use crate::sys;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::time::Duration;

/// Looks at everything that an engine needs here: the platform, the ports,
/// resolv.conf, the metadata server and, with a `name`, a real call to that
/// service. Blocks for at most about 30 s; changes nothing, and listens for a
/// moment on the ports it would use.
///
/// # Errors
/// A mistake in the settings. Everything else is in the report.
pub fn diagnose(builder: Builder, name: Option<&str>) -> Result<Report, Error> {
    sys::claim_process().map_err(Error::forked)?;
    let (plans, _log) = builder.plans()?;
    let mut report = Report::default();
    platform(&mut report, &plans);
    let original = takeover::original(&plans).unwrap_or_else(|error| {
        report.fail("resolv.conf", error.to_string(), None);
        Original::default()
    });
    let nested = takeover::predecessor(&original) == takeover::Predecessor::AtWork;
    let facts = mode::Facts { on_platform: plans.on_platform, app_port: plans.app_port };
    let plan = mode::choose(&plans.config, facts);
    match &plan.because {
        Some(because) => report.warn("mode", format!("{} mode", plan.mode), because.clone()),
        None => report.ok("mode", format!("{} mode", plan.mode)),
    }
    let resolv_conf = ResolvConf::parse(&original.bytes);
    let base = Base::start(&plans, &resolv_conf)?;
    if nested {
        report.ok("ports", "a runsd is at work here already");
    } else if plan.mode == Mode::Full {
        ports(&mut report, &plans, &base)?;
    }
    resolver(&mut report, &plans, &resolv_conf);
    let _ = block_on(crate::net::deadline(STEP, base.place.settled()));
    if plans.on_platform && base.place.both().is_err() {
        let missing = base.place.both().err().unwrap_or_default();
        report.fail("place", missing, Some("set --region and --project".into()));
    }
    if let Some(name) = name {
        if let Some(target) = place_and_target(&mut report, &base, name) {
            token(&mut report, &base, &target);
            call(&mut report, &base, &target);
        }
    } else if let Ok((region, project)) = base.place.both() {
        report.ok("place", format!("region {region}, project {project}"));
    }
    base.stop(Duration::ZERO);
    Ok(report)
}

fn platform(report: &mut Report, plans: &Plans) {
    if plans.on_platform {
        report.ok("platform", "Cloud Run, by its environment variables");
    } else {
        report.warn(
            "platform",
            "not Cloud Run: none of its environment variables is set",
            "here only names with a --route lead anywhere; on Cloud Run nothing needs to be set",
        );
    }
}

/// Binds what the full mode would, for a moment.
fn ports(report: &mut Report, plans: &Plans, base: &Base) -> Result<(), Error> {
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

fn resolver(report: &mut Report, plans: &Plans, resolv_conf: &ResolvConf) {
    let path = &plans.config.resolv_conf;
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => report.ok("resolv.conf", format!("{} can be written", path.display())),
        Err(error) => report.warn(
            "resolv.conf",
            format!("{} cannot be written: {error}", path.display()),
            "run as root with a writable /etc, or let the app heed http_proxy in proxy mode",
        ),
    }
    let asked: Vec<SocketAddr> = if plans.config.nameservers.is_empty() {
        resolv_conf.nameservers.iter().map(|address| SocketAddr::new(*address, 53)).collect()
    } else {
        plans.config.nameservers.clone()
    };
    if asked.is_empty() {
        let detail = format!("{} names none", path.display());
        return report.warn("nameserver", detail, "name one with --nameserver");
    }
    for server in asked {
        // Any answer will do, and nobody else has one to this name.
        match is_alive(server, cloudrun::URL_ZONE, STEP) {
            Ok(()) => report.ok("nameserver", format!("{server} answers")),
            Err(error) => report.fail(
                "nameserver",
                format!("{server} does not answer: {error}"),
                Some("name another with --nameserver".into()),
            ),
        }
    }
}

/// A real call, and what its answer means.
fn call(report: &mut Report, base: &Base, target: &Target) {
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/", target.authority);
    let bearer = target.audience.as_deref().and_then(|audience| base.tokens.ready(audience));
    let bearer = bearer.map(|token| String::from_utf8_lossy(token.bearer()).into_owned());
    let headers: Vec<(&str, &str)> =
        bearer.iter().map(|value| ("Authorization", value.as_str())).collect();
    let client = Client::new(base.dialer.clone());
    match block_on(client.get(&url, &headers, STEP * 2)) {
        Ok(reply) => {
            let detail = format!("GET {url} -> {}", reply.status);
            match cloudrun::meaning(reply.status) {
                None => report.ok("call", detail),
                Some(meaning) => report.warn("call", detail, meaning),
            }
        }
        Err(error) => report.fail("call", format!("GET {url}: {error}"), None),
    }
}
