//! The settings in force, each with who gave it, for people who wonder why
//! runsd does what it does. Secrets are not among them.

use crate::cloudrun::Place;
use crate::settings::{Form, Origin, Said};
use serde_json::{Value, json};

/// An object of all settings; `fixed_token`: whether the user gives a token for
/// every audience, of which nothing else is told.
pub(super) fn settings(said: &[Said], fixed_token: bool) -> Value {
    let mut all = json!({});
    for (setting, given) in said {
        all[setting.long_key()] = match given {
            None => json!({ "value": setting.default, "origin": "default" }),
            Some((origin, values)) => {
                let value = match (setting.form, values.as_slice()) {
                    (Form::List { .. }, many) => json!(many),
                    (_, [one]) => json!(one),
                    (_, many) => json!(many),
                };
                let (kind, from) = named(origin);
                json!({ "value": value, "origin": kind, "from": from })
            }
        };
    }
    if fixed_token {
        let from = "CLOUD_RUN_ID_TOKEN";
        all["id_token"] = json!({ "value": "hidden", "origin": "environment", "from": from });
    }
    all
}

/// Puts in place what the metadata server has told.
pub(super) fn detect(all: &mut Value, place: &Place) {
    let (region, project) = place.told();
    for (key, found) in [("region", region), ("project", project)] {
        if let Some(found) = found.filter(|_| all[key]["origin"] == "default") {
            all[key] = json!({ "value": found, "origin": "detected" });
        }
    }
}

fn named(origin: &Origin) -> (&'static str, String) {
    match origin {
        Origin::Flag(flag) => ("flag", flag.clone()),
        Origin::Key(key) => ("key", key.clone()),
        Origin::Variable(name) => ("environment", name.clone()),
        Origin::File(path, _) => ("file", path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Layer, find, said};
    use std::path::Path;

    #[test]
    fn every_setting_has_its_value_and_its_origin() {
        let mut file = Layer::default();
        file.push_file(Path::new("/r.json"), r#"{"threads": 2, "allow": ["a", "b"]}"#);
        let mut flags = Layer::default();
        let strict = find("strict").unwrap();
        flags.push(strict, Origin::Flag("--strict".into()), "true".into());
        let mut variables = Layer::default();
        let variable = Origin::Variable("RUNSD_NDOTS".into());
        variables.push_text(find("ndots").unwrap(), variable, "2");
        let mut all = settings(&said(&[flags, variables, file]), true);
        let of = |value, origin, from| json!({ "value": value, "origin": origin, "from": from });
        assert_eq!(all["strict"], of("true", "flag", "--strict"));
        assert_eq!(all["ndots"], of("2", "environment", "RUNSD_NDOTS"));
        assert_eq!(all["threads"], of("2", "file", "/r.json"));
        assert_eq!(all["allow"]["value"], json!(["a", "b"]));
        assert_eq!(all["mode"], json!({ "value": "auto", "origin": "default" }));
        assert_eq!(all["id_token"]["value"], "hidden");
        let place = Place::new(Some("us-west9".into()), None);
        detect(&mut all, &place);
        assert_eq!(all["region"], json!({ "value": "us-west9", "origin": "detected" }));
        assert_eq!(all["project"]["origin"], "default", "it is not known yet");
    }
}
