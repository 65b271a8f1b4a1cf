//! Look-ups by the resolvers that apps use: every form of a name works on each,
//! and costs no more queries than the specification's table allows.

use crate::wire::{Question, Wire};
use cloudrun_sim::{Behaviour, Options};
use runsd_tests::{World, root, start};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const A: u16 = 1;
const AAAA: u16 = 28;
const LOCAL: &[&str] = &["127.0.0.1", "::1"];
const EXTERNAL: &[&str] = &["198.18.0.20"];

/// A name, the addresses that it may have, and the names that may be tried for
/// it with an ndots of 1, 2 and 4.
const NAMES: &[(&str, &[&str], [usize; 3])] = &[
    ("hello", LOCAL, [1, 1, 1]),
    ("hello.us-east1", LOCAL, [1, 2, 2]),
    ("hello.us-east1.999999999999", LOCAL, [1, 1, 3]),
    ("hello.us-east1.run.internal", LOCAL, [1, 1, 4]),
    ("green---hello", LOCAL, [1, 1, 1]),
    ("HELLO", LOCAL, [1, 1, 1]),
    ("example.com", EXTERNAL, [1, 4, 4]),
    ("www.example.com", EXTERNAL, [1, 1, 4]),
    ("hello.run.internal.", LOCAL, [1, 1, 1]),
    ("example.com.", EXTERNAL, [1, 1, 1]),
];

fn program(name: &str) -> PathBuf {
    root().join("tests/resolvers/programs").join(name)
}

/// Builds a program once, for all tests.
fn built(once: &'static OnceLock<String>, name: &str, compiler: &[&str]) -> &'static str {
    once.get_or_init(|| {
        let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let source = if compiler.contains(&"build") { "lookup.go" } else { "lookup.c" };
        let (tool, flags) = compiler.split_first().expect("a compiler");
        let mut command = Command::new(tool);
        command.args(flags).arg("-o").arg(&made).arg(program(source));
        start(command.env("CGO_ENABLED", "0")).wait().ok();
        made.to_string_lossy().into_owned()
    })
}

fn glibc() -> Vec<String> {
    static ONCE: OnceLock<String> = OnceLock::new();
    vec![built(&ONCE, "lookup-glibc", &["cc", "-O1", "-Wall"]).to_owned()]
}

fn musl() -> Vec<String> {
    static ONCE: OnceLock<String> = OnceLock::new();
    vec![built(&ONCE, "lookup-musl", &["musl-gcc", "-O1", "-Wall"]).to_owned()]
}

fn musl_static() -> Vec<String> {
    static ONCE: OnceLock<String> = OnceLock::new();
    let compiler = ["musl-gcc", "-static", "-O1", "-Wall"];
    vec![built(&ONCE, "lookup-musl-static", &compiler).to_owned()]
}

fn go() -> Vec<String> {
    static ONCE: OnceLock<String> = OnceLock::new();
    let own = root().join(".venv/bin/go");
    let tool = if own.exists() { own.to_string_lossy().into_owned() } else { "go".to_owned() };
    vec![built(&ONCE, "lookup-go", &[&tool, "build"]).to_owned()]
}

/// Java's own, where there is a JDK; it is too large to be installed for this
/// alone, but where `CI` is set nothing may be left out.
fn java() -> Option<Vec<String>> {
    static ONCE: OnceLock<Option<Vec<String>>> = OnceLock::new();
    let made = ONCE.get_or_init(|| {
        if Command::new("javac").arg("-version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "no JDK: install default-jdk-headless");
            // Past what the test harness keeps to itself.
            let _ = writeln!(std::io::stderr(), "no JDK here: Java's resolver is NOT TESTED");
            return None;
        }
        let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lookup-java");
        let made = made.to_string_lossy().into_owned();
        start(Command::new("javac").args(["-d", &made]).arg(program("Lookup.java"))).wait().ok();
        let command = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &made, "Lookup"];
        Some(command.map(str::to_owned).into())
    });
    made.clone()
}

fn c_ares() -> Vec<String> {
    let python = root().join(".venv/bin/python");
    [python, program("lookup_cares.py")].map(|path| path.to_string_lossy().into_owned()).into()
}

/// Runs a resolver for these names under runsd: the addresses of each.
fn look_up(world: &World, app: &[String], options: &[&str], names: &[&str]) -> Vec<Vec<String>> {
    let mut command: Vec<&str> = app.iter().map(String::as_str).collect();
    command.extend(names);
    let ran = world.run(options, &command);
    let lines: Vec<Vec<String>> = ran
        .ok()
        .lines()
        .map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect())
        .collect();
    assert_eq!(lines.len(), names.len(), "{ran:#?}");
    lines
}

/// How many queries of each type there were.
fn by_type(questions: &[Question]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for question in questions {
        *counts.entry(question.qtype).or_default() += 1;
    }
    counts
}

/// The whole table for one resolver; where nothing is asked for, ndots is what
/// the container has, 1.
fn the_table_holds(app: &[String]) {
    for ipv6 in [true, false] {
        let world = World::new(Options { ipv6, ..Options::default() });
        let wire = Wire::listen(&world.sim);
        for (column, options) in [&[][..], &["--ndots", "2"], &["--ndots", "4"]].iter().enumerate()
        {
            for row in NAMES {
                let found = look_up(&world, app, options, &[row.0]).remove(0);
                the_row_holds(row, column, ipv6, &found, &wire.questions());
            }
        }
    }
}

/// A row of the table, as one resolver has it.
fn the_row_holds(
    (name, expected, most): &(&str, &[&str], [usize; 3]),
    column: usize,
    ipv6: bool,
    found: &[String],
    questions: &[Question],
) {
    let about = format!("{name} in column {column}, IPv6 {ipv6}: {found:?}, {questions:?}");
    let v4 = expected.first().expect("an IPv4 address").to_string();
    assert!(found.contains(&v4), "{about}");
    assert!(found.iter().all(|one| expected.contains(&one.as_str())), "{about}");
    assert!(ipv6 || !found.contains(&"::1".to_owned()), "{about}");
    let counts = by_type(questions);
    assert!(counts.keys().all(|qtype| [A, AAAA].contains(qtype)), "{about}");
    for qtype in [A, AAAA] {
        let asked = counts.get(&qtype).copied().unwrap_or(0);
        assert!(asked <= most[column], "{about}: {asked} over {}", most[column]);
    }
    assert!(counts.contains_key(&A), "{about}: it did not ask us");
}

#[test]
fn glibc_finds_every_name_at_the_tables_cost() {
    the_table_holds(&glibc());
}

#[test]
fn musl_finds_every_name_at_the_tables_cost() {
    the_table_holds(&musl());
    // One build and two ways to link: a glance is enough for the other.
    let world = World::default();
    let found = look_up(&world, &musl_static(), &[], &["hello", "hello.us-east1", "example.com"]);
    assert_eq!(found[0], LOCAL.iter().rev().copied().collect::<Vec<_>>().as_slice(), "{found:?}");
    assert_eq!(found[2], EXTERNAL);
}

#[test]
fn go_finds_every_name_at_the_tables_cost() {
    the_table_holds(&go());
}

#[test]
fn c_ares_finds_every_name_at_the_tables_cost() {
    the_table_holds(&c_ares());
}

/// A machine that runs Java takes its time to start: all names at once, and
/// behind each a name of ours that tells where its questions end.
#[test]
fn java_finds_every_name_at_the_tables_cost() {
    let Some(app) = java() else { return };
    for ipv6 in [true, false] {
        let world = World::new(Options { ipv6, ..Options::default() });
        let wire = Wire::listen(&world.sim);
        for (column, options) in [&[][..], &["--ndots", "2"], &["--ndots", "4"]].iter().enumerate()
        {
            let marks: Vec<String> =
                (0..NAMES.len()).map(|number| format!("mark{number}.run.internal")).collect();
            let absolute: Vec<String> = marks.iter().map(|mark| format!("{mark}.")).collect();
            let names: Vec<&str> = NAMES
                .iter()
                .zip(&absolute)
                .flat_map(|((name, ..), mark)| [*name, mark.as_str()])
                .collect();
            let found = look_up(&world, &app, options, &names);
            let questions = wire.questions();
            let mut rest = questions.as_slice();
            for (index, (row, mark)) in NAMES.iter().zip(&marks).enumerate() {
                let end = rest.iter().position(|question| question.name == *mark);
                let (own, after) = rest.split_at(end.expect("its mark was asked for"));
                let marks = after.iter().take_while(|question| question.name == *mark).count();
                rest = &after[marks..];
                the_row_holds(row, column, ipv6, &found[2 * index], own);
            }
            assert_eq!(rest, [], "nothing is asked behind the last mark");
        }
    }
}

#[test]
fn a_name_that_does_not_exist_is_found_missing_at_once() {
    let world = World::default();
    for app in [glibc(), musl(), go(), c_ares()].into_iter().chain(java()) {
        let missing = ["no_service", "a.b.c.d.run.internal", "missing.example"];
        for (name, found) in missing.iter().zip(look_up(&world, &app, &[], &missing)) {
            assert!(found.iter().any(|word| word.contains("error")), "{app:?} {name}: {found:?}");
        }
    }
    // Nothing of our zone ever goes upstream.
    let leaked: Vec<_> = world
        .sim
        .dns()
        .queries()
        .into_iter()
        .filter(|query| query.name.to_ascii_lowercase().contains("run.internal"))
        .collect();
    assert_eq!(leaked, []);
}

#[test]
fn the_platforms_names_are_ours_unless_that_is_switched_off() {
    const NAME: &str = "metadata.google.internal";
    let world = World::default();
    for (options, upstream) in [(&[][..], false), (&["--platform-names", "off"][..], true)] {
        let found = look_up(&world, &glibc(), options, &[&format!("{NAME}.")]);
        assert_eq!(found[0], ["169.254.169.254"], "{options:?}");
        let asked = world.sim.dns().queries().into_iter().any(|query| query.name == NAME);
        assert_eq!(asked, upstream, "{options:?}");
    }
}

#[test]
fn an_answer_too_long_for_udp_arrives_whole_or_as_much_as_fits() {
    let world = World::default();
    let many: Vec<IpAddr> = (1..=60).map(|last| Ipv4Addr::new(203, 0, 113, last).into()).collect();
    world.sim.dns().script("many.example.com", Behaviour::Address(many));
    let count = |app: &[String]| look_up(&world, app, &[], &["many.example.com"]).remove(0).len();
    assert_eq!(count(&glibc()), 60);
    assert_eq!(count(&go()), 60);
    assert_eq!(count(&c_ares()), 60);
    // musl before 1.2.4 has no TCP and uses what arrived: (512 - 34) / 16.
    let whole = count(&musl());
    assert!(whole == 29 || whole == 60, "{whole}");
}
