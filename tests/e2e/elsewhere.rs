//! Anywhere but on Cloud Run: nothing happens unless something is configured,
//! and then the app is told of a proxy, which serves programs and no web pages.

use runsd_tests::{Ran, runsd, start};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc;

/// A server of the user's own that answers 200 and tells the heads it saw.
fn server() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (say, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            // Told before the answer, behind which a test counts what has come.
            if say.send(head).is_err() {
                return;
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // A client that left early is told by its own test.
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    (address, heads)
}

/// A command with nothing of Cloud Run in its environment.
fn command(options: &[&str], app: &[&str]) -> Command {
    let mut command = Command::new(runsd());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(options).arg("--").args(app);
    command
}

fn run(options: &[&str], app: &[&str]) -> Ran {
    start(&mut command(options, app)).wait()
}

#[test]
fn with_nothing_configured_the_command_runs_unchanged() {
    let before = std::fs::read("/etc/resolv.conf").ok();
    let running = start(&mut command(&[], &["sh", "-c", "echo $$; env; cat /etc/resolv.conf"]));
    let pid = running.pid().to_string();
    let ran = running.wait();
    assert_eq!(ran.ok().lines().next(), Some(pid.as_str()), "by exec: one process");
    assert!(!ran.out.to_ascii_lowercase().contains("_proxy="), "{}", ran.out);
    assert_eq!(ran.err, "");
    let resolv_conf = before.unwrap_or_default();
    assert!(ran.out.as_bytes().ends_with(&resolv_conf), "{}", ran.out);
    let ran = run(&["--log-level", "debug"], &["true"]);
    assert_eq!((ran.ok(), ran.err.lines().count()), ("", 1), "{ran:#?}");
    assert!(ran.err.contains("nothing to do here; the mode is off"), "{ran:#?}");
}

#[test]
fn a_route_is_reached_by_the_proxy_that_the_app_is_told_of() {
    let (address, heads) = server();
    let route = format!("hello=http://{address}");
    let url = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://hello/a?b"];
    for how in [&["curl"][..], &["curl", "--proxytunnel"]] {
        let app = [how, &url].concat();
        let ran = run(&["--route", &route], &app);
        assert_eq!((ran.ok(), ran.err.as_str()), ("200", ""), "{how:?}");
        let head = heads.recv().expect("a request");
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{how:?}: {head}");
        assert!(head.contains(&format!("Host: {address}\r\n")), "{how:?}: {head}");
        assert!(!head.to_ascii_lowercase().contains("authorization"), "{how:?}: {head}");
    }
    let told = run(&["--route", &route], &["sh", "-c", "echo $http_proxy $HTTP_PROXY $no_proxy"]);
    let words: Vec<&str> = told.ok().split_whitespace().collect();
    assert!(words[0].starts_with("http://127.0.0.1:"), "{words:?}");
    assert_eq!(words[0], words[1]);
    assert!(words[2].split(',').any(|one| one == "localhost"), "{words:?}");
}

#[test]
fn web_pages_get_no_identity_and_other_hosts_are_relayed_as_ever() {
    let (address, heads) = server();
    let route = format!("hello=http://{address}");
    let elsewhere = format!("http://{address}/");
    for (field, url, status) in [
        ("Origin: https://page.example", "http://hello/", "403"),
        ("Origin: null", "http://hello/", "403"),
        ("Sec-Fetch-Site: cross-site", "http://hello/", "403"),
        ("Sec-Fetch-Site: none", "http://hello/", "200"),
        ("Origin: https://page.example", elsewhere.as_str(), "200"),
    ] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let tunnel = if version == "--http1.1" { "--no-keepalive" } else { "--proxytunnel" };
            if version != "--http1.1" && url == elsewhere {
                continue;
            }
            // curl keeps loopback from a proxy only where it is told to.
            let script = format!(
                "exec curl -sS {version} {tunnel} --noproxy '' -x $http_proxy -o /dev/null \
                 -w '%{{http_code}}' -H '{field}' {url}"
            );
            let ran = run(&["--route", &route], &["sh", "-c", &script]);
            assert_eq!(ran.ok(), status, "{field} {version} {url}: {ran:?}");
        }
    }
    let seen: Vec<String> = heads.try_iter().collect();
    assert_eq!(seen.len(), 3, "what is refused stays here: {seen:?}");
}

#[test]
fn a_proxy_that_is_there_already_is_left_alone() {
    let (address, _heads) = server();
    let route = format!("hello=http://{address}");
    let mut kept = command(&["--route", &route], &["sh", "-c", "echo $http_proxy"]);
    let ran = start(kept.env("http_proxy", "http://proxy.example:3128")).wait();
    assert_eq!(ran.ok(), "http://proxy.example:3128\n");
    assert_eq!(ran.err.matches("already names a proxy (http_proxy)").count(), 1, "{}", ran.err);
    let mut strict = command(&["--strict", "--route", &route], &["true"]);
    let ran = start(strict.env("http_proxy", "http://proxy.example:3128")).wait();
    assert_ne!(ran.code, Some(0), "{ran:?}");
}
