//! The care of COMMAND, and of resolv.conf around it.

use runsd_tests::{Running, World, copy_program, in_time, start};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A place where an app says that it has come to a point.
struct Bell {
    listener: UnixListener,
    path: PathBuf,
}

impl Bell {
    fn new(name: &str) -> Bell {
        let path = std::env::temp_dir().join(format!("runsd-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Bell { listener: UnixListener::bind(&path).expect("a socket in a temporary folder"), path }
    }

    /// Python that rings it with what `expression` says.
    fn ring(&self, expression: &str) -> String {
        format!(
            "import socket as k; b = k.socket(k.AF_UNIX); b.connect('{}'); \
             b.sendall(str({expression}).encode()); b.close()\n",
            self.path.display()
        )
    }

    /// Waits until it rings.
    fn wait(&self) -> String {
        let listener = self.listener.try_clone().expect("a descriptor");
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("an app that rings");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("text");
            let _ = send.send(said);
        });
        receive.recv_timeout(Duration::from_secs(60)).expect("the app never came to that point")
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn text(world: &World) -> String {
    String::from_utf8(world.sim.resolv_conf()).expect("resolv.conf is text here")
}

fn python(world: &World, options: &[&str], script: &str) -> Running {
    start(&mut world.command(options, &["python3", "-c", script]))
}

#[test]
fn exit_codes_are_the_commands_own() {
    let world = World::default();
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill $$", 143)] {
        let ran = world.run(&[], &["sh", "-c", script]);
        assert_eq!(ran.code, Some(code), "{script}: {ran:#?}");
        assert_eq!(ran.err, "", "{script}");
    }
    assert_eq!(world.run(&[], &["no-such-program"]).code, Some(127));
    assert_eq!(world.run(&[], &["/etc/passwd"]).code, Some(126));
}

#[test]
fn resolv_conf_is_ours_while_the_command_runs_and_as_before_afterwards() {
    let world = World::default();
    let before = text(&world);
    let during = world.run(&[], &["cat", "/etc/resolv.conf"]);
    let lines: Vec<&str> = during.ok().lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.contains(&"nameserver 127.0.0.1"), "{lines:?}");
    let search = lines.iter().find(|line| line.starts_with("search ")).expect("a search line");
    assert!(search.starts_with("search us-central1.run.internal run.internal"), "{search}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("nameserver")).count(), 1);
    assert_eq!(text(&world), before);
}

#[test]
fn a_killed_runsd_takes_its_command_along_and_the_next_one_recovers_resolv_conf() {
    let world = World::default();
    let before = text(&world);
    let bell = Bell::new("killed");
    let script = format!("{}import time; time.sleep(600)", bell.ring("__import__('os').getpid()"));
    let running = python(&world, &[], &script);
    let app: i32 = bell.wait().parse().expect("a pid");
    assert_ne!(text(&world), before);
    running.signal(libc::SIGKILL);
    let ran = running.wait();
    assert_eq!(ran.signal, Some(libc::SIGKILL));
    assert!(!std::path::Path::new(&format!("/proc/{app}/exe")).exists(), "the app outlived runsd");
    assert_ne!(text(&world), before, "nobody was left to restore it");
    let next = world.curl(&["http://hello/"]);
    assert!(next.ok().ends_with(" 200"), "{next:?}");
    assert_eq!(text(&world), before);
}

#[test]
fn signals_reach_the_command_and_work_in_flight_ends_well() {
    let world = World::default();
    let bell = Bell::new("signals");
    let script = format!(
        "import os, signal, urllib.request, sys\n\
         def end(*_):\n\
         \x20   status = urllib.request.urlopen('http://hello/', timeout=30).status\n\
         \x20   os.write(1, b'%d\\n' % status)\n\
         \x20   sys.exit(7)\n\
         # One handler may interrupt another, which print() does not survive.\n\
         signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'usr1\\n'))\n\
         signal.signal(signal.SIGHUP, lambda *_: os.write(1, b'hup\\n'))\n\
         signal.signal(signal.SIGTERM, end)\n\
         import os\n\
         news, noted = os.pipe()\n\
         os.set_blocking(noted, False)\n\
         signal.set_wakeup_fd(noted)\n\
         {}while True: os.read(news, 1)",
        bell.ring("1")
    );
    let running = python(&world, &[], &script);
    bell.wait();
    running.signal(libc::SIGHUP);
    running.signal(libc::SIGUSR1);
    running.signal(libc::SIGTERM);
    let ran = running.wait();
    assert_eq!(ran.code, Some(7), "{ran:#?}");
    for word in ["hup", "usr1", "200"] {
        assert!(ran.out.contains(word), "{word} in {ran:#?}");
    }
}

#[test]
fn a_runsd_inside_a_runsd_leaves_everything_to_the_first() {
    let world = World::default();
    let inner = runsd_tests::runsd();
    let inner = inner.to_string_lossy();
    let ran =
        world.run(&[], &[&inner, "--", "curl", "-sS", "-w", " %{http_code}", "http://hello/"]);
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    assert_eq!(ran.err, "");
}

#[test]
fn a_command_may_act_as_another_user() {
    let world = World::default();
    let ran = world.run(&["--user", "nobody"], &["sh", "-c", "id -u; id -G"]);
    let nobody = ran.ok().lines().next().expect("a uid").to_owned();
    assert_ne!(nobody, "0");
    assert!(!ran.out.lines().nth(1).expect("groups").split(' ').any(|group| group == "0"));
}

#[test]
fn a_user_has_its_groups_and_its_home() {
    let world = World::default();
    let files = "echo app:x:4242:4343:An app:/home/app:/bin/sh >> /etc/passwd; \
                 printf 'app:x:4343:\nfilms:x:4444:root,app\nsound:x:4545:app\nno:x:4646:apple\n' \
                 >> /etc/group";
    start(world.sim.command("sh").args(["-ec", files])).wait().ok();
    let print = "id -u; id -g; id -G; echo $HOME";
    let words = |user: &str| {
        let mut command = world.command(&["--user", user], &["sh", "-c", print]);
        let ran = start(command.env_remove("HOME")).wait();
        ran.ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    // As the system itself has it.
    let mut reference = world.sim.command("setpriv");
    reference.args(["--reuid=app", "--regid=app", "--init-groups", "sh", "-c", "id -G"]);
    assert_eq!(start(&mut reference).wait().ok(), "4343 4444 4545\n");
    for user in ["app", "4242"] {
        assert_eq!(words(user), "4242 4343 4343 4444 4545 /home/app", "{user}");
    }
    assert_eq!(words("app:films"), "4242 4444 4444 /home/app");
    assert_eq!(words("4949"), "4949 4949 4949 /");
    assert_eq!(words("4949:films"), "4949 4444 4444 /");
}

#[test]
fn every_flag_of_the_first_runsd_is_accepted() {
    let world = World::default();
    let ran = world.run(
        &[
            "-v=5",
            "-gcp_region=us-east1",
            "-domain",
            "run.internal",
            "-ndots=4",
            "-logtostderr",
            "-nameserver=169.254.169.254",
            "-resolv_conf_file",
            "/etc/resolv.conf",
        ],
        &["curl", "-sS", "-w", " %{http_code}", "http://hello/"],
    );
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    assert_eq!(world.sim.front().requests()[0].region, "us-east1");
    let secret = ran.err.contains("Bearer") || ran.err.contains("eyJ");
    assert!(!secret, "a token in the log: {}", ran.err);
}

#[test]
fn a_sidecar_serves_until_it_is_told_to_end() {
    let world = World::default();
    let mut command = world.command(&["--resolv-conf-mode", "leave", "serve"], &[]);
    let sidecar = start(&mut command);
    let ask = || {
        let mut curl = world.sim.command("curl");
        curl.args(["-sS", "--retry", "50", "--retry-connrefused", "--retry-delay", "0"])
            .args(["--retry-max-time", "30", "-H", "Host: hello"])
            .args(["-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1/"]);
        start(&mut curl).wait()
    };
    assert_eq!(ask().ok(), "200");
    sidecar.signal(libc::SIGTERM);
    let ran = sidecar.wait();
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:#?}");
}

#[test]
fn a_sidecar_is_gone_before_the_platform_kills_it_whatever_hangs() {
    in_time(Duration::from_secs(10), || {
        let world = World::default();
        let (sidecar, mut app, _under_way) = busy_sidecar(&world);
        let told = Instant::now();
        sidecar.signal(libc::SIGTERM);
        assert_eq!(sidecar.wait().code, Some(0));
        let took = told.elapsed();
        let cut = app.read(&mut [0]).expect_err("it was no answer");
        assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
        [took]
    });
}

/// A sidecar with an exchange under way that never ends, and both its ends.
fn busy_sidecar(world: &World) -> (Running, TcpStream, TcpStream) {
    let service = world.sim.enter(|| TcpListener::bind("127.0.0.1:0")).expect("a port");
    let route = format!("slow=http://{}", service.local_addr().expect("its address"));
    let options = ["--resolv-conf-mode", "leave", "--route", &route, "serve"];
    let sidecar = start(&mut world.command(&options, &[]));
    let begun = Instant::now();
    let mut app = loop {
        match world.sim.enter(|| TcpStream::connect("127.0.0.1:80")) {
            Ok(app) => break app,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
    };
    app.write_all(b"GET / HTTP/1.1\r\nHost: slow\r\n\r\n").expect("the sidecar is there");
    let (mut under_way, _) = service.accept().expect("the request");
    assert_ne!(under_way.read(&mut [0; 1024]).expect("a head"), 0);
    (sidecar, app, under_way)
}

#[test]
fn without_rights_the_proxy_mode_serves_an_unprivileged_user() {
    let world = World::default();
    let runsd = runsd_tests::runsd();
    // The binary's folder may be closed to others: a copy where anyone can go.
    let place = std::env::temp_dir().join(format!("runsd-nobody-{}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a folder");
    let copy = place.join("runsd");
    copy_program(&runsd, &copy);
    let mut command = world.sim.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args([
        "--",
        "curl",
        "-sS",
        "-w",
        " %{http_code}",
        "http://hello/",
    ]);
    let ran = start(&mut command).wait();
    let mut doctor = world.sim.command("setpriv");
    doctor.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).arg("doctor");
    let examined = start(&mut doctor).wait();
    std::fs::remove_dir_all(&place).expect("the folder");
    assert!(ran.ok().ends_with(" 200"), "{ran:#?}");
    assert_eq!(ran.err.matches("proxy mode instead of full mode").count(), 1, "{}", ran.err);
    // The doctor says the same, in the line about it.
    let mode = examined.ok().lines().find(|line| line.contains("  mode  ")).expect("the mode");
    assert!(
        mode.starts_with("WARNING  mode ") && mode.contains("proxy mode instead of full mode"),
        "{mode}"
    );
}
