//! The rules. Each looks at one file and says what breaks it.

use crate::source::Source;
use std::fmt;

/// A rule: what is wrong with a file.
pub type Rule = fn(&Source) -> Vec<Violation>;

/// One line that breaks a rule.
pub struct Violation {
    place: String,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// The rooms from the ground up: a room may use those on lower floors, and
/// nothing beside or above it.
const FLOORS: &[&[&str]] = &[
    &["telemetry", "sys"],
    &["net"],
    &["dns", "http1", "names", "auth"],
    &["settings", "control"],
    &["cloudrun"],
    &["proxy"],
    &["engine"],
    &["cli"],
];

/// A word, and the places that may use it; anything under such a path may.
const OWNERS: &[(&str, &[&str])] = &[
    ("async_std::", &["core/src/net/"]),
    ("async_io::", &["core/src/net/"]),
    ("socket2::", &["core/src/net/"]),
    ("rustix::", &["core/src/net/"]),
    ("async_executor::", &["core/src/net/"]),
    ("pin_project_lite::", &["core/src/net/"]),
    // Their own modules of this name are what these two mean.
    (
        "h2::",
        &[
            "core/src/proxy/h2/",
            "core/src/proxy/pool/h2",
            "core/src/proxy/mod.rs",
            "core/src/proxy/pool/mod.rs",
            "core/src/proxy/h1/over_h2.rs",
        ],
    ),
    ("tokio::", &["core/src/net/tokio_io.rs", "core/src/proxy/h2/", "core/src/proxy/pool/h2"]),
    ("rustls", &["core/src/net/tls/"]),
    ("native_tls", &["core/src/net/tls/"]),
    ("openssl::", &["core/src/net/tls/"]),
    ("hickory_proto::", &["core/src/dns/"]),
    ("httparse::", &["core/src/http1/"]),
    ("surf::", &["core/src/control/"]),
    ("async_h1::", &["core/src/control/"]),
    ("clap::", &["core/src/cli/"]),
];

const PLATFORM_WORDS: &[&str] =
    &["run.app", "169.254", "google", "us-central1", "us-east1", "europe-west1"];

fn each_line(source: &Source, check: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    source
        .lines()
        .filter_map(|(number, line)| {
            let place = format!("{}:{number}", source.path);
            check(line).map(|what| Violation { place, what })
        })
        .collect()
}

fn in_core(source: &Source) -> bool {
    source.path.starts_with("core/src/")
}

/// Where `word` stands as a path of its own, not as the end of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The rooms that a line names after `crate::`, groups in braces included.
fn rooms_named(line: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut rooms = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        let rest = &line[at + found.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let names = group.split('}').next().unwrap_or_default().split(',');
            rooms.extend(names.map(|name| name.trim().split("::").next().unwrap_or_default()));
        } else {
            rooms.push(rest.split(|c| !is_name(c)).next().unwrap_or_default());
        }
    }
    rooms
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

pub fn imports_point_down(source: &Source) -> Vec<Violation> {
    let Some(own) = source.room().map(|room| room.trim_end_matches(".rs")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (number, line) in source.lines() {
        for room in rooms_named(line) {
            let allowed = match (floor(own), floor(room)) {
                (Some(own_floor), Some(other)) => own == room || other < own_floor,
                _ => true,
            };
            // The command line is a caller of lib.rs like any other, and may
            // read the table that its flags are made from.
            let caller = own == "cli" && !["cli", "settings", "sys"].contains(&room);
            if !allowed || (caller && floor(room).is_some()) {
                let place = format!("{}:{number}", source.path);
                found.push(Violation { place, what: format!("{own} must not know {room}") });
            }
        }
    }
    found
}

pub fn interfaces_use_the_public_api_alone(source: &Source) -> Vec<Violation> {
    if !source.path.starts_with("ffi/src/") && !source.path.starts_with("python/src/") {
        return Vec::new();
    }
    let inner = FLOORS.iter().flat_map(|floor| floor.iter().copied());
    let inner: Vec<String> = inner.map(|room| format!("runsd::{room}::")).collect();
    each_line(source, |line| {
        let foreign = ["async_std", "async_io", "h2::", "rustls", "native_tls", "hickory_proto"];
        inner
            .iter()
            .map(String::as_str)
            .chain(foreign)
            .find(|word| mentions(line, word))
            .map(|word| format!("{word} is not part of the public interface"))
    })
}

pub fn foreign_crates_have_one_owner(source: &Source) -> Vec<Violation> {
    if !in_core(source) {
        return Vec::new();
    }
    let strangers: Vec<&str> = OWNERS
        .iter()
        .filter(|(_, homes)| !homes.iter().any(|home| source.path.starts_with(home)))
        .map(|(word, _)| *word)
        .collect();
    each_line(source, |line| {
        // The TLS libraries come under their own names and behind wrappers.
        let tls = |word: &str| {
            ["rustls", "native_tls"].contains(&word) && line.contains(&format!("_{word}"))
        };
        let names_it = |word: &&&str| mentions(line, word) || tls(word);
        strangers.iter().find(names_it).map(|word| format!("{word} belongs to another room"))
    })
}

pub fn platform_words_stay_in_their_room(source: &Source) -> Vec<Violation> {
    if !in_core(source) || source.room() == Some("cloudrun") {
        return Vec::new();
    }
    each_line(source, |line| {
        PLATFORM_WORDS
            .iter()
            .find(|word| line.to_ascii_lowercase().contains(**word))
            .map(|word| format!("{word:?} is a fact of one platform"))
    })
}

pub fn the_environment_is_read_at_the_edge(source: &Source) -> Vec<Violation> {
    let edge = ["core/src/cli/", "core/src/engine/environment.rs"];
    if !in_core(source) || edge.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    each_line(source, |line| {
        line.contains("env::var").then(|| "the environment is passed down, not read".to_owned())
    })
}

pub fn rooms_that_wait_ask_a_clock(source: &Source) -> Vec<Violation> {
    // It blocks a thread that no engine has, with the kernel's own time-out.
    let apart = source.path == "core/src/dns/probe.rs";
    if !in_core(source) || apart || !["auth", "dns", "proxy"].contains(&source.room().unwrap_or(""))
    {
        return Vec::new();
    }
    each_line(source, |line| {
        let reads = ["Instant::now", "SystemTime::now", ".elapsed()"];
        let past = reads.iter().any(|word| line.contains(word));
        past.then(|| "the time passes by the clock that a test can set".to_owned())
    })
}

pub fn unsafe_code_has_its_places(source: &Source) -> Vec<Violation> {
    let places = ["core/src/sys", "ffi/"];
    if places.iter().any(|home| source.path.starts_with(home)) || source.path.contains("house/") {
        return Vec::new();
    }
    each_line(source, |line| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.into_iter().any(|word| word == "unsafe").then(|| "unsafe code".to_owned())
    })
}

pub fn no_global_runtime_is_started(source: &Source) -> Vec<Violation> {
    if !in_core(source) {
        return Vec::new();
    }
    each_line(source, |line| {
        let starts = ["task", "fs", "process"].iter().any(|module| {
            line.contains(&format!("async_std::{module}"))
                || (line.contains("async_std::{") && line.contains(module))
        });
        let tokio = ["tokio::spawn", "tokio::time", "tokio::runtime", "tokio::net"];
        (starts || tokio.iter().any(|word| line.contains(word)))
            .then(|| "this starts threads that cannot be stopped".to_owned())
    })
}

pub fn files_are_short(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    if lines <= 500 {
        return Vec::new();
    }
    vec![Violation { place: source.path.clone(), what: format!("{lines} lines are over 500") }]
}

pub fn names_say_something(source: &Source) -> Vec<Violation> {
    let empty = ["utils", "util", "common", "helpers", "helper", "prelude", "misc"];
    source
        .path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"))
        .filter(|part| empty.contains(part))
        .map(|part| Violation {
            place: source.path.clone(),
            what: format!("{part:?} does not say what is in it"),
        })
        .collect()
}

pub fn modules_have_heads(source: &Source) -> Vec<Violation> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![Violation { place: source.path.clone(), what: "no module head says what it owns".into() }]
}

pub fn nothing_is_left_for_later(source: &Source) -> Vec<Violation> {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark.as_str())))
        .map(|(index, _)| Violation {
            place: format!("{}:{}", source.path, index + 1),
            what: "work left for later".to_owned(),
        })
        .collect()
}
