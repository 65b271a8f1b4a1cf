//! The table: every setting, once.

use super::config::{Config, LogFormat, ModeChoice, ResolvConfMode, UpstreamHttp};
use super::values;
use crate::telemetry::Level;

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A flag that takes no value; elsewhere `true` or `false`.
    Flag,
    /// One value, with the name that help gives it.
    Value(&'static str),
    /// Any number of values; the plural key takes a JSON array or commas.
    List {
        /// The name that help gives a value.
        value: &'static str,
        /// The key that takes them all.
        plural: &'static str,
    },
}

/// Who has a use for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every caller.
    Engine,
    /// The command line alone: it concerns the child process.
    Process,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Setting {
    /// `foo_bar`: the key of the JSON file and of every language; the flag is
    /// `--foo-bar`, the environment variable `RUNSD_FOO_BAR`.
    pub key: &'static str,
    /// How it is written.
    pub form: Form,
    /// Who has a use for it.
    pub scope: Scope,
    /// One sentence.
    pub help: &'static str,
    /// What holds when nothing is said.
    pub default: &'static str,
    /// Checks the values and puts them in place. Lists get every value; the
    /// others exactly one. The error is half a sentence about the value.
    pub apply: fn(&mut Config, &[String]) -> Result<(), String>,
}

impl Setting {
    /// `--foo-bar`, without the dashes.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `RUNSD_FOO_BAR`, for a list `RUNSD_FOO_BARS`.
    pub fn variable(&self) -> String {
        format!("RUNSD_{}", self.long_key().to_ascii_uppercase())
    }

    /// The words that are its only values; none where anything else may stand.
    pub fn choices(&self) -> Vec<&'static str> {
        let name = match self.form {
            Form::Flag => "true|false",
            Form::Value(name) => name,
            Form::List { .. } => return Vec::new(),
        };
        let literal = |word: &&str| !word.bytes().all(|byte| byte.is_ascii_uppercase());
        let words: Vec<&str> = name.split('|').collect();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'|');
        if plain && words.iter().all(literal) { words } else { Vec::new() }
    }

    /// The key of the JSON file: the plural one for lists.
    pub fn long_key(&self) -> &'static str {
        match self.form {
            Form::List { plural, .. } => plural,
            Form::Flag | Form::Value(_) => self.key,
        }
    }
}

/// The setting with this key, singular or plural.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key || setting.long_key() == key)
}

/// The key that looks most like `key`, if one is near enough to be meant.
pub fn suggest(key: &str) -> Option<&'static str> {
    nearest(key).filter(|(distance, length, _)| *distance <= length.div_ceil(3)).map(|near| near.2)
}

/// As [`suggest`], if `key` can hardly be anything else than a slip.
pub fn misspelt(key: &str) -> Option<&'static str> {
    nearest(key).filter(|(distance, length, _)| *distance <= (length / 3).min(2)).map(|near| near.2)
}

/// How far the nearest key is, the length of the longer of both, and that key.
fn nearest(key: &str) -> Option<(usize, usize, &'static str)> {
    SETTINGS
        .iter()
        .flat_map(|setting| [setting.key, setting.long_key()])
        .map(|known| (values::distance(key, known), known.len().max(key.len()), known))
        .min()
}

const fn value(
    key: &'static str,
    name: &'static str,
    help: &'static str,
    default: &'static str,
    apply: fn(&mut Config, &[String]) -> Result<(), String>,
) -> Setting {
    Setting { key, form: Form::Value(name), scope: Scope::Engine, help, default, apply }
}

const fn flag(
    key: &'static str,
    help: &'static str,
    apply: fn(&mut Config, &[String]) -> Result<(), String>,
) -> Setting {
    Setting { key, form: Form::Flag, scope: Scope::Engine, help, default: "false", apply }
}

const fn list(
    (key, plural): (&'static str, &'static str),
    value: &'static str,
    help: &'static str,
    default: &'static str,
    apply: fn(&mut Config, &[String]) -> Result<(), String>,
) -> Setting {
    Setting { key, form: Form::List { value, plural }, scope: Scope::Engine, help, default, apply }
}

const fn process(setting: Setting) -> Setting {
    Setting { scope: Scope::Process, ..setting }
}

/// The port of the admin endpoint where none is given: not one that a sidecar
/// or an app is likely to have.
pub(super) const ADMIN_PORT: u16 = 9903;

/// Every setting, in the order help shows them.
pub static SETTINGS: &[Setting] = &[
    value("mode", "auto|full|proxy|off", "How names reach the app", "auto", |config, given| {
        config.mode = values::choice(
            given,
            &[
                ("auto", ModeChoice::Auto),
                ("full", ModeChoice::Full),
                ("proxy", ModeChoice::Proxy),
                ("off", ModeChoice::Off),
            ],
        )?;
        Ok(())
    }),
    value("dns", "on|off", "Answer DNS and rewrite resolv.conf", "on", |config, given| {
        config.dns = values::on_off(given)?;
        Ok(())
    }),
    value(
        "platform_names",
        "on|off",
        "Answer for the zone of the platform's metadata server, off: ask upstream",
        "on",
        |config, given| {
            config.platform_names = values::on_off(given)?;
            Ok(())
        },
    ),
    value("proxy", "on|off", "Run the authenticating proxy", "on", |config, given| {
        config.proxy = values::on_off(given)?;
        Ok(())
    }),
    flag(
        "strict",
        "Exit with an error where runsd would otherwise go on with less",
        |config, given| {
            config.strict = values::truth(given)?;
            Ok(())
        },
    ),
    value(
        "region",
        "REGION",
        "The region of names that give none",
        "from the metadata server",
        |config, given| {
            config.region = Some(values::region(given)?);
            Ok(())
        },
    ),
    value(
        "project",
        "NUMBER",
        "The project number of names that give none",
        "from the metadata server",
        |config, given| {
            config.project = Some(values::project_number(given)?);
            Ok(())
        },
    ),
    value(
        "project_hash",
        "HASH",
        "Use the older form of URLs, which has this hash of the project in it",
        "none: URLs are built from the project number",
        |config, given| {
            config.project_hash = Some(values::project_hash(given)?);
            Ok(())
        },
    ),
    list(
        ("allow_project", "allow_projects"),
        "NUMBER|*",
        "Another project whose services may be called",
        "none but our own",
        |config, given| {
            config.allow_projects = values::projects(given)?;
            Ok(())
        },
    ),
    list(
        ("route", "routes"),
        "NAME=URL[,audience=A][,token=off]",
        "Where a name leads, instead of the URL built from it",
        "none",
        |config, given| {
            config.routes = values::routes(given)?;
            Ok(())
        },
    ),
    list(
        ("allow", "allow"),
        "NAME",
        "A service that may be called; once given, no other may",
        "all",
        |config, given| {
            config.allow = values::allowed(given)?;
            Ok(())
        },
    ),
    value(
        "upstream_http",
        "auto|1|2",
        "The HTTP version spoken to services; auto: the one the app speaks",
        "auto",
        |config, given| {
            config.upstream_http = values::choice(
                given,
                &[("auto", UpstreamHttp::Auto), ("1", UpstreamHttp::One), ("2", UpstreamHttp::Two)],
            )?;
            Ok(())
        },
    ),
    value(
        "rewrite_redirects",
        "on|off",
        "Give a service's redirects to itself the name that the app used, so that they keep a token",
        "on",
        |config, given| {
            config.rewrite_redirects = values::on_off(given)?;
            Ok(())
        },
    ),
    value("domain", "DOMAIN", "The DNS zone of service names", "run.internal", |config, given| {
        config.domain = values::domain(given)?;
        Ok(())
    }),
    value("ndots", "N", "Sets resolv.conf's ndots (0 to 15)", "left as it is", |config, given| {
        config.ndots = Some(values::number(given, 0, 15)?);
        Ok(())
    }),
    list(
        ("nameserver", "nameservers"),
        "ADDRESS[:PORT]",
        "Where every other name is asked",
        "from resolv.conf",
        |config, given| {
            config.nameservers = values::addresses(given, 53)?;
            Ok(())
        },
    ),
    value(
        "resolv_conf",
        "PATH",
        "The resolv.conf to take over",
        "/etc/resolv.conf",
        |config, given| {
            config.resolv_conf = values::path(given)?;
            Ok(())
        },
    ),
    value(
        "resolv_conf_mode",
        "rewrite|leave",
        "Whether resolv.conf is rewritten",
        "rewrite",
        |config, given| {
            config.resolv_conf_mode = values::choice(
                given,
                &[("rewrite", ResolvConfMode::Rewrite), ("leave", ResolvConfMode::Leave)],
            )?;
            Ok(())
        },
    ),
    list(
        ("dns_addr", "dns_addrs"),
        "ADDRESS:PORT",
        "Where DNS is answered",
        "127.0.0.1:53 and [::1]:53",
        |config, given| {
            config.dns_addrs = values::addresses(given, 53)?;
            Ok(())
        },
    ),
    list(
        ("proxy_addr", "proxy_addrs"),
        "ADDRESS:PORT",
        "Where the proxy listens",
        "127.0.0.1:80 and [::1]:80",
        |config, given| {
            config.proxy_addrs = values::addresses(given, 80)?;
            Ok(())
        },
    ),
    value(
        "admin_addr",
        "ADDRESS:PORT",
        "Where health, metrics and settings are shown; loopback alone",
        "nowhere",
        |config, given| {
            config.admin_addr = values::addresses(given, ADMIN_PORT)?.into_iter().next();
            Ok(())
        },
    ),
    flag(
        "allow_remote",
        "Permit listening beyond loopback, which lends this service's identity to every peer",
        |config, given| {
            config.allow_remote = values::truth(given)?;
            Ok(())
        },
    ),
    value(
        "ca_file",
        "FILE",
        "Trust the certificates in this PEM file alone",
        "the system's",
        |config, given| {
            config.ca_file = Some(values::path(given)?);
            Ok(())
        },
    ),
    list(
        ("connect_to", "connect_to"),
        "HOST:PORT:ADDRESS:PORT",
        "Connect elsewhere than a service's address, as curl's option does",
        "none",
        |config, given| {
            config.connect_to = values::each(given)?;
            Ok(())
        },
    ),
    value(
        "metadata_host",
        "HOST[:PORT]",
        "The metadata server",
        "GCE_METADATA_HOST, or the platform's",
        |config, given| {
            config.metadata_host = Some(values::host_port(given)?);
            Ok(())
        },
    ),
    value("threads", "N", "Threads of the engine (1 to 64)", "1", |config, given| {
        config.threads = values::number::<usize>(given, 1, 64)?;
        Ok(())
    }),
    value(
        "log_level",
        "error|warn|info|debug|trace",
        "What is worth a log line",
        "warn",
        |config, given| {
            let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
            config.log_level = values::choice(given, &levels.map(|level| (level.name(), level)))?;
            Ok(())
        },
    ),
    value(
        "log_format",
        "auto|json|text",
        "How log lines look; auto: json on Cloud Run, text elsewhere",
        "auto",
        |config, given| {
            config.log_format = values::choice(
                given,
                &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)],
            )?;
            Ok(())
        },
    ),
    flag("access_log", "Log every request, whatever the level", |config, given| {
        config.access_log = values::truth(given)?;
        Ok(())
    }),
    process(value(
        "user",
        "NAME|UID[:GROUP]",
        "Run COMMAND as this user",
        "the user runsd runs as",
        |config, given| {
            config.user = Some(values::text(given)?);
            Ok(())
        },
    )),
    process(flag(
        "forward_to_group",
        "Forward signals to COMMAND's whole process group",
        |config, given| {
            config.forward_to_group = values::truth(given)?;
            Ok(())
        },
    )),
];
