//! What the installed files are: symbols, names, flags, and a header that
//! compiles by itself.

use crate::installed::{flags, prefix, succeed};
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn exported_symbols_are_those_of_the_committed_list() {
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only"]).arg(prefix().join("lib/librunsd.so"));
    let out = succeed(&mut nm);
    let found: BTreeSet<&str> = out.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let list = std::fs::read_to_string(runsd_tests::root().join("ffi/symbols.txt")).unwrap();
    assert_eq!(found, list.lines().collect());
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
    let archive = flags(&["--libs", "runsd-static"]);
    assert!(archive.contains(&"-l:librunsd.a".to_owned()), "{archive:?}");
    assert!(archive.contains(&"-lm".to_owned()), "{archive:?}");
}
