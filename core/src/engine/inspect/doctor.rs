//! What of this machine and of one service stands in the way, in the order in
//! which it would.

use super::explain::{STEP, connect, place_and_target, token};
use super::machine;
use super::report::Report;
use crate::auth::IdToken;
use crate::cloudrun;
use crate::control::{CallError, Client, Reply};
use crate::dns::{Original, ResolvConf};
use crate::engine::base::{Base, Plans};
use crate::engine::builder::Builder;
use crate::engine::error::Error;
use crate::engine::mode::{self, Mode};
use crate::engine::takeover;
use crate::names::Target;
use crate::net::{Alpn, Clock, Secure, SystemClock, block_on};
use crate::sys;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Clocks that differ by more, in seconds, are worth a word, or refuse tokens.
const NOTICED: u64 = 30;
const HARMFUL: u64 = 300;

/// Looks at everything that an engine needs here: the platform, the ports,
/// resolv.conf and its nameservers, the metadata server or the credentials, the
/// trusted certificates, the clock and, with a `name`, a real call to that
/// service. Blocks for at most about 40 s; changes nothing, and listens for a
/// moment on the ports it would use.
///
/// # Errors
/// A mistake in the settings. Everything else is in the report.
pub fn diagnose(builder: Builder, name: Option<&str>) -> Result<Report, Error> {
    sys::claim_process().map_err(Error::forked)?;
    let (plans, _log) = builder.plans()?;
    let plans = super::quiet(plans);
    let mut report = Report::default();
    machine::platform(&mut report, &plans);
    // What the full mode needs, which decides about the mode, and stands behind it.
    let mut needs = Report::default();
    // A warning, as whatever else the proxy mode does without.
    let original = takeover::original(&plans).unwrap_or_else(|error| {
        let remedy = "name it with --resolv-conf, or the nameservers with --nameserver";
        needs.warn("resolv.conf", error.to_string(), remedy);
        Original::default()
    });
    let resolv_conf = ResolvConf::parse(&original.bytes);
    let base = Base::start(&plans, &resolv_conf)?;
    if takeover::predecessor(&original) == takeover::Predecessor::AtWork {
        report.ok("mode", "off mode: a runsd is at work here already");
        let name = name.and_then(|name| super::typed(name).ok());
        machine::dns_path(&mut needs, &plans, &original, name);
    } else {
        let facts = mode::Facts { on_platform: plans.on_platform, app_port: plans.app_port };
        let mut plan = mode::choose(&plans.config, facts);
        if plan.mode == Mode::Full {
            let readable = needs.findings.is_empty();
            machine::ports(&mut needs, &plans, &base)?;
            if readable {
                machine::resolv_conf(&mut needs, &plans);
            }
            plan.because = plan.because.or_else(|| needs.first_problem().map(str::to_owned));
        }
        machine::mode(&mut report, &plans, &plan);
    }
    report.findings.append(&mut needs.findings);
    machine::nameservers(&mut report, &plans, &resolv_conf);
    let date = machine::metadata(&mut report, &plans, &base);
    date.into_iter().for_each(|date| clock(&mut report, date, "the metadata server"));
    machine::credentials(&mut report, &plans);
    machine::certificates(&mut report, &base);
    match name.map(super::typed) {
        Some(Ok(name)) => service(&mut report, &plans, &base, name),
        Some(Err((what, remedy))) => report.fail("name", what, Some(remedy)),
        None => machine::place(&mut report, &plans, &base),
    }
    base.stop(Duration::ZERO);
    Ok(report)
}

/// One service: where its name leads, who we are there, and a real call.
fn service(report: &mut Report, plans: &Plans, base: &Base, name: &str) {
    let Some(target) = place_and_target(report, plans, base, name) else { return };
    let reached = connect(report, base, &target);
    let caller = token(report, base, &target);
    if !reached
        || (target.audience.is_some() && caller.is_none() && at_hand(base, &target).is_none())
    {
        return;
    }
    call(report, plans, base, &target, caller.as_deref());
}

/// The token that is at hand for it, if any.
fn at_hand(base: &Base, target: &Target) -> Option<Arc<IdToken>> {
    base.tokens.ready(target.audience.as_deref()?, SystemClock.moment())
}

/// A real call, and what its answer means.
fn call(report: &mut Report, plans: &Plans, base: &Base, target: &Target, caller: Option<&str>) {
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/", target.authority);
    let bearer =
        at_hand(base, target).map(|token| String::from_utf8_lossy(token.bearer()).into_owned());
    let headers: Vec<(&str, &str)> =
        bearer.iter().map(|value| ("Authorization", value.as_str())).collect();
    let client = Client::new(base.dialer.clone());
    match block_on(client.get(&url, &headers, STEP * 2)) {
        Ok(reply) if target.tls && cloudrun::wants_http2(reply.status) => {
            only_http2(report, &url, target);
        }
        Ok(reply) => {
            answer(report, &url, &reply, target, caller);
            if !plans.on_platform && target.tls {
                clock(report, reply.date(), "the service's front end");
            }
        }
        Err(error) if error == CallError::OnlyHttp2 || speaks_only_http2(base, target) => {
            only_http2(report, &url, target);
        }
        Err(error) => {
            let remedy = "see the logs of the service, and whether it answers others";
            report.fail("call", format!("GET {url}: {error}"), Some(remedy.into()));
        }
    }
}

/// It is there, and what it says to a call is for others to find out.
fn only_http2(report: &mut Report, url: &str, target: &Target) {
    report.unknown(
        "call",
        format!("GET {url}: it answers, in HTTP/2 alone, which this check does not speak"),
        format!(
            "let an app call it with the option --upstream-http 2, as in runsd --upstream-http 2 -- \
             curl http://{}/; a gRPC app speaks HTTP/2 by itself",
            target.name
        ),
    );
}

/// Whether a service over TLS that takes connections takes none for HTTP/1.1.
fn speaks_only_http2(base: &Base, target: &Target) -> bool {
    let takes = |alpn| {
        target.tls
            && block_on(base.dialer.dial(&target.host, target.port, Secure::Tls(alpn))).is_ok()
    };
    !takes(Alpn::Http1) && takes(Alpn::Http2)
}

/// What an answer means, which depends on whose it is.
fn answer(report: &mut Report, url: &str, reply: &Reply, target: &Target, caller: Option<&str>) {
    let status = reply.status;
    let detail = format!("GET {url} -> {status}");
    let challenge = reply.header("www-authenticate");
    let remedy = cloudrun::remedy(status, target, caller);
    let remedy = remedy.unwrap_or_else(|| "see the logs of the service".to_owned());
    let ours = target.tls && cloudrun::is_front_ends(status, challenge, &reply.body);
    if ours {
        let detail = format!("{detail}, by the front end: the service has seen nothing");
        report.fail("call", detail, Some(remedy));
    } else if status == 429 || status >= 500 {
        report.warn("call", detail, remedy);
    } else if status >= 400 {
        report.ok("call", format!("{detail}: the service was reached, and answers so itself"));
    } else {
        report.ok("call", detail);
    }
    report.fact("status", status);
    report.fact("answered_by", if ours { "front end" } else { "service" });
}

/// Compares the clocks: tokens live by them.
fn clock(report: &mut Report, theirs: Option<SystemTime>, whose: &str) {
    let Some(theirs) = theirs else {
        let detail = format!("{whose} does not say what time it is");
        return report.unknown("clock", detail, "compare this machine's with another's");
    };
    let now = SystemTime::now();
    let (apart, which) = match theirs.duration_since(now) {
        Ok(behind) => (behind, "behind"),
        Err(ahead) => (ahead.duration(), "ahead of"),
    };
    let seconds = apart.as_secs();
    let detail = format!("this machine's is {seconds} s {which} that of {whose}");
    let remedy = "set this machine's clock (NTP): tokens are judged by it";
    match seconds {
        0..=NOTICED => report.ok("clock", format!("agrees with that of {whose}")),
        seconds if seconds <= HARMFUL => report.warn("clock", detail, remedy),
        _ => report.fail("clock", detail, Some(remedy.into())),
    }
    report.fact("apart_seconds", seconds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::inspect::Verdict;

    #[test]
    fn a_clock_that_nobody_has_seen_does_not_agree() {
        let mut report = Report::default();
        clock(&mut report, None, "the metadata server");
        let [unknown] = &report.findings[..] else { panic!("{report}") };
        assert_eq!(unknown.verdict, Verdict::Unknown);
        assert!(unknown.detail.starts_with("the metadata server does not say"), "{report}");
    }
}
