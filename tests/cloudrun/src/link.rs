//! The cable between the instance and the cloud.
//!
//! Owns the two ends and what is reached through them; knows nothing of the
//! servers there or of mounts. `namespace` calls it: first [`Cloud::create`], which
//! makes the far side, then, in the instance's network, [`Cloud::connect`].

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::addresses::{GATEWAY, INSTANCE};
use crate::error::{Error, Step};
use crate::kernel;
use crate::netlink::{LO, Network, Via};

/// The name of both ends, each in its own namespace, as on the platform.
const NAME: &str = "eth0";
/// Chosen, so that nobody has to ask for them; above those of the tunnels that
/// some kernels put into every namespace.
const NEAR: u32 = 100;
const FAR: u32 = 101;
/// The two ends' common prefix.
const BITS: u8 = 30;
const EVERYWHERE: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);
/// Where the kernel shows how often it may say that a port is closed.
const ICMP_LIMIT: &str = "/proc/sys/net/ipv4/icmp_ratelimit";
/// It takes the kernel microseconds to notice that both ends are up, unless others have
/// its time.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_micros(100);

/// The network namespace in which the servers will listen.
#[derive(Debug)]
pub(crate) struct Cloud {
    namespace: File,
    network: Network,
}

impl Cloud {
    /// Moves the calling thread into a new network namespace, which is the cloud's.
    pub(crate) fn create() -> Result<Self, Error> {
        kernel::unshare(libc::CLONE_NEWNET).map_err(Error::NoNamespaces)?;
        kernel::loopback_up().step("bringing the cloud's lo up")?;
        // Without it whoever meets several closed UDP ports waits for some of the
        // refusals. A machine that does not allow this is only slower.
        let _ = fs::write(ICMP_LIMIT, "0");
        Ok(Self {
            namespace: File::open("/proc/thread-self/ns/net").step("opening the cloud")?,
            network: Network::open().step("configuring the cloud's network")?,
        })
    }

    /// Connects the calling thread's network namespace with the cloud: the default
    /// route leads there. Returns whether it is so: not where the kernel has no
    /// pairs of interfaces.
    pub(crate) fn connect(&mut self) -> Result<bool, Error> {
        let mut instance = Network::open().step("configuring the network")?;
        if instance.add_pair(NAME, NEAR, FAR, self.namespace.as_raw_fd()).is_err() {
            return Ok(false);
        }
        self.configure(&mut instance).step("connecting the instance with the cloud")?;
        Ok(true)
    }

    fn configure(&mut self, instance: &mut Network) -> io::Result<()> {
        let cloud = &mut self.network;
        for (network, index, address) in
            [(&mut *cloud, FAR, GATEWAY), (&mut *instance, NEAR, INSTANCE)]
        {
            // A kernel without IPv6 needs not be told to do without.
            let _ = network.without_ipv6_address(index);
            network.add_address(index, address, BITS)?;
            network.up(index)?;
        }
        instance.add_route(EVERYWHERE, NEAR, Via::Router(GATEWAY))?;
        // Every address but the instance's is the cloud's. So where no server
        // listens, a connection is refused at once; nothing waits for an internet
        // that is not there.
        cloud.add_route((INSTANCE, 32), FAR, Via::Neighbour)?;
        cloud.add_route(EVERYWHERE, LO, Via::Here)?;
        // The end that came up first drops what it should send until the kernel has
        // noticed the other; a lost first packet would cost its sender a second.
        let end = Instant::now() + PATIENCE;
        while !(cloud.is_running(FAR)? && instance.is_running(NEAR)?) {
            if Instant::now() > end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Moves the calling thread into the cloud's network.
    pub(crate) fn enter(&self) -> io::Result<()> {
        kernel::join_network(self.namespace.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_to_connect_is_not_connected() {
        let results = thread::spawn(|| {
            let mut cloud = Cloud::create().unwrap();
            kernel::unshare(libc::CLONE_NEWNET).unwrap();
            // Twice the same index: the second pair cannot be made.
            [cloud.connect().unwrap(), cloud.connect().unwrap()]
        });
        assert_eq!(results.join().unwrap(), [true, false]);
    }
}
