//! The environment: the one place of the library that looks at it, through a
//! function, so that tests and embedding programs can put theirs in its place.

use crate::settings::{self, Form, Layer, Origin, SETTINGS, Scope};
use std::ffi::OsString;

/// Looks an environment variable up.
pub(super) type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send>;

/// What the variables of settings begin with.
const PREFIX: &str = "RUNSD_";

/// The environment of this process.
pub(super) fn of_this_process() -> Lookup {
    Box::new(|name| std::env::var_os(name))
}

/// The names of this process's variables that look like settings.
pub(super) fn names_of_this_process() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

/// Adds the names that are no settings and so near to one that they can only be
/// mistakes; others may be anybody's, such as the version that an image has.
pub(super) fn note_mistaken(names: &[String], layer: &mut Layer) {
    for name in names {
        let key = name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase();
        if key == "config" || settings::find(&key).is_some() {
            continue;
        }
        if let Some(meant) = settings::misspelt(&key) {
            let meant = format!("{PREFIX}{}", meant.to_ascii_uppercase());
            let cause = format!("there is no such setting; did you mean {meant}?");
            layer.problem(Origin::Variable(name.clone()), cause);
        }
    }
}

/// A variable's text; an empty one counts as unset, as in a shell's `${X:-}`.
pub(super) fn text(lookup: &Lookup, name: &str) -> Option<String> {
    lookup(name)?.into_string().ok().filter(|value| !value.is_empty())
}

/// The `RUNSD_…` variables, and below them the names that the platform and the
/// first runsd gave some of the same settings.
pub(super) fn layers(lookup: &Lookup) -> [Layer; 2] {
    let mut own = Layer::default();
    for setting in SETTINGS {
        let singular = format!("RUNSD_{}", setting.key.to_ascii_uppercase());
        let mut names = vec![setting.variable()];
        if matches!(setting.form, Form::List { .. }) && singular != setting.variable() {
            names.push(singular);
        }
        for name in names {
            match lookup(&name).map(OsString::into_string) {
                Some(Ok(value)) if !value.is_empty() => {
                    own.push_text(setting, Origin::Variable(name), &value);
                }
                Some(Err(_)) => {
                    own.problem(Origin::Variable(name), "its value is not UTF-8".to_owned());
                }
                Some(Ok(_)) | None => {}
            }
        }
    }
    let mut inherited = Layer::default();
    for (name, key) in
        [("CLOUD_RUN_PROJECT_HASH", "project_hash"), ("GCE_METADATA_HOST", "metadata_host")]
    {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        if let (Some(setting), Some(value)) = (setting, text(lookup, name)) {
            debug_assert_eq!(setting.scope, Scope::Engine);
            inherited.push(setting, Origin::Variable(name.to_owned()), value);
        }
    }
    [own, inherited]
}
