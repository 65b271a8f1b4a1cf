//! Values: from the text a user typed to a checked value. The errors are half
//! sentences that follow the setting's name.

use super::config::Projects;
use crate::names::{self, Route};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

type Result<T> = std::result::Result<T, String>;

pub(super) fn text(given: &[String]) -> Result<String> {
    match given {
        [one] if one.is_empty() => Err("must not be empty".to_owned()),
        [one] if one.contains('\0') => Err("must not contain a NUL byte".to_owned()),
        [one] => Ok(one.clone()),
        _ => Err(format!("takes one value, not {}", given.len())),
    }
}

pub(super) fn path(given: &[String]) -> Result<PathBuf> {
    text(given).map(PathBuf::from)
}

pub(super) fn choice<T: Copy>(given: &[String], choices: &[(&str, T)]) -> Result<T> {
    let given = text(given)?;
    choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&given))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("{given:?} is none of {}", names.join(", "))
        })
}

pub(super) fn on_off(given: &[String]) -> Result<bool> {
    choice(given, &[("on", true), ("off", false), ("true", true), ("false", false)])
}

pub(super) fn truth(given: &[String]) -> Result<bool> {
    choice(
        given,
        &[
            ("true", true),
            ("false", false),
            ("1", true),
            ("0", false),
            ("on", true),
            ("off", false),
        ],
    )
}

pub(super) fn number<T>(given: &[String], least: T, most: T) -> Result<T>
where
    T: FromStr + PartialOrd + Display + Copy,
{
    let given = text(given)?;
    given
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{given:?} is not a whole number from {least} to {most}"))
}

pub(super) fn region(given: &[String]) -> Result<String> {
    let given = text(given)?.to_ascii_lowercase();
    if names::is_region(&given) {
        Ok(given)
    } else {
        Err(format!(
            "{given:?} does not have the shape of a region: words joined by hyphens, and a number"
        ))
    }
}

pub(super) fn project_number(given: &[String]) -> Result<String> {
    let given = text(given)?;
    if names::is_project_number(&given) {
        Ok(given)
    } else {
        Err(format!(
            "{given:?} is not a project number; find it with: gcloud projects describe PROJECT"
        ))
    }
}

pub(super) fn project_hash(given: &[String]) -> Result<String> {
    let given = text(given)?.to_ascii_lowercase();
    if given.bytes().all(|byte| byte.is_ascii_alphanumeric()) && given.len() <= 20 {
        Ok(given)
    } else {
        Err(format!("{given:?} is not a project hash: letters and digits, such as 4wwb5jvpza"))
    }
}

pub(super) fn projects(given: &[String]) -> Result<Projects> {
    let any = given.iter().any(|one| one == "*");
    let named: Vec<String> = given.iter().filter(|one| *one != "*").cloned().collect();
    let numbers = all(&named, |one| project_number(std::slice::from_ref(one)))?;
    Ok(Projects { any, numbers })
}

/// Every value of a list, or everything that is wrong with them.
fn all<T>(given: &[String], check: impl Fn(&String) -> Result<T>) -> Result<Vec<T>> {
    let (mut good, mut bad) = (Vec::with_capacity(given.len()), Vec::new());
    for one in given {
        match check(one) {
            Ok(value) => good.push(value),
            Err(cause) => bad.push(cause),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad.join("; ")) }
}

pub(super) fn domain(given: &[String]) -> Result<String> {
    let given = text(given)?.trim_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if given.len() <= 200 && given.split('.').all(label) {
        Ok(given)
    } else {
        Err(format!("{given:?} is not a domain name"))
    }
}

pub(super) fn addresses(given: &[String], port: u16) -> Result<Vec<SocketAddr>> {
    let address = |text: &String| {
        text.parse::<SocketAddr>()
            .or_else(|_| {
                let bare = text.trim_start_matches('[').trim_end_matches(']');
                bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port))
            })
            .map_err(|_| format!("{text:?} is not an address with an optional port"))
    };
    all(given, address)
}

pub(super) fn each<T: FromStr<Err = String>>(given: &[String]) -> Result<Vec<T>> {
    all(given, |text| text.parse())
}

pub(super) fn routes(given: &[String]) -> Result<Vec<Route>> {
    each(given)
}

pub(super) fn allowed(given: &[String]) -> Result<Vec<String>> {
    all(given, |name| text(std::slice::from_ref(name)).map(|name| name.to_ascii_lowercase()))
}

/// `HOST[:PORT]` without a scheme.
pub(super) fn host_port(given: &[String]) -> Result<String> {
    let given = text(given)?;
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (given.as_str(), None),
    };
    let sound = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        && port.is_none_or(|port| port.parse::<u16>().is_ok());
    if sound { Ok(given) } else { Err(format!("{given:?} is not HOST or HOST:PORT")) }
}

/// How many letters must be added, taken away or changed (Levenshtein).
pub fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(other.bytes()) {
            let best = (diagonal + usize::from(a != b)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> [String; 1] {
        [text.to_owned()]
    }

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("region", "region"), 0);
        assert_eq!(distance("regoin", "region"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn addresses_take_a_default_port() {
        let given: Vec<String> =
            ["127.0.0.1", "127.0.0.1:54", "::1", "[::1]", "[::1]:54"].map(str::to_owned).into();
        let read: Vec<String> =
            addresses(&given, 53).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(read, ["127.0.0.1:53", "127.0.0.1:54", "[::1]:53", "[::1]:53", "[::1]:54"]);
        assert!(addresses(&one("localhost:53"), 53).unwrap_err().contains("localhost:53"));
    }

    #[test]
    fn values_are_refused_with_what_was_typed() {
        assert!(number::<u8>(&one("16"), 0, 15).unwrap_err().contains("\"16\""));
        assert!(region(&one("nowhere")).unwrap_err().contains("\"nowhere\""));
        assert!(project_number(&one("my-project")).unwrap_err().contains("gcloud"));
        assert!(domain(&one("a..b")).is_err());
        assert!(host_port(&one("http://x")).is_err());
        assert!(on_off(&one("maybe")).unwrap_err().contains("on, off"));
        assert!(text(&one("")).is_err());
        assert_eq!(host_port(&one("127.0.0.1:8080")).unwrap(), "127.0.0.1:8080");
        assert_eq!(domain(&one("Run.Internal.")).unwrap(), "run.internal");
    }
}
