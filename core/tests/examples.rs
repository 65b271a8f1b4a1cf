//! The examples run, each on its runtime.

use std::path::PathBuf;
use std::process::Command;

/// Cargo builds the examples when it tests a package as a whole.
fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.ancestors().nth(2).unwrap().join("examples").join(name)
}

fn says_hello(name: &str) {
    let mut command = Command::new(example(name));
    let output = command.env_clear().output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{out}{output:?}", output.status);
    assert!(out.starts_with("HTTP/1.1 200 OK\r\n"), "{out}");
    assert!(out.contains("\r\n\r\nhello"), "{out}");
    assert!(out.ends_with("0 exchanges were cut\n"), "{out}");
}

#[test]
fn plain_threads() {
    says_hello("threads");
}

#[test]
fn tokio() {
    says_hello("tokio");
}

#[test]
fn smol() {
    says_hello("smol");
}
