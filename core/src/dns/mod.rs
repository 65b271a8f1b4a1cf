//! The DNS server of runsd, and the client that looks up upstream names.
//!
//! It owns DNS messages, our zones, forwarding with its cache, and
//! resolv.conf. It must not know what a service or a platform is: what a name
//! is comes in as a function, everything else as plain values. The engine
//! builds it; the dialer resolves upstream names through [`resolver`].

mod alarms;
mod announce;
mod answer;
mod cache;
mod exchange;
mod flight;
mod forward;
mod frame;
mod hosts;
mod probe;
mod race;
mod reply;
mod resolv_conf;
mod resolve;
mod server;
mod sockets;
mod tcp;
mod wire;
mod zone;

pub use forward::Forwarder;
pub use hosts::Hosts;
pub use probe::{is_alive, look_up, probe};
pub use resolv_conf::{Original, ResolvConf, Restored, TakeOver, Wanted, read_original};
pub use resolve::resolver;
pub use server::Server;
pub use zone::{Kind, LocalZone, Zone, ZoneConfig};

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod testing;
