//! The real clients: where they are, and how each language starts.

use runsd_tests::root;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

/// A tool on PATH, or in the virtual environment that the set-up makes.
fn tool(name: &str) -> String {
    let own = root().join(".venv/bin").join(name);
    if own.exists() { text(own) } else { name.to_owned() }
}

/// The command of a script in `apps`.
pub fn python(script: &str) -> Vec<String> {
    vec![tool("python"), text(root().join("tests/peers/apps").join(script))]
}

/// The command of a script in `node`.
pub fn node(script: &str) -> Vec<String> {
    vec![tool("node"), text(root().join("tests/peers/node").join(script))]
}

/// The command of a program in `go`; all of them are built at first use. Go's
/// resolver is its own then, without C.
pub fn go(program: &str) -> Vec<String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = root().join("target/apps/peers/");
        std::fs::create_dir_all(&folder).expect("a folder");
        let built = Command::new(tool("go"))
            .args(["build", "-o"])
            .arg(&folder)
            .arg("./...")
            .current_dir(root().join("tests/peers/go"))
            .env("CGO_ENABLED", "0")
            .output()
            .expect("go must be there: tests/setup test");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    });
    vec![text(folder.join(program))]
}
