//! The modes: which one is taken where, what is said when it is not the best,
//! and that `--strict` ends instead.

use cloudrun_sim::{Login, Options};
use runsd_tests::{Ran, World, start};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const GIVES_WAY: &str = "proxy mode instead of full mode";

/// Runs it, and once more with `--strict`, which must end with 70 and say
/// `why`; without it there must be one line that does.
fn falls_back(world: &World, variables: &[(&str, &str)], options: &[&str], why: &[&str]) -> Ran {
    let run = |more: &[&str], app: &[&str]| {
        let mut command = world.command(&[more, options].concat(), app);
        start(command.envs(variables.iter().copied())).wait()
    };
    let before = world.sim.resolv_conf();
    let strict = run(&["--strict"], &["echo", "begun"]);
    assert_eq!((strict.code, strict.out.as_str()), (Some(70), ""), "{strict:#?}");
    let ran = run(&[], &["curl", "-sS", "-m", "30", "-w", " %{http_code}", "http://hello/"]);
    assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
    for part in why {
        assert!(ran.err.contains(part), "{part:?} in {ran:#?}");
        assert!(strict.err.contains(part) || *part == GIVES_WAY, "{part:?} in {strict:#?}");
    }
    assert_eq!(world.sim.resolv_conf(), before);
    ran
}

#[test]
fn a_port_of_the_apps_own_is_left_to_it() {
    // A port that is asked for is no reason to take it from the app.
    for (port, options) in [
        ("80", &[][..]),
        ("80", &["--proxy-addr", "127.0.0.1:80"]),
        ("8080", &["-http_proxy_port", "8080"]),
        ("5353", &["-dns_port=5353"]),
    ] {
        let world = World::default();
        let named = format!("PORT={port}");
        let ran = falls_back(&world, &[("PORT", port)], options, &[&named, "another port"]);
        assert!(ran.ok().ends_with(" 200") && ran.err.contains(GIVES_WAY), "{ran:#?}");
        let app = format!(
            "import socket; socket.create_server(('0.0.0.0', {port})); \
             import urllib.request as u; print(u.urlopen('http://hello/', timeout=30).status)"
        );
        let mut command = world.command(options, &["python3", "-c", &app]);
        assert_eq!(start(command.env("PORT", port)).wait().ok(), "200\n", "{port} {options:?}");
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_gives_way_to_another() {
    let world = World::default();
    let taken = world.sim.enter(|| TcpListener::bind("127.0.0.1:8088")).expect("a free port");
    let options = ["--proxy-addr", "127.0.0.1:8088"];
    let ran = falls_back(&world, &[], &options, &["port 8088 is taken by", "--proxy-addr"]);
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    for mode in ["proxy", "full"] {
        let forced = world.run(&[&options[..], &["--mode", mode]].concat(), &["true"]);
        assert_eq!(forced.code, Some(70), "what was asked for cannot be had: {forced:#?}");
    }
    drop(taken);
}

#[test]
fn a_proxy_of_the_environments_own_stays_and_is_named_in_one_line() {
    let elsewhere = "http://127.0.0.1:1";
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let world = World::default();
        let _taken = world.sim.enter(|| TcpListener::bind("127.0.0.1:80")).expect("a free port");
        let say = "echo $http_proxy $HTTP_PROXY $all_proxy $ALL_PROXY $no_proxy";
        for (options, instead) in [(&["--mode", "proxy"][..], 0), (&[], 1)] {
            let mut command = world.command(options, &["sh", "-c", say]);
            let ran = start(command.env(name, elsewhere)).wait();
            assert_eq!(ran.ok().trim(), elsewhere, "{name} {options:?}");
            assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
            for part in [&format!("({name})"), "Java and Node's fetch", "http://127.0.0.1:"] {
                assert!(ran.err.contains(part), "{part} in {ran:#?}");
            }
            assert_eq!(ran.err.matches(GIVES_WAY).count(), instead, "{ran:#?}");
            assert!(!ran.err.contains("is told of the proxy"), "{ran:#?}");
            let strict = [options, &["--strict"]].concat();
            let mut command = world.command(&strict, &["true"]);
            let ran = start(command.env(name, elsewhere)).wait();
            assert_eq!(ran.code, Some(70), "{name} {options:?}: {ran:#?}");
        }
    }
    // In full mode nothing needs to be told, and a proxy for https is no matter.
    let world = World::default();
    let mut command = world.command(&["--strict"], &["sh", "-c", "echo $http_proxy"]);
    let ran = start(command.env("http_proxy", elsewhere)).wait();
    assert_eq!((ran.ok().trim(), ran.err.as_str()), (elsewhere, ""));
    let mut command = world.command(&["--mode", "proxy"], &["sh", "-c", "echo $https_proxy"]);
    let ran = start(command.env("https_proxy", elsewhere)).wait();
    assert_eq!((ran.ok().trim(), ran.err.as_str()), (elsewhere, ""));
}

#[test]
fn with_the_proxy_switched_off_nothing_takes_the_full_modes_place() {
    let world = World::default();
    let _taken = world.sim.enter(|| TcpListener::bind("127.0.0.1:53")).expect("a free port");
    let strict = world.run(&["--proxy", "off", "--strict"], &["true"]);
    assert_eq!(strict.code, Some(70), "{strict:#?}");
    let ran = world.run(&["--proxy", "off"], &["sh", "-c", "echo runs $http_proxy"]);
    assert_eq!(ran.ok(), "runs\n");
    assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
    for part in ["lead nowhere", "--proxy off", "port 53 is taken by"] {
        assert!(ran.err.contains(part), "{part} in {ran:#?}");
    }
}

#[test]
fn nothing_but_loopback_is_listened_on_unless_that_is_meant() {
    let world = World::default();
    for setting in ["proxy-addr", "dns-addr"] {
        let address = [&format!("--{setting}"), "0.0.0.0:8081"];
        let ran = world.run(&address, &["true"]);
        assert_eq!(ran.code, Some(2), "{ran:#?}");
        assert!(ran.err.contains("--allow-remote"), "{ran:#?}");
        let options = [&address[..], &["--allow-remote", "--resolv-conf-mode", "leave"]].concat();
        assert_eq!(world.run(&options, &["true"]).code, Some(0));
    }
}

#[test]
fn the_full_mode_elsewhere_serves_routes_alone() {
    let world = World::default();
    let route = format!("hello={}", world.sim.url("hello"));
    let script = "curl -sS -o /dev/null -w '%{http_code}\\n' http://hello/; \
                  getent hosts other.run.internal || echo no other; \
                  getent ahostsv4 example.com >/dev/null && echo the rest goes on; \
                  echo proxy: $http_proxy";
    let options = ["--mode", "full", "--route", &route];
    let elsewhere = |options: &[&str]| {
        let mut command = world.command(options, &["sh", "-c", script]);
        for (name, _) in world.sim.environment() {
            if name.starts_with("K_") {
                command.env_remove(name);
            }
        }
        start(command.env("CLOUD_RUN_ID_TOKEN", "a.fixed.token")).wait()
    };
    let before = world.sim.resolv_conf();
    let ran = elsewhere(&options);
    // The token is none that the service takes; what matters is that it went there.
    assert_eq!(ran.ok(), "401\nno other\nthe rest goes on\nproxy:\n", "{ran:#?}");
    assert!(ran.err.contains("answered 401"), "{ran:#?}");
    assert_eq!((ran.err.lines().count(), world.sim.resolv_conf()), (1, before), "{ran:#?}");
    let seen = world.sim.front().requests();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // Without `--mode full` a route means the proxy.
    let ran = elsewhere(&options[2..]);
    assert!(ran.ok().contains("proxy: http://127.0.0.1:"), "{ran:#?}");
}

#[test]
fn the_strongest_word_counts() {
    let world = World::default();
    let file = std::env::temp_dir().join(format!("runsd-{}-strongest.json", std::process::id()));
    std::fs::write(&file, r#"{"region": "europe-west1"}"#).expect("a temporary file");
    let path = file.to_string_lossy().into_owned();
    let region = |variable: Option<&str>, options: &[&str]| {
        world.sim.front().clear();
        let mut command = world.command(options, &["curl", "-sS", "http://hello/"]);
        if let Some(region) = variable {
            command.env("RUNSD_REGION", region);
        }
        start(&mut command).wait().ok();
        world.sim.front().requests()[0].region.clone()
    };
    let by_file = ["--config", &path];
    let by_flag = [&by_file[..], &["--region", "us-west1"]].concat();
    assert_eq!(region(Some("us-east1"), &by_flag), "us-west1", "a flag");
    assert_eq!(region(Some("us-east1"), &by_file), "us-east1", "the environment");
    assert_eq!(region(None, &by_file), "europe-west1", "the file");
    assert_eq!(region(None, &[]), "us-central1", "what is found out");
    assert_eq!(region(Some(""), &[]), "us-central1", "an empty variable is none");
    std::fs::remove_file(&file).expect("the file");
}

#[test]
fn on_the_platform_every_line_is_one_that_it_reads() {
    let world = World::default();
    let line = |options: &[&str], app: &[&str]| {
        let ran = world.run(options, app);
        let parsed: serde_json::Value = serde_json::from_str(ran.err.trim_end())
            .unwrap_or_else(|error| panic!("{options:?}: {error}: {ran:#?}"));
        assert_eq!(parsed["severity"], "ERROR", "{ran:#?}");
        (ran.code, parsed["message"].as_str().expect("a message").to_owned())
    };
    for (options, app, code, part) in [
        (&["--regoin", "x"][..], &["true"][..], 2, "'--region'"),
        (&["--threads", "0"], &["true"], 2, "--threads"),
        (&["--user", "no-such-user"], &["true"], 2, "no-such-user"),
        (&[], &["no-such-program"], 127, "not found in PATH"),
        (&[], &["/etc/passwd"], 126, "execute bit"),
        (&[], &[], 2, "runsd [OPTIONS] -- COMMAND"),
    ] {
        let (found, message) = line(options, app);
        assert_eq!(found, Some(code), "{options:?}");
        assert!(message.contains(part) && !message.starts_with("error"), "{message}");
    }
    for (more, said) in [(&[][..], "cannot run"), (&["--threads", "0"], "--threads: ")] {
        let options = [&["--log-format", "text"], more].concat();
        let text = world.run(&options, &["no-such-program"]);
        assert!(text.err.starts_with(&format!("runsd: error: {said}")), "{text:#?}");
    }
}

#[test]
fn where_there_is_nothing_to_do_one_debug_line_says_so() {
    let world = World::default();
    let run = |options: &[&str]| world.run(options, &["echo", "runs"]);
    let ran = run(&["--mode", "off", "--log-level", "debug"]);
    assert_eq!((ran.ok(), ran.err.lines().count()), ("runs\n", 1), "{ran:#?}");
    assert!(ran.err.contains("the mode is off") && ran.err.contains("DEBUG"), "{ran:#?}");
    assert_eq!(run(&["--mode", "off"]).err, "");
}

#[test]
fn a_sidecar_with_nothing_to_serve_says_so_in_one_line() {
    let world = World::new(Options { laptop: Some(Login::None), ..Options::default() });
    let ran = world.run_plain(&["serve"]);
    assert_eq!((ran.code, ran.err.lines().count()), (Some(2), 1), "{ran:#?}");
}

/// What a metadata server does with a connection whose request has come.
type Deed = fn(TcpStream);

/// Answers with these bytes, if it can.
fn say(mut stream: TcpStream, bytes: &[u8]) {
    // Whoever has left needs no answer.
    let _ = stream.write_all(bytes);
}

const FLAVOR: &[u8] = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n";

fn never_ends(mut stream: TcpStream) {
    let mut there = stream.write_all(&[FLAVOR, b"\r\n"].concat()).is_ok();
    while there {
        there = stream.write_all(&[b'a'; 65536]).is_ok();
    }
}

fn drips(mut stream: TcpStream) {
    let mut bytes = FLAVOR.iter().chain(b"X-Endless: ").chain(std::iter::repeat(&b'x'));
    while bytes.next().is_some_and(|byte| stream.write_all(&[*byte]).is_ok()) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

const DEEDS: &[(&str, Deed)] = &[
    ("hangs", std::mem::forget),
    ("drips", drips),
    ("never ends", never_ends),
    ("leaves", drop),
    ("speaks TLS", |stream| say(stream, b"\x15\x03\x01\x00\x02\x02\x16")),
    ("is a captive portal", |stream| {
        say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>captive</html>");
    }),
    ("names no region", |stream| {
        say(stream, &[FLAVOR, b"Content-Length: 9\r\n\r\nno/r.e\ngn"].concat());
    }),
];

/// A metadata server of its own in this world.
fn metadata(world: &World, deed: Deed) -> String {
    let listener = world.sim.enter(|| TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // All requests are shorter; one that is cut off is no matter here.
                let _ = stream.read(&mut [0; 4096]);
                deed(stream);
            });
        }
    });
    address.to_string()
}

/// The app starts; names resolve meanwhile, whole ones too; requests end with 503.
fn starts_without_it(what: &str, world: &World, host: &str) {
    let script = "grep ^search /etc/resolv.conf; \
                  getent ahostsv4 hello.run.internal >/dev/null && echo found; \
                  curl -sS -m 30 -o /dev/null -w '%{http_code}\n' http://hello.run.internal/";
    let options = ["--metadata-host", host];
    let begun = Instant::now();
    let ran = world.run(&options, &["sh", "-c", script]);
    assert_eq!(ran.ok(), "search run.internal google.internal\nfound\n503\n", "{what}: {ran:#?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
    let warned = ran.err.matches("not known yet where we run").count();
    assert_eq!(warned, 1, "{what}: {ran:#?}");
    let strict = world.run(&[&options[..], &["--strict"]].concat(), &["true"]);
    assert_eq!(strict.code, Some(70), "{what}: {strict:#?}");
}

#[test]
fn whatever_the_metadata_server_does_the_app_starts_within_seconds() {
    std::thread::scope(|scope| {
        scope.spawn(|| starts_without_it("is not there", &World::default(), "127.0.0.1:1"));
        for (what, deed) in DEEDS {
            scope.spawn(move || {
                let world = World::default();
                starts_without_it(what, &world, &metadata(&world, *deed));
            });
        }
    });
}
