//! What becomes of a name, step by step.

use super::report::Report;
use crate::cloudrun::RESERVED;
use crate::dns::ResolvConf;
use crate::engine::base::{Base, Plans};
use crate::engine::builder::Builder;
use crate::engine::error::Error;
use crate::engine::takeover;
use crate::names::{Directory, Grammar, Refusal, Target};
use crate::net::{Alpn, Secure, block_on, deadline};
use std::time::{Duration, Instant, SystemTime};

/// How long each step may take: somebody is waiting.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// Follows `name` from what an app types to the service: the URL, the audience,
/// the address, the connection and the token. Blocks for at most about 20 s;
/// changes nothing. Works outside Cloud Run too, as far as settings say what the
/// metadata server would.
///
/// # Errors
/// A mistake in the settings. What is wrong with the name is in the report.
pub fn explain(builder: Builder, name: &str) -> Result<Report, Error> {
    crate::sys::claim_process().map_err(Error::forked)?;
    let (plans, _log) = builder.plans()?;
    let mut report = Report::default();
    // What would happen there is what is asked for, wherever we are.
    let plans = Plans { on_platform: true, ..plans };
    let original = takeover::original(&plans).unwrap_or_default();
    let base = Base::start(&plans, &ResolvConf::parse(&original.bytes))?;
    spell(&mut report, &plans, name);
    if let Some(target) = place_and_target(&mut report, &base, name) {
        follow(&mut report, &base, &target);
    }
    base.stop(Duration::ZERO);
    Ok(report)
}

/// What the grammar reads in the name.
fn spell(report: &mut Report, plans: &Plans, name: &str) {
    let normal = crate::names::normal(name);
    if let Some(route) = plans.config.routes.iter().find(|route| route.name() == normal) {
        return report.ok("name", format!("{:?} is a configured route", route.name()));
    }
    match Grammar::new(&plans.config.domain, RESERVED).parse(name) {
        Ok(parts) => {
            let mut text = format!("service {:?}", parts.service);
            for (what, part) in
                [("tag", parts.tag), ("region", parts.region), ("project", parts.project)]
            {
                if let Some(part) = part {
                    text.push_str(&format!(", {what} {part:?}"));
                }
            }
            report.ok("name", text);
        }
        Err(rule) => report.fail("name", format!("{name:?}: {rule}"), None),
    }
}

/// Where we are, and where the name leads from here.
pub(super) fn place_and_target(
    report: &mut Report,
    base: &Base,
    name: &str,
) -> Option<std::sync::Arc<Target>> {
    let found = match base.directory.target(name) {
        Err(Refusal::Unsettled { .. }) => {
            let _ = block_on(deadline(STEP, base.place.settled()));
            base.directory.target(name)
        }
        found => found,
    };
    if let Ok((region, project)) = base.place.both() {
        report.ok("place", format!("region {region}, project {project}"));
    }
    match found {
        Ok(target) => {
            let scheme = if target.tls { "https" } else { "http" };
            report.ok("url", format!("{scheme}://{}", target.authority));
            match &target.audience {
                Some(audience) => report.ok("audience", audience.to_string()),
                None => report.ok("audience", "none: no token is sent there"),
            }
            Some(target)
        }
        Err(refusal) => {
            report.fail("url", refusal.to_string(), None);
            None
        }
    }
}

/// From the URL to the service, and the token on its way.
fn follow(report: &mut Report, base: &Base, target: &Target) {
    match block_on(deadline(STEP, base.dialer.addresses(&target.host, target.port))) {
        Ok(Ok(addresses)) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            report.ok("address", list.join(", "));
            connect(report, base, target);
        }
        Ok(Err(error)) => report.fail(
            "address",
            error.to_string(),
            Some("check the service's name and region, and the nameservers in resolv.conf".into()),
        ),
        Err(_) => report.fail("address", "the nameservers do not answer", None),
    }
    token(report, base, target);
}

fn connect(report: &mut Report, base: &Base, target: &Target) {
    let secure = if target.tls { Secure::Tls(Alpn::Either) } else { Secure::No };
    let start = Instant::now();
    match block_on(base.dialer.dial(&target.host, target.port, secure)) {
        Ok(connected) => {
            let peer = connected.stream.tcp().peer_addr();
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            let took = start.elapsed().as_millis();
            let how = if target.tls { "TLS, certificate verified" } else { "in the clear" };
            report.ok("connection", format!("{peer}, {how}, {}, {took} ms", connected.protocol));
        }
        Err(error) => report.fail("connection", error.to_string(), None),
    }
}

/// The token that a request would carry.
pub(super) fn token(report: &mut Report, base: &Base, target: &Target) {
    let Some(audience) = &target.audience else { return };
    match block_on(base.tokens.token(audience)) {
        Ok(token) => {
            let left = token.expires().duration_since(SystemTime::now()).unwrap_or_default();
            let whom = token.email().unwrap_or("an account that the token does not name");
            report.ok("token", format!("for {whom}, good for {} s", left.as_secs()));
            report.ok(
                "header",
                "Authorization; X-Serverless-Authorization where the app sends its own",
            );
        }
        Err(error) => report.fail("token", error.to_string(), None),
    }
}
