//! A simulated Cloud Run, to test services and tools against without a cloud.
//!
//! A [`Sim`] is one instance: network and mount namespaces in which the addresses
//! and files are those of the platform. At the other end of its only cable, in
//! another network namespace, is the cloud with three servers:
//! - [`Metadata`]: the metadata server, which hands out identity tokens;
//! - [`Dns`]: the nameserver;
//! - [`Front`]: the front end, which checks tokens and lets services answer; by its
//!   address [`Google`] is reached too, the endpoints that give tokens to who is
//!   logged in elsewhere.
//!
//! Unchanged programs run inside ([`Sim::command`]); tests read what the servers
//! saw and script how they fail. Nothing of the machine is changed, and nothing
//! is left behind. The loopback mode does without namespaces, for programs that
//! can be told where things are.
//!
//! ```no_run
//! let sim = cloudrun_sim::Sim::start(cloudrun_sim::Options::default())?;
//! let status = sim.command("curl").arg(sim.url("public")).status()?;
//! assert!(status.success());
//! assert_eq!(sim.front().requests().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The map: `sim` builds and stops; `namespace`, `link`, `netlink` and `kernel`
//! make the instance; `metadata`, `dns`, `front` are the servers, over `wire`
//! (HTTP/1.1 to the byte), `token`, `authority` and `relay` (distance); `services`
//! is what answers.

pub mod addresses;
mod authority;
mod dns;
mod error;
mod front;
pub mod google;
mod kernel;
mod link;
mod metadata;
mod namespace;
mod netlink;
mod options;
mod regions;
mod relay;
mod services;
mod sim;
mod token;
mod wire;

pub use dns::{Behaviour, Dns, Query};
pub use error::Error;
pub use front::{Front, Seen};
pub use google::{Google, Login};
pub use kernel::signal;
pub use metadata::Metadata;
pub use options::{Observer, Options};
pub use sim::{Endpoints, Sim};
