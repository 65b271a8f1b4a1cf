//! Settings: what a shell completes, and what a sidecar reads again.

use cloudrun_sim::Options;
use runsd_tests::{World, root, runsd, start};
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

/// Types each line, and waits until what is wanted is shown.
fn typed(shell: &str, lines: &[[&str; 2]]) {
    let mut command = Command::new("python3");
    command.arg(root().join("tests/apps/complete.py")).arg(shell).arg(runsd());
    start(command.args(lines.iter().flatten())).wait().ok();
}

#[test]
fn tab_completes_in_bash() {
    typed(
        "bash",
        &[
            ["runsd --mo\t", "--mode $"],
            ["runsd --mode \t\t", r"auto\s+full\s+off\s+proxy"],
            ["runsd --mode=fu\t", "--mode=full $"],
            ["runsd --strict completions z\t", "completions zsh $"],
            ["runsd --config /etc/passw\t", "/etc/passwd"],
            ["runsd doct\t", "runsd doctor $"],
            ["runsd --region us-east1 -- dirnam\t", "-- dirname $"],
        ],
    );
}

#[test]
fn tab_completes_in_zsh() {
    typed(
        "zsh",
        &[
            ["runsd --mo\t", "--mode"],
            ["runsd --mode=\t\t", r"auto\s+full\s+off\s+proxy|auto\s+full\s+proxy\s+off"],
            ["runsd --mode fu\t", "--mode full"],
            ["runsd --strict completions z\t", "completions zsh"],
            ["runsd --config /etc/passw\t", "/etc/passwd"],
            ["runsd doct\t", "runsd doctor"],
            ["runsd -- dirnam\t", "-- dirname"],
        ],
    );
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
    let after: Vec<String> = offered("runsd --region us-east1 --strict --config=x --ndo");
    assert_eq!(after, ["--ndots"]);
    let shells: Vec<String> = offered("runsd completions ");
    assert_eq!(shells, ["bash", "fish", "zsh"]);
    let tasks: Vec<String> = offered("runsd doct");
    assert_eq!(tasks, ["doctor"]);
    let command: Vec<String> = offered("runsd --strict -- doct");
    assert!(!command.contains(&"doctor".to_owned()), "behind -- there are commands alone");
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

/// Files, and whether they make sense.
const FILES: &[(&str, bool)] = &[
    (r#"{}"#, true),
    (r#"{"$schema": "runsd.schema.json", "strict": true, "threads": 2, "ndots": 15}"#, true),
    (r#"{"mode": "proxy", "dns": "off", "proxy": true, "upstream_http": 2}"#, true),
    (r#"{"routes": ["hello=https://hello.example"], "allow": ["hello"]}"#, true),
    (r#"{"routes": [{"name": "db", "url": "http://localhost:1", "token": false}]}"#, true),
    (r#"{"project": 123456789012, "allow_projects": ["*", 1], "region": "us-east1"}"#, true),
    (r#"{"user": "1000:1000", "log_level": "debug", "log_format": "text"}"#, true),
    (r#"{"regoin": "us-east1"}"#, false),
    (r#"{"threads": 0}"#, false),
    (r#"{"ndots": 16}"#, false),
    (r#"{"mode": "fulll"}"#, false),
    (r#"{"strict": "maybe"}"#, false),
    (r#"{"routes": [{"name": "db"}]}"#, false),
    (r#"{"routes": [{"name": "db", "url": "http://localhost:1", "tokne": false}]}"#, false),
    (r#"{"routes": [{"name": "db", "url": "ftp://localhost"}]}"#, false),
    (r#"{"project": "my-project"}"#, false),
    (r#"{"upstream_http": 3}"#, false),
    (r#"[]"#, false),
];

#[test]
fn the_published_schema_and_the_program_agree() {
    let files: Vec<File> = (0..FILES.len()).map(|n| File::new(&format!("schema-{n}"))).collect();
    let mut judge = Command::new(root().join(".venv/bin/python"));
    judge.arg(root().join("tests/apps/judge_schema.py")).arg(root().join("docs/runsd.schema.json"));
    for (file, (text, _)) in files.iter().zip(FILES) {
        file.says(text);
        judge.arg(&file.0);
    }
    let judged = start(&mut judge).wait();
    let verdicts: Vec<&str> = judged.ok().lines().collect();
    assert_eq!(verdicts.len(), FILES.len(), "{judged:?}");
    for ((file, (text, sound)), verdict) in files.iter().zip(FILES).zip(verdicts) {
        assert_eq!(verdict == "valid", *sound, "by the schema: {text}: {verdict}");
        let mut command = Command::new(runsd());
        command.env_clear().arg("--config").arg(&file.0).args(["--", "/bin/true"]);
        let ran = start(&mut command).wait();
        let refused = ran.code == Some(2) && ran.err.contains(&*file.0.to_string_lossy());
        assert_eq!(!refused, *sound, "by the program: {text}: {ran:?}");
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
    section(stream).get(9..12).unwrap_or_default().to_owned()
}

/// What comes up to the next empty line: a head, or a chunked body with trailers.
fn section(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
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
    let head = "POST / HTTP/1.1\r\nHost: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
    busy.write_all(head.as_bytes()).expect("the sidecar is there");
    assert!(section(&mut busy).starts_with("HTTP/1.1 200 "));
    file.says(&route("second", r#", "allow": ["db"]"#));
    sidecar.signal(libc::SIGHUP);
    let begun = Instant::now();
    // An answer of the proxy's own ends its connection.
    while ask(&mut connect(&world), "hello") != "421" {
        assert!(begun.elapsed() < PATIENCE, "the list of allowed names is not in force");
    }
    world.sim.front().clear();
    assert_eq!(ask(&mut kept, "db"), "200");
    busy.write_all(b"4\r\nlate\r\n0\r\n\r\n").expect("the connection is still there");
    assert!(section(&mut busy).contains("late"), "what had begun goes on");
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
