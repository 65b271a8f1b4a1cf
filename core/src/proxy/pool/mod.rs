//! Connections to services: kept while they are good, one pool per origin.
//!
//! The origin is the mapped host with its port, never the name that the app
//! used, so that several names of one service share connections.

mod h1;

pub(super) use h1::{H1, H1Pool, connect as connect_h1};
