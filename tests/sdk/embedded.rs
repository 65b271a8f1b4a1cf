//! The engine inside an app on a simulated Cloud Run: names resolve, tokens go
//! along, and the instance is as before when the app ends, however it does.

use crate::installed::{built, flags, prefix, succeed};
use runsd_tests::{World, root, start};
use std::path::PathBuf;
use std::process::Command;

/// The Python package of this build.
fn package() -> PathBuf {
    let package = prefix().join(format!("python-{}", std::process::id()));
    let folder = package.join("runsd");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(root().join("python/runsd")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "py") {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    std::fs::copy(built().join("lib_runsd.so"), folder.join("_runsd.abi3.so")).unwrap();
    package
}

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

#[test]
fn a_python_app_leaves_the_instance_as_it_was() {
    let world = World::default();
    let before = world.sim.resolv_conf();
    let python = root().join(".venv/bin/python");
    let python = if python.exists() { python } else { "python3".into() };
    let mut app = world.sim.command(python);
    let package = package();
    app.args(["-u", "-c", APP]).env("PYTHONPATH", &package);
    let ran = start(&mut app).wait();
    let _ = std::fs::remove_dir_all(package);
    assert_eq!(ran.ok().split_whitespace().collect::<Vec<_>>(), ["200"; 3], "{ran:#?}");
    assert_eq!(world.sim.resolv_conf(), before);
    let hosts: Vec<String> =
        world.sim.front().requests().into_iter().map(|seen| seen.host).collect();
    assert_eq!(hosts, ["hello-123456789012.us-central1.run.app"; 3]);
}

#[test]
fn a_program_in_c_takes_names_over_and_gives_them_back() {
    let world = World::default();
    let before = world.sim.resolv_conf();
    let program = prefix().join(format!("names-{}", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]).arg(&program);
    cc.arg(root().join("tests/sdk/c/names.c")).args(flags(&["--cflags", "--libs", "runsd"]));
    succeed(&mut cc);
    let mut app = world.sim.command(&program);
    let ran = start(app.env("LD_LIBRARY_PATH", prefix().join("lib"))).wait();
    assert_eq!(ran.ok(), "HTTP/1.1 200\n");
    assert_eq!(world.sim.resolv_conf(), before);
    assert_eq!(world.sim.front().requests().len(), 1);
    let _ = std::fs::remove_file(program);
}
