//! Which mode: a decision over facts, without looking at anything itself.

use crate::settings::{Config, ModeChoice};
use std::fmt;

/// How names reach the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Names resolve to the proxy through DNS; the app sees nothing else.
    Full,
    /// The app is told of the proxy by environment variables.
    Proxy,
    /// runsd does nothing.
    Off,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Full => "full",
            Mode::Proxy => "proxy",
            Mode::Off => "off",
        })
    }
}

/// What the decision rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The process runs on the platform.
    pub(super) on_platform: bool,
    /// The port that the app was told to listen on.
    pub(super) app_port: Option<u16>,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    /// Why it is less than the best, with the remedy, where that needs saying.
    pub(super) because: Option<String>,
}

impl Plan {
    fn plain(mode: Mode) -> Plan {
        Plan { mode, because: None }
    }
}

/// Picks the mode that is to be tried.
pub(super) fn choose(config: &Config, facts: Facts) -> Plan {
    match config.mode {
        ModeChoice::Off => return Plan::plain(Mode::Off),
        ModeChoice::Proxy => return Plan::plain(Mode::Proxy),
        ModeChoice::Full => return Plan::plain(Mode::Full),
        ModeChoice::Auto => {}
    }
    if !facts.on_platform {
        let configured =
            !config.routes.is_empty() || config.region.is_some() || config.project.is_some();
        return Plan::plain(if configured { Mode::Proxy } else { Mode::Off });
    }
    let proxy = config.proxy_addrs.iter().filter(|_| config.proxy);
    let dns = config.dns_addrs.iter().filter(|_| config.dns);
    let ours = proxy.chain(dns).map(|address| address.port());
    match facts.app_port.filter(|app| ours.into_iter().any(|port| port == *app && port != 0)) {
        Some(port) => Plan {
            mode: Mode::Proxy,
            because: Some(format!(
                "the app itself listens on port {port} (PORT={port}), which full mode needs; give \
                 the container another port to have names resolve without proxy variables"
            )),
        },
        None => Plan::plain(Mode::Full),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(config: &Config, on_platform: bool, app_port: Option<u16>) -> Mode {
        choose(config, Facts { on_platform, app_port }).mode
    }

    #[test]
    fn the_table_of_modes() {
        let none = Config::default();
        assert_eq!(chosen(&none, true, Some(8080)), Mode::Full);
        assert_eq!(chosen(&none, true, Some(80)), Mode::Proxy);
        assert_eq!(chosen(&none, true, Some(53)), Mode::Proxy);
        assert_eq!(chosen(&none, false, None), Mode::Off);
        let region = Config { region: Some("us-east1".into()), ..Config::default() };
        assert_eq!(chosen(&region, false, None), Mode::Proxy);
        assert_eq!(chosen(&region, true, None), Mode::Full);
        let without = Config { proxy: false, ..Config::default() };
        assert_eq!(chosen(&without, true, Some(80)), Mode::Full);
        let off = Config { mode: ModeChoice::Off, ..Config::default() };
        assert_eq!(chosen(&off, true, None), Mode::Off);
        let full = Config { mode: ModeChoice::Full, ..Config::default() };
        assert_eq!(chosen(&full, false, Some(80)), Mode::Full);
    }

    #[test]
    fn a_port_of_the_app_is_named() {
        let plan = choose(&Config::default(), Facts { on_platform: true, app_port: Some(80) });
        assert!(plan.because.is_some_and(|why| why.contains("PORT=80")));
    }
}
