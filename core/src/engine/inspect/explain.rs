//! What becomes of a name, step by step.

use super::report::{Report, Verdict};
use crate::auth::TokenError;
use crate::cloudrun::{RESERVED, unheard_region};
use crate::dns::ResolvConf;
use crate::engine::base::{Base, Plans};
use crate::engine::builder::Builder;
use crate::engine::error::Error;
use crate::engine::takeover;
use crate::names::{Directory, Grammar, Refusal, Target};
use crate::net::{Alpn, Secure, block_on, deadline};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How long each step may take: somebody is waiting.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// Follows `name` from what an app types to the service: the URL, the audience,
/// the header field, the address, the connection and the token. Blocks for at
/// most about 20 s; changes nothing. Works outside Cloud Run too: routes lead
/// where they do there, and every other name where it would lead on Cloud Run, as
/// far as settings say what the metadata server would.
///
/// # Errors
/// A mistake in the settings. What is wrong with the name is in the report.
pub fn explain(builder: Builder, name: &str) -> Result<Report, Error> {
    crate::sys::claim_process().map_err(Error::forked)?;
    let (plans, _log) = builder.plans()?;
    let mut report = Report::default();
    let name = match super::typed(name) {
        Ok(name) => name,
        Err((what, remedy)) => {
            report.fail("name", what, Some(remedy));
            return Ok(report);
        }
    };
    let plans = Plans { as_if_there: true, ..super::quiet(plans) };
    let original = takeover::original(&plans).unwrap_or_default();
    let base = Base::start(&plans, &ResolvConf::parse(&original.bytes))?;
    if spell(&mut report, &plans, name)
        && let Some(target) = place_and_target(&mut report, &plans, &base, name)
    {
        follow(&mut report, &base, &target);
        if report.verdict() < Verdict::Failure {
            uncalled(&mut report, name);
        }
    }
    base.stop(Duration::ZERO);
    Ok(report)
}

/// What the grammar reads in the name; whether that is a name.
fn spell(report: &mut Report, plans: &Plans, name: &str) -> bool {
    let grammar = Grammar::new(&plans.config.domain, RESERVED);
    let normal = crate::names::normal(name);
    let bare = grammar.bare(&normal);
    let mut routes = plans.config.routes.iter();
    if let Some(route) = routes.find(|route| grammar.bare(route.name()) == bare) {
        report.ok("name", format!("{:?} is a configured route", route.name()));
        report.fact("route", route.name());
        return true;
    }
    match grammar.parse(name) {
        Ok(parts) => {
            let mut text = format!("service {:?}", parts.service);
            let rest = [("tag", parts.tag), ("region", parts.region), ("project", parts.project)];
            for (what, part) in &rest {
                if let Some(part) = part {
                    text.push_str(&format!(", {what} {part:?}"));
                }
            }
            report.ok("name", text);
            report.fact("service", parts.service);
            for (what, part) in rest {
                part.into_iter().for_each(|part| report.fact(what, part));
            }
            if !plans.on_platform {
                report.warn(
                    "platform",
                    "not Cloud Run, and no route has this name: what follows is what would happen \
                     there",
                    format!(
                        "to call it from here: --route {bare}=http://localhost:PORT, or \
                         --route {bare}=URL of the service"
                    ),
                );
            }
            true
        }
        Err(rule) => {
            report.fail("name", format!("{name:?}: {rule}"), Some(spelling(plans, &normal)));
            false
        }
    }
}

/// What to do about a name that is none.
fn spelling(plans: &Plans, name: &str) -> String {
    format!(
        "names are [TAG---]SERVICE[.REGION[.PROJECT]][.{}]; any other needs a route, as in \
         --route {name}=https://HOST",
        plans.config.domain
    )
}

/// Where we are, and where the name leads from here.
pub(super) fn place_and_target(
    report: &mut Report,
    plans: &Plans,
    base: &Base,
    name: &str,
) -> Option<Arc<Target>> {
    let found = match base.directory.target(name) {
        Err(Refusal::Unsettled { .. }) if plans.on_platform => {
            let _ = block_on(deadline(STEP, base.place.settled()));
            base.directory.target(name)
        }
        found => found,
    };
    if let Ok((region, project)) = base.place.both() {
        report.ok("place", format!("region {region}, project {project}"));
        report.fact("region", region);
        report.fact("project", project);
    }
    match found {
        Ok(target) => {
            lead(report, &target);
            Some(target)
        }
        Err(Refusal::Unsettled { .. }) if !plans.on_platform => {
            report.fail(
                "url",
                format!("{name:?} is a service's own name, and here nothing says where we are"),
                Some("say it with --region REGION --project NUMBER, or give a --route".into()),
            );
            None
        }
        Err(refusal) => {
            let remedy = remedy(plans, &refusal);
            report.fail("url", refusal.to_string(), remedy);
            None
        }
    }
}

/// What to do about a refusal that does not say so itself.
fn remedy(plans: &Plans, refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Name { host, .. } if !plans.on_platform && !plans.as_if_there => Some(format!(
            "--route {host}=http://localhost:PORT for a program on this machine, or \
             --route {host}=URL for a service, whose URL is told by: gcloud run services describe \
             {host} --region=REGION --format='value(status.url)'"
        )),
        Refusal::Name { host, .. } => Some(spelling(plans, host)),
        _ => None,
    }
}

/// The URL, the audience and the header field.
fn lead(report: &mut Report, target: &Target) {
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", target.authority);
    match unheard_region(target) {
        Some((region, meant)) => {
            let detail = format!("{url}; {region} is no region that runsd has heard of");
            let meant = match meant {
                Some(meant) => format!("did you mean {meant}?"),
                None => "check its spelling.".to_owned(),
            };
            report.warn("url", detail, format!("{meant} A region newer than this runsd works too"));
        }
        None => report.ok("url", &url),
    }
    report.fact("url", url);
    let Some(audience) = &target.audience else {
        return report.ok("audience", "none: no token is sent there");
    };
    report.ok("audience", audience.to_string());
    report.fact("audience", audience);
    report.ok(
        "header",
        "Authorization: Bearer TOKEN; X-Serverless-Authorization where the app sends an \
         Authorization of its own",
    );
    report.fact("header", "Authorization");
}

/// From the URL to the service, and the token on its way.
fn follow(report: &mut Report, base: &Base, target: &Target) {
    match block_on(deadline(STEP, base.dialer.addresses(&target.host, target.port))) {
        Ok(Ok(addresses)) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            report.ok("address", list.join(", "));
            report.fact("addresses", list.join(","));
            connect(report, base, target);
        }
        Ok(Err(error)) => report.fail("address", error.to_string(), Some(unresolved())),
        Err(_) => report.fail(
            "address",
            format!("the nameservers do not answer for {}", target.host),
            Some("check the network; runsd doctor asks each nameserver".into()),
        ),
    }
    token(report, base, target);
}

/// What no step without a call can tell: the platform answers for every name
/// that its services could have.
fn uncalled(report: &mut Report, name: &str) {
    let detail = "not called: whether there is such a service, and lets the caller in";
    report.unknown("service", detail, format!("runsd doctor {name} makes a real call"));
}

fn unresolved() -> String {
    "check the service's name and region, and the network; runsd doctor asks each nameserver".into()
}

/// The connection; whether there is one.
pub(super) fn connect(report: &mut Report, base: &Base, target: &Target) -> bool {
    let secure = if target.tls { Secure::Tls(Alpn::Either) } else { Secure::No };
    let start = Instant::now();
    match block_on(base.dialer.dial(&target.host, target.port, secure)) {
        Ok(connected) => {
            let peer = connected.stream.tcp().peer_addr();
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            let took = start.elapsed().as_millis();
            let how = if target.tls { "TLS, certificate verified" } else { "in the clear" };
            report.ok("connection", format!("{peer}, {how}, {}, {took} ms", connected.protocol));
            report.fact("peer", peer);
            report.fact("protocol", connected.protocol);
            true
        }
        Err(error) => {
            let remedy = if target.tls {
                "check the network, firewalls and proxies on the way to port 443"
            } else {
                "is the program at work there, and listening on that port?"
            };
            report.fail("connection", error.to_string(), Some(remedy.into()));
            false
        }
    }
}

/// The token that a request would carry, and whom it proves.
pub(super) fn token(report: &mut Report, base: &Base, target: &Target) -> Option<String> {
    let audience = target.audience.as_ref()?;
    let source = base.source.origin();
    match block_on(base.tokens.token(audience)) {
        Ok(token) => {
            let now = SystemTime::now();
            let left = token.expires().duration_since(now).unwrap_or_default().as_secs();
            let age = token.issued().map(|at| now.duration_since(at).unwrap_or_default().as_secs());
            let whom = token.email().unwrap_or("an account that the token does not name");
            let aged = age.map(|age| format!("{age} s old, ")).unwrap_or_default();
            report.ok("token", format!("for {whom}, {aged}{left} s left"));
            token.email().into_iter().for_each(|email| report.fact("account", email));
            age.into_iter().for_each(|age| report.fact("age_seconds", age));
            report.fact("expires_in_seconds", left);
            report.ok("source", &source);
            report.fact("source", source);
            token.email().map(str::to_owned)
        }
        Err(TokenError { cause, .. }) => {
            // What to do stands at the end, where it is known.
            let (detail, remedy) = match cause.rsplit_once("; ") {
                Some((detail, remedy)) => (detail.to_owned(), Some(remedy.to_owned())),
                None => (cause, None),
            };
            report.fail("token", detail, remedy);
            report.fact("source", source);
            None
        }
    }
}
