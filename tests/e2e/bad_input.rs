//! What users get wrong, and what goes wrong around them: each has a clear
//! answer, and resolv.conf is as before.

use cloudrun_sim::Options;
use runsd_tests::{Ran, World, runsd, start};
use std::net::TcpListener;
use std::process::Command;

fn says(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    for part in parts {
        assert!(ran.err.contains(part) || ran.out.contains(part), "{part:?} in {ran:#?}");
    }
}

/// Runs something that must leave resolv.conf as it was.
fn unchanged(world: &World, work: impl FnOnce() -> Ran) -> Ran {
    let before = world.sim.resolv_conf();
    let ran = work();
    let after = world.sim.resolv_conf();
    assert_eq!(String::from_utf8_lossy(&after), String::from_utf8_lossy(&before), "{ran:#?}");
    ran
}

#[test]
fn a_mistake_on_the_command_line() {
    let plain = |arguments: &[&str]| start(Command::new(runsd()).args(arguments)).wait();
    says(&plain(&[]), 2, &["COMMAND", "runsd [OPTIONS] -- COMMAND"]);
    says(&plain(&["--"]), 2, &["COMMAND"]);
    says(&plain(&["--regoin", "x", "--", "true"]), 2, &["--regoin", "'--region'"]);
    says(&plain(&["--region", "mars", "--", "true"]), 2, &["--region", "mars"]);
    says(&plain(&["--threads", "0", "--ndots", "x", "--", "true"]), 2, &["--threads", "--ndots"]);
    says(&plain(&["--config", "/nonexistent.json", "--", "true"]), 2, &["/nonexistent.json"]);
    says(&plain(&["--", "no-such-program"]), 127, &["no-such-program", "not found"]);
    says(&plain(&["--", "/etc/passwd"]), 126, &["/etc/passwd"]);
    says(&plain(&["--user", "nobody-here", "--", "true"]), 2, &["nobody-here", "/etc/passwd"]);
}

#[test]
fn a_mistake_in_a_variable_or_the_file() {
    let file = std::env::temp_dir().join(format!("runsd-{}-mistakes.json", std::process::id()));
    std::fs::write(&file, r#"{"alow": ["x"], "threads": 0}"#).expect("a temporary file");
    let path = file.to_string_lossy().into_owned();
    let plain = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = Command::new(runsd());
        command.args(options).args(["--", "true"]).env_clear().env("PATH", "/usr/bin:/bin");
        start(command.envs(variables.iter().copied())).wait()
    };
    // All of them at once, each with where it stands.
    let ran = plain(
        &[("RUNSD_REGOIN", "us-east1"), ("RUNSD_NDOTS", "x"), ("RUNSD_CONFIG", &path)],
        &["--mode", "fulll"],
    );
    let origins = [
        "RUNSD_REGOIN: there is no such setting; did you mean RUNSD_REGION?",
        "the environment variable RUNSD_NDOTS: \"x\"",
        "did you mean \"allow\"?",
        "\"threads\" in",
        "--mode: \"fulll\"",
        &path,
    ];
    says(&ran, 2, &origins);
    std::fs::remove_file(&file).expect("the file");
    // What cannot be a slip is somebody else's.
    let others = [("RUNSD_VERSION", "1"), ("RUNSD_SERVICE_HOST", "10.0.0.1"), ("RUNSD_ENV", "x")];
    says(&plain(&others, &[]), 0, &[]);
}

#[test]
fn a_taken_port_leads_to_proxy_mode_or_with_strict_to_an_end() {
    for (address, port, flag) in
        [("127.0.0.1:80", "80", "--proxy-addr"), ("127.0.0.1:53", "53", "--dns-addr")]
    {
        let world = World::default();
        let taken = world.sim.enter(move || TcpListener::bind(address)).expect("a free port");
        let holder = format!("(pid {})", std::process::id());
        let parts = [format!("port {port} is taken by"), holder, flag.to_owned()];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let went_on = unchanged(&world, || world.curl(&["http://hello/"]));
        says(&went_on, 0, &parts);
        says(&went_on, 0, &["proxy mode instead of full mode", " 200"]);
        let strict = unchanged(&world, || world.run(&["--strict"], &["true"]));
        says(&strict, 70, &parts);
        let forced = unchanged(&world, || world.run(&["--mode", "full"], &["true"]));
        says(&forced, 70, &parts);
        drop(taken);
        says(&world.curl(&["http://hello/"]), 0, &[" 200"]);
    }
}

#[test]
fn an_app_that_listens_on_port_80_itself() {
    let world = World::default();
    let app = "import http.server, threading, urllib.request\n\
        server = http.server.HTTPServer(('0.0.0.0', 80), http.server.SimpleHTTPRequestHandler)\n\
        print(urllib.request.urlopen('http://hello/', timeout=30).status)";
    let mut command = world.command(&[], &["python3", "-c", app]);
    command.env("PORT", "80");
    let ran = unchanged(&world, || start(&mut command).wait());
    says(&ran, 0, &["200", "PORT=80", "another port"]);
}

#[test]
fn a_metadata_server_that_says_nothing() {
    let world = World::default();
    world.sim.metadata().silent(true);
    let ran = unchanged(&world, || world.curl(&["http://hello/"]));
    says(&ran, 0, &[" 503", "metadata server", "--region"]);
    let warnings = ran.err.matches("not known yet where we run").count();
    assert_eq!(warnings, 1, "{}", ran.err);
    let strict = unchanged(&world, || world.run(&["--strict"], &["true"]));
    says(&strict, 70, &["not known where we run"]);
    let told = unchanged(&world, || {
        world.run(&["--region", "us-central1", "--project", "123456789012"], &["true"])
    });
    says(&told, 0, &[]);
    assert_eq!(told.err, "", "nothing needs to be said");
}

#[test]
fn a_metadata_server_that_comes_late() {
    let world = World::default();
    world.sim.metadata().delay(std::time::Duration::from_millis(300));
    says(&world.curl(&["http://hello/"]), 0, &[" 200"]);
}

#[test]
fn names_that_break_the_rules() {
    let world = World::default();
    for (host, rule) in [
        ("1hello", "begins with a letter"),
        ("hello-", "end with a hyphen"),
        ("he_llo", "letters, digits and hyphens"),
        ("a.b.c.d.run.internal", "not the name of a service"),
        ("metadata", "reserved"),
        ("example.com", "not the name of a service"),
    ] {
        let header = format!("Host: {host}");
        let ran = unchanged(&world, || world.curl(&["-H", &header, "http://hello/"]));
        says(&ran, 0, &[" 421", rule, host]);
    }
    // 19 + 3 + 30 + 13 characters.
    let long = format!("{}---{}", "t".repeat(19), "s".repeat(30));
    let ran = unchanged(&world, || world.curl(&[&format!("http://{long}/")]));
    says(&ran, 0, &[" 421", "63", "--project-hash"]);
    assert_eq!(world.sim.front().requests(), []);
}

#[test]
fn every_state_of_resolv_conf() {
    for content in [
        &b""[..],
        b"nameserver 169.254.169.254",
        b"nameserver 169.254.169.254\r\nsearch a.example. b.example\r\noptions ndots: 5\r\n",
        b"garbage \xff\xfe\nnameserver\nnameserver not.an.address\noptions\n",
        b"# only a comment\n\n\n",
        b"nameserver 169.254.169.254\nnameserver 192.0.2.1\nsearch x.example\noptions rotate\n",
    ] {
        let world =
            World::new(Options { resolv_conf: Some(content.to_vec()), ..Options::default() });
        let ran = unchanged(&world, || world.curl(&["http://hello/"]));
        says(&ran, 0, &[" 200"]);
    }
    let world = World::default();
    world.sim.remove_resolv_conf();
    let ran = unchanged(&world, || world.curl(&["http://hello/"]));
    says(&ran, 0, &[" 200"]);
}

#[test]
fn a_service_with_a_wrong_certificate() {
    let world = World::default();
    world.sim.front().wrong_certificate(true);
    let ran = unchanged(&world, || world.curl(&["http://hello/"]));
    says(&ran, 0, &[" 502", "certificate is not valid", "--ca-file"]);
    assert_eq!(world.sim.front().requests(), [], "no token may be sent there");
}

#[test]
fn a_service_that_cannot_be_reached() {
    let world = World::default();
    world.sim.front().refuse(true);
    let ran = unchanged(&world, || world.curl(&["-i", "http://hello/"]));
    says(&ran, 0, &[" 502", "cannot reach hello", "Proxy-Status: runsd; error=connection_refused"]);
}

#[test]
fn an_upstream_nameserver_that_fails() {
    let world = World::default();
    world.sim.dns().script("*", cloudrun_sim::Behaviour::Servfail);
    let ran = unchanged(&world, || world.curl(&["http://hello/"]));
    says(&ran, 0, &[" 502", "cannot resolve hello-123456789012.us-central1.run.app"]);
}
