//! One file, several engines: who may have it. Ports 53 and 80 are wanted for
//! that, so the case is a process of its own in a network of its own: this test
//! binary again, told by a variable to play it.

use super::*;
use crate::engine::{Engine, Mode};
use std::process::Command;

const CASE: &str = "RUNSD_TEST_CASE";

/// Switches the loopback interface of a new network on (netdevice(7)).
const LOOPBACK_UP: &str = "
import fcntl, os, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack('16sH22x', b'lo', IFF_UP))
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn one_engine_of_a_process_may_have_a_file() {
    let path = PathBuf::from("/nonexistent/one-engine");
    let claim = Claim::stake(&path).unwrap();
    let second = Claim::stake(&path).map(|_| ()).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Busy);
    drop(claim);
    assert!(Claim::stake(&path).is_ok());
}

#[test]
fn nonces_differ() {
    assert_ne!(nonce(), nonce());
}

#[test]
fn a_second_engine_is_told_that_the_file_is_taken_and_a_third_may_have_it() {
    let played = Command::new("timeout")
        .args(["-s", "KILL", "180", "unshare", "--net", "python3", "-c", LOOPBACK_UP])
        .arg(std::env::current_exe().unwrap())
        .args(["engine::takeover::tests::one_case", "--exact", "--nocapture"])
        .env(CASE, "two engines")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success() && text.contains("played to its end"), "{played:?}");
}

/// The process of the case; without it, there is nothing to test.
#[test]
fn one_case() {
    if std::env::var_os(CASE).is_none_or(|case| case != "two engines") {
        return;
    }
    let path = std::env::temp_dir().join(format!("runsd-two-engines-{}", std::process::id()));
    std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
    let start = |more: &[(&str, &str)]| {
        let builder = Engine::builder().environment(|_| None).set("mode", "full");
        let builder = builder.set("resolv_conf", path.to_str().unwrap());
        more.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).start()
    };
    let first = start(&[]).unwrap();
    assert_eq!(first.mode(), Mode::Full);
    assert!(std::fs::read_to_string(&path).unwrap().contains("nameserver 127.0.0.1"));
    assert_eq!(start(&[]).map(|_| ()).unwrap_err().kind(), ErrorKind::Busy);
    // Beside it there is room for one that leaves the file alone.
    let beside = [("dns", "off"), ("proxy_addr", "127.0.0.1:0")];
    assert!(matches!(start(&beside).map(|engine| engine.mode()), Ok(Mode::Off | Mode::Full)));
    first.stop(Duration::ZERO).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "nameserver 192.0.2.1\n");
    start(&[]).unwrap().stop(Duration::ZERO).unwrap();
    std::fs::remove_file(&path).unwrap();
    println!("played to its end");
}
