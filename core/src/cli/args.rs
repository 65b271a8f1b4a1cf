//! The command line: from what was typed to settings and a command. Flags,
//! their help and their checks come from the table of settings.

use super::completions::{self, Shell};
use super::legacy;
use crate::settings::{self, Form, Layer, Origin, SETTINGS, Setting};
use clap::builder::{OsStringValueParser, PathBufValueParser, StyledStr};
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use std::ffi::OsString;
use std::path::PathBuf;

/// The one option that is no setting, because it says where settings are.
pub(super) const CONFIG_HELP: &str =
    "Settings from a JSON file; its keys are the flags' names with _ for -";

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// Run a command under the engine.
    Run(Vec<OsString>),
    /// Serve until told to end.
    Serve,
    /// Say what becomes of a name.
    Explain {
        /// The name, as an app types it.
        name: String,
        /// For programs.
        json: bool,
    },
    /// Look at what stands in the way.
    Doctor {
        /// A service to call.
        name: Option<String>,
        /// For programs.
        json: bool,
    },
}

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The settings that were typed.
    pub(super) flags: Layer,
    /// The file that `--config` names.
    pub(super) file: Option<PathBuf>,
    /// What is to be done.
    pub(super) task: Task,
}

/// A command line that ends here: help, the version, or a mistake.
#[derive(Debug)]
pub(super) struct Ending {
    /// What to print.
    pub(super) text: String,
    /// Whether it is an error, and goes to standard error.
    pub(super) is_error: bool,
}

/// Reads the arguments after the program's own name.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed, Ending> {
    let mut split = legacy::split(arguments);
    let words = match split.command.first().and_then(|first| first.to_str()) {
        Some("serve" | "explain" | "doctor" | "completions") if !split.dashed => {
            Some(subcommand(&mut split))
        }
        _ => None,
    };
    let json = words.is_some() && take_json(&mut split.flags);
    let matches = command()
        .try_get_matches_from(split.flags)
        .map_err(|error| Ending { text: error.to_string(), is_error: error.use_stderr() })?;
    let task = match words {
        Some(words) => own_task(&words, json)?,
        None if split.command.is_empty() => return Err(no_command()),
        None => Task::Run(split.command),
    };
    let file = matches.get_one::<PathBuf>("config").cloned();
    Ok(Parsed { flags: layer(&matches), file, task })
}

/// The words of a task of our own; its options may stand anywhere among them.
fn subcommand(split: &mut legacy::Split) -> Vec<OsString> {
    let mut rest = std::mem::take(&mut split.command);
    let mut words = Vec::new();
    while !rest.is_empty() {
        let part = legacy::split(rest.into_iter());
        split.flags.extend(part.flags.into_iter().skip(1));
        rest = part.command;
        if !rest.is_empty() {
            words.push(rest.remove(0));
        }
    }
    words
}

fn take_json(flags: &mut Vec<OsString>) -> bool {
    let before = flags.len();
    flags.retain(|flag| flag != "--json");
    flags.len() < before
}

fn own_task(words: &[OsString], json: bool) -> Result<Task, Ending> {
    let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    match texts.as_slice() {
        ["serve"] if !json => Ok(Task::Serve),
        ["explain", name] => Ok(Task::Explain { name: (*name).to_owned(), json }),
        ["doctor"] => Ok(Task::Doctor { name: None, json }),
        ["doctor", name] => Ok(Task::Doctor { name: Some((*name).to_owned()), json }),
        ["explain"] => Err(mistake("runsd explain needs a NAME".to_owned())),
        ["completions", ..] => Err(complete(words)),
        _ => Err(mistake(format!(
            "{words:?} cannot be meant: it is runsd serve, runsd explain NAME [--json] or runsd \
             doctor [NAME] [--json]\nTo run a program of such a name: runsd -- serve"
        ))),
    }
}

fn complete(command: &[OsString]) -> Ending {
    let shell = match command {
        [_, shell] => shell.to_str().and_then(Shell::named),
        _ => None,
    };
    match shell {
        Some(shell) => Ending { text: completions::script(shell), is_error: false },
        None => mistake(
            "which shell? Usage: runsd completions bash|zsh|fish\nTo run a program called \
             completions: runsd -- completions"
                .to_owned(),
        ),
    }
}

fn no_command() -> Ending {
    mistake(
        "there is no COMMAND to run.\n\nUsage: runsd [OPTIONS] -- COMMAND [ARGS...]\n\nIn a \
         Dockerfile: ENTRYPOINT [\"runsd\", \"--\", \"/app\"]\nFor more information, try \
         'runsd --help'."
            .to_owned(),
    )
}

fn mistake(text: String) -> Ending {
    Ending { text: format!("error: {text}\n"), is_error: true }
}

/// The definition that clap works from.
fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE.json")
        .value_parser(PathBufValueParser::new())
        .help(CONFIG_HELP);
    Command::new("runsd")
        .version(crate::VERSION)
        .about("Reach Cloud Run services by name, authenticated, without a change to the app")
        .override_usage(
            "runsd [OPTIONS] -- COMMAND [ARGS...]\n       \
             runsd [OPTIONS] serve                    as a sidecar, without a COMMAND\n       \
             runsd [OPTIONS] explain NAME [--json]    what becomes of a name\n       \
             runsd [OPTIONS] doctor [NAME] [--json]   what stands in the way here\n       \
             runsd completions bash|zsh|fish          for your shell",
        )
        .after_help(after_help())
        .max_term_width(100)
        .args(SETTINGS.iter().map(argument))
        .arg(config)
}

fn after_help() -> StyledStr {
    StyledStr::from(
        "Every option is also an environment variable (--foo-bar: RUNSD_FOO_BAR) and a key of the \
         JSON file (foo_bar); a flag beats the environment, which beats the file.\n\n\
         Exit status: COMMAND's own; 128+N if signal N ended it; 126 if it cannot be executed, \
         127 if it is not found; 2 for a mistake in the options; 70 if runsd itself fails. Of \
         explain and doctor: 1 where something does not work, 0 where at most warnings are left.\n\n\
         On Cloud Run nothing needs to be set: http://hello reaches the service hello.",
    )
}

fn argument(setting: &'static Setting) -> Arg {
    let help = format!("{} [default: {}]", setting.help, setting.default);
    let argument =
        Arg::new(setting.key).long(setting.flag()).value_parser(OsStringValueParser::new());
    match setting.form {
        Form::Flag => argument
            .help(setting.help)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true),
        Form::Value(name) => argument.help(help).value_name(name),
        Form::List { value, .. } => argument.help(help).value_name(value).action(ArgAction::Append),
    }
    .allow_hyphen_values(true)
}

fn layer(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in SETTINGS {
        if matches.value_source(setting.key) != Some(ValueSource::CommandLine) {
            continue;
        }
        for value in matches.get_many::<OsString>(setting.key).into_iter().flatten() {
            let origin = Origin::Flag(format!("--{}", setting.flag()));
            match value.to_str() {
                Some(text) => layer.push(setting, origin, text.to_owned()),
                None => layer.problem(origin, format!("{value:?} is not UTF-8")),
            }
        }
    }
    layer
}

/// Whether a flag of this name takes its value from the next argument.
pub(super) fn takes_value(name: &str) -> bool {
    name == "config"
        || settings::find(&name.replace('-', "_"))
            .is_some_and(|setting| !matches!(setting.form, Form::Flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Parsed, Ending> {
        parse(arguments.iter().map(OsString::from))
    }

    fn argv(parsed: Parsed) -> Vec<String> {
        match parsed.task {
            Task::Run(argv) => argv.into_iter().map(|word| word.into_string().unwrap()).collect(),
            task => vec![format!("({})", format!("{task:?}").to_lowercase())],
        }
    }

    #[test]
    fn the_command_is_what_follows_the_options() {
        for line in [
            &["--region", "us-east1", "--", "app", "--region", "x"][..],
            &["--region=us-east1", "app", "--region", "x"],
            &["-gcp_region", "us-east1", "app", "--region", "x"],
        ] {
            assert_eq!(argv(parsed(line).unwrap()), ["app", "--region", "x"], "{line:?}");
        }
        assert_eq!(argv(parsed(&["--", "serve"]).unwrap()), ["serve"]);
        assert_eq!(argv(parsed(&["--strict", "serve"]).unwrap()), ["(serve)"]);
        assert_eq!(argv(parsed(&["--strict", "--", "--odd"]).unwrap()), ["--odd"]);
    }

    #[test]
    fn questions_take_a_name_and_a_form() {
        let explain = argv(parsed(&["--strict", "explain", "hello", "--json"]).unwrap());
        assert_eq!(explain, ["(explain { name: \"hello\", json: true })"]);
        assert_eq!(argv(parsed(&["doctor"]).unwrap()), ["(doctor { name: none, json: false })"]);
        assert!(parsed(&["explain"]).unwrap_err().text.contains("NAME"));
        assert!(parsed(&["doctor", "a", "b"]).unwrap_err().text.contains("cannot be meant"));
        let late = parsed(&["explain", "--region", "us-east1", "hello", "--json"]).unwrap();
        assert_eq!(settings::resolve(&[late.flags]).unwrap().region.as_deref(), Some("us-east1"));
        assert_eq!(argv(parsed(&["--", "doctor"]).unwrap()), ["doctor"]);
    }

    #[test]
    fn flags_are_settings() {
        let parsed = parsed(&["--strict", "--ndots=2", "--route", "a=http://b", "app"]).unwrap();
        let config = settings::resolve(&[parsed.flags]).unwrap();
        assert!(config.strict);
        assert_eq!(config.ndots, Some(2));
        assert_eq!(config.routes.len(), 1);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let unknown = parsed(&["--regoin", "x", "--", "app"]).unwrap_err();
        assert!(unknown.is_error);
        assert!(unknown.text.contains("--region"), "{}", unknown.text);
        let nothing = parsed(&[]).unwrap_err();
        assert!(nothing.text.contains("COMMAND"), "{}", nothing.text);
        assert!(parsed(&["serve", "x"]).unwrap_err().text.contains("runsd -- serve"));
        assert!(parsed(&["completions", "tcsh"]).unwrap_err().text.contains("bash|zsh|fish"));
    }

    #[test]
    fn help_names_every_setting() {
        let help = parsed(&["--help"]).unwrap_err();
        assert!(!help.is_error);
        for setting in SETTINGS {
            assert!(help.text.contains(&format!("--{}", setting.flag())), "{}", setting.key);
        }
        assert!(parsed(&["--version"]).unwrap_err().text.contains(crate::VERSION));
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
