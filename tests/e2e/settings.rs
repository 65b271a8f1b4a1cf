//! Settings: what a shell completes, and what a sidecar reads again.

use cloudrun_sim::Options;
use runsd_tests::{World, runsd, start};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks bash what it would complete the last of these words to.
fn bash(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$RUNSD\" completions bash); COMP_WORDS=(\"$@\"); \
                  COMP_CWORD=$(($# - 1)); _runsd; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.env("RUNSD", runsd()).args(["--norc", "-c", script, "bash", "runsd"]).args(words);
    start(&mut command).wait().ok().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_options_values_and_the_command() {
    assert_eq!(bash(&["--mo"]), ["--mode"]);
    assert_eq!(bash(&["--mode", ""]), ["auto", "full", "proxy", "off"]);
    assert_eq!(bash(&["--mode", "=", "fu"]), ["full"], "readline parts words at =");
    assert_eq!(bash(&["--strict", "--dns", "o"]), ["on", "off"]);
    assert_eq!(bash(&["completions", ""]), ["bash", "zsh", "fish"]);
    assert!(bash(&["--region", "us-east1", "ser"]).contains(&"serve".to_owned()));
    let command = bash(&["--region", "=", "us-east1", "--", "bas"]);
    assert!(command.contains(&"bash".to_owned()), "{command:?}");
    assert!(!command.contains(&"serve".to_owned()), "behind -- there are commands alone");
}

#[test]
fn zsh_and_fish_understand_their_scripts() {
    for shell in ["zsh", "fish"] {
        let mut command = Command::new(shell);
        command.env("RUNSD", runsd());
        command.args(["-c", &format!("\"$RUNSD\" completions {shell} | {shell} -n")]);
        let ran = start(&mut command).wait();
        assert_eq!((ran.ok(), ran.err.as_str()), ("", ""), "{shell}");
    }
    let offered = |line: &str| {
        let mut command = Command::new("fish");
        let script = format!("\"$RUNSD\" completions fish | source; complete -C '{line}'");
        command.env("RUNSD", runsd()).args(["--no-config", "-c", &script]);
        let ran = start(&mut command).wait();
        ran.ok().lines().map(|line| line.split('\t').next().unwrap_or_default().into()).collect()
    };
    let modes: Vec<String> = offered("runsd --mode ");
    assert_eq!(modes, ["auto", "full", "off", "proxy"]);
    let options: Vec<String> = offered("runsd --resolv");
    assert_eq!(options, ["--resolv-conf", "--resolv-conf-mode"]);
}

/// A settings file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("runsd-{}-{name}.json", std::process::id())))
    }

    fn says(&self, text: &str) {
        std::fs::write(&self.0, text).expect("a temporary file");
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn connect(world: &World) -> TcpStream {
    let begun = Instant::now();
    loop {
        let tried = world.sim.enter(|| TcpStream::connect("127.0.0.1:80"));
        match tried {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return stream;
            }
            Err(error) => assert!(begun.elapsed() < PATIENCE, "no sidecar: {error}"),
        }
    }
}

/// The status of one request on a connection that stays open.
fn ask(stream: &mut TcpStream, host: &str) -> String {
    write!(stream, "HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("the sidecar is there");
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    String::from_utf8_lossy(head.get(9..12).unwrap_or_default()).into_owned()
}

#[test]
fn a_sidecar_reads_routes_and_allowed_names_again_and_drops_no_connection() {
    let services = vec!["first".to_owned(), "second".to_owned()];
    let world = World::new(Options { services, ..Options::default() });
    let file = File::new("reload");
    let route = |service: &str, more: &str| {
        let url = world.sim.url(service);
        format!(r#"{{"routes": [{{"name": "db", "url": "{url}"}}]{more}}}"#)
    };
    file.says(&route("first", ""));
    let path = file.0.to_string_lossy().into_owned();
    let options = ["--config", &path, "--resolv-conf-mode", "leave", "serve"];
    let sidecar = start(&mut world.command(&options, &[]));
    let (mut kept, mut busy) = (connect(&world), connect(&world));
    assert_eq!(ask(&mut kept, "db"), "200");
    assert_eq!(ask(&mut kept, "hello"), "200");
    assert!(world.sim.front().requests()[0].host.starts_with("first-"));
    // An upload that is under way while the rules change.
    let head = "POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: 4\r\n\r\nab";
    busy.write_all(head.as_bytes()).expect("the sidecar is there");
    file.says(&route("second", r#", "allow": ["db"]"#));
    sidecar.signal(libc::SIGHUP);
    let begun = Instant::now();
    // An answer of the proxy's own ends its connection.
    while ask(&mut connect(&world), "hello") != "421" {
        assert!(begun.elapsed() < PATIENCE, "the list of allowed names is not in force");
    }
    world.sim.front().clear();
    assert_eq!(ask(&mut kept, "db"), "200");
    busy.write_all(b"cd").expect("the connection is still there");
    assert_eq!(answer(&mut busy), "200");
    let hosts: Vec<String> = world.sim.front().requests().into_iter().map(|r| r.host).collect();
    assert!(hosts.iter().any(|host| host.starts_with("second-")), "{hosts:?}");
    // A mistake leaves everything as it is; the lower signal is taken first.
    file.says(&route("first", r#", "alow": []"#));
    sidecar.signal(libc::SIGHUP);
    sidecar.signal(libc::SIGTERM);
    drop((kept, busy));
    let ran = sidecar.wait();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("stay as they are"), "{}", ran.err);
    assert!(ran.err.contains("did you mean"), "{}", ran.err);
}
