//! The first runsd's spellings, so that an existing Dockerfile needs no edit:
//! flags with one dash or two, `_` for `-`, and klog's flags, which are
//! accepted and mean nothing here.

use super::args;
use std::ffi::OsString;

/// Arguments parted where the command begins.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// `runsd` and its flags, in today's spelling.
    pub(super) flags: Vec<OsString>,
    /// The command and its arguments, untouched.
    pub(super) command: Vec<OsString>,
    /// Whether `--` stood between them.
    pub(super) dashed: bool,
}

/// klog's flags: whether each takes a value.
const KLOG: &[(&str, bool)] = &[
    ("add_dir_header", false),
    ("alsologtostderr", false),
    ("log_backtrace_at", true),
    ("log_dir", true),
    ("log_file", true),
    ("log_file_max_size", true),
    ("logtostderr", false),
    ("one_output", false),
    ("skip_headers", false),
    ("skip_log_headers", false),
    ("stderrthreshold", true),
    ("vmodule", true),
];

/// The first runsd's own flags that are called otherwise today, and whether
/// each takes a value.
const RENAMED: &[(&str, bool)] = &[
    ("gcp_region", true),
    ("gcp_project_hash", true),
    ("resolv_conf_file", true),
    ("skip_dns_hijack", false),
    ("skip_http_proxy", false),
    ("http_proxy_port", true),
    ("dns_port", true),
    ("v", true),
];

/// Parts the arguments after the program's own name.
pub(super) fn split(arguments: impl Iterator<Item = OsString>) -> Split {
    let mut split = Split { flags: vec!["runsd".into()], ..Split::default() };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.to_str().filter(|text| text.len() > 1 && text.starts_with('-'))
        else {
            split.command.push(argument);
            split.command.extend(arguments);
            break;
        };
        if flag == "--" {
            split.dashed = true;
            split.command.extend(arguments);
            break;
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let name = name.trim_start_matches('-').to_owned();
        let takes_value = takes_value(&name);
        let value = match value {
            None if takes_value => arguments.next(),
            value => value.map(OsString::from),
        };
        split.flags.extend(modern(&name, value, flag));
    }
    split
}

fn takes_value(name: &str) -> bool {
    let known = KLOG.iter().chain(RENAMED).find(|(known, _)| *known == name);
    known.map_or_else(|| args::takes_value(name), |(_, takes_value)| *takes_value)
}

/// One flag in today's spelling: as many arguments as that takes.
fn modern(name: &str, value: Option<OsString>, typed: &str) -> Vec<OsString> {
    if KLOG.iter().any(|(known, _)| *known == name) {
        return Vec::new();
    }
    let with = |flag: &str, value: &str| vec![OsString::from(format!("--{flag}={value}"))];
    let text = value.as_ref().and_then(|value| value.to_str()).unwrap_or_default();
    let truth = value.is_none() || ["true", "1", "t", "T", "TRUE", "True"].contains(&text);
    let both = |flag: &str| {
        let mut flags = with(flag, &format!("127.0.0.1:{text}"));
        flags.extend(with(flag, &format!("[::1]:{text}")));
        flags
    };
    match name {
        "gcp_region" => joined("region", value),
        "gcp_project_hash" => joined("project-hash", value),
        "resolv_conf_file" => joined("resolv-conf", value),
        "skip_dns_hijack" if truth => with("dns", "off"),
        "skip_http_proxy" if truth => with("proxy", "off"),
        "skip_dns_hijack" | "skip_http_proxy" => Vec::new(),
        "http_proxy_port" => both("proxy-addr"),
        "dns_port" => both("dns-addr"),
        "v" => match text.parse::<u8>() {
            Ok(0) => Vec::new(),
            Ok(1..=3) => with("log-level", "info"),
            _ => with("log-level", "debug"),
        },
        // Short options are clap's own.
        _ if !typed.starts_with("--") && name.len() == 1 => {
            vec![OsString::from(format!("-{name}"))]
        }
        _ => joined(&name.replace('_', "-"), value),
    }
}

/// `--flag=value`, so that a value may begin with a dash.
fn joined(flag: &str, value: Option<OsString>) -> Vec<OsString> {
    let mut argument = OsString::from(format!("--{flag}"));
    if let Some(value) = value {
        argument.push("=");
        argument.push(value);
    }
    vec![argument]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Vec<String> {
        let split = split(line.split_whitespace().map(OsString::from));
        split.flags.into_iter().skip(1).map(|flag| flag.into_string().unwrap()).collect()
    }

    #[test]
    fn every_flag_of_the_first_runsd_is_accepted() {
        for (old, new) in [
            ("-gcp_region us-east1 app", &["--region=us-east1"][..]),
            ("--gcp_region=us-east1 -- app", &["--region=us-east1"]),
            ("-gcp_project_hash abc app", &["--project-hash=abc"]),
            ("-domain run.internal app", &["--domain=run.internal"]),
            ("-ndots=4 app", &["--ndots=4"]),
            ("-nameserver 10.0.0.1 app", &["--nameserver=10.0.0.1"]),
            ("-resolv_conf_file /r app", &["--resolv-conf=/r"]),
            ("-skip_dns_hijack app", &["--dns=off"]),
            ("-skip_dns_hijack=false app", &[]),
            ("-skip_http_proxy=true app", &["--proxy=off"]),
            (
                "-http_proxy_port 8081 app",
                &["--proxy-addr=127.0.0.1:8081", "--proxy-addr=[::1]:8081"],
            ),
            ("-dns_port=5353 app", &["--dns-addr=127.0.0.1:5353", "--dns-addr=[::1]:5353"]),
            ("-user nobody app", &["--user=nobody"]),
            ("-v=5 app", &["--log-level=debug"]),
            ("-v 1 app", &["--log-level=info"]),
            ("-v=0 app", &[]),
            ("-logtostderr -stderrthreshold INFO -vmodule=a=1 app", &[]),
        ] {
            assert_eq!(flags(old), new, "{old}");
        }
    }

    #[test]
    fn one_dash_or_two_and_an_equals_sign_or_a_space_mean_the_same() {
        let own = ["domain", "ndots", "nameserver", "user"].map(|name| (name, true));
        for (name, takes_value) in KLOG.iter().chain(RENAMED).copied().chain(own) {
            let with = |dashes: &str, between: &str| {
                let value = if takes_value { format!("{between}3") } else { String::new() };
                let split =
                    split(format!("{dashes}{name}{value} app -x").split(' ').map(OsString::from));
                assert_eq!(split.command, ["app", "-x"], "{dashes}{name}{value}");
                split.flags
            };
            let said = with("-", "=");
            assert_eq!(said.len() > 1, !KLOG.iter().any(|(klog, _)| *klog == name), "{name}");
            for (dashes, between) in [("--", "="), ("-", " "), ("--", " ")] {
                assert_eq!(with(dashes, between), said, "{dashes}{name}{between}");
            }
        }
    }

    #[test]
    fn todays_flags_may_be_typed_the_old_way() {
        assert_eq!(flags("-allow_project 5 app"), ["--allow-project=5"]);
        assert_eq!(flags("--strict app"), ["--strict"]);
        assert_eq!(flags("-h"), ["-h"]);
        assert_eq!(flags("-V"), ["-V"]);
    }

    #[test]
    fn arguments_of_the_command_stay_as_they_are() {
        let split = split(["-v=1", "app", "-v=1", "--", "-gcp_region"].iter().map(OsString::from));
        assert_eq!(split.command, ["app", "-v=1", "--", "-gcp_region"]);
        assert!(!split.dashed);
    }
}
