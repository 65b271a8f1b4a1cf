//! Dockerfiles without an engine: read into stages, and the last stage made
//! into a folder that chroot can enter. What a base image or a build would put
//! there is put there by hand; every COPY of the file itself is followed.

use runsd_tests::copy_program;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One line of a Dockerfile, its continuations joined.
pub struct Instruction {
    pub word: String,
    pub rest: String,
}

impl Instruction {
    /// Arguments in the form of JSON, which starts no shell.
    pub fn list(&self) -> Vec<String> {
        serde_json::from_str(&self.rest)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.word, self.rest))
    }
}

/// A build stage.
pub struct Stage {
    pub image: String,
    pub name: Option<String>,
    pub instructions: Vec<Instruction>,
}

impl Stage {
    /// The last instruction of this kind, which is the one that counts.
    pub fn last(&self, word: &str) -> Option<&Instruction> {
        self.instructions.iter().rev().find(|one| one.word == word)
    }

    /// ENTRYPOINT and CMD.
    pub fn argv(&self) -> Vec<String> {
        let part = |word| self.last(word).map(Instruction::list).unwrap_or_default();
        [part("ENTRYPOINT"), part("CMD")].concat()
    }
}

/// What an instruction may be here.
const WORDS: &[&str] =
    &["FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "EXPOSE"];

/// Reads a Dockerfile.
///
/// # Panics
/// If it is none.
pub fn stages(text: &str) -> Vec<Stage> {
    let joined = text.replace("\\\n", " ");
    let mut stages: Vec<Stage> = Vec::new();
    for line in joined.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        assert!(WORDS.contains(&word), "what is {word}?");
        if word == "FROM" {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let name = match words.as_slice() {
                [_] => None,
                [_, "AS", name] => Some((*name).to_owned()),
                _ => panic!("FROM {rest}"),
            };
            stages.push(Stage { image: words[0].to_owned(), name, instructions: Vec::new() });
        } else {
            let stage = stages.last_mut().expect("FROM comes first");
            let rest = rest.trim().to_owned();
            stage.instructions.push(Instruction { word: word.to_owned(), rest });
        }
    }
    stages
}

/// A COPY: from which stage, what, and where to.
pub fn copy(instruction: &Instruction) -> (Option<String>, Vec<String>, String) {
    let mut from = None;
    let mut words = Vec::new();
    for word in instruction.rest.split_whitespace() {
        match word.strip_prefix("--") {
            Some(option) => match option.split_once('=') {
                Some(("from", stage)) => from = Some(stage.to_owned()),
                Some(("chmod", _)) => {}
                _ => panic!("COPY --{option}"),
            },
            None => words.push(word.to_owned()),
        }
    }
    let to = words.pop().expect("COPY has a target");
    assert!(!words.is_empty(), "COPY has a source");
    (from, words, to)
}

/// A folder that goes with the test.
pub struct Root(pub PathBuf);

impl Root {
    /// An empty one.
    pub fn new(name: &str) -> Root {
        let path = std::env::temp_dir().join(format!("runsd-image-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own folder");
        Root(path)
    }

    /// Writes a file.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(name.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
        fs::write(&path, bytes).expect("a temporary file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
    }

    /// Copies a file; into a folder if the target ends like one.
    pub fn copy(&self, from: &Path, to: &str) {
        let name = from.file_name().and_then(|name| name.to_str()).expect("a file");
        let to = if to.ends_with('/') { format!("{to}{name}") } else { to.to_owned() };
        let path = self.0.join(to.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
        copy_program(from, &path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_dockerfile_is_read() {
    let text = "# x\nFROM a:1 AS b\nRUN one \\\n    two\nFROM scratch\nCOPY --from=b /x /y /to/\n\
                ENTRYPOINT [\"/runsd\", \"--\"]\nCMD [\"/app\"]\n";
    let stages = stages(text);
    assert_eq!((stages[0].image.as_str(), stages[0].name.as_deref()), ("a:1", Some("b")));
    assert_eq!(stages[0].instructions[0].rest, "one      two");
    assert_eq!(stages[1].argv(), ["/runsd", "--", "/app"]);
    let copied = copy(&stages[1].instructions[0]);
    assert_eq!(copied, (Some("b".into()), vec!["/x".into(), "/y".into()], "/to/".into()));
    for wrong in ["RUNN x", "FROM a\nBOGUS x"] {
        assert!(std::panic::catch_unwind(|| super::roots::stages(wrong)).is_err(), "{wrong}");
    }
}
