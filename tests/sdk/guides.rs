//! The guides of docs/guides and the README's example in Go, run as they are
//! written: on a simulated Cloud Run where a service *hello* exists. A block with
//! a file's name before it is that file; one of a console has commands and what
//! they say.

use crate::installed::{built, prefix, python_package, succeed};
use runsd_tests::{Running, World, root, start};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// A file's name and text.
    File(String, String),
    /// Commands, each with what it says.
    Console(Vec<(String, String)>),
    /// What the program before it says.
    Says(String),
}

/// The blocks of a guide, every one of which is one of these.
fn blocks(guide: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = guide.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .map(|line| format!("{line}\n"))
                .collect();
            let file = before.strip_prefix('`').and_then(|rest| rest.split_once('`'));
            found.push(match (language, file) {
                ("console", _) => Block::Console(steps(&text)),
                ("text", _) => Block::Says(text),
                (_, Some((name, _))) => Block::File(name.to_owned(), text),
                _ => panic!("a block that nothing says how to run:\n{text}"),
            });
        } else if !line.is_empty() {
            before = line;
        }
    }
    found
}

fn steps(console: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in console.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.to_owned(), String::new())),
            (None, Some((_, said))) => *said += &format!("{line}\n"),
            (None, None) => panic!("an answer before any command: {line}"),
        }
    }
    steps
}

/// Somebody who follows a guide, in a folder of their own, on Cloud Run.
struct Reader {
    world: World,
    folder: PathBuf,
}

impl Reader {
    fn new(name: &str) -> Reader {
        // Not in the checkout, whose workspace would claim it; beside the sources,
        // as the guides have it.
        let beside = std::env::temp_dir().join(format!("runsd-{name}-{}", std::process::id()));
        let folder = beside.join("caller");
        std::fs::create_dir_all(&folder).unwrap();
        let sources = root().canonicalize().unwrap();
        std::os::unix::fs::symlink(sources, beside.join("runsd")).unwrap();
        Reader { world: World::default(), folder }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Follows the guide `docs/guides/NAME.md` from its first block to its last.
    fn follow(&self, name: &str) {
        let guide = root().join(format!("docs/guides/{name}.md"));
        let mut ran = 0;
        for block in blocks(&std::fs::read_to_string(guide).unwrap()) {
            match block {
                Block::File(name, text) => self.write(&name, &text),
                Block::Console(steps) => {
                    for (command, says) in steps {
                        self.step(&command, &says);
                        ran += 1;
                    }
                }
                Block::Says(says) => {
                    self.built_by_cargo(&says);
                    ran += 1;
                }
            }
        }
        assert!(ran > 0, "{name} has nothing to run");
    }

    fn step(&self, command: &str, says: &str) {
        // What a reader would do on their own machine may take its time there.
        if ["cc ", "go "].iter().any(|tool| command.starts_with(tool)) {
            let mut here = Command::new("bash");
            assert_eq!(succeed(self.prepare(here.args(["-c", command]))), says);
            return;
        }
        let before = self.world.sim.resolv_conf();
        if command.starts_with("gunicorn ") || command.starts_with("uvicorn ") {
            self.serve(start(&mut self.shell(command)));
        } else {
            let ran = start(&mut self.shell(command)).wait();
            assert_eq!(ran.ok(), says, "{command}: {ran:#?}");
        }
        assert_eq!(self.world.sim.resolv_conf(), before, "{command}");
    }

    /// A command on Cloud Run.
    fn shell(&self, command: &str) -> Command {
        let mut shell = self.world.sim.command("bash");
        self.prepare(shell.args(["-c", &format!("exec {command}")]));
        shell
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", root().join(".venv/bin").display()));
        command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
        command.env("LD_LIBRARY_PATH", prefix().join("lib")).env("PYTHONPATH", python_package());
        // Nothing of the network is needed.
        command.env("RUNSD", root()).env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
        command.current_dir(&self.folder)
    }

    /// Calls a server until it answers, and asks it to end.
    fn serve(&self, server: Running) {
        let url = "http://127.0.0.1:8080/";
        let mut curl = self.world.sim.command("curl");
        curl.args(["-sS", "--retry", "60", "--retry-delay", "1", "--retry-connrefused", url]);
        let answer = start(&mut curl).wait();
        server.signal(libc::SIGTERM);
        let ended = server.wait();
        assert!(answer.ok().contains("hello from hello (us-central1)"), "{answer:#?}{ended:#?}");
        // uvicorn ends by the signal itself, once it is done.
        assert!(ended.code == Some(0) || ended.signal == Some(libc::SIGTERM), "{ended:#?}");
        assert!(!ended.err.contains("Traceback"), "{ended:#?}");
    }

    /// Checks a guide's `Cargo.toml`, and runs its program over the crate as it
    /// has been built already: cargo would build all of it anew.
    fn built_by_cargo(&self, says: &str) {
        let mut metadata = Command::new("cargo");
        metadata.args(["metadata", "--offline", "--format-version=1"]).current_dir(&self.folder);
        assert!(succeed(&mut metadata).contains(r#""name":"runsd""#));
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "-o", "caller", "src/main.rs"]).current_dir(&self.folder);
        rustc.arg("-L").arg(built().join("deps"));
        rustc.arg("--extern").arg(format!("runsd={}", built().join("librunsd.rlib").display()));
        succeed(&mut rustc);
        self.step("./caller", says);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.folder.parent().unwrap());
    }
}

#[test]
fn the_guide_for_c() {
    Reader::new("c").follow("c");
}

#[test]
fn the_guide_for_python() {
    Reader::new("python").follow("python");
}

#[test]
fn the_guide_for_go() {
    let reader = Reader::new("go");
    reader.follow("go");
    // The module is there now; the README's lines need a frame to run in.
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, example) = readme.split_once("```go\n").expect("the README has an example in Go");
    let (example, _) = example.split_once("```").expect("which ends");
    let frame = format!(
        "package main\n\nimport (\n\t\"net/http\"\n\t\"os\"\n\n\trunsd \
         \"github.com/runsd/runsd/ffi/go\"\n)\n\nfunc run() error {{\n{example}\tif err != nil \
         {{\n\t\treturn err\n\t}}\n\treturn response.Write(os.Stdout)\n}}\n\nfunc main() {{\n\tif \
         err := run(); err != nil {{\n\t\tpanic(err)\n\t}}\n}}\n"
    );
    reader.write("main.go", &frame);
    reader.step("go build -o readme .", "");
    let ran = start(&mut reader.shell("./readme")).wait();
    assert!(ran.ok().ends_with("\r\n\r\nhello from hello (us-central1)\n"), "{ran:#?}");
}

#[test]
fn the_guide_for_rust() {
    Reader::new("rust").follow("rust");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let folder = root().join("docs/guides");
    let leads = |link: &str| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let slug =
            |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        !text.is_empty()
            && (heading.is_empty()
                || text.lines().any(|line| line.starts_with('#') && slug(line) == heading))
    };
    assert!(leads("c.md") && !leads("nowhere.md") && !leads("c.md#nowhere"));
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap().replace("\n  ", " ");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let (link, _) = link;
            let path: &Path = &entry.path();
            assert!(link.starts_with("https://") || leads(link), "{}: {link}", path.display());
        }
    }
}
