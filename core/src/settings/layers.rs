//! Layers: what was said where, and who wins.

use super::config::{Config, LogFormat};
use super::table::{self, Form, Setting};
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from; a later one in this list gives way to an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag, as typed.
    Flag(String),
    /// A key set by an embedding program.
    Key(String),
    /// An environment variable.
    Variable(String),
    /// The JSON file, and the key in it; none for what is wrong with all of it.
    File(PathBuf, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Key(key) => write!(f, "{key}"),
            Origin::Variable(name) => write!(f, "the environment variable {name}"),
            Origin::File(path, key) if key.is_empty() => write!(f, "{}", path.display()),
            Origin::File(path, key) => write!(f, "{key:?} in {}", path.display()),
        }
    }
}

/// The values of one source; sources are given from the strongest to the weakest.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    values: Vec<(&'static str, Origin, Vec<String>)>,
    problems: Vec<Problem>,
}

/// One thing wrong with what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    origin: String,
    cause: String,
}

/// Everything that is wrong, so that the user mends it in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { origin, cause }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{origin}: {cause}")?;
        }
        Ok(())
    }
}

impl Layer {
    /// Adds one value of a setting; for a list, one of its values.
    pub fn push(&mut self, setting: &Setting, origin: Origin, value: String) {
        let listed = matches!(setting.form, Form::List { .. });
        match self.values.iter_mut().find(|(key, _, _)| listed && *key == setting.key) {
            Some((_, _, values)) => values.push(value),
            None => self.values.push((find_key(setting), origin, vec![value])),
        }
    }

    /// Adds what the environment or an embedding program gave for a setting: a
    /// list as a JSON array or comma-separated, routes as JSON alone, because
    /// their own text has commas.
    pub fn push_text(&mut self, setting: &Setting, origin: Origin, text: &str) {
        let Form::List { .. } = setting.form else {
            return self.push(setting, origin, text.to_owned());
        };
        let json = text.trim_start().starts_with('[');
        if json || setting.key == "route" {
            match serde_json::from_str(text) {
                Ok(value) => self.push_json(setting, origin, &value),
                Err(error) => self.problem(origin, format!("is not a JSON array: {error}")),
            }
        } else {
            let given = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            self.values.push((find_key(setting), origin, given.map(str::to_owned).collect()));
        }
    }

    /// Adds every key of a JSON object.
    pub fn push_file(&mut self, path: &std::path::Path, text: &str) {
        let at = |key: &str| Origin::File(path.to_owned(), key.to_owned());
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => {
                for (key, value) in &object {
                    match table::find(key) {
                        _ if key == "$schema" => {}
                        Some(setting) => self.push_json(setting, at(key), value),
                        None => self.unknown(at(key), key),
                    }
                }
            }
            Ok(_) => self.problem(at(""), "the file must hold one JSON object".to_owned()),
            Err(error) => self.problem(at(""), format!("the file is not JSON: {error}")),
        }
    }

    /// Notes a key that no setting has, with the one that may be meant.
    pub fn unknown(&mut self, origin: Origin, key: &str) {
        let hint = table::suggest(key).map(|known| format!("; did you mean {known:?}?"));
        self.problem(origin, format!("there is no such setting{}", hint.unwrap_or_default()));
    }

    /// Notes something wrong with the source itself.
    pub fn problem(&mut self, origin: Origin, cause: String) {
        self.problems.push(Problem { origin: origin.to_string(), cause });
    }

    fn push_json(&mut self, setting: &Setting, origin: Origin, value: &Value) {
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            Value::Object(_) if setting.key == "route" => Some(value.to_string()),
            _ => None,
        };
        let values: Option<Vec<String>> = match (value, setting.form) {
            (Value::Array(list), Form::List { .. }) => list.iter().map(scalar).collect(),
            _ => scalar(value).map(|one| vec![one]),
        };
        match values {
            Some(values) => self.values.push((find_key(setting), origin, values)),
            None => self.problem(origin, format!("cannot be {value}")),
        }
    }
}

/// The table's own key, which lives as long as the program.
fn find_key(setting: &Setting) -> &'static str {
    setting.key
}

/// Puts the strongest value of each setting in place.
///
/// # Errors
/// Every problem of every layer, not the first alone.
pub fn resolve(layers: &[Layer]) -> Result<Config, Problems> {
    let mut config = Config::default();
    let mut problems: Vec<Problem> =
        layers.iter().flat_map(|layer| layer.problems.iter().cloned()).collect();
    problems
        .extend(table::SETTINGS.iter().filter_map(|setting| apply(setting, layers, &mut config)));
    problems.extend(contradictions(&config));
    if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
}

/// How log lines are to look, whatever is wrong with other settings: in the log
/// it is told.
pub fn log_format(layers: &[Layer]) -> LogFormat {
    let mut config = Config::default();
    // A mistake in this one leaves it as it is.
    let _ = table::find("log_format").and_then(|setting| apply(setting, layers, &mut config));
    config.log_format
}

/// Puts the strongest value of one setting in place, or says what is wrong with it.
fn apply(setting: &Setting, layers: &[Layer], config: &mut Config) -> Option<Problem> {
    let (origin, values) = strongest(layers, setting)?;
    let cause = (setting.apply)(config, values).err()?;
    Some(Problem { origin: origin.to_string(), cause })
}

/// The value that counts, and who gave it.
fn strongest<'a>(layers: &'a [Layer], setting: &Setting) -> Option<(&'a Origin, &'a [String])> {
    let found = layers
        .iter()
        // Within a source the last word counts.
        .find_map(|layer| layer.values.iter().rev().find(|(key, _, _)| *key == setting.key));
    found.map(|(_, origin, values)| (origin, values.as_slice()))
}

/// A setting as it was said: its values with their origin, where anybody gave some.
pub type Said = (&'static Setting, Option<(Origin, Vec<String>)>);

/// Every setting as it was said, for whoever wants to see what is in force.
pub fn said(layers: &[Layer]) -> Vec<Said> {
    let of = |setting: &'static Setting| {
        let given = strongest(layers, setting);
        (setting, given.map(|(origin, values)| (origin.clone(), values.to_vec())))
    };
    table::SETTINGS.iter().map(of).collect()
}

/// What no single setting can see.
fn contradictions(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let listening = [("dns_addr", &config.dns_addrs), ("proxy_addr", &config.proxy_addrs)];
    for (key, addresses) in listening {
        let remote = addresses.iter().find(|address| !address.ip().is_loopback());
        if let (Some(address), false) = (remote, config.allow_remote) {
            found.push(Problem {
                origin: key.to_owned(),
                cause: format!(
                    "{address} is not a loopback address: every peer that reaches it could act \
                     with this service's identity; if that is meant, add --allow-remote"
                ),
            });
        }
    }
    if let Some(address) = config.admin_addr.filter(|address| !address.ip().is_loopback()) {
        found.push(Problem {
            origin: "admin_addr".to_owned(),
            cause: format!(
                "{address} is not a loopback address, and --allow-remote does not change that: \
                 whoever reaches it can end runsd"
            ),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn flag(key: &str, value: &str) -> Layer {
        let mut layer = Layer::default();
        layer.push(table::find(key).unwrap(), Origin::Flag(format!("--{key}")), value.to_owned());
        layer
    }

    #[test]
    fn an_earlier_layer_wins() {
        let config = resolve(&[flag("region", "us-east1"), flag("region", "us-west1")]).unwrap();
        assert_eq!(config.region.as_deref(), Some("us-east1"));
    }

    #[test]
    fn every_problem_is_reported_with_its_origin() {
        let mut file = Layer::default();
        file.push_file(Path::new("/r.json"), r#"{"regoin": "x", "threads": 0, "ndots": [1]}"#);
        let problems = resolve(&[flag("mode", "fulll"), file]).unwrap_err().to_string();
        for part in [
            "--mode: \"fulll\" is none of auto, full, proxy, off",
            "\"regoin\" in /r.json: there is no such setting; did you mean \"region\"?",
            "\"threads\" in /r.json: \"0\" is not a whole number from 1 to 64",
            "\"ndots\" in /r.json: cannot be [1]",
        ] {
            assert!(problems.contains(part), "{part}\n--\n{problems}");
        }
    }

    #[test]
    fn every_value_of_a_list_is_looked_at() {
        let mut layer = flag("route", "a");
        let route = table::find("route").unwrap();
        for bad in ["b=https://good.example", "c=ftp://odd.example"] {
            layer.push(route, Origin::Flag("--route".to_owned()), bad.to_owned());
        }
        let problems = resolve(&[layer]).unwrap_err().to_string();
        let expected = "--route: \"a\" is not NAME=URL; \"ftp://odd.example\" does not begin with \
                        https:// or http://";
        assert_eq!(problems, expected);
    }

    #[test]
    fn what_is_no_settings_file_is_named() {
        for text in ["", "[]", "{"] {
            let mut file = Layer::default();
            file.push_file(Path::new("/r.json"), text);
            let problems = resolve(&[file]).unwrap_err().to_string();
            assert!(problems.starts_with("/r.json: the file "), "{text:?}: {problems}");
        }
    }

    #[test]
    fn lists_are_json_or_commas_and_routes_json_alone() {
        let nameserver = table::find("nameservers").unwrap();
        for text in ["10.0.0.1, 10.0.0.2:54", r#"["10.0.0.1", "10.0.0.2:54"]"#] {
            let mut layer = Layer::default();
            layer.push_text(nameserver, Origin::Variable("RUNSD_NAMESERVERS".into()), text);
            let config = resolve(&[layer]).unwrap();
            assert_eq!(config.nameservers.len(), 2, "{text}");
        }
        let mut layer = Layer::default();
        let route = table::find("routes").unwrap();
        layer.push_text(route, Origin::Variable("RUNSD_ROUTES".into()), "a=http://b");
        assert!(resolve(&[layer]).unwrap_err().to_string().contains("RUNSD_ROUTES"));
    }

    #[test]
    fn a_flag_may_be_repeated_for_a_list() {
        let mut layer = flag("allow_project", "1");
        let setting = table::find("allow_project").unwrap();
        layer.push(setting, Origin::Flag("--allow-project".into()), "2".to_owned());
        assert_eq!(resolve(&[layer]).unwrap().allow_projects.numbers, ["1", "2"]);
    }

    #[test]
    fn listening_beyond_loopback_must_be_meant() {
        let remote = flag("proxy_addr", "0.0.0.0:80");
        let problem = resolve(std::slice::from_ref(&remote)).unwrap_err().to_string();
        assert!(problem.contains("--allow-remote"), "{problem}");
        assert!(resolve(&[remote, flag("allow_remote", "true")]).is_ok());
    }

    #[test]
    fn the_admin_endpoint_is_for_this_machine_alone() {
        for (address, ok) in [("127.0.0.1:0", true), ("[::1]:9", true), ("0.0.0.0:9", false)] {
            let layers = [flag("admin_addr", address), flag("allow_remote", "true")];
            assert_eq!(resolve(&layers).is_ok(), ok, "{address}");
        }
        let config = resolve(&[flag("admin_addr", "127.0.0.1")]).unwrap();
        assert_eq!(config.admin_addr, Some(([127, 0, 0, 1], table::ADMIN_PORT).into()));
    }

    #[test]
    fn what_was_said_keeps_its_origin() {
        let weaker = flag("region", "us-west1");
        let list = said(&[flag("region", "us-east1"), weaker]);
        assert_eq!(list.len(), table::SETTINGS.len());
        let region = list.iter().find(|(setting, _)| setting.key == "region").unwrap();
        let origin = Origin::Flag("--region".to_owned());
        assert_eq!(region.1, Some((origin, vec!["us-east1".to_owned()])));
        let threads = list.iter().find(|(setting, _)| setting.key == "threads").unwrap();
        assert_eq!(threads.1, None);
    }

    #[test]
    fn keys_are_unique_and_have_help() {
        let mut keys: Vec<&str> = table::SETTINGS.iter().map(|setting| setting.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), table::SETTINGS.len());
        assert!(table::SETTINGS.iter().all(|setting| setting.help.len() > 10));
    }
}
