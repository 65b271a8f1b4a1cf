//! What the table says to people and editors: the reference page and the JSON
//! Schema of the settings file. Both are committed and compared by tests;
//! `make docs` writes them.

use super::config::Config;
use super::table::{Form, SETTINGS, Scope, Setting};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

/// What the schema calls itself.
const SCHEMA_ID: &str = "https://raw.githubusercontent.com/runsd/runsd/main/docs/runsd.schema.json";
/// Beyond this no number setting reaches.
const MOST: u32 = 70_000;

/// The numbers that the setting's own check accepts.
fn bounds(setting: &Setting) -> (u32, u32) {
    let accepted =
        |number: &u32| (setting.apply)(&mut Config::default(), &[number.to_string()]).is_ok();
    let least = (0..MOST).find(accepted).expect("a number that it accepts");
    let most = (least..MOST).take_while(accepted).last().expect("at least one");
    assert!(most + 1 < MOST, "{} has no upper bound", setting.key);
    (least, most)
}

fn route() -> Value {
    json!({
        "anyOf": [
            { "type": "string", "pattern": "^[^=\\s]+=https?://" },
            {
                "type": "object",
                "properties": {
                    "name": { "type": "string", "description": "The host that the app uses" },
                    "url": {
                        "type": "string",
                        "pattern": "^https?://",
                        "description": "Where it leads: a scheme and a host, with a port if need be",
                    },
                    "audience": {
                        "type": "string",
                        "description": "The audience of the token [default: the URL]",
                    },
                    "token": {
                        "type": "boolean",
                        "description": "Whether a token is sent [default: true for https]",
                    },
                },
                "required": ["name", "url"],
                "additionalProperties": false,
            },
        ],
    })
}

fn one_value(setting: &Setting, name: &str) -> Value {
    let choices = setting.choices();
    match name {
        "on|off" => json!({ "enum": ["on", "off", true, false] }),
        "N" => {
            let (least, most) = bounds(setting);
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        "NUMBER" | "NUMBER|*" => {
            json!({ "type": ["string", "integer"], "pattern": "^([0-9]+|\\*)$" })
        }
        name if name.starts_with("NAME=URL") => route(),
        _ if choices.is_empty() => json!({ "type": "string", "minLength": 1 }),
        _ => {
            let numbers = choices.iter().filter_map(|word| word.parse::<u32>().ok());
            let words = choices.iter().map(|word| json!(word));
            json!({ "enum": words.chain(numbers.map(|number| json!(number))).collect::<Vec<_>>() })
        }
    }
}

fn schema() -> String {
    let mut properties = Map::new();
    properties.insert("$schema".into(), json!({ "type": "string" }));
    for setting in SETTINGS {
        let mut shape = match setting.form {
            Form::Flag => json!({ "type": "boolean" }),
            Form::Value(name) => one_value(setting, name),
            Form::List { value, .. } => {
                json!({ "type": "array", "items": one_value(setting, value) })
            }
        };
        let said = format!("{} [default: {}]", setting.help, setting.default);
        shape["description"] = json!(said);
        properties.insert(setting.long_key().into(), shape);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Settings of runsd",
        "description": "The file that --config and RUNSD_CONFIG name.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    format!("{}\n", serde_json::to_string_pretty(&schema).expect("a value is JSON"))
}

fn example(setting: &Setting) -> String {
    match setting.form {
        Form::Flag => format!("--{}", setting.flag()),
        Form::Value(name) => format!("--{} {name}", setting.flag()),
        Form::List { value, .. } => format!("--{} {value}…", setting.flag()),
    }
}

const HEAD: &str = "\
# Settings

<!-- Written by the test `documents` from the table of settings; do not edit. -->

Every setting is a flag, an environment variable, and a key of the JSON file and of the C and
Python interfaces. A flag beats the environment, which beats the file, which beats what is
detected. Unknown keys and values that make no sense are errors, all told at once.

On Cloud Run nothing needs to be set: `http://hello` reaches the service *hello*.

- **Flags** that take a value take it behind `=` or a space. Those with `…` may be repeated.
- **Variables**: a list is a JSON array or comma-separated, `RUNSD_ROUTES` a JSON array alone. An
  empty variable counts as unset. A name one or two letters away from a setting's is a mistake;
  other `RUNSD_` variables are anybody's.
- **The file** is one JSON object, named by `--config FILE.json` or `RUNSD_CONFIG`; its schema is
  [runsd.schema.json](runsd.schema.json). `runsd serve` reads `routes` and `allow` of it again on
  SIGHUP.
- `CLOUD_RUN_PROJECT_HASH` and `GCE_METADATA_HOST` stand for `project_hash` and `metadata_host`
  where nothing else says them. `CLOUD_RUN_ID_TOKEN` is a token to send instead of the metadata
  server's, for trying things out elsewhere. Off Cloud Run tokens come by
  [application default credentials](laptop.md).

";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (scope, title, intro) in [
        (Scope::Engine, "For every caller", ""),
        (
            Scope::Process,
            "For the command line",
            "These concern the child process; the C and Python interfaces accept and ignore \
             them.\n\n",
        ),
    ] {
        let _ = write!(page, "## {title}\n\n{intro}");
        page.push_str("| flag | variable | key | meaning | default |\n|---|---|---|---|---|\n");
        for setting in SETTINGS.iter().filter(|setting| setting.scope == scope) {
            let cell = |text: &str| text.replace('|', "\\|");
            // In code of a table, no two readers of Markdown escape a bar alike.
            let code = |text: &str| format!("<code>{}</code>", text.replace('|', "&#124;"));
            let _ = writeln!(
                page,
                "| {} | `{}` | `{}` | {} | {} |",
                code(&example(setting)),
                setting.variable(),
                setting.long_key(),
                cell(setting.help),
                cell(setting.default),
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// Compares with the committed file, or writes it where that is asked for.
pub(crate) fn committed(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    // The tests may look at this variable, by the command above.
    if option_env!("RUNSD_WRITE_DOCS").is_some() {
        std::fs::write(&path, made).expect("the folder of documents");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == made, "docs/{name} does not say what the table says: make docs");
}

#[test]
fn the_schema_says_what_the_table_says() {
    committed("runsd.schema.json", &schema());
}

#[test]
fn the_page_says_what_the_table_says() {
    committed("settings.md", &page());
}

/// A word that the schema permits must be one that the check accepts.
#[test]
fn the_check_accepts_what_the_schema_permits() {
    for setting in SETTINGS {
        let Form::Value(name) = setting.form else { continue };
        let shape = one_value(setting, name);
        for word in shape["enum"].as_array().into_iter().flatten() {
            let text = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
            let applied = (setting.apply)(&mut Config::default(), &[text]);
            assert!(applied.is_ok(), "{}: {word}: {applied:?}", setting.key);
        }
    }
}
