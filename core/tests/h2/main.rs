//! HTTP/2 through the proxy, over real sockets: an app, the proxy and a
//! service on one thread, so that what happens does not depend on a schedule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod connections;
mod exchanges;
mod http1_services;
mod tokens;
mod world;
