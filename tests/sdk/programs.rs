//! Programs in C, each of which judges one promise; compiled as their authors
//! would and run by themselves, under valgrind and with AddressSanitizer.
//!
//! Memcheck sees every instruction, the library's too. AddressSanitizer is in
//! the program alone, since the library is stable Rust: it checks the program's
//! own accesses to what the library hands over, every allocation and release of
//! both (a second release, a release of what is none), what both pass to the C
//! library, and at the end that nothing of either is lost (LeakSanitizer).

use crate::installed::{flags, plain, prefix, succeed};
use std::path::PathBuf;
use std::process::Command;

/// How a program gets the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// As pkg-config says.
    Shared,
    /// With AddressSanitizer in the program.
    Sanitized,
    /// With the library in the program.
    Archive,
}

/// Compiles `tests/sdk/c/NAME.c`.
pub fn compile(name: &str, linked: Linked) -> PathBuf {
    let package = if linked == Linked::Archive { "runsd-static" } else { "runsd" };
    let source = runsd_tests::root().join(format!("tests/sdk/c/{name}.c"));
    let program = prefix().join(format!("{name}-{linked:?}-{}", std::process::id()));
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
    if linked == Linked::Sanitized {
        cc.args(["-fsanitize=address", "-fno-omit-frame-pointer"]);
    }
    cc.arg("-o");
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

    /// Runs it with AddressSanitizer, and with LeakSanitizer at its end if `leaks`.
    fn check_addresses(name: &str, leaks: bool, arguments: &[&str]) {
        let program = Program(compile(name, Linked::Sanitized));
        succeed(program.sanitized(&mut plain("timeout"), leaks, arguments));
    }

    fn sanitized<'a>(
        &self,
        command: &'a mut Command,
        leaks: bool,
        arguments: &[&str],
    ) -> &'a mut Command {
        let options = format!("detect_leaks={}:abort_on_error=0:exitcode=9", u8::from(leaks));
        self.within(command.env("ASAN_OPTIONS", options), &["120"], arguments)
    }

    /// Runs it under memcheck; what that said at the end.
    fn check_memory(&self, options: &[&str], arguments: &[&str]) -> String {
        let log = self.0.with_extension("valgrind");
        let to_log = format!("--log-file={}", log.display());
        // Memcheck runs one thread at a time; fair, so that none waits for ever.
        let mut all = vec!["300", "valgrind", "--fair-sched=yes", "--error-exitcode=9", &to_log];
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

#[test]
fn the_tools_find_what_they_are_for() {
    let (plainly, sanitized) =
        (Program::new("mistakes"), Program(compile("mistakes", Linked::Sanitized)));
    let memcheck: Vec<&str> =
        ["120", "valgrind", "-q", "--error-exitcode=9"].into_iter().chain(NO_LEAK).collect();
    let code = |command: &mut Command| command.output().unwrap().status.code();
    for (mistake, expected) in [("none", 0), ("lose", 9), ("twice", 9), ("after", 9)] {
        let found = [
            code(plainly.within(&mut plain("timeout"), &memcheck, &[mistake])),
            code(sanitized.sanitized(&mut plain("timeout"), true, &[mistake])),
        ];
        assert_eq!(found, [Some(expected); 2], "{mistake}");
    }
}

/// How many bytes in how many blocks memcheck's summary says were still allocated.
fn in_use(said: &str) -> &str {
    let line = said.lines().find_map(|line| line.split_once("in use at exit: "));
    line.unwrap_or_else(|| panic!("no count in {said}")).1
}

#[test]
fn every_pointer_may_be_null() {
    let program = Program::new("nulls");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
    Program::check_addresses("nulls", true, &[]);
}

#[test]
fn a_hundred_cycles_leave_what_two_leave() {
    let program = Program::new("cycles");
    program.run(&["100"]);
    Program::check_addresses("cycles", true, &["100"]);
    let few = program.check_memory(&NO_LEAK, &["2"]);
    let many = program.check_memory(&NO_LEAK, &["100"]);
    assert_eq!(in_use(&many), in_use(&few), "{few}\n{many}");
}

#[test]
fn eight_threads_may_race() {
    let program = Program::new("race");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
    Program::check_addresses("race", true, &[]);
}

#[test]
fn a_forked_child_is_refused_and_served() {
    let program = Program::new("fork");
    program.run(&[]);
    // The child leaves what is its parent's as it is, which looks lost.
    program.check_memory(&["--leak-check=no"], &[]);
    Program::check_addresses("fork", false, &[]);
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
    Program::check_addresses("log", true, &[]);
}

#[test]
fn a_stop_cuts_what_streams_when_the_time_is_up() {
    let program = Program::new("stream");
    program.run(&[]);
    program.check_memory(&NO_LEAK, &[]);
    Program::check_addresses("stream", true, &[]);
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
