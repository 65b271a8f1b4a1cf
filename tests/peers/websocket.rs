//! WebSockets: two libraries as apps use them, and every frame that RFC 6455
//! allows or forbids, which pass all the same.

use crate::apps;
use runsd_tests::{Ran, World};

const CHECKS: [&str; 9] = [
    "echo",
    "greeting with the handshake",
    "pings amid fragments",
    "16 MiB",
    "compression",
    "close codes",
    "a service that leaves",
    "refusal",
    "both directions at once",
];

fn run(world: &World, app: &[String]) -> Ran {
    let app: Vec<&str> = app.iter().map(String::as_str).collect();
    world.run(&[], &app)
}

fn passes_every_check(app: &[String]) {
    let world = World::default();
    let ran = run(&world, app);
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), CHECKS);
    let seen = world.sim.front().requests();
    assert!(seen.iter().all(|seen| seen.protocol == "HTTP/1.1" && seen.audience.is_some()));
}

/// COVERAGE.md 2, 12, 16: Python's `websockets`.
#[test]
fn pythons_websockets() {
    passes_every_check(&apps::python("websocket_app.py"));
}

/// COVERAGE.md 2, 12, 16: Node's `ws`.
#[test]
fn nodes_ws() {
    passes_every_check(&apps::node("websocket.mjs"));
}

/// COVERAGE.md 2, 12, 16: the transcript of every case is the same as without
/// runsd: all opcodes, reserved bits, masks, lengths and close codes.
#[test]
fn every_frame_passes_as_it_is() {
    let world = World::default();
    let mut app = apps::python("frames_app.py");
    app.push(world.sim.url("ws").replace("https://", ""));
    let ran = run(&world, &app);
    let cases: usize = ran.ok().trim().parse().expect("a number of cases");
    assert!(cases > 90, "{cases}");
}
