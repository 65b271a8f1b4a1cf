//! What the installed files are: symbols, names, flags, and a header that
//! compiles by itself.

use crate::installed::{built, flags, plain, prefix, succeed};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of this run's own.
fn folder(name: &str) -> PathBuf {
    let folder = prefix().with_file_name(format!("sdk-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn install(prefix: &Path, further: &[&str]) -> Command {
    let mut install = Command::new(runsd_tests::root().join("ffi/install"));
    install.arg(built()).arg(prefix).args(further);
    install
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(runsd_tests::root().join(path)).unwrap()
}

#[test]
fn exported_symbols_are_those_of_the_committed_list() {
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only"]).arg(prefix().join("lib/librunsd.so"));
    let out = succeed(&mut nm);
    let found: BTreeSet<&str> = out.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let list = text("ffi/symbols.txt");
    assert_eq!(found, list.lines().collect());
    assert!(found.iter().all(|symbol| symbol.starts_with("runsd_")), "{found:?}");
}

#[test]
fn every_function_that_takes_a_pointer_is_tried_with_null() {
    let (list, tried, header) =
        (text("ffi/symbols.txt"), text("tests/sdk/c/nulls.c"), text("include/runsd.h"));
    let takes_one = |symbol: &&str| {
        let (_, rest) = header.split_once(&format!("{symbol}(")).expect("it is declared");
        rest.split_once(')').is_some_and(|(parameters, _)| parameters.contains('*'))
    };
    let with_one: Vec<&str> = list.lines().filter(takes_one).collect();
    assert!(with_one.len() > 12, "{with_one:?}");
    for symbol in with_one {
        assert!(tried.contains(&format!("{symbol}(NULL")), "{symbol} is not tried");
    }
}

#[test]
fn the_shared_library_has_a_soname_and_is_never_unloaded() {
    let mut readelf = Command::new("readelf");
    readelf.arg("-dW").arg(prefix().join("lib/librunsd.so"));
    let out = succeed(&mut readelf);
    assert!(out.contains("soname: [librunsd.so.1]"), "{out}");
    assert!(out.lines().any(|line| line.contains("FLAGS_1") && line.contains("NODELETE")), "{out}");
    assert!(!out.contains("RPATH") && !out.contains("RUNPATH"), "{out}");
}

#[test]
fn the_header_compiles_alone_as_c_and_as_cpp() {
    let header = prefix().join("include/runsd.h");
    for (compiler, language, standard) in
        [("cc", "c", "c99"), ("cc", "c", "c11"), ("c++", "c++", "c++11"), ("c++", "c++", "c++17")]
    {
        let mut compile = Command::new(compiler);
        compile.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]);
        compile.arg(format!("-std={standard}")).args(["-x", language]).arg(&header);
        succeed(&mut compile);
    }
}

#[test]
fn pkg_config_says_what_each_way_of_linking_needs() {
    let shared = flags(&["--libs", "runsd"]);
    assert_eq!(shared.last().map(String::as_str), Some("-lrunsd"));
    let with_private = flags(&["--static", "--libs", "runsd"]);
    assert!(with_private.contains(&"-lpthread".to_owned()), "{with_private:?}");
    assert!(!with_private.contains(&"-lgcc_s".to_owned()), "{with_private:?}");
    let archive = flags(&["--libs", "runsd-static"]);
    assert!(archive.contains(&"-l:librunsd.a".to_owned()), "{archive:?}");
    assert!(archive.contains(&"-lm".to_owned()), "{archive:?}");
}

#[test]
fn a_program_that_is_static_altogether_links_and_runs() {
    let program = folder("static");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-std=gnu11", "-pthread", "-o"]).arg(&program);
    cc.arg(runsd_tests::root().join("tests/sdk/c/nulls.c"));
    succeed(cc.args(flags(&["--static", "--cflags", "--libs", "runsd"])));
    let dynamic = succeed(Command::new("readelf").arg("-dW").arg(&program));
    assert!(!dynamic.contains("NEEDED"), "{dynamic}");
    succeed(plain("timeout").arg("60").arg(&program));
    std::fs::remove_file(program).unwrap();
}

#[test]
fn packagers_stage_it_elsewhere_than_it_will_be() {
    let stage = folder("stage");
    succeed(install(Path::new("/opt/runsd"), &[]).env("DESTDIR", &stage));
    let into = stage.join("opt/runsd");
    for file in ["include/runsd.h", "lib/librunsd.a", "lib/librunsd.so", "lib/librunsd.so.1"] {
        assert!(into.join(file).exists(), "{file}");
    }
    let described = std::fs::read_to_string(into.join("lib/pkgconfig/runsd.pc")).unwrap();
    assert!(described.starts_with("prefix=/opt/runsd\n"), "{described}");
    assert!(!described.contains(stage.to_str().unwrap()), "{described}");
    // What `make install` runs, with both of its variables.
    let mut make = Command::new("make");
    make.args(["--dry-run", "install", "PREFIX=/opt/runsd"]).current_dir(runsd_tests::root());
    assert!(succeed(&mut make).contains("ffi/install target/release /opt/runsd\n"));
    std::fs::remove_dir_all(stage).unwrap();
}

#[test]
fn what_is_relocatable_finds_itself_after_a_move() {
    let (made, moved) = (folder("made"), folder("moved"));
    succeed(&mut install(&made, &["relocatable"]));
    std::fs::rename(made, &moved).unwrap();
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.args(["--cflags", "--libs", "runsd"]);
    pkg_config.env("PKG_CONFIG_PATH", moved.join("lib/pkgconfig"));
    let said = succeed(&mut pkg_config);
    let program = folder("found");
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-pthread", "-o"]).arg(&program);
    cc.arg(runsd_tests::root().join("tests/sdk/c/nulls.c")).args(said.split_whitespace());
    succeed(&mut cc);
    succeed(plain("timeout").arg("60").arg(&program).env("LD_LIBRARY_PATH", moved.join("lib")));
    std::fs::remove_file(program).unwrap();
    std::fs::remove_dir_all(moved).unwrap();
}

#[test]
fn cargo_c_is_told_what_the_installer_does() {
    let (manifest, build, header) =
        (text("ffi/Cargo.toml"), text("ffi/build.rs"), text("include/runsd.h"));
    assert!(header.contains("#define RUNSD_ABI_VERSION 1\n"), "{header}");
    assert!(build.contains("-soname,librunsd.so.1\""), "{build}");
    let (_, library) = manifest.split_once("[package.metadata.capi.library]").unwrap();
    assert!(library.starts_with("\nname = \"runsd\"\nversion = \"1."), "{library}");
}
