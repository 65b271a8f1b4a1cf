//! Exit codes, and what is said when COMMAND does not begin.

use super::{Way, copy_program};
use std::path::PathBuf;
use std::process::{Output, Stdio};

fn run(way: Way, command: &[&str]) -> Output {
    way.command(&[], &[], command).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_exit_code_is_the_childs() {
    for (line, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 143", 143),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -64 $$", 192),
    ] {
        let output = run(Way::Supervised, &["sh", "-c", line]);
        assert_eq!(output.status.code(), Some(code), "{line}");
    }
}

/// A file with this content and mode, in a directory of its own.
fn file(name: &str, content: &[u8], mode: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let [written, file] = ["written", "app"].map(|name| directory.join(name));
    std::fs::write(&written, content).unwrap();
    copy_program(written.to_str().unwrap(), &file, mode);
    file
}

#[test]
fn what_cannot_run_is_explained() {
    let plain = file("plain", b"text", "644");
    let empty = file("no-interpreter-line", b"echo hello\n", "755");
    let orphan = file("no-interpreter", b"#!/no/such/interpreter\n", "755");
    let [plain, empty, orphan] = [&plain, &empty, &orphan].map(|path| path.to_str().unwrap());
    let searched = format!("not found in PATH ({})", std::env::var("PATH").unwrap());
    for (command, code, said) in [
        ("no-such-app", 127, searched.as_str()),
        ("/no/such/app", 127, "no such file"),
        (orphan, 127, "the interpreter"),
        ("", 127, "not found"),
        (plain, 126, "permission denied"),
        (empty, 126, "#!"),
        ("/tmp", 126, "a directory"),
    ] {
        for way in [Way::Replaced, Way::Supervised] {
            let output = run(way, &[command, "argument"]);
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{way:?} {command:?}: {errors}");
            let line = errors.lines().find(|line| line.starts_with("runsd: error: "));
            let line = line.unwrap_or_else(|| panic!("no error line: {errors}"));
            assert!(line.contains(said) && line.contains(&format!("{command:?}")), "{line}");
        }
    }
}

#[test]
fn a_later_directory_is_tried_when_an_earlier_file_may_not_run() {
    let first = file("first", b"text", "644");
    let second = file("second", b"#!/bin/sh\necho second\n", "755");
    let path = format!(
        "/no/such:{}:{}",
        first.parent().unwrap().display(),
        second.parent().unwrap().display()
    );
    for way in [Way::Replaced, Way::Supervised] {
        let output = way.command(&[], &[], &["app"]).env("PATH", &path).output().unwrap();
        assert_eq!(output.stdout, b"second\n", "{way:?}");
    }
    let only = first.parent().unwrap();
    let output = Way::Supervised.command(&[], &[], &["app"]).env("PATH", only).output().unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(String::from_utf8(output.stderr).unwrap().contains(first.to_str().unwrap()));
}

#[test]
fn mistakes_exit_with_2_and_help_with_0() {
    let runsd = |options: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runsd"));
        command.args(options).env_clear().output().unwrap()
    };
    for options in
        [&["--regoin", "x", "--", "true"][..], &[], &["--mode=odd", "--", "true"], &["serve"]]
    {
        let output = runsd(options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{options:?}");
    }
    for options in ["--help", "--version"] {
        let output = runsd(&[options]);
        assert_eq!(output.status.code(), Some(0), "{options}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{options}");
    }
}
