//! The resolv.conf of every image, and whoever else writes it: killed, stopped,
//! nested and simultaneous runsds, full disks, and what is no file at all.

use runsd_tests::{Ran, Running, World, runsd, start};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(30);
const GIVES_WAY: &str = "proxy mode instead of full mode";

fn text(world: &World) -> String {
    String::from_utf8_lossy(&world.sim.resolv_conf()).into_owned()
}

/// Runs a shell's line inside, as the container's runtime might.
fn prepare(world: &World, line: &str) {
    start(world.sim.command("sh").args(["-ec", line])).wait().ok();
}

/// Whether the file is a runsd's now.
fn is_ours(world: &World) -> bool {
    text(world).contains("# runsd-marker ")
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// A runsd that serves, until it is told to end.
fn serving(world: &World, options: &[&str]) -> Running {
    let running = start(&mut world.command(options, &["sleep", "600"]));
    until("resolv.conf is taken over", || is_ours(world));
    running
}

/// Leaves the file as a killed runsd leaves it; what it was before.
fn killed(world: &World) -> String {
    let before = text(world);
    let running = serving(world, &[]);
    running.signal(libc::SIGKILL);
    running.wait();
    assert!(is_ours(world), "nobody was left to restore it");
    before
}

fn lines_with(ran: &Ran, what: &str) -> usize {
    ran.err.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn what_cannot_be_written_costs_the_full_mode_and_not_the_start() {
    let gone = "umount /etc/resolv.conf; rm /etc/resolv.conf";
    for (made, said) in [
        (format!("{gone}; mkdir /etc/resolv.conf"), "is a directory"),
        (format!("{gone}; mkfifo /etc/resolv.conf"), "not a regular file"),
        (format!("{gone}; ln -s /dev/zero /etc/resolv.conf"), "not a regular file"),
        (format!("{gone}; ln -s resolv.conf /etc/resolv.conf"), "symbolic links"),
        (format!("{gone}; ln -s /no/such/file /etc/resolv.conf"), "there must be a file"),
        (format!("{gone}; truncate -s 1T /etc/resolv.conf"), "are no resolv.conf"),
        ("mount -o remount,bind,ro /etc/resolv.conf".to_owned(), "mount it writable"),
    ] {
        let world = World::default();
        prepare(&world, &made);
        let ran = world.curl(&["http://hello/"]);
        assert!(ran.ok().ends_with(" 200"), "{made}: {ran:#?}");
        assert_eq!(lines_with(&ran, GIVES_WAY), 1, "{made}: {ran:#?}");
        for part in ["/etc/resolv.conf", said, "--mode proxy", "Java"] {
            assert!(ran.err.contains(part), "{made}: {part} in {ran:#?}");
        }
        let strict = world.run(&["--strict"], &["true"]);
        assert_eq!(strict.code, Some(70), "{made}: {strict:#?}");
        assert!(strict.err.contains(said), "{made}: {strict:#?}");
        // The doctor calls failed what does not work, and here the app has its proxy.
        for (options, mode, code) in [(&[][..], "proxy", 0), (&["--strict"], "none", 1)] {
            let ran = world.run_plain(&[&["doctor", "--json"], options].concat());
            assert_eq!(ran.code, Some(code), "{made} {options:?}: {ran:#?}");
            let report: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
            let findings = report["findings"].as_array().expect("a list");
            let found = |what| findings.iter().find(|one| one["what"] == what).expect("found");
            assert_eq!(found("mode")["facts"]["mode"], mode, "{made}: {ran:#?}");
            assert_eq!(found("resolv.conf")["verdict"], "warning", "{made}: {ran:#?}");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    let world = World::default();
    let original = format!("nameserver 169.254.169.254\n{}", "# a line of no use\n".repeat(190));
    world.sim.set_resolv_conf(original.as_bytes());
    prepare(
        &world,
        "cp /etc/resolv.conf /tmp/copy.$$; umount /etc/resolv.conf; mkdir /etc/small; \
         mount -t tmpfs -o size=4k small /etc/small; mv /tmp/copy.$$ /etc/small/file; \
         mount --bind /etc/small/file /etc/resolv.conf",
    );
    assert_eq!(text(&world), original);
    let ran = world.run(&[], &["cat", "/etc/resolv.conf"]);
    assert_eq!(ran.ok(), original);
    assert_eq!(lines_with(&ran, GIVES_WAY), 1, "{ran:#?}");
    assert!(ran.err.contains("make room"), "{ran:#?}");
    assert_eq!(text(&world), original);
}

#[test]
fn a_folder_that_cannot_be_written_does_not_matter() {
    let world = World::default();
    let before = text(&world);
    prepare(&world, "mount -o remount,ro /etc; ! touch /etc/new 2>/dev/null");
    let ran = world.curl(&["http://hello/"]);
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    assert_eq!((ran.err.as_str(), text(&world)), ("", before));
}

#[test]
fn a_link_is_followed_and_stays() {
    for (made, restored) in [
        ("mkdir /etc/there; cp /etc/resolv.conf /etc/there/file", true),
        // What it leads to is made, and goes again.
        ("mkdir /etc/there", false),
    ] {
        let world = World::default();
        let before = text(&world);
        let link = "umount /etc/resolv.conf; rm /etc/resolv.conf; \
                    ln -s there/file /etc/resolv.conf";
        prepare(&world, &format!("{made}; {link}"));
        let ran = world.run(&[], &["sh", "-c", "readlink /etc/resolv.conf; cat /etc/there/file"]);
        assert!(ran.ok().starts_with("there/file\n# runsd-marker "), "{ran:#?}");
        let after = start(world.sim.command("sh").args([
            "-c",
            "readlink /etc/resolv.conf; cat /etc/there/file 2>/dev/null; ls /etc/there",
        ]));
        let expected = if restored { format!("{before}file\n") } else { String::new() };
        assert_eq!(after.wait().ok(), format!("there/file\n{expected}"), "{made}");
    }
}

#[test]
fn it_stays_as_it_is_where_that_is_wanted() {
    let world = World::default();
    let before = text(&world);
    for options in [&["--resolv-conf-mode", "leave"][..], &["--dns", "off"], &["--mode", "proxy"]] {
        let ran = world.run(options, &["cat", "/etc/resolv.conf"]);
        assert_eq!((ran.ok(), ran.err.as_str()), (before.as_str(), ""), "{options:?}");
    }
}

#[test]
fn what_others_write_meanwhile_stays() {
    let world = World::default();
    let theirs = "nameserver 169.254.169.254\n";
    let write = format!("printf '{theirs}' > /etc/resolv.conf");
    let ran = world.run(&[], &["sh", "-c", &write]);
    assert!(ran.ok().is_empty(), "{ran:#?}");
    assert_eq!(lines_with(&ran, "has been changed while runsd ran"), 1, "{ran:#?}");
    assert_eq!(text(&world), theirs);
}

/// Runs runsd, and kills it when it makes this system call for the first time.
fn killed_at(world: &World, call: &str, app: &[&str]) {
    let mut command = world.sim.command("strace");
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL"));
    command.args(["-f", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    let ran = start(command.arg(runsd()).arg("--").args(app)).wait();
    assert_eq!((ran.signal, ran.out.as_str()), (Some(libc::SIGKILL), ""), "{call}: {ran:#?}");
}

#[test]
fn killed_at_any_point_it_is_recovered_by_the_next() {
    // Longer than what we make of it, so that there is something to cut off.
    let long = format!("nameserver 169.254.169.254\nsearch google.internal\n{}", "\n".repeat(3000));
    for original in ["nameserver 169.254.169.254\nsearch google.internal.\n", &long] {
        let world = World::default();
        world.sim.set_resolv_conf(original.as_bytes());
        // Written and not yet cut to its length.
        killed_at(&world, "ftruncate", &["echo", "begun"]);
        assert!(is_ours(&world));
        let ran = world.curl(&["http://hello/"]);
        assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
        assert_eq!(text(&world), original);
        // Written, and the command about to begin; threads come by clone3.
        killed_at(&world, "clone", &["echo", "begun"]);
        assert!(is_ours(&world));
        let ran = world.run(&[], &["true"]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:#?}");
        assert_eq!(text(&world), original);
    }
}

#[test]
fn every_mode_recovers_what_a_killed_runsd_left() {
    for options in [&["--mode", "proxy"][..], &["--resolv-conf-mode", "leave"], &["--dns", "off"]] {
        let world = World::default();
        let before = killed(&world);
        let ran = world.run(options, &["cat", "/etc/resolv.conf"]);
        assert_eq!((ran.ok(), ran.err.as_str()), (before.as_str(), ""), "{options:?}");
        assert_eq!(text(&world), before, "{options:?}");
    }
    // The full mode that cannot be had: the proxy's port is taken.
    let world = World::default();
    let before = killed(&world);
    let taken = world.sim.enter(|| std::net::TcpListener::bind("127.0.0.1:80")).expect("a port");
    let ran = world.run(&[], &["sh", "-c", "cat /etc/resolv.conf; curl -sS http://hello/"]);
    assert!(ran.ok().starts_with(&before) && ran.out.contains("hello from hello"), "{ran:#?}");
    drop(taken);
}

#[test]
fn a_stranger_at_the_killed_ones_address_does_not_hinder_recovery() {
    let world = World::default();
    let before = killed(&world);
    let socket = world.sim.enter(|| UdpSocket::bind("127.0.0.1:53")).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // Answers every question with REFUSED.
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            packet[2] |= 0x80;
            packet[3] = 5;
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    let ran = world.run(&[], &["cat", "/etc/resolv.conf"]);
    assert_eq!(ran.ok(), before, "{ran:#?}");
    assert!(ran.err.contains("port 53 is taken"), "{ran:#?}");
}

#[test]
fn one_that_is_stopped_is_not_taken_for_dead() {
    let world = World::default();
    let before = text(&world);
    let outer = serving(&world, &[]);
    let ours = text(&world);
    outer.signal(libc::SIGSTOP);
    let ran = world.curl(&["http://hello/"]);
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    assert_eq!(lines_with(&ran, GIVES_WAY), 1, "{ran:#?}");
    assert_eq!(text(&world), ours, "it is the other's, which may go on");
    outer.signal(libc::SIGCONT);
    let nested = world.run(&[], &["getent", "hosts", "hello"]);
    assert_eq!((nested.code, nested.err.as_str()), (Some(0), ""), "{nested:#?}");
    outer.signal(libc::SIGTERM);
    assert_eq!(outer.wait().code, Some(143));
    assert_eq!(text(&world), before);
}

#[test]
fn one_inside_with_another_domain_knows_the_outer_one() {
    let world = World::default();
    let inner = runsd();
    let inner = inner.to_string_lossy();
    let ran = world.run(
        &["--domain", "outer.internal"],
        &[&inner, "--domain", "inner.internal", "--", "curl", "-sS", "http://hello/"],
    );
    assert_eq!((ran.ok(), ran.err.as_str()), ("hello from hello (us-central1)\n", ""), "{ran:#?}");
}

#[test]
fn two_at_once_leave_the_file_as_it_was() {
    for after_a_kill in [false, true] {
        let world = World::default();
        let before = if after_a_kill { killed(&world) } else { text(&world) };
        for round in 0..10 {
            let both = [(); 2].map(|()| start(&mut world.command(&[], &["true"])));
            for ran in both.map(Running::wait) {
                assert_eq!(ran.code, Some(0), "{after_a_kill} {round}: {ran:#?}");
            }
            assert_eq!(text(&world), before, "{after_a_kill} {round}");
        }
    }
}
