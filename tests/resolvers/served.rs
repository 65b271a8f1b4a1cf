//! A simulated instance whose DNS a sidecar serves, for the time of a test.

use cloudrun_sim::Options;
use runsd_tests::{Running, World, runsd, start};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longer than a loaded machine takes for anything here.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The instance and its sidecar.
pub struct Served {
    pub world: World,
    sidecar: Running,
}

impl Served {
    /// Starts both; `resolv_conf` names other nameservers than the platform's.
    pub fn new(resolv_conf: Option<&[u8]>) -> Served {
        let resolv_conf = resolv_conf.map(<[u8]>::to_vec);
        let world = World::new(Options { resolv_conf, ..Options::default() });
        let sidecar = start(&mut world.command(&["serve"], &[]));
        Served::ready(world, sidecar)
    }

    /// Starts both; the sidecar may have no more than so many descriptors.
    pub fn short_of_descriptors(most: usize) -> Served {
        let world = World::default();
        let mut command = world.sim.command("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(runsd()).arg("serve");
        let sidecar = start(&mut command);
        Served::ready(world, sidecar)
    }

    /// Waits for the DNS server, and for resolv.conf to name it, which comes
    /// later: until then a look-up by the C library goes to the platform.
    fn ready(world: World, sidecar: Running) -> Served {
        let begun = Instant::now();
        while world.sim.enter(|| TcpStream::connect("127.0.0.1:53")).is_err() {
            assert!(begun.elapsed() < PATIENCE, "no DNS server came up");
        }
        let ours = "nameserver 127.0.0.1";
        while !String::from_utf8_lossy(&world.sim.resolv_conf()).lines().any(|line| line == ours) {
            assert!(begun.elapsed() < PATIENCE, "resolv.conf names no DNS server of ours");
        }
        Served { world, sidecar }
    }

    /// Ends the sidecar, which must have had no reason to complain.
    pub fn end(self) {
        self.sidecar.signal(libc::SIGTERM);
        let ran = self.sidecar.wait();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:#?}");
    }
}
