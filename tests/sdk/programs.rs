//! Programs in C, each of which judges one promise; compiled as their authors
//! would and run by themselves and under valgrind.

use crate::installed::{flags, plain, prefix, succeed};
use std::path::PathBuf;
use std::process::Command;

/// How a program gets the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linked {
    Shared,
    Archive,
}

fn compile(name: &str, linked: Linked) -> PathBuf {
    let package = if linked == Linked::Archive { "runsd-static" } else { "runsd" };
    let source = runsd_tests::root().join(format!("tests/sdk/c/{name}.c"));
    let program = prefix().join(format!("{name}-{linked:?}-{}", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    cc.arg(&program).arg(source).args(flags(&["--cflags", "--libs", package]));
    succeed(&mut cc);
    program
}

/// A compiled program, removed after its run.
struct Program(PathBuf);

impl Program {
    fn new(name: &str) -> Program {
        Program(compile(name, Linked::Shared))
    }

    fn run(&self, arguments: &[&str]) {
        succeed(self.within(&mut plain("timeout"), &["60"], arguments));
    }

    /// Runs it under memcheck; what that said at the end.
    fn check_memory(&self, options: &[&str], arguments: &[&str]) -> String {
        let log = self.0.with_extension("valgrind");
        let to_log = format!("--log-file={}", log.display());
        let mut all = vec!["300", "valgrind", "--error-exitcode=9", &to_log];
        all.extend(options);
        let mut command = plain("timeout");
        let output = self.within(&mut command, &all, arguments).output().unwrap();
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{err}{said}", self.0.display(), output.status);
        let _ = std::fs::remove_file(log);
        said
    }

    fn within<'a>(
        &self,
        command: &'a mut Command,
        before: &[&str],
        arguments: &[&str],
    ) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", prefix().join("lib"));
        command.args(before).arg(&self.0).args(arguments)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// No byte that an engine took may be lost, at the end or before.
const NO_LEAK: [&str; 3] = [
    "--leak-check=full",
    "--show-leak-kinds=definite,indirect",
    "--errors-for-leak-kinds=definite,indirect",
];

/// How many blocks memcheck's summary says were still allocated.
fn in_use(said: &str) -> usize {
    let line = said.lines().find(|line| line.contains("in use at exit")).unwrap_or(said);
    let number = line.rsplit_once(" in ").and_then(|(_, rest)| rest.split_once(" blocks"));
    let number = number.map(|(number, _)| number.replace(',', ""));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no count in {line}"))
}

#[test]
fn every_pointer_may_be_null() {
    let program = Program::new("nulls");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
}

#[test]
fn a_hundred_cycles_leave_what_two_leave() {
    let program = Program::new("cycles");
    program.run(&["100"]);
    let few = program.check_memory(&NO_LEAK, &["10"]);
    let many = program.check_memory(&NO_LEAK, &["100"]);
    // The one thread that stays may be caught with a block or two in hand.
    assert!(in_use(&many) < in_use(&few) + 45, "{few}\n{many}");
}

#[test]
fn eight_threads_may_race() {
    let program = Program::new("race");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
}

#[test]
fn a_forked_child_is_refused_and_served() {
    let program = Program::new("fork");
    program.run(&[]);
    // The child leaves what is its parent's as it is, which looks lost.
    program.check_memory(&["--leak-check=no"], &[]);
}

#[test]
fn the_hosts_signals_and_environment_are_the_hosts() {
    Program::new("guest").run(&[]);
}

#[test]
fn log_callbacks_keep_their_promises() {
    let program = Program::new("log");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
}

#[test]
fn a_stop_cuts_what_streams_when_the_time_is_up() {
    let program = Program::new("stream");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
}

#[test]
fn the_library_can_be_loaded_and_unloaded_at_run_time() {
    let program = Program::new("unload");
    let library = prefix().join("lib/librunsd.so.1");
    program.run(&[library.to_str().unwrap()]);
}

#[test]
fn the_example_of_the_readme_runs() {
    let readme = std::fs::read_to_string(runsd_tests::root().join("README.md")).unwrap();
    let (_, example) = readme.split_once("```c\n").expect("the README has an example in C");
    let (example, _) = example.split_once("```").expect("which ends");
    let source = prefix().join("readme.c");
    std::fs::write(&source, example).unwrap();
    let program = Program(prefix().join("readme"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"]).arg(&program.0);
    succeed(cc.arg(source).args(flags(&["--cflags", "--libs", "runsd"])));
    let said = succeed(program.within(&mut plain("timeout"), &["60"], &[]));
    assert!(said.starts_with("http_proxy=http://127.0.0.1:"), "{said}");
}

#[test]
fn a_program_with_the_archive_in_it_needs_no_library() {
    let program = Program(compile("nulls", Linked::Archive));
    succeed(plain("timeout").arg("60").arg(&program.0));
    let needed = succeed(Command::new("readelf").arg("-dW").arg(&program.0));
    assert!(!needed.contains("librunsd"), "{needed}");
}
