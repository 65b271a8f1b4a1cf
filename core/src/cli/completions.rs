//! Completion scripts for shells, made from the table of settings.
//!
//! It owns the three shells' ways to say the same; it does no I/O. What comes
//! behind the options is COMMAND's, so each script hands over to the shell's
//! own completion of commands there.

use super::args::CONFIG_HELP;
use crate::settings::{Form, SETTINGS, Setting};
use std::fmt::Write;

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The shell of this name.
    pub(super) fn named(name: &str) -> Option<Shell> {
        [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)]
            .into_iter()
            .find_map(|(known, shell)| (known == name).then_some(shell))
    }
}

/// What can stand in the place of COMMAND, and what it is for.
const TASKS: &[(&str, &str)] = &[
    ("serve", "Serve without a COMMAND, until SIGTERM"),
    ("explain", "Say what becomes of a name"),
    ("doctor", "Look at what stands in the way here"),
    ("completions", "Print a completion script for a shell"),
];

/// How the value of an option is completed.
enum Values {
    /// There is none.
    None,
    /// One of these words.
    Words(Vec<&'static str>),
    /// The name of a file.
    File,
    /// Anything.
    Free,
}

/// An option as a completion sees it.
struct Opt {
    flag: String,
    help: &'static str,
    values: Values,
    repeats: bool,
}

fn options() -> Vec<Opt> {
    let plain = |flag: &str, help, values| Opt { flag: flag.into(), help, values, repeats: false };
    let mut options: Vec<Opt> = SETTINGS.iter().map(option).collect();
    options.push(plain("config", CONFIG_HELP, Values::File));
    options.push(plain("help", "Print help", Values::None));
    options.push(plain("version", "Print the version", Values::None));
    options
}

fn option(setting: &Setting) -> Opt {
    let choices = setting.choices();
    let values = match setting.form {
        Form::Flag => Values::None,
        Form::Value("PATH" | "FILE") => Values::File,
        _ if choices.is_empty() => Values::Free,
        _ => Values::Words(choices),
    };
    let repeats = matches!(setting.form, Form::List { .. });
    Opt { flag: setting.flag(), help: setting.help, values, repeats }
}

/// The script for a shell.
pub(super) fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(&options()),
        Shell::Zsh => zsh(&options()),
        Shell::Fish => fish(&options()),
    }
}

/// `--a|--b`, of those options that `select` picks.
fn alternatives(options: &[Opt], select: impl Fn(&Opt) -> bool) -> String {
    let flags: Vec<String> =
        options.iter().filter(|one| select(one)).map(|one| format!("--{}", one.flag)).collect();
    flags.join("|")
}

/// What stays the same of the script for bash. Readline parts words at `=`.
const BASH: &str = r#"_runsd() {
    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} at=1 first
    if [[ $word == "=" ]]; then
        word=
    elif [[ $option == "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    while ((at < COMP_CWORD)); do
        first=${COMP_WORDS[at]}
        case $first in
        --) at=$((at + 1)) && break ;;
        @VALUED@)
            [[ ${COMP_WORDS[at + 1]} == "=" ]] && at=$((at + 1))
            at=$((at + 2))
            ;;
        -*)
            [[ ${COMP_WORDS[at + 1]} == "=" ]] && at=$((at + 2))
            at=$((at + 1))
            ;;
        *) break ;;
        esac
    done
    COMPREPLY=()
    if ((at < COMP_CWORD)) || [[ $at -eq $COMP_CWORD && $first == -- ]]; then
        if [[ $first == completions ]]; then
            COMPREPLY=($(compgen -W "bash zsh fish" -- "$word"))
        elif declare -F _command_offset >/dev/null; then
            _command_offset "$at"
        elif ((at == COMP_CWORD)); then
            COMPREPLY=($(compgen -c -- "$word"))
        else
            COMPREPLY=($(compgen -f -- "$word"))
        fi
        return
    fi
    case $option in
@CASES@    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "@FLAGS@" -- "$word"))
    else
        COMPREPLY=($(compgen -W "@TASKS@" -- "$word") $(compgen -c -- "$word"))
    fi
}
complete -o default -F _runsd runsd
"#;

fn bash(options: &[Opt]) -> String {
    let mut cases = String::new();
    for one in options {
        let Values::Words(words) = &one.values else { continue };
        let (flag, words) = (&one.flag, words.join(" "));
        let _ = writeln!(
            cases,
            "    --{flag}) COMPREPLY=($(compgen -W \"{words}\" -- \"$word\")) && return ;;"
        );
    }
    let files = alternatives(options, |one| matches!(one.values, Values::File));
    let _ = writeln!(cases, "    {files}) COMPREPLY=($(compgen -f -- \"$word\")) && return ;;");
    let free = alternatives(options, |one| matches!(one.values, Values::Free));
    let _ = writeln!(cases, "    {free}) return ;;");
    let tasks: Vec<&str> = TASKS.iter().map(|(name, _)| *name).collect();
    BASH.replace("@VALUED@", &alternatives(options, |one| !matches!(one.values, Values::None)))
        .replace("@CASES@", &cases)
        .replace("@FLAGS@", &alternatives(options, |_| true).replace('|', " "))
        .replace("@TASKS@", &tasks.join(" "))
}

fn zsh(options: &[Opt]) -> String {
    let quoted = |text: &str| text.replace('\'', "'\\''");
    let mut script = String::from("#compdef runsd\n\n_runsd() {\n    _arguments -S -A '-*' \\\n");
    for one in options {
        let Opt { flag, help, .. } = one;
        let help = quoted(&help.replace('[', "\\[").replace(']', "\\]"));
        let star = if one.repeats { "*" } else { "" };
        let spec = match &one.values {
            Values::None => format!("--{flag}[{help}]"),
            Values::Words(words) => format!("--{flag}=[{help}]:{flag}:({})", words.join(" ")),
            Values::File => format!("--{flag}=[{help}]:file:_files"),
            Values::Free => format!("--{flag}=[{help}]:{flag}: "),
        };
        let _ = writeln!(script, "        '{star}{spec}' \\");
    }
    script.push_str("        '1:command:_runsd_task' \\\n        '*::argument:_runsd_rest'\n}\n\n");
    script.push_str("_runsd_task() {\n    local -a tasks=(\n");
    for (name, help) in TASKS {
        let _ = writeln!(script, "        '{name}:{}'", quoted(help));
    }
    script.push_str(
        "    )\n    _describe task tasks\n    _command_names -e\n}\n\n\
         _runsd_rest() {\n    if [[ $words[1] == completions ]]; then\n        \
         compadd bash zsh fish\n    else\n        _normal\n    fi\n}\n\n\
         if [[ $funcstack[1] == _runsd ]]; then\n    _runsd \"$@\"\nelse\n    \
         compdef _runsd runsd\nfi\n",
    );
    script
}

/// What stays the same of the script for fish: where options and tasks end, and
/// behind them COMMAND's own completion.
const FISH: &str = "\
function __runsd_at_options
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        if test \"$words[1]\" = --
            return 1
        end
        switch $words[1]
            case @VALUED@
                set -e words[1]
            case '-*'
            case '*'
                return 1
        end
        set -e words[1]
    end
    return 0
end
complete -c runsd -n 'not __fish_seen_subcommand_from completions' -f -a \
'(__fish_complete_subcommand)'
";

fn fish(options: &[Opt]) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let valued = alternatives(options, |one| !matches!(one.values, Values::None));
    let mut script = FISH.replace("@VALUED@", &valued.replace('|', " "));
    for (name, help) in TASKS {
        let _ = writeln!(
            script,
            "complete -c runsd -n __runsd_at_options -f -a {name} -d '{}'",
            quoted(help)
        );
    }
    script.push_str(
        "complete -c runsd -n '__fish_seen_subcommand_from completions' -f -a 'bash zsh fish'\n",
    );
    for one in options {
        let Opt { flag, help, .. } = one;
        let value = match &one.values {
            Values::None => String::new(),
            Values::Words(words) => format!(" -x -a '{}'", words.join(" ")),
            Values::File => " -r -F".to_owned(),
            Values::Free => " -x".to_owned(),
        };
        let _ = writeln!(
            script,
            "complete -c runsd -n __runsd_at_options -l {flag}{value} -d '{}'",
            quoted(help)
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_knows_every_option() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for one in options() {
                let flag = match shell {
                    Shell::Fish => format!("-l {}", one.flag),
                    Shell::Bash | Shell::Zsh => format!("--{}", one.flag),
                };
                assert!(script.contains(&flag), "{shell:?}: {flag}");
            }
            assert!(script.contains("auto full proxy off"), "{shell:?}");
            assert!(shell != Shell::Bash || !script.contains('@'), "a mark was left in place");
        }
    }

    #[test]
    fn words_are_offered_only_where_they_are_all_there_is() {
        let words = |flag: &str| {
            let found = options().into_iter().find(|one| one.flag == flag).unwrap();
            match found.values {
                Values::Words(words) => words,
                _ => Vec::new(),
            }
        };
        assert_eq!(words("dns"), ["on", "off"]);
        assert_eq!(words("upstream-http"), ["auto", "1", "2"]);
        for free in ["user", "region", "threads", "ndots", "allow-project", "strict"] {
            assert!(words(free).is_empty(), "{free}");
        }
    }
}
