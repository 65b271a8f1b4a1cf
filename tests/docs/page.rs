//! Pages of Markdown: their blocks of code, each with the comment above it that
//! says what becomes of it in the tests.

use runsd_tests::root;
use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block of code.
pub struct Block {
    /// The page, from the checkout.
    pub page: String,
    /// Where it begins.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// The comment on the last line before it that is not empty.
    pub comment: Option<String>,
    /// What is in it.
    pub text: String,
}

impl Block {
    /// What a failure is about.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// What the comment says behind `word:`, if that is how it begins.
    pub fn says(&self, word: &str) -> Option<&str> {
        self.comment.as_deref()?.strip_prefix(word)?.strip_prefix(':').map(str::trim)
    }
}

/// The blocks of a text.
pub fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut comment = None;
    let mut open: Option<(String, usize, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let fence: String = bare.chars().take_while(|c| *c == '`').collect();
        if let Some((closing, indent, mut block)) = open.take() {
            if bare.trim_end() == closing {
                found.push(block);
            } else {
                // In a list, a block stands as far to the right as its fence.
                block.text.push_str(&line[indent.min(line.len() - bare.len())..]);
                block.text.push('\n');
                open = Some((closing, indent, block));
            }
        } else if fence.len() >= 3 {
            let language = bare[fence.len()..].split_whitespace().next().unwrap_or_default();
            let block = Block {
                page: page.to_owned(),
                line: number + 1,
                language: language.to_owned(),
                comment: comment.take(),
                text: String::new(),
            };
            open = Some((fence, line.len() - bare.len(), block));
        } else if !bare.is_empty() {
            let inside = bare.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
            comment = inside.map(|inside| inside.trim().to_owned());
        }
    }
    assert!(open.is_none(), "{page}: the last block is not closed");
    found
}

/// A file of the checkout.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files under a folder of the checkout with this ending, in order; what
/// is built or installed is left out.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(one) = waiting.pop() {
        for entry in fs::read_dir(&one).unwrap_or_else(|error| panic!("{}: {error}", one.display()))
        {
            let path: PathBuf = entry.expect("a folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                    waiting.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(relative(&path));
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("a file of the checkout");
    inside.to_str().expect("names are UTF-8").to_owned()
}
