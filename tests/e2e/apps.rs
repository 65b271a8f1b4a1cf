//! Apps in several languages, unchanged: what each one's HTTP client does with
//! our names.

use cloudrun_sim::Options;
use runsd_tests::{Ran, World, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const OTHER: &str = "999999999999";

fn urls() -> Vec<String> {
    let mut urls: Vec<String> = [
        "http://hello/",
        "http://hello.us-east1/",
        "http://hello.us-east1.run.internal/",
        "http://green---hello/",
    ]
    .map(str::to_owned)
    .into();
    urls.push(format!("http://hello.us-east1.{OTHER}.run.internal/"));
    urls
}

/// Runs an app that prints one status a URL, with both families and with IPv4 alone.
fn every_name_works(app: &[&str]) {
    for ipv6 in [true, false] {
        let world = World::new(Options { ipv6, ..Options::default() });
        let urls = urls();
        let mut command = app.to_vec();
        command.extend(urls.iter().map(String::as_str));
        let ran: Ran = world.run(&["--allow-project", OTHER], &command);
        let statuses: Vec<&str> = ran.ok().split_whitespace().collect();
        assert_eq!(statuses, ["200"; 5], "IPv6 {ipv6}: {ran:#?}");
        let hosts: Vec<String> =
            world.sim.front().requests().into_iter().map(|seen| seen.host).collect();
        assert_eq!(
            hosts,
            [
                "hello-123456789012.us-central1.run.app",
                "hello-123456789012.us-east1.run.app",
                "hello-123456789012.us-east1.run.app",
                "green---hello-123456789012.us-central1.run.app",
                "hello-999999999999.us-east1.run.app",
            ]
        );
    }
}

fn app(name: &str) -> String {
    root().join("tests/apps").join(name).to_string_lossy().into_owned()
}

/// A tool on PATH, or in the virtual environment that the set-up makes.
fn tool(name: &str) -> String {
    let own = root().join(".venv/bin").join(name);
    if own.exists() { own.to_string_lossy().into_owned() } else { name.to_owned() }
}

#[test]
fn curl() {
    every_name_works(&[
        "curl",
        "-sS",
        "-m",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\\n",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
        "-o",
        "/dev/null",
    ]);
}

#[test]
fn pythons_urllib() {
    every_name_works(&["python3", &app("fetch_urllib.py")]);
}

#[test]
fn pythons_requests() {
    every_name_works(&[&tool("python"), &app("fetch_requests.py")]);
}

#[test]
fn nodes_fetch() {
    every_name_works(&[&tool("node"), &app("fetch.mjs")]);
}

/// Built once; Go's resolver is its own, without C.
fn go_app() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let binary = root().join("target/apps/fetch-go");
        let built = Command::new(tool("go"))
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(root().join("tests/apps/fetch-go"))
            .env("CGO_ENABLED", "0")
            .output()
            .expect("go must be there: tests/setup test");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        binary
    })
}

#[test]
fn gos_net_http() {
    every_name_works(&[&go_app().to_string_lossy()]);
}
