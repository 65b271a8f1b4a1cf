//! Where things are inside the instance.

use std::net::Ipv4Addr;

/// The metadata server and the nameserver, as on the platform.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The front end of Cloud Run (an address for benchmarks, RFC 2544).
pub const FRONT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
/// A host that is not Google's: `example.com`.
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 20);
/// The instance's own, on `eth0`.
pub const INSTANCE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
/// The way from the instance to everything else.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
