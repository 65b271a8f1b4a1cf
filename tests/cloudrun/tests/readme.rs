//! The test file in the README, which readers copy, passes.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Python with pytest: that of the set-up, or the machine's.
fn python() -> std::path::PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if own.exists() { own } else { "python3".into() }
}

#[test]
fn the_example_for_pytest_passes() {
    let text = include_str!("../README.md");
    let (_, rest) = text.split_once("```python\n").unwrap();
    let (example, _) = rest.split_once("```\n").unwrap();
    let directory = env::temp_dir().join(format!("cloudrun-sim-readme-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("test_checkout.py"), example).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_cloudrun-sim"));
    let known = env::var_os("PATH").unwrap_or_default();
    let directories =
        [program.parent().unwrap().to_owned()].into_iter().chain(env::split_paths(&known));
    let output = Command::new(python())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(&directory)
        .env("PATH", env::join_paths(directories).unwrap())
        .output();
    fs::remove_dir_all(&directory).unwrap();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("3 passed"), "{told}");
}
