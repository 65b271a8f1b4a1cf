//! Blocks that show a terminal: the commands behind `$` are run, and what they
//! print is what stands below them, but for spaces; `...` stands for anything.

use crate::page::Block;
use cloudrun_sim::Options;
use runsd_tests::{World, runsd, start};
use std::path::Path;
use std::process::Command;

/// Parts the output of one command from the next.
const MARK: &str = "== end of a command:";

/// Where the commands of a block run, and how they end.
struct Stage<'a> {
    place: &'a str,
    deny: Vec<String>,
    exits: &'a str,
}

/// What `run: PLACE; deny NAME; exits N` asks for.
fn stage<'a>(block: &Block, said: &'a str) -> Stage<'a> {
    let mut parts = said.split(';').map(str::trim);
    let mut stage = Stage { place: parts.next().unwrap_or_default(), deny: Vec::new(), exits: "0" };
    for part in parts {
        match part.split_once(' ') {
            Some(("deny", name)) => stage.deny.push(name.to_owned()),
            Some(("exits", code)) => stage.exits = code,
            _ => panic!("{}: what is {part:?}?", block.place()),
        }
    }
    stage
}

/// Runs the block in this folder; what happens otherwise than it is shown.
pub fn run(block: &Block, said: &str, folder: &Path) -> Vec<String> {
    let stage = stage(block, said);
    let world = World::new(Options { deny: stage.deny.clone(), ..Options::default() });
    let steps = steps(block);
    let mut command = shell(block, &stage, &world);
    command.args(["--norc", "-c", &script(&steps)]).current_dir(folder);
    with_programs(&mut command, folder);
    let ran = start(&mut command).wait();
    let parts: Vec<&str> = ran.out.split(MARK).collect();
    if parts.len() != steps.len() + 1 {
        return vec![format!("{}: {ran:#?}", block.place())];
    }
    let mut wrong = Vec::new();
    let mut printed = parts[0];
    for (number, step) in steps.iter().enumerate() {
        let (code, next) = parts[number + 1].split_once('\n').unwrap_or((parts[number + 1], ""));
        let wanted = if number + 1 == steps.len() { stage.exits } else { "0" };
        let shown = step.output.trim();
        if code.trim() != wanted || !(shown.is_empty() || is_like(printed, shown)) {
            let place = block.place();
            wrong.push(format!("{place}: {}\n{printed}exit code{code}", step.command));
        }
        printed = next;
    }
    wrong
}

/// Bash, where the block wants it.
fn shell(block: &Block, stage: &Stage<'_>, world: &World) -> Command {
    match stage.place {
        "on cloud run" => world.sim.command("bash"),
        "under runsd" => {
            let mut command = world.sim.command(runsd());
            command.args(["--", "bash"]);
            command
        }
        // The same network, but nothing says that this is Cloud Run.
        "on a laptop" => {
            let mut command = world.sim.command("env");
            for name in ["K_SERVICE", "K_REVISION", "K_CONFIGURATION", "PORT"] {
                command.args(["-u", name]);
            }
            command.arg("bash");
            command
        }
        "on the machine" => Command::new("bash"),
        place => panic!("{}: where is {place:?}?", block.place()),
    }
}

/// Our programs are found by name, as where they are installed.
fn with_programs(command: &mut Command, folder: &Path) {
    let own = runsd();
    let own = own.parent().expect("a program is in a folder").to_owned();
    let known = std::env::var_os("PATH").unwrap_or_default();
    let all = [own].into_iter().chain(std::env::split_paths(&known));
    command.env("PATH", std::env::join_paths(all).expect("paths")).env("HOME", folder);
}

/// A command and what is shown below it.
struct Step {
    command: String,
    output: String,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: String::new() });
        } else {
            let step = steps.last_mut();
            let step = step.unwrap_or_else(|| panic!("{}: no command first", block.place()));
            let into = if goes_on { &mut step.command } else { &mut step.output };
            into.push('\n');
            into.push_str(line.strip_prefix("> ").filter(|_| goes_on).unwrap_or(line));
        }
        goes_on = (goes_on || line.starts_with("$ ")) && line.ends_with('\\');
    }
    assert!(!steps.is_empty(), "{}: no command behind a $", block.place());
    steps
}

fn script(steps: &[Step]) -> String {
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script.push_str(&step.command);
        script.push_str(&format!("\nprintf '{MARK} %s\\n' $?\n"));
    }
    // What was started behind is over with the block.
    script.push_str("jobs -p | xargs -r kill\nwait\ntrue\n");
    script
}

/// Whether a text is what a pattern shows: words alike, `...` for any number.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, pattern) = (squeeze(text), squeeze(pattern));
    let pieces: Vec<&str> = pattern.split("...").map(str::trim).collect();
    let [first, middle @ ..] = pieces.as_slice() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
