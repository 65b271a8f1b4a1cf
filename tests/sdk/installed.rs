//! The library of this build, installed once for all tests as a packager would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The prefix under which it is installed.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk");
        let mut install = Command::new(runsd_tests::root().join("ffi/install"));
        succeed(install.arg(built()).arg(&prefix));
        prefix
    })
}

/// The Python package of this build, put together once for all tests.
pub fn python_package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let package = prefix().join("python");
        let folder = package.join("runsd");
        std::fs::create_dir_all(&folder).expect("the prefix is ours");
        let sources = runsd_tests::root().join("python/runsd");
        for entry in std::fs::read_dir(sources).expect("the package is here").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "py") {
                let copied = std::fs::copy(entry.path(), folder.join(entry.file_name()));
                copied.expect("the prefix is ours");
            }
        }
        let module = built().join("lib_runsd.so");
        std::fs::copy(module, folder.join("_runsd.abi3.so")).expect("build runsd-python first");
        package
    })
}

/// Where cargo left the libraries of this build.
pub fn built() -> PathBuf {
    let here = std::env::current_exe().expect("a running test has a file");
    let built = here.ancestors().nth(2).expect("tests are in target/PROFILE/deps").to_owned();
    for library in ["librunsd.so", "librunsd.a"] {
        let path = built.join(library);
        assert!(path.exists(), "build it first: cargo build -p runsd-ffi ({})", path.display());
    }
    built
}

/// What pkg-config says of the installed library.
pub fn flags(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(arguments).env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    succeed(&mut command).split_whitespace().map(str::to_owned).collect()
}

/// Runs a program that must succeed; what it wrote on standard output.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}; run tests/setup test"));
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{out}{err}");
    out.into_owned()
}

/// A program without this environment's ideas of proxies, certificates and
/// settings.
pub fn plain(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}
