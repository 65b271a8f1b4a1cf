//! A source file as the rules see it: its code without comments, and without
//! the tests that stand in it.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the checkout.
pub struct Source {
    /// Its path from the top of the checkout.
    pub path: String,
    /// Its text as it stands.
    pub text: String,
    /// Its product code: no comments, no tests.
    pub code: String,
}

/// The top of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let is_test = path.ends_with("tests.rs")
            || path.ends_with("/testing.rs")
            || path.contains("/tests/")
            || path.starts_with("tests/");
        let code = if is_test { String::new() } else { product_code(text) };
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// Every Rust file of the product and of its tests.
    pub fn tree() -> Vec<Source> {
        let root = root();
        let mut files = Vec::new();
        for folder in ["core", "ffi", "python", "tests"] {
            walk(&root.join(folder), &mut files);
        }
        files
            .iter()
            .map(|file| {
                let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
                Source::new(path, &fs::read_to_string(file).unwrap())
            })
            .collect()
    }

    /// The room of `core` that the file belongs to.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("core/src/")?;
        Some(inside.split_once('/').map_or(inside, |(room, _)| room))
    }

    /// The lines of product code, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "node_modules" {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Blanks comments and everything from the first test module on, so that line
/// numbers stay true. Tests stand at the end of a file in this house.
fn product_code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut in_tests = false;
    for line in text.lines() {
        in_tests |= line.starts_with("#[cfg(test)]");
        let shown = line.trim_start();
        if !in_tests && !shown.starts_with("//") {
            // A trailing comment begins after a space; `https://` does not.
            code.push_str(line.split_once(" // ").map_or(line, |(before, _)| before));
        }
        code.push('\n');
    }
    code
}
