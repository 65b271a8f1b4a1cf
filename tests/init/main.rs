//! The entrypoint process beside the two that containers use otherwise: one
//! story for runsd, tini and dumb-init, as PID 1 of a PID namespace and as an
//! ordinary child. runsd must do every line of it; what the others do shows
//! that the story asks for nothing odd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod roots;

use runsd_tests::{World, root, runsd, start};
use std::collections::BTreeMap;

/// Tells the story in a simulated instance: how each line went. `options` are
/// the story's own.
fn story(place: &str, init: &[&str], options: &[&str]) -> BTreeMap<String, String> {
    let world = World::default();
    let mut command = world.sim.command("python3");
    command.arg(root().join("tests/init/story.py")).arg(place).args(options).arg("--");
    let ran = start(command.args(init)).wait();
    let results = serde_json::from_str(ran.ok()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let serde_json::Value::Object(results) = results else { panic!("{results}") };
    results.into_iter().map(|(line, how)| (line, how.as_str().unwrap().to_owned())).collect()
}

/// The lines that went wrong.
fn wrong(results: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    assert!(results.len() >= 19, "{results:?}");
    let wrong = results.iter().filter(|(_, how)| *how != "ok");
    wrong.map(|(line, how)| (line.as_str(), how.as_str())).collect()
}

/// Tells it of another one; `known` are its own choices, which the story counts
/// against it, and `never` the lines for which it would wait in vain.
fn others(place: &str, init: &[&str], options: &[&str], known: &[&str], never: &[&str]) {
    let without = never.iter().flat_map(|line| ["--without", line]);
    let options: Vec<&str> = options.iter().copied().chain(without).collect();
    for (line, how) in wrong(&story(place, init, &options)) {
        assert!(known.contains(&line), "{init:?} as {place}: {line}: {how}");
    }
}

fn ours(place: &str) {
    let runsd = runsd();
    let init = [&*runsd.to_string_lossy(), "--"];
    let results = story(place, &init, &["--group=--forward-to-group"]);
    assert_eq!(wrong(&results), [], "as {place}");
}

#[test]
fn runsd_does_every_line_as_a_child() {
    ours("child");
}

#[test]
fn runsd_does_every_line_as_pid_1() {
    ours("pid1");
}

#[test]
fn tini_does_what_it_claims() {
    // Adoption elsewhere than as PID 1 is an option of its own.
    let never = ["killed and restarted", "job", "job that reads", "job of several"];
    let known = ["closed descriptors"];
    others("child", &["tini", "-s", "--"], &["--group=-g"], &known, &never);
    others("pid1", &["tini", "--"], &["--group=-g"], &known, &[]);
}

#[test]
fn dumb_init_does_what_it_claims() {
    // It forwards to the group unless it is told otherwise.
    let init = ["dumb-init", "--"];
    let known = ["not found", "not executable", "adoption", "terminal"];
    let never =
        ["killed and restarted", "TERM while starting", "job", "job that reads", "job of several"];
    others("child", &init, &[], &known, &never);
    others("pid1", &init, &[], &known, &[]);
}
