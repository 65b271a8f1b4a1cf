//! The environment: the one place of the library that looks at it, through a
//! function, so that tests and embedding programs can put theirs in its place.

use crate::settings::{Form, Layer, Origin, SETTINGS, Scope};
use std::ffi::OsString;

/// Looks an environment variable up.
pub(super) type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send>;

/// The environment of this process.
pub(super) fn of_this_process() -> Lookup {
    Box::new(|name| std::env::var_os(name))
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
