//! Every block of code on every page: run here, run by a test that it names, or
//! excused with a reason.

use crate::console;
use crate::page::{Block, blocks, files, read};
use runsd_tests::{root, runsd, start};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Pages whose blocks have tests of their own, which name them.
const ELSEWHERE: &[(&str, &str)] =
    &[("docs/guides", "tests/sdk/guides.rs"), ("docs/observability.md", "tests/e2e/admin.rs")];

/// The pages whose blocks are judged.
fn pages() -> Vec<String> {
    let mut pages = files("docs", ".md");
    pages.push("README.md".to_owned());
    pages
}

fn all_blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks(page, &read(page))).collect()
}

/// A folder for the files that a page's blocks name.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = name.replace('/', "-");
        let path = std::env::temp_dir().join(format!("runsd-page-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is wrong with a block that nothing runs.
fn unexplained(block: &Block) -> Option<String> {
    if block.language == "text" {
        return None;
    }
    let wrong = |what: &str| Some(format!("{}: {what}", block.place()));
    if let Some((pages, tests)) = ELSEWHERE.iter().find(|(pages, _)| block.page.starts_with(pages))
    {
        let judge = fs::read_to_string(root().join(tests)).unwrap_or_default();
        return if judge.contains(pages) {
            None
        } else {
            wrong(&format!("{tests} knows no {pages}"))
        };
    }
    if let Some(reason) = block.says("not run") {
        return if reason.len() < 10 { wrong("not run, and why?") } else { None };
    }
    if let Some(test) = block.says("run by") {
        let (path, name) = test.split_once("::").unwrap_or((test, "?"));
        let source = fs::read_to_string(root().join(path)).unwrap_or_default();
        let is_there =
            source.contains(&format!("fn {name}(")) || source.contains(&format!("def {name}("));
        return if is_there { None } else { wrong(&format!("there is no test {test}")) };
    }
    if let Some(path) = block.says("part of") {
        let whole = fs::read_to_string(root().join(path)).unwrap_or_default();
        return if whole.contains(&block.text) { None } else { wrong(&format!("not in {path}")) };
    }
    if block.says("run").is_some() {
        return if block.language == "console" { None } else { wrong("only a console is run") };
    }
    if block.says("file").is_some() {
        return None;
    }
    wrong("neither run nor explained; see docs/book/README.md")
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let wrong: Vec<String> = all_blocks().iter().filter_map(unexplained).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn consoles_show_what_happens() {
    let mut ran = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        let folder = Folder::new(&page);
        for block in blocks(&page, &read(&page)) {
            if let Some(name) = block.says("file") {
                fs::write(folder.0.join(name), &block.text).expect("a file of the page");
            } else if let Some(said) = block.says("run") {
                wrong.extend(console::run(&block, said, &folder.0));
                ran += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran >= 20, "{ran} blocks were run");
}

#[test]
fn the_readme_shows_the_demo() {
    let own = runsd();
    let program = own.parent().expect("a program is in a folder").join("cloudrun-sim");
    let mut demo = Command::new(program);
    let ran = start(demo.args(["demo", "--runsd"]).arg(own)).wait();
    let all = blocks("README.md", &read("README.md"));
    let shown = all.iter().find_map(|block| block.text.split_once("$ make demo\n"));
    let (_, shown) = shown.expect("the README shows the demo");
    assert!(console::is_like(ran.ok(), shown), "{}", ran.out);
}

#[test]
fn a_block_without_a_word_is_found() {
    let specimen = "```sh\nrm -rf /\n```\n\n<!-- not run: it would be a pity -->\n\n````console\n$ a\n\
                    ```\n````\n<!-- run by: tests/docs/words.rs::nobody -->\n```go\n```\n\
                    <!-- part of: README.md -->\n```c\nnot there\n```\n- in a list\n\n  ```text\n    a\n\
                    \x20\x20\x20b\n  ```\n<!-- not run: so -->\n```sh\n```\n";
    let found = blocks("specimen", specimen);
    let wrong: Vec<_> = found.iter().map(|block| unexplained(block).is_some()).collect();
    assert_eq!(wrong, [true, false, true, true, false, true]);
    assert_eq!(found[1].text, "$ a\n```\n");
    assert_eq!(found[4].text, "  a\n b\n");
}

#[test]
fn an_output_is_compared_word_by_word() {
    assert!(console::is_like("a  b\nc", "a b c"));
    assert!(console::is_like("status 200 in 12 ms\n", "status 200 in ... ms"));
    assert!(console::is_like("one two three four", "one ... three ..."));
    assert!(!console::is_like("a b c", "a b"));
    assert!(!console::is_like("a b c", "b c"));
    assert!(!console::is_like("one three two", "one ... two three"));
    assert!(!console::is_like("status 404 in 12 ms", "status 200 in ... ms"));
}
