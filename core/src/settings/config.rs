//! The settings as resolved: checked, typed, immutable.

use crate::names::Route;
use crate::net::ConnectTo;
use crate::telemetry::Level;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Which mode the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChoice {
    /// The best that works here.
    Auto,
    /// Names resolve through DNS.
    Full,
    /// Proxy variables in the environment.
    Proxy,
    /// Do nothing.
    Off,
}

/// What happens to resolv.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvConfMode {
    /// It is rewritten, and restored at the end.
    Rewrite,
    /// It is left alone.
    Leave,
}

/// Which HTTP version goes to services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// The version the app speaks, where the service agrees.
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON on Cloud Run, text elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Other projects whose services may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projects {
    /// Every project.
    pub any: bool,
    /// These project numbers.
    pub numbers: Vec<String>,
}

/// Every setting with its checked value; see the table for what each means.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the setting of its name in the table")]
pub struct Config {
    pub mode: ModeChoice,
    pub dns: bool,
    pub platform_names: bool,
    pub proxy: bool,
    pub allow_remote: bool,
    pub allow_projects: Projects,
    pub region: Option<String>,
    pub project: Option<String>,
    pub project_hash: Option<String>,
    pub domain: String,
    pub ndots: Option<u8>,
    pub nameservers: Vec<SocketAddr>,
    pub resolv_conf: PathBuf,
    pub resolv_conf_mode: ResolvConfMode,
    pub dns_addrs: Vec<SocketAddr>,
    pub proxy_addrs: Vec<SocketAddr>,
    pub admin_addr: Option<SocketAddr>,
    pub routes: Vec<Route>,
    pub allow: Vec<String>,
    pub user: Option<String>,
    pub forward_to_group: bool,
    pub strict: bool,
    pub ca_file: Option<PathBuf>,
    pub connect_to: Vec<ConnectTo>,
    pub metadata_host: Option<String>,
    pub upstream_http: UpstreamHttp,
    pub rewrite_redirects: bool,
    pub threads: usize,
    pub log_level: Level,
    pub log_format: LogFormat,
    pub access_log: bool,
}

/// Both loopback addresses with `port`.
pub(super) fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
    ]
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mode: ModeChoice::Auto,
            dns: true,
            platform_names: true,
            proxy: true,
            allow_remote: false,
            allow_projects: Projects::default(),
            region: None,
            project: None,
            project_hash: None,
            domain: "run.internal".to_owned(),
            ndots: None,
            nameservers: Vec::new(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            resolv_conf_mode: ResolvConfMode::Rewrite,
            dns_addrs: loopback(53),
            proxy_addrs: loopback(80),
            admin_addr: None,
            routes: Vec::new(),
            allow: Vec::new(),
            user: None,
            forward_to_group: false,
            strict: false,
            ca_file: None,
            connect_to: Vec::new(),
            metadata_host: None,
            upstream_http: UpstreamHttp::Auto,
            rewrite_redirects: true,
            threads: 1,
            log_level: Level::Warn,
            log_format: LogFormat::Auto,
            access_log: false,
        }
    }
}
