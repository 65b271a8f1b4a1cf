//! The page that says which test shows what, held against the tests.

use crate::source::root;
use std::fs;

/// Where tests are.
const ROOMS: [&str; 4] = ["core/", "ffi/", "python/", "tests/"];

/// What a page names that is not there: files, and tests in files.
pub fn unknown(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    // In a row every other piece between backticks is code.
    rows.flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter(|named| ROOMS.iter().any(|room| named.starts_with(room)))
        .filter(|named| !exists(named))
        .map(str::to_owned)
        .collect()
}

/// How many tests a page names.
pub fn named(page: &str) -> usize {
    page.matches(".rs::").count()
}

fn exists(named: &str) -> bool {
    let (path, test) =
        named.split_once("::").map_or((named, None), |(path, test)| (path, Some(test)));
    match (fs::read_to_string(root().join(path)), test) {
        (Ok(text), Some(test)) if path.ends_with(".py") => begins(&text, "def", test),
        (Ok(text), Some(test)) if path.ends_with(".go") => begins(&text, "func", test),
        (Ok(text), Some(test)) => is_test(&text, test),
        (Ok(_), None) => true,
        (Err(_), _) => false,
    }
}

/// Whether a function of this name, which marks it as a test, begins a line.
fn begins(text: &str, keyword: &str, name: &str) -> bool {
    text.lines().any(|line| line.starts_with(&format!("{keyword} {name}(")))
}

/// Whether a function of this name stands under `#[test]`, with nothing but
/// other attributes between.
fn is_test(text: &str, name: &str) -> bool {
    let mut under_test = false;
    for line in text.lines().map(str::trim_start) {
        let function = line.split_once("fn ").map(|(_, rest)| rest);
        if under_test && function.is_some_and(|rest| rest.starts_with(&format!("{name}("))) {
            return true;
        }
        under_test = line == "#[test]" || (under_test && line.starts_with("#["));
    }
    false
}
