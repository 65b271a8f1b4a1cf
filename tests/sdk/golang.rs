//! The Go module over the installed library, by its own tests.

use crate::installed::{prefix, succeed};
use std::process::Command;

fn go(arguments: &[&str]) {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(runsd_tests::root().join("ffi/go"));
    command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    command.env("LD_LIBRARY_PATH", prefix().join("lib"));
    // Nothing of the network is needed, and nothing of this build's caches lost.
    command.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off").env("CGO_ENABLED", "1");
    succeed(&mut command);
}

#[test]
fn the_module_passes_its_tests_under_the_race_detector() {
    go(&["vet", "./..."]);
    go(&["test", "-race", "-count=1", "-timeout=120s", "./..."]);
}

#[test]
fn the_module_links_the_archive() {
    go(&["test", "-tags=runsd_static", "-count=1", "-timeout=120s", "-run=Example", "./..."]);
}

#[test]
fn the_example_of_the_readme_is_that_of_the_package() {
    let read = |path: &str| std::fs::read_to_string(runsd_tests::root().join(path)).unwrap();
    let (readme, package) = (read("README.md"), read("ffi/go/doc.go"));
    let (_, example) = readme.split_once("```go\n").expect("the README has an example in Go");
    let (example, _) = example.split_once("```").expect("which ends");
    let indented: String = example.lines().map(|line| format!("//\t{line}\n")).collect();
    assert!(package.contains(&indented), "{indented}");
}
