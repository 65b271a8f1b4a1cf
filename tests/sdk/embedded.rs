//! The engine inside an app on a simulated Cloud Run: names resolve, tokens go
//! along, and the instance is as before when the app ends, however it does.

use crate::installed::{prefix, python_package};
use crate::programs::{Linked, compile};
use runsd_tests::{Ran, World, root, start};

/// Calls a service by name, before and after a child has come and gone, and
/// ends without a word to the engine.
const APP: &str = r#"
import os, sys, urllib.request, runsd

def call():
    with urllib.request.urlopen("http://hello/", timeout=30) as answer:
        return answer.status

engine = runsd.start()
assert engine.mode == "full", engine.mode
print(call())
child = os.fork()
if child == 0:
    print(call())
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(call())
"#;

/// gRPC's own client, in an app without privileges, which is told of the proxy.
const GRPC: &str = r#"
import grpc, runsd

with runsd.start(mode="proxy") as engine, engine.install():
    with grpc.insecure_channel("grpc:80") as channel:
        call = channel.unary_unary("/sim.Echo/Unary")
        assert call(b"x", timeout=30) == b"x"
    assert engine.stats().upstream_connections == 1
"#;

/// Runs a Python program on Cloud Run.
fn python(world: &World, program: &str) -> Ran {
    let python = root().join(".venv/bin/python");
    let python = if python.exists() { python } else { "python3".into() };
    let mut app = world.sim.command(python);
    start(app.args(["-u", "-c", program]).env("PYTHONPATH", python_package())).wait()
}

#[test]
fn a_python_app_leaves_the_instance_as_it_was() {
    let world = World::default();
    let before = world.sim.resolv_conf();
    let ran = python(&world, APP);
    assert_eq!(ran.ok().split_whitespace().collect::<Vec<_>>(), ["200"; 3], "{ran:#?}");
    assert_eq!(world.sim.resolv_conf(), before);
    let hosts: Vec<String> =
        world.sim.front().requests().into_iter().map(|seen| seen.host).collect();
    assert_eq!(hosts, ["hello-123456789012.us-central1.run.app"; 3]);
}

#[test]
fn grpc_in_python_finds_the_proxy_by_what_is_installed() {
    let world = World::default();
    python(&world, GRPC).ok();
    let hosts: Vec<String> =
        world.sim.front().requests().into_iter().map(|seen| seen.host).collect();
    assert_eq!(hosts, ["grpc-123456789012.us-central1.run.app"]);
}

#[test]
fn a_program_in_c_takes_names_over_and_gives_them_back() {
    let world = World::default();
    let before = world.sim.resolv_conf();
    let program = compile("names", Linked::Shared);
    let mut app = world.sim.command(&program);
    let ran = start(app.env("LD_LIBRARY_PATH", prefix().join("lib"))).wait();
    assert_eq!(ran.ok(), "HTTP/1.1 200\n");
    assert_eq!(world.sim.resolv_conf(), before);
    assert_eq!(world.sim.front().requests().len(), 1);
    let _ = std::fs::remove_file(program);
}

#[test]
fn a_port_that_is_not_permitted_is_refused_with_what_to_do() {
    let world = World::default();
    let program = compile("denied", Linked::Shared);
    let mut app = world.sim.command(&program);
    // The simulation's own network, where ports below 1024 are root's.
    app.arg("127.0.0.1:80").env("LD_LIBRARY_PATH", prefix().join("lib"));
    start(&mut app).wait().ok();
    let _ = std::fs::remove_file(program);
}
