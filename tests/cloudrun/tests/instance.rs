//! The instance as a program inside sees it: files, network, environment.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use cloudrun_sim::{Options, Sim, addresses};

const FROM_PUBLIC: &str = "hello from public (us-central1)\n";

fn output(sim: &Sim, program: &str, arguments: &[&str]) -> String {
    let output = sim.command(program).args(arguments).output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_program_inside_has_the_platforms_files_and_environment() {
    let sim = Sim::start(Options::default()).unwrap();
    let resolv = output(&sim, "cat", &["/etc/resolv.conf"]);
    assert_eq!(resolv, "nameserver 169.254.169.254\nsearch google.internal.\n");
    let hosts = output(&sim, "cat", &["/etc/hosts"]);
    assert!(hosts.contains("169.254.169.254\tmetadata.google.internal"), "{hosts}");
    let mut names: Vec<String> = output(&sim, "env", &[])
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.to_owned()))
        .collect();
    names.sort();
    let expected = [
        "CLOUD_RUN_TIMEOUT_SECONDS",
        "HOME",
        "K_CONFIGURATION",
        "K_REVISION",
        "K_SERVICE",
        "PATH",
        "PORT",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_program_inside_keeps_the_working_directory() {
    let sim = Sim::start(Options::default()).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(output(&sim, "pwd", &["-P"]).trim(), here.to_str().unwrap());
}

#[test]
fn resolv_conf_can_be_replaced_removed_and_written_from_inside() {
    let sim = Sim::start(Options {
        resolv_conf: Some(b"nameserver 192.0.2.1\n".to_vec()),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(sim.resolv_conf(), b"nameserver 192.0.2.1\n");
    sim.set_resolv_conf(b"options ndots:3\n");
    assert_eq!(output(&sim, "cat", &["/etc/resolv.conf"]), "options ndots:3\n");
    sim.remove_resolv_conf();
    assert!(!sim.enter(|| fs::exists("/etc/resolv.conf").unwrap()));
    assert!(sim.resolv_conf().is_empty());
    sim.set_resolv_conf(b"again\n");
    sim.enter(|| fs::write("/etc/resolv.conf", "written inside\n")).unwrap();
    assert_eq!(sim.resolv_conf(), b"written inside\n");
    // A bind mount, as on the platform: nothing can be renamed over it.
    let moved = sim.enter(|| {
        fs::write("/etc/resolv.conf.new", "x")?;
        fs::rename("/etc/resolv.conf.new", "/etc/resolv.conf")
    });
    assert_eq!(moved.unwrap_err().raw_os_error(), Some(libc::EBUSY));
}

#[test]
fn every_port_of_the_instance_is_free_for_its_programs() {
    let sim = Sim::start(Options::default()).unwrap();
    assert!(sim.is_apart(), "this kernel has no veth interfaces");
    let held = sim.enter(|| {
        let tcp = [53, 80, 443].map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        (tcp.map(Result::unwrap), UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap())
    });
    // The platform is still where it was, and sees the instance's address.
    assert_eq!(output(&sim, "curl", &["-sS", &sim.url("public")]), FROM_PUBLIC);
    let from = sim.enter(|| {
        TcpStream::connect((addresses::METADATA, 80)).and_then(|tcp| tcp.local_addr()).unwrap()
    });
    assert_eq!(from.ip(), addresses::INSTANCE);
    drop(held);
}

#[test]
fn there_is_a_default_route_and_nothing_waits_for_the_internet() {
    let sim = Sim::start(Options::default()).unwrap();
    let (own, errors) = sim.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.connect(("192.0.2.1", 53)).unwrap();
        let own = socket.local_addr().unwrap();
        let mut errors = vec![TcpStream::connect(("192.0.2.1", 443)).unwrap_err().kind()];
        for _ in 0..3 {
            let failed = socket.send(b"x").and_then(|_| socket.recv(&mut [0; 1]));
            errors.push(failed.unwrap_err().kind());
        }
        (own, errors)
    });
    assert_eq!(own.ip(), addresses::INSTANCE);
    assert!(errors.iter().all(|error| *error == ErrorKind::ConnectionRefused), "{errors:?}");
}

#[test]
fn without_a_network_of_their_own_the_servers_are_where_programs_expect_them() {
    let sim = Sim::start(Options { apart: false, ..Options::default() }).unwrap();
    assert!(!sim.is_apart());
    assert_eq!(output(&sim, "curl", &["-sS", &sim.url("public")]), FROM_PUBLIC);
    let taken = sim.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).map(|_| ()));
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_instance_has_or_lacks_ipv6_as_told() {
    for ipv6 in [true, false] {
        let sim = Sim::start(Options { ipv6, ..Options::default() }).unwrap();
        let bound = sim.enter(|| UdpSocket::bind("[::1]:0").is_ok());
        assert_eq!(bound, ipv6);
        // As on the platform, nothing but lo has an address of that family.
        let known = output(&sim, "cat", &["/proc/net/if_inet6"]);
        assert!(known.lines().all(|line| line.ends_with(" lo")), "{known}");
        assert_eq!(output(&sim, "cat", &["/etc/hosts"]).contains("::1"), ipv6);
    }
}

#[test]
fn two_simulations_do_not_meet() {
    let (one, two) = (
        Sim::start(Options::default()).unwrap(),
        Sim::start(Options { region: "europe-west1".into(), ..Options::default() }).unwrap(),
    );
    let region = |sim: &Sim| {
        let url = "http://metadata.google.internal/computeMetadata/v1/instance/region";
        output(sim, "curl", &["-s", "-H", "Metadata-Flavor: Google", url])
    };
    assert_eq!(region(&one), "projects/123456789012/regions/us-central1");
    assert_eq!(region(&two), "projects/123456789012/regions/europe-west1");
    assert_eq!(one.metadata().calls().len(), 1);
}

#[test]
fn nothing_is_left_behind_and_the_machine_is_unchanged() {
    let etc = || {
        ["/etc/hosts", "/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"]
            .map(|path| fs::read(path).ok())
    };
    let mounts = || fs::read_to_string("/proc/self/mounts").unwrap();
    let (etc_before, mounts_before) = (etc(), mounts());
    let directory = {
        let sim = Sim::start(Options::default()).unwrap();
        let inside = sim.enter(|| fs::read_to_string("/proc/thread-self/mounts").unwrap());
        sim.enter(|| fs::write("/etc/new-file", "only inside")).unwrap();
        assert!(!fs::exists("/etc/new-file").unwrap());
        assert_eq!(mounts(), mounts_before, "while it runs");
        let tmpfs = inside.lines().find(|line| line.contains("cloudrun-sim-")).unwrap();
        tmpfs.split(' ').nth(1).unwrap().to_owned()
    };
    assert!(!fs::exists(directory).unwrap());
    assert_eq!(mounts(), mounts_before);
    assert_eq!(etc(), etc_before);
    let front = (addresses::FRONT, 0);
    assert!(UdpSocket::bind(front).is_err(), "the address is on the machine itself");
}

#[test]
fn a_port_opened_inside_is_not_the_machines() {
    let sim = Sim::start(Options::default()).unwrap();
    let listener = sim.enter(|| TcpListener::bind("127.0.0.1:80")).unwrap();
    assert!(sim.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).is_ok()));
    drop(listener);
}
