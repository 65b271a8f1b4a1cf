//! `--user`: whom COMMAND acts as. The table of forms is tested beside the code.

use super::{Way, is_root, python};

fn run(options: &[&str], home: Option<&str>, launcher: &[&str]) -> std::process::Output {
    let print = "grep -E '^(Uid|Gid|Groups):' /proc/self/status; echo ${HOME-unset}";
    let mut command = Way::Supervised.command(launcher, options, &["sh", "-c", print]);
    command.envs(home.map(|home| ("HOME", home)));
    command.output().unwrap()
}

/// Belongs to groups, which root does not everywhere, and becomes what follows.
const IN_GROUPS: &str = "
import os, sys
os.setgroups([11, 12])
os.execvp(sys.argv[1], sys.argv[1:])
";

/// The words of what it prints, begun by a member of groups.
fn words(options: &[&str], home: Option<&str>) -> Vec<String> {
    let output = run(options, home, &[python(), "-c", IN_GROUPS]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn user_group_and_groups_change_for_good() {
    if !is_root() {
        return;
    }
    let ids = "Uid: 12345 12345 12345 12345 Gid: 54321 54321 54321 54321 Groups:";
    let expected: Vec<&str> = ids.split(' ').collect();
    let with = |home| expected.iter().chain([home]).map(|word| (*word).to_owned()).collect();
    let unset: Vec<String> = with(&"/");
    assert_eq!(words(&["--user=12345:54321"], None), unset);
    let set: Vec<String> = with(&"/kept");
    assert_eq!(words(&["--user=12345:54321"], Some("/kept")), set);
}

#[test]
fn an_unknown_user_is_a_mistake() {
    let output = run(&["--user=no-such-user"], None, &[]);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("no-such-user") && errors.contains("/etc/passwd"), "{errors}");
    assert!(output.stdout.is_empty());
}

#[test]
fn without_rights_the_command_does_not_run_as_somebody_else() {
    if !is_root() {
        return;
    }
    let without_rights = "
import os, sys
os.setgroups([])
os.setresgid(7, 7, 7)
os.setresuid(7, 7, 7)
os.execvp(sys.argv[1], sys.argv[1:])
";
    let launcher = [python(), "-c", without_rights];
    let output = run(&["--user=12345"], None, &launcher);
    assert_eq!(output.status.code(), Some(70));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("only root may use --user"), "{errors}");
    // To stay oneself needs no rights.
    assert!(run(&["--user=7"], None, &launcher).status.success());
}
