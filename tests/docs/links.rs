//! Links between the documents lead to files and headings that are there, on
//! the web site and where the sources are read. Other sites are not asked.

use crate::page::{files, read};
use runsd_tests::root;
use std::path::{Component, Path, PathBuf};

/// Where the sources are read; what stands behind is a path of the checkout.
const SOURCES: &str = "https://github.com/runsd/runsd/";

/// The targets of the links and pictures outside of code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        let ticks: String = line.trim_start().chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if line.trim() == open => fence = None,
            None if ticks.len() >= 3 => fence = Some(ticks),
            Some(_) => {}
            None => {
                let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
                let ends = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
                found.extend(ends.map(str::to_owned));
                let raw = prose.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(raw.map(str::to_owned));
            }
        }
    }
    found
}

/// The anchors of a page: its headings in lower case, with dashes for spaces.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !in_code) else { continue };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    anchors
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with a link on this page.
fn broken(page: &str, text: &str, target: &str) -> Option<String> {
    let target = match target.strip_prefix(SOURCES) {
        Some(rest) => {
            let path = ["blob/main/", "tree/main/"].iter().find_map(|kind| rest.strip_prefix(kind));
            format!("/{}", path?)
        }
        None if target.contains("://") || target.starts_with("mailto:") => return None,
        None => target.to_owned(),
    };
    let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let path = match path {
        "" => page.to_owned(),
        path => plain(&path.strip_prefix('/').map_or_else(|| folder.join(path), PathBuf::from))
            .to_string_lossy()
            .into_owned(),
    };
    if path != page && !root().join(&path).exists() {
        return Some(format!("{page}: there is no {path}"));
    }
    let text = if path == page { text.to_owned() } else { String::new() };
    let text = if text.is_empty() && !anchor.is_empty() { read(&path) } else { text };
    let is_there = anchor.is_empty() || anchors(&text).iter().any(|known| known == anchor);
    (!is_there).then(|| format!("{page}: {path} has no heading #{anchor}"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut judged = 0;
    let mut wrong = Vec::new();
    for page in files(".", ".md") {
        let page = page.trim_start_matches("./");
        let text = read(page);
        for target in targets(&text) {
            wrong.extend(broken(page, &text, &target));
            judged += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(judged > 50, "{judged} links");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text =
        "# A `Head`, so\n[a](#a-head-so) [b](gone.md) `[c](code.md)`\n```text\n[d](e)\n```\n";
    assert_eq!(targets(text), ["#a-head-so", "gone.md"]);
    assert_eq!(broken("docs/x.md", text, "#a-head-so"), None);
    for target in
        ["gone.md", "#b-head", "../README.md#gone", "https://github.com/runsd/runsd/blob/main/gone"]
    {
        assert!(broken("docs/x.md", text, target).is_some(), "{target}");
    }
    assert_eq!(broken("docs/x.md", text, "../README.md#names"), None);
}
