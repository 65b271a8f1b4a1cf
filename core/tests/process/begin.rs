//! What COMMAND finds is what it finds without runsd.

use super::{Way, python};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

const WAYS: [Way; 2] = [Way::Replaced, Way::Supervised];

/// Begins what follows in an odd state: signals ignored, blocked and pending,
/// low limits, another umask, a closed standard input, an inherited file.
const ODD_STATE: &str = "
import os, resource, signal, sys
for ignored in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGRTMIN + 2):
    signal.signal(ignored, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGRTMIN + 3, signal.SIGSEGV})
os.umask(0o027)
resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))
os.dup2(os.open('/dev/zero', os.O_RDONLY), 9)
if sys.argv[1] == 'closed':
    os.close(0)
if sys.argv[1] == 'all closed':
    # What cannot be printed goes to a file, in the place of what would be.
    out = os.open(os.environ['OUT'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 8)
    os.closerange(0, 3)
if sys.argv[1] == 'plain':
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
";

fn same(launcher: &[&str], command: &[&str]) {
    let direct = Way::Direct.output(launcher, command);
    assert!(!direct.is_empty());
    for way in WAYS {
        assert_eq!(way.output(launcher, command), direct, "{way:?} {command:?}");
    }
}

/// Everything that /proc says of a process but what is its own: ids, memory,
/// what it has done so far, and where it ran.
const STATUS: &str = "^(Pid|Tgid|PPid|NS[a-z]+|Vm[A-Za-z]+|Rss[A-Za-z]+|HugetlbPages|SigQ|\
    (non)?voluntary_ctxt_switches|TracerPid):";

#[test]
fn everything_that_is_inherited_is_inherited() {
    let launchers: [&[&str]; 4] = [
        &[],
        &[python(), "-c", ODD_STATE, "plain"],
        &[python(), "-c", ODD_STATE, "ignored"],
        &[python(), "-c", ODD_STATE, "closed"],
    ];
    for launcher in launchers {
        same(launcher, &["grep", "-Ev", "^SigQ", "/proc/self/limits"]);
        same(launcher, &["grep", "-Ev", STATUS, "/proc/self/status"]);
        same(launcher, &["cat", "/proc/self/oom_score_adj", "/proc/self/timerslack_ns"]);
        same(launcher, &["cat", "/proc/self/cgroup", "/proc/self/coredump_filter"]);
        same(launcher, &["ls", "/proc/self/fd"]);
        same(launcher, &["pwd"]);
    }
    same(launchers[1], &["readlink", "/proc/self/fd/9"]);
}

#[test]
fn closed_descriptors_stay_closed() {
    let out = |way: Way| format!("{}/closed-{way:?}", env!("CARGO_TARGET_TMPDIR"));
    let list = "import os; os.write(8, ' '.join(sorted(os.listdir('/proc/self/fd'))).encode())";
    let found = |way: Way| {
        let launcher = [python(), "-c", ODD_STATE, "all closed"];
        let mut command = way.command(&launcher, &[], &[python(), "-c", list]);
        let output = command.env("OUT", out(way)).output().unwrap();
        assert!(output.status.success(), "{way:?}: {output:?}");
        std::fs::read_to_string(out(way)).unwrap()
    };
    let direct = found(Way::Direct);
    let open: Vec<&str> = direct.split(' ').collect();
    // 0 is the folder itself: what is lowest comes back first.
    assert!(open.contains(&"9") && !open.contains(&"1") && !open.contains(&"2"), "{direct}");
    for way in WAYS {
        assert_eq!(found(way), direct, "{way:?}");
    }
}

#[test]
fn arguments_are_bytes() {
    let odd = OsStr::from_bytes(b"\xff\xfe not UTF-8");
    let print = ["sh", "-c", "cat /proc/$$/cmdline; :", "sh"];
    let run = |way: Way| {
        let mut command = way.command(&[], &[], &print);
        command.args([odd, OsStr::new(""), OsStr::new("--mode"), OsStr::new("--")]);
        command.output().unwrap().stdout
    };
    let direct = run(Way::Direct);
    assert!(direct.ends_with(b"\0\xff\xfe not UTF-8\0\0--mode\0--\0"));
    for way in WAYS {
        assert_eq!(run(way), direct, "{way:?}");
    }
}

#[test]
fn the_environment_is_bytes_in_the_same_order() {
    let run = |way: Way| {
        let mut command = way.command(&[], &[], &["cat", "/proc/self/environ"]);
        command.env("ODD", OsStr::from_bytes(b"\xff=\xfe")).env("EMPTY", "").env("HOME", "/h");
        command.output().unwrap().stdout
    };
    let direct = run(Way::Direct);
    assert_eq!(run(Way::Replaced), direct);
    // Variables for the proxy come after what was there.
    assert!(run(Way::Supervised).starts_with(&direct));
}

#[test]
fn standard_input_and_output_pass_through() {
    for way in WAYS {
        let mut command =
            way.command(&[], &[], &["sh", "-c", "cat; cat >&2 /dev/null; echo e >&2"]);
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"\0bytes\xff").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"\0bytes\xff", "{way:?}");
        assert!(output.stderr.ends_with(b"e\n"), "{way:?}");
    }
}

#[test]
fn a_replaced_process_is_the_same_process() {
    let mut child = Way::Replaced
        .command(&[], &[], &["sh", "-c", "echo $$; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = super::lines(child.stdout.take().unwrap()).recv_timeout(super::LIMIT).unwrap();
    assert_eq!(pid, child.id().to_string());
    drop(child.stdin.take());
    child.wait().unwrap();
}
