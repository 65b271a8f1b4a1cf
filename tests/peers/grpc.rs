//! gRPC's three great client libraries, unchanged, under runsd.

use crate::apps;
use cloudrun_sim::{Options, Seen, Sim};
use runsd_tests::World;
use std::time::{Duration, Instant};

const CHECKS: [&str; 11] = [
    "unary",
    "server stream",
    "client stream",
    "bidirectional stream",
    "metadata",
    "trailers-only errors",
    "large messages",
    "large trailers",
    "many small messages",
    "deadline",
    "cancellation",
];

fn app(language: &str) -> Vec<String> {
    match language {
        "python" => apps::python("grpc_app.py"),
        "node" => apps::node("grpc.mjs"),
        _ => apps::go("grpc"),
    }
}

/// What an app that calls `target` printed.
fn printed(world: &World, language: &str, target: &str, what: &str) -> String {
    let mut app = app(language);
    app.extend([target.to_owned(), what.to_owned()]);
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    let ran = world.run(&[], &app);
    assert_eq!(ran.code, Some(0), "{language}: {ran:#?}");
    ran.out
}

/// The call that the app cancelled, once the service knows how it ended.
fn cancelled(sim: &Sim) -> Seen {
    let begun = Instant::now();
    loop {
        let seen = sim.front().requests();
        let found = seen.into_iter().find(|seen| has(seen, "x-cancelled", b"yes"));
        let found = found.expect("the app made such a call");
        if found.end.is_some() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "never cancelled: {found:?}");
        std::thread::yield_now();
    }
}

fn has(seen: &Seen, name: &str, value: &[u8]) -> bool {
    seen.headers.iter().any(|field| field.0 == name && field.1 == value)
}

/// Everything a client can do, and what the service saw of it.
fn every_kind_of_call(language: &str) {
    let world = World::default();
    let out = printed(&world, language, "grpc:80", "all");
    assert_eq!(out.lines().collect::<Vec<_>>(), CHECKS, "{language}");
    assert_eq!(cancelled(&world.sim).end.as_deref(), Some("CANCEL"), "{language}");
    let seen = world.sim.front().requests();
    assert!(seen.iter().all(|seen| seen.audience.is_some()), "every call needs a token");
    assert!(seen.iter().all(|seen| has(seen, "te", b"trailers")), "TE: trailers is kept");
    let timed = |seen: &Seen| seen.headers.iter().any(|(name, _)| name == "grpc-timeout");
    assert!(seen.iter().any(timed), "deadlines travel as they are");
    assert_eq!(world.sim.metadata().token_fetches(), 1);
    assert!(world.sim.front().connections() <= 2, "{}", world.sim.front().connections());
}

/// COVERAGE.md 2, 3, 11, 14, 15, 17, 20, 27: grpcio.
#[test]
fn pythons_grpcio() {
    every_kind_of_call("python");
}

/// COVERAGE.md 2, 3, 11, 14, 15, 17, 20, 27: grpc-go.
#[test]
fn gos_grpc() {
    every_kind_of_call("go");
}

/// COVERAGE.md 2, 3, 11, 14, 15, 17, 20, 27: grpc-js.
#[test]
fn nodes_grpc_js() {
    every_kind_of_call("node");
}

/// COVERAGE.md 27: what goes wrong on the way is a status that says whether to try
/// again: 5 for a name that may not be called, 14 for an outage, 16 for a refusal; and
/// its message says what it was.
#[test]
fn the_proxys_own_errors_are_statuses() {
    for language in ["python", "go", "node"] {
        let world = World::default();
        let says = |target: &str, code: &str, part: &str| {
            let out = printed(&world, language, target, "status");
            assert!(out.starts_with(&format!("{code} ")), "{language} {target}: {out}");
            assert!(out.contains(part), "{language} {target}: {out}");
        };
        let foreign = "grpc.us-east1.999999999999.run.internal:80";
        says(foreign, "5", "--allow-project 999999999999");
        world.sim.front().refuse(true);
        says("grpc:80", "14", "cannot reach grpc");
        world.sim.front().refuse(false);
        world.sim.metadata().fail_tokens(usize::MAX, 503);
        says("grpc:80", "14", "token");
        world.sim.metadata().fail_tokens(usize::MAX, 404);
        says("grpc:80", "16", "token");
    }
}

/// COVERAGE.md 27: what the service itself answers passes untouched, also where it
/// is no gRPC at all; the clients make a status of it by gRPC's own table: 7 of
/// a 403, 12 of the 404 for a service that does not exist.
#[test]
fn the_platforms_refusals_pass_untouched() {
    for language in ["python", "go", "node"] {
        let world = World::new(Options { deny: vec!["grpc".into()], ..Options::default() });
        let out = printed(&world, language, "grpc:80", "status");
        assert!(out.starts_with("7 "), "{language}: {out}");
        assert_eq!(world.sim.front().requests().last().map(|seen| seen.status), Some(403));
        let out = printed(&world, language, "missing:80", "status");
        assert!(out.starts_with("12 "), "{language}: {out}");
    }
}
