//! Images of all kinds: an empty root, one with musl alone, a Debian one; for
//! root and for nobody, writable and read-only. The command starts, and reaches
//! a service by name or by the proxy that it is told of.

use runsd_tests::{Ran, World, copy_program, root, start};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: &str = "65534:65534";
/// What one line in the log says where there is no full mode.
const GIVES_WAY: &str = "proxy mode instead of full mode";
/// What one says where no resolv.conf names a nameserver.
const ASSUMES: &str = "names no nameserver";

/// A folder that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("runsd-root-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a temporary folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own folder");
        Place(path)
    }

    fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Place {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
        fs::write(path, bytes).expect("a temporary file");
        self
    }

    fn copy(self, name: &str, from: &Path) -> Place {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
        copy_program(from, &path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dist() -> PathBuf {
    let path = root().join("target/dist/runsd");
    assert!(path.exists(), "make dist comes first");
    path
}

/// The program that fetches, made by this compiler.
fn fetch(name: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fetch-{name}"));
    let mut command = Command::new(compiler);
    command.args(flags).args(["-O1", "-Wall", "-o"]).arg(&made);
    start(command.arg(root().join("tests/init/programs/fetch.c"))).wait().ok();
    made
}

/// What a container runtime puts into every image, and the test's certificates.
fn furnished(world: &World) -> Place {
    Place::new()
        .with("etc/resolv.conf", world.sim.resolv_conf())
        .with("etc/hosts", "127.0.0.1 localhost\n")
        .with("ca.pem", world.sim.ca_pem())
        .copy("runsd", &dist())
}

/// Runs `/runsd OPTIONS -- /fetch http://hello/` with this root.
fn run(world: &World, place: &Place, user: &str, read_only: bool, options: &[&str]) -> Ran {
    run_without("", world, place, user, read_only, options)
}

/// The same without some descriptors, closed as a shell writes it: `<&- 2>&-`.
fn run_without(
    closed: &str,
    world: &World,
    place: &Place,
    user: &str,
    read_only: bool,
    options: &[&str],
) -> Ran {
    let ro = if read_only { "mount -o remount,bind,ro \"$root\" && " } else { "" };
    let script = format!(
        "root=$1 user=$2; shift 2; mount --bind \"$root\" \"$root\" && {ro}exec chroot \
         --userspec=\"$user\" \"$root\" /runsd \"$@\" -- /fetch http://hello/ {closed}"
    );
    let mut command = world.sim.command("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).arg(&place.0).arg(user).args(options);
    start(&mut command).wait()
}

const TRUST: [&str; 2] = ["--ca-file", "/ca.pem"];

/// Every user on this root, writable and read-only.
fn every_user_gets_there(make: impl Fn(&World) -> Place, full_is_possible: bool) {
    for (user, read_only) in [("0:0", false), ("0:0", true), (NOBODY, false), (NOBODY, true)] {
        let world = World::default();
        let place = make(&world);
        let ran = run(&world, &place, user, read_only, &TRUST);
        let about = format!("user {user}, read-only {read_only}: {ran:#?}");
        let full = full_is_possible && user == "0:0" && !read_only;
        let expected = format!("200 as {user}{}", if full { "" } else { " by proxy" });
        assert_eq!((ran.code, ran.out.trim()), (Some(0), &*expected), "{about}");
        let told = |what: &str| ran.err.lines().filter(|line| line.contains(what)).count();
        let (gives_way, assumes) = (usize::from(!full), usize::from(!full_is_possible));
        assert_eq!((told(GIVES_WAY), told(ASSUMES)), (gives_way, assumes), "{about}");
        assert_eq!(ran.err.lines().count(), gives_way + assumes, "{about}");
        let found = fs::read(place.0.join("etc/resolv.conf")).unwrap_or_default();
        let as_before = if full_is_possible { world.sim.resolv_conf() } else { Vec::new() };
        assert_eq!(found, as_before, "{about}");
    }
}

#[test]
fn a_root_with_nothing_but_what_the_runtime_adds() {
    let program = fetch("static", "musl-gcc", &["-static"]);
    every_user_gets_there(|world| furnished(world).copy("fetch", &program), true);
}

#[test]
fn a_root_without_even_etc() {
    let program = fetch("static-bare", "musl-gcc", &["-static"]);
    let make = |world: &World| {
        Place::new()
            .with("ca.pem", world.sim.ca_pem())
            .copy("runsd", &dist())
            .copy("fetch", &program)
    };
    every_user_gets_there(make, false);
}

#[test]
fn a_root_without_dev_and_descriptors_that_are_closed() {
    let program = fetch("static-closed", "musl-gcc", &["-static"]);
    let world = World::default();
    for (user, options) in [("0:0", &TRUST[..]), (NOBODY, &TRUST), ("0:0", &["--mode=off"])] {
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let place = furnished(&world).copy("fetch", &program);
            let ran = run_without(closed, &world, &place, user, false, options);
            let about = format!("{closed} as {user} with {options:?}: {ran:#?}");
            // Nobody is at the name where runsd is off, and fetch says so.
            let reached = !options.contains(&"--mode=off");
            assert_eq!(ran.code, Some(i32::from(!reached)), "{about}");
            let said = ran.out.starts_with("200 as ");
            assert_eq!(said, reached && !closed.contains(">&- ") && closed != ">&-", "{about}");
        }
    }
}

#[test]
fn a_user_that_no_file_knows_and_certificates_that_no_file_holds() {
    let program = fetch("static-user", "musl-gcc", &["-static"]);
    let world = World::default();
    let place = furnished(&world).copy("fetch", &program);
    let user = ["--user", NOBODY];
    // It is root that takes names over, and somebody else that uses them.
    let ran = run(&world, &place, "0:0", false, &[&TRUST[..], &user].concat());
    assert_eq!((ran.ok(), ran.err.as_str()), ("200 as 65534:65534\n", ""), "{ran:#?}");
    // Without any, those that are built in are trusted, which the test's are not.
    let ran = run(&world, &place, "0:0", false, &user);
    assert_eq!(ran.ok(), "502 as 65534:65534\n", "{ran:#?}");
    let told = ran.err.lines().filter(|line| line.contains("built-in set of Mozilla")).count();
    assert_eq!(told, 1, "{ran:#?}");
}

#[test]
fn a_root_with_musl_alone() {
    let program = fetch("musl", "musl-gcc", &[]);
    let loader = fs::read_dir("/lib")
        .expect("a folder of libraries")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("ld-musl-"))
        .expect("musl's loader");
    let from = Path::new("/lib").join(&loader);
    let to = format!("lib/{loader}");
    every_user_gets_there(|world| furnished(world).copy("fetch", &program).copy(&to, &from), true);
}

#[test]
fn a_root_with_glibc_and_its_resolver() {
    let program = fetch("glibc", "cc", &[]);
    let listed = start(Command::new("ldd").arg(&program)).wait();
    let libraries: Vec<PathBuf> = listed
        .ok()
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect();
    assert!(!libraries.is_empty(), "{listed:?}");
    let make = |world: &World| {
        let place = furnished(world).copy("fetch", &program);
        libraries.iter().fold(place, |place, library| {
            let inside = library.strip_prefix("/").expect("an absolute path").to_string_lossy();
            place.copy(&inside, library)
        })
    };
    every_user_gets_there(make, true);
}

#[test]
fn nginx_keeps_port_80_and_its_own_signals() {
    let world = World::default();
    let place = Place::new().with("html/index.html", "it is nginx\n").with(
        "nginx.conf",
        "daemon off; pid nginx.pid; error_log stderr; events {}\n\
         http { access_log off; client_body_temp_path tmp; proxy_temp_path tmp;\n\
         fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;\n\
         server { listen 80 default_server; listen [::]:80 default_server; root html; } }\n",
    );
    let prefix = format!("{}/", place.0.display());
    let mut command = world.command(&[], &["nginx", "-p", &prefix, "-c", "nginx.conf"]);
    let running = start(command.env("PORT", "80"));
    let begun = Instant::now();
    while world.sim.enter(|| TcpStream::connect("127.0.0.1:80")).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nginx did not come up");
    }
    for url in ["http://127.0.0.1/", "http://[::1]/", "http://localhost/"] {
        let page = start(world.sim.command("curl").args(["-sS", "-g", url])).wait();
        assert_eq!(page.ok(), "it is nginx\n", "{url}");
    }
    // Its graceful end, with the exit code that it has alone.
    running.signal(libc::SIGQUIT);
    let ran = running.wait();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let told: Vec<&str> = ran.err.lines().filter(|line| line.contains(GIVES_WAY)).collect();
    assert_eq!(told.len(), 1, "{ran:#?}");
    assert!(told[0].contains("PORT=80"), "{told:?}");
}
