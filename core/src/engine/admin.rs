//! The admin endpoint's pages: what each says, gathered from the rooms.

use super::base::{Base, Plans};
use super::bind;
use super::effective;
use super::error::Error;
use super::mode::Mode;
use crate::control::{Action, Admin, Deed, Page};
use crate::net::{Clock, SystemClock};
use crate::telemetry::{CONTENT_TYPE, Exposition};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What is said where nothing but the page's existence is of interest.
const TEXT: &str = "text/plain; charset=utf-8";

/// What the endpoint and the handle both know.
#[derive(Clone, Default)]
pub(super) struct Desk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Why the engine has failed.
    failed: OnceLock<String>,
    /// The settings in force, as `/config` shows them.
    settings: Mutex<Value>,
    /// What `/quitquitquit` does, where it may.
    quit: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Desk {
    /// The engine has failed.
    pub(super) fn fail(&self, cause: &str) {
        let _ = self.0.failed.set(cause.to_owned());
    }

    /// These settings are in force now.
    pub(super) fn put_settings(&self, settings: Value) {
        *self.0.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Routes and allowed names have been read again.
    #[cfg(feature = "cli")]
    pub(super) fn replace_rules(&self, settings: &Value) {
        let mut shown = self.0.settings.lock().unwrap_or_else(PoisonError::into_inner);
        for key in ["routes", "allow"] {
            shown[key] = settings[key].clone();
        }
    }

    /// `/quitquitquit` may be asked, and does this.
    #[cfg(feature = "cli")]
    pub(super) fn when_asked_to_quit(&self, quit: impl Fn() + Send + Sync + 'static) {
        *self.0.quit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(quit));
    }

    fn quit(&self) -> Result<Deed, String> {
        let quit = self.0.quit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = "runsd ends with the command that it runs, or with the program that it is part \
                   of: end that";
        let quit = quit.ok_or_else(|| why.to_owned())?;
        Ok(Box::new(move || quit()))
    }

    fn settings(&self) -> Value {
        self.0.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where names are served, and how.
pub(super) struct Serving<'a> {
    pub(super) mode: Mode,
    pub(super) dns_addrs: &'a [SocketAddr],
    pub(super) proxy_addrs: &'a [SocketAddr],
}

/// Serves the endpoint, where one is configured, and says where.
pub(super) fn serve(
    plans: &Plans,
    base: &Base,
    desk: &Desk,
    serving: &Serving<'_>,
) -> Result<Option<SocketAddr>, Error> {
    desk.put_settings(effective::settings(&plans.said, plans.fixed_token.is_some()));
    let Some(wanted) = plans.config.admin_addr else { return Ok(None) };
    let own = base.own.clone();
    let (listener, address) = base.on_engine(move || bind::admin(wanted, &own))??;
    let pages = vec![
        Page {
            path: "/healthz",
            help: "whether this process answers",
            media: TEXT,
            text: Box::new(|| Ok("ok\n".to_owned())),
        },
        ready(plans, base, desk),
        metrics(base),
        config(plans, base, desk, serving),
    ];
    let quitting = desk.clone();
    let actions = vec![Action {
        path: "/quitquitquit",
        help: "ends runsd serve, in order",
        ready: Box::new(move || quitting.quit()),
    }];
    Admin::new(pages, actions, base.tasks.clone()).serve(listener);
    Ok(Some(address))
}

/// Names are served: they lead somewhere, and the end has not begun.
fn ready(plans: &Plans, base: &Base, desk: &Desk) -> Page {
    let (place, watch, desk) = (base.place.clone(), base.drain.watch(), desk.clone());
    let needs_place = plans.on_platform;
    let text = move || {
        if let Some(cause) = desk.0.failed.get() {
            return Err(format!("failed: {cause}"));
        }
        if watch.is_draining() {
            return Err("draining".to_owned());
        }
        match place.both() {
            Err(missing) if needs_place => Err(format!("not known yet where we run: {missing}")),
            _ => Ok("ready\n".to_owned()),
        }
    };
    let help = "whether names are served: 503 until it is known where we run, and while draining";
    Page { path: "/readyz", help, media: TEXT, text: Box::new(text) }
}

fn metrics(base: &Base) -> Page {
    let begun = SystemClock.wall();
    let since = begun.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (counters, forwarder) = (base.counters.clone(), base.forwarder.clone());
    let (cache, proxy) = (base.cache.clone(), base.proxy.get().cloned());
    let number = |count: usize| count as u64;
    let text = move || {
        let mut out = Exposition::default();
        let tls = crate::net::TLS_LIBRARY;
        let labels: &[(&str, &str)] = &[("version", crate::VERSION), ("tls", tls)];
        out.gauge("build_info", "What runs here.", &[(labels, 1)]);
        let help = "When the engine started, in seconds since 1970.";
        out.gauge("start_time_seconds", help, &[(&[], since)]);
        counters.expose(&mut out);
        let (names, bytes) = forwarder.remembered();
        out.gauge("dns_cache_entries", "Names in the DNS cache.", &[(&[], number(names))]);
        out.gauge("dns_cache_bytes", "Memory of the DNS cache.", &[(&[], number(bytes))]);
        let (http1, http2) = proxy.as_ref().map(crate::proxy::Proxy::kept).unwrap_or_default();
        out.gauge(
            "upstream_connections_kept",
            "Connections to services that are kept: idle ones of HTTP/1.1, and all of HTTP/2.",
            &[(&[("http", "1")], number(http1)), (&[("http", "2")], number(http2))],
        );
        out.gauge(
            "token_cache_entries",
            "Audiences that are known.",
            &[(&[], number(cache.len()))],
        );
        Ok(out.into_text())
    };
    let help = "counters, latencies and caches, for Prometheus";
    Page { path: "/metrics", help, media: CONTENT_TYPE, text: Box::new(text) }
}

fn config(plans: &Plans, base: &Base, desk: &Desk, serving: &Serving<'_>) -> Page {
    let (place, desk) = (base.place.clone(), desk.clone());
    let on_platform = plans.on_platform;
    let addresses =
        |list: &[SocketAddr]| -> Value { list.iter().map(ToString::to_string).collect() };
    let facts = serde_json::json!({
        "version": crate::VERSION,
        "mode": serving.mode.to_string(),
        "dns_addrs": addresses(serving.dns_addrs),
        "proxy_addrs": addresses(serving.proxy_addrs),
    });
    let text = move || {
        let mut page = facts.clone();
        page["settings"] = desk.settings();
        if on_platform {
            effective::detect(&mut page["settings"], &place);
        }
        let text = serde_json::to_string_pretty(&page).map_err(|error| error.to_string())?;
        Ok(text + "\n")
    };
    let help = "every setting in force, and who gave it";
    Page { path: "/config", help, media: "application/json", text: Box::new(text) }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
