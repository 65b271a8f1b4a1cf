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

/// Whether `audience` is an untagged URL of the service, in either form, or one of
/// its own.
pub(crate) fn is_audience(audience: &str, address: &Address, options: &Options) -> bool {
    let Address { service, region, project, .. } = address;
    let numbered = format!("https://{service}-{project}.{region}.run.app");
    let hashed = regions::code_of(region)
        .filter(|_| *project == options.project_number)
        .map(|code| format!("https://{service}-{}-{code}.a.run.app", options.project_hash));
    let mut own = options.audiences.iter().filter(|(name, _)| name == service);
    own.any(|(_, known)| known == audience)
        || audience == numbered
        || hashed.is_some_and(|hashed| audience == hashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: &str) -> Option<String> {
        let found = parse(&canonical(host), &Options::default())?;
        let tag = found.tag.unwrap_or_default();
        Some(format!("{tag}/{}/{}/{}", found.service, found.region, found.project))
    }

    #[test]
    fn both_forms_are_read() {
        let own = "123456789012";
        for (host, expected) in [
            ("hello-1.us-east1.run.app", "/hello/us-east1/1".to_owned()),
            ("A-B-C-42.Europe-West12.Run.App.:443", "/a-b-c/europe-west12/42".to_owned()),
            ("t-1---a-2.x-y1.run.app", "t-1/a/x-y1/2".to_owned()),
            ("hello-abcde12345-uc.a.run.app", format!("/hello/us-central1/{own}")),
            ("t---a-b-abcde12345-lz.a.run.app", format!("t/a-b/europe-north1/{own}")),
        ] {
            assert_eq!(read(host).as_deref(), Some(expected.as_str()), "{host}");
        }
    }

    #[test]
    fn what_no_url_has_is_refused() {
        let long = format!("{}-1.us-east1.run.app", "a".repeat(50));
        let too_long =
            format!("{}---{}-123456789012.us-east1.run.app", "t".repeat(20), "a".repeat(40));
        for host in [
            "run.app",
            "us-east1.run.app",
            "hello.us-east1.run.app",
            "hello-1.us-east.run.app",
            "hello-1.run.app",
            "-1.us-east1.run.app",
            "1a-1.us-east1.run.app",
            "hello-x.us-east1.run.app",
            "hello-other12345-uc.a.run.app",
            "hello-abcde12345-xx.a.run.app",
            "a.b-1.us-east1.run.app",
            "---a-1.us-east1.run.app",
            "hello-1.us-east1.run.app.evil.com",
            &long,
            &too_long,
        ] {
            assert_eq!(read(host), None, "{host}");
        }
    }
}
