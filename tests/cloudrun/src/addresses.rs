//! Where things are inside the instance.

use std::net::Ipv4Addr;

/// The metadata server and the nameserver, as on the platform.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The front end of Cloud Run (an address for benchmarks, RFC 2544).
pub const FRONT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
/// A host that is not Google's: `example.com`.
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 20);
