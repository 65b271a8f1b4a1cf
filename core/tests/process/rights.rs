//! A command that is executed with the rights of another user, or with more
//! than runsd has: signals and codes are as ever. The kernel then takes away
//! what would end it with its parent, which is a limit that the documents name.

use super::{Running, Way, child, copy_program, is_root, kill, python};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

/// Becomes nobody, and what follows.
const NOBODY: &str = "
import os, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Lets a file bind low ports, whoever executes it: GRANT FILE.
const GRANT: &str = "
import os, struct, sys
magic, bind = 0x02000001, 1 << 10
os.setxattr(sys.argv[1], 'security.capability', struct.pack('<5I', magic, bind, 0, 0, 0))
";

/// A copy of cat, which repeats what it is sent until it hears no more.
struct Cat(PathBuf);

impl Cat {
    fn new(name: &str, owner: u32, mode: u32) -> Cat {
        let name = format!("cat-{name}-{}", std::process::id());
        let cat = Cat(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        copy_program("/bin/cat", &cat.0, "755");
        // A change of owner takes the bits away.
        chown(&cat.0, Some(owner), Some(owner)).unwrap();
        std::fs::set_permissions(&cat.0, PermissionsExt::from_mode(mode)).unwrap();
        cat
    }

    fn grant(self) -> Cat {
        let mut command = Command::new(python());
        assert!(command.args(["-c", GRANT]).arg(&self.0).status().unwrap().success());
        self
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Every way to get other rights by exec: by a user who gains them, by root who
/// loses them, and by a file's own.
fn ways(test: &str) -> [(Vec<&'static str>, Cat); 4] {
    let as_nobody = || vec![python(), "-c", NOBODY];
    let cat = |way: &str, owner, mode| Cat::new(&format!("{test}-{way}"), owner, mode);
    [
        (as_nobody(), cat("user", 0, 0o4755)),
        (as_nobody(), cat("group", 0, 0o2755)),
        (vec![], cat("other", 65534, 0o6755)),
        (as_nobody(), cat("file", 0, 0o755).grant()),
    ]
}

/// A shell that becomes this cat, under runsd, and its input.
fn start(launcher: &[&str], cat: &Cat) -> (Running, ChildStdin) {
    let command = ["sh", "-c", "echo ready; exec \"$0\"", cat.0.to_str().unwrap()];
    let mut app = Running::start(Way::Supervised.command(launcher, &[], &command));
    let mut input = app.child.stdin.take().unwrap();
    repeats(&app, &mut input);
    (app, input)
}

/// It is there, and cat by now.
fn repeats(app: &Running, input: &mut ChildStdin) {
    input.write_all(b"are you there?\n").unwrap();
    assert_eq!(app.line(), "are you there?");
}

/// The ids and capabilities with which a process acts.
fn rights(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let acts = |line: &&str| ["Uid:", "Gid:", "CapEff:"].iter().any(|key| line.starts_with(key));
    status.lines().filter(acts).map(str::to_owned).collect()
}

#[test]
fn one_with_other_rights_gets_its_signals_and_its_code_counts() {
    if !is_root() {
        return;
    }
    for (launcher, cat) in ways("signals") {
        let (app, _input) = start(&launcher, &cat);
        assert_ne!(rights(child(app.pid())), rights(app.pid()), "{:?}", cat.0);
        app.signal("TERM");
        assert_eq!(app.code(), Some(143), "{:?}", cat.0);
    }
}

#[test]
fn one_with_other_rights_outlives_a_killed_runsd_unless_that_is_pid_1() {
    if !is_root() {
        return;
    }
    for (launcher, cat) in ways("killed") {
        let (mut app, mut input) = start(&launcher, &cat);
        app.signal("KILL");
        assert_eq!(app.child.wait().unwrap().code(), None);
        repeats(&app, &mut input);
        drop(input);
        app.wait_for_end_of_output();

        let namespace = ["unshare", "-p", "-f", "--kill-child"];
        let (app, _input) = start(&[&namespace, &launcher[..]].concat(), &cat);
        kill("KILL", child(app.pid()));
        // It would go on reading: its input is still open.
        app.wait_for_end_of_output();
    }
}
