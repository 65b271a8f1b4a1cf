//! HTTP/2 through the proxy, over real sockets: an app, the proxy and a
//! service on one thread, so that what happens does not depend on a schedule.

mod bodies;
mod connections;
mod exchanges;
mod handshakes;
mod http1_apps;
mod http1_apps_in_trouble;
mod http1_services;
mod interim;
mod limits;
mod nominated;
mod redirects;
mod renewal;
mod stale;
mod targets;
mod timing;
mod tokens;
mod world;
