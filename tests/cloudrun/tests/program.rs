//! The program `cloudrun-sim`, and the loopback mode.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use cloudrun_sim::{Error, Options, Sim};

const PUBLIC: &str = "https://public-123456789012.us-central1.run.app/";

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloudrun-sim"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_exit_code_is_the_commands() {
    assert_eq!(run(&["--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(run(&["--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    assert_eq!(run(&["--", "no-such-program"]).status.code(), Some(126));
    for (flag, value, error) in [
        ("--region", "mars", "`mars` is no region"),
        ("--project-number", "my-project", "`my-project` is no project number"),
        ("--project-hash", "a-b", "`a-b` cannot stand for a project in a URL: want a-z and 0-9"),
    ] {
        let refused = run(&[flag, value, "--", "true"]);
        assert_eq!(refused.status.code(), Some(125));
        assert_eq!(text(&refused.stderr), format!("cloudrun-sim: {error}\n"));
    }
}

#[test]
fn the_environment_can_be_added_to() {
    let output = run(&[
        "--set-env",
        "A=b=c",
        "--service-name",
        "me",
        "--",
        "sh",
        "-c",
        "echo $A $K_SERVICE",
    ]);
    assert_eq!(text(&output.stdout), "b=c me\n");
}

#[test]
fn the_project_is_what_it_is_told_to_be() {
    let script = "curl -sS -H 'Metadata-Flavor: Google' \
                  http://metadata.google.internal/computeMetadata/v1/project/project-id; \
                  echo; curl -sS https://public-qwertyuiop-uc.a.run.app";
    let project = ["--project-id", "my-project", "--project-hash", "qwertyuiop"];
    let output = run(&[&project[..], &["--", "sh", "-c", script]].concat());
    assert_eq!(text(&output.stdout), "my-project\nhello from public (us-central1)\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_log_and_the_file_tell_what_arrived() {
    let path = std::env::temp_dir().join(format!("requests-{}.json", std::process::id()));
    let file = path.to_str().unwrap();
    let output =
        run(&["--log", "--deny", "x", "--requests-json", file, "--", "curl", "-s", PUBLIC]);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(text(&output.stdout), "hello from public (us-central1)\n");
    assert_eq!(text(&output.stderr), format!("-> public  GET {PUBLIC}  200  public\n"));
    assert_eq!(json["requests"][0]["url"], PUBLIC);
    assert_eq!(json["requests"][0]["status"], 200);
}

#[test]
fn services_are_as_the_flags_say() {
    let url = |name: &str| format!("https://{name}-123456789012.us-central1.run.app");
    let script = format!(
        "for url in {} {}; do curl -s -o /dev/null -w '%{{http_code}} %{{time_total}}\n' $url; done",
        url("shop"),
        url("orders")
    );
    let flags = ["--public", "shop", "--latency", "shop=150", "--internal", "orders"];
    let output = run(&[&flags[..], &["--", "sh", "-c", &script]].concat());
    let text = text(&output.stdout);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!((lines[0][0], lines[1][0]), ("200", "404"), "{text}");
    assert!(lines[0][1].parse::<f64>().unwrap() >= 0.15, "{text}");
    for wrong in [["--latency", "shop"], ["--latency", "shop=x"], ["--audience", "shop"]] {
        assert_eq!(
            run(&[&wrong[..], &["--", "true"]].concat()).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_laptop_is_logged_in_as_the_flag_says() {
    let script = "cat $HOME/.config/gcloud/application_default_credentials.json || true";
    for (flag, kind) in [
        ("--laptop", "\"type\": \"impersonated_service_account\""),
        ("--laptop=key", "\"type\": \"service_account\""),
        ("--laptop=user", "\"type\": \"authorized_user\""),
        ("--laptop=external", "\"type\": \"external_account\""),
    ] {
        let output = run(&[flag, "--", "sh", "-c", script]);
        assert!(text(&output.stdout).contains(kind), "{flag}: {output:?}");
    }
    assert_eq!(run(&["--laptop=none", "--", "sh", "-c", script]).stdout, b"");
    assert_eq!(run(&["--laptop=other", "--", "true"]).status.code(), Some(2));
}

#[test]
fn sigterm_reaches_the_command() {
    let script = "trap 'kill $!; exit 9' TERM; sleep 60 & echo ready; wait";
    let mut child = program(&["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    cloudrun_sim::signal(child.id(), libc::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn without_a_command_it_serves_until_told_to_end() {
    let mut child = program(&["--loopback"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("Serving until") {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let metadata = seen.lines().find_map(|line| line.strip_prefix("export GCE_METADATA_HOST="));
    let url = format!("http://{}/computeMetadata/v1/instance/region", metadata.unwrap());
    let answer = Command::new("curl").args(["-s", "-H", "Metadata-Flavor: Google", &url]).output();
    assert_eq!(text(&answer.unwrap().stdout), "projects/123456789012/regions/us-central1");
    cloudrun_sim::signal(child.id(), libc::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    lines.read_to_string(&mut seen).unwrap();
}

#[test]
fn the_loopback_mode_tells_a_command_where_things_are() {
    let sim = Sim::start(Options { loopback: true, ..Options::default() }).unwrap();
    let environment = sim.environment();
    let value = |name: &str| {
        environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    };
    let connect = value("RUNSD_CONNECT_TO");
    let output = sim
        .command("curl")
        .args(["-sS", "--cacert", &value("RUNSD_CA_FILE"), "--connect-to", &connect, PUBLIC])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "hello from public (us-central1)\n", "{output:?}");
    assert_eq!(value("RUNSD_METADATA_HOST"), value("GCE_METADATA_HOST"));
    assert_eq!(value("RUNSD_NAMESERVERS"), sim.endpoints().dns.to_string());
    sim.set_resolv_conf(b"x\n");
    assert_eq!(sim.resolv_conf(), b"x\n");
    let directory = value("RUNSD_CA_FILE");
    drop(sim);
    assert!(!fs::exists(directory).unwrap());
}

#[test]
fn a_process_without_rights_is_told_what_to_do() {
    // As another user; this process has several threads, so no user namespace either.
    let error = Error::NoNamespaces(std::io::ErrorKind::PermissionDenied.into()).to_string();
    assert!(error.contains("--loopback"), "{error}");
    // The build directory may be closed to other users.
    let own = env!("CARGO_BIN_EXE_cloudrun-sim");
    let copy = std::env::temp_dir().join(format!("cloudrun-sim-copy-{}", std::process::id()));
    // Another process copies: a child that a neighbour test forks meanwhile would hold
    // the file open for writing, and the kernel runs no such program.
    assert!(Command::new("cp").arg(own).arg(&copy).status().unwrap().success());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--", "curl", "-sS", PUBLIC])
        .output();
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    // Where the system lets users make user namespaces, it works without root.
    let works = text(&output.stdout) == "hello from public (us-central1)\n";
    assert!(works || text(&output.stderr).contains("--loopback"), "{output:?}");
}
