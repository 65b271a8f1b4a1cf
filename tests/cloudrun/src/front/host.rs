//! From a host name to a service: the two URL forms of Cloud Run.

use crate::options::Options;
use crate::regions;

/// A label of a host name is no longer than this (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
const MAX_SERVICE: usize = 49;
const MAX_TAG: usize = 46;

/// What a `run.app` host stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) service: String,
    pub(crate) tag: Option<String>,
    pub(crate) region: String,
    /// The project's number.
    pub(crate) project: String,
}

fn is_name(text: &str, most: usize) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.len() <= most
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `host` without its port and final dot, in lower case.
pub(crate) fn canonical(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Reads a canonical host name; `None`: no Cloud Run URL has this host.
pub(crate) fn parse(host: &str, options: &Options) -> Option<Address> {
    let (label, zone) = host.strip_suffix(".run.app")?.split_once('.')?;
    if label.len() > MAX_LABEL {
        return None;
    }
    let (tag, rest) = match label.split_once("---") {
        Some((tag, rest)) => (Some(tag), rest),
        None => (None, label),
    };
    if tag.is_some_and(|tag| !is_name(tag, MAX_TAG)) {
        return None;
    }
    let (service, region, project) = if zone == "a" {
        let (rest, code) = rest.rsplit_once('-')?;
        let (service, hash) = rest.rsplit_once('-')?;
        if hash != options.project_hash {
            return None;
        }
        (service, regions::by_code(code)?, options.project_number.as_str())
    } else {
        let (service, number) = rest.rsplit_once('-')?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !regions::is_region(zone) {
            return None;
        }
        (service, zone, number)
    };
    is_name(service, MAX_SERVICE).then(|| Address {
        service: service.to_owned(),
        tag: tag.map(str::to_owned),
        region: region.to_owned(),
        project: project.to_owned(),
    })
}

/// Whether `audience` is an untagged URL of the service, in either form.
pub(crate) fn is_audience(audience: &str, address: &Address, options: &Options) -> bool {
    let Address { service, region, project, .. } = address;
    let numbered = format!("https://{service}-{project}.{region}.run.app");
    let hashed = regions::code_of(region)
        .filter(|_| *project == options.project_number)
        .map(|code| format!("https://{service}-{}-{code}.a.run.app", options.project_hash));
    audience == numbered || hashed.is_some_and(|hashed| audience == hashed)
}
