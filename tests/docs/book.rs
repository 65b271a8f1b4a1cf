//! The book: MkDocs builds it without a warning, it asks no other site for
//! anything, and its figures are those of the benchmarks' page.

use crate::page::{files, read};
use crate::roots::Root;
use runsd_tests::{finish, root};
use std::fs;
use std::process::Command;

/// What makes a browser fetch from elsewhere, without a reader's click.
fn fetched_from_elsewhere(html: &str) -> Vec<&str> {
    let tags = html.split('<').filter(|tag| {
        let fetches = ["script", "img", "iframe", "source", "video", "object"];
        fetches.iter().any(|name| tag.starts_with(name))
            || (tag.starts_with("link") && !tag.contains("rel=\"canonical\""))
    });
    tags.filter(|tag| tag.contains("=\"http") || tag.contains("=\"//")).collect()
}

#[test]
fn the_book_is_whole_and_stands_alone() {
    let place = Root::new("book");
    let mut build = Command::new(root().join(".venv/bin/mkdocs"));
    build.args(["build", "--quiet", "--strict", "--config-file", "docs/book/mkdocs.yml"]);
    build.arg("--site-dir").arg(&place.0).current_dir(root());
    // Its makers' announcements are no warnings about this book.
    build.env("NO_MKDOCS_2_WARNING", "1");
    finish(&mut build).ok();
    let pages = files("docs", ".md").len();
    let mut built = 0;
    let mut waiting = vec![place.0.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).expect("the book").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "html") {
                let html = fs::read_to_string(&path).expect("a page");
                assert_eq!(fetched_from_elsewhere(&html), [""; 0], "{}", path.display());
                built += 1;
            }
        }
    }
    assert!(built + 1 >= pages && pages > 20, "{built} of {pages} pages");
    let specimen = "<p><img src=\"https://example.com/x.png\"><a href=\"https://x\">";
    assert_eq!(fetched_from_elsewhere(specimen).len(), 1);
}

#[test]
fn every_page_is_in_the_navigation() {
    let nav = read("docs/book/mkdocs.yml");
    for page in files("docs", ".md") {
        let page = page.trim_start_matches("docs/");
        let is_there = nav.lines().any(|line| line.trim_end().ends_with(&format!(": {page}")));
        assert!(is_there || page.starts_with("book/"), "{page}");
    }
}

#[test]
fn plots_and_tables_show_the_figures_of_the_benchmarks() {
    let mut check = Command::new("python3");
    check.arg(root().join("docs/book/figures")).arg("--check");
    finish(&mut check).ok();
}
