//! Connections to services: kept while they are good, one pool per origin.
//!
//! The origin is the mapped host with its port, never the name that the app
//! used, so that several names of one service share connections.

mod h1;
mod h2;
mod h2_connection;

pub(super) use h1::{H1, H1Pool, connect as connect_h1};
pub(super) use h2::{H2Pool, Way};
pub(super) use h2_connection::{BULK, Lease, SMALL_FRAMES};
