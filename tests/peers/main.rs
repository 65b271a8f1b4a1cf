//! The proxy and its peers: the clients that apps really use, clients that break
//! the rules, and services that fail in every way. Each test names the lines of
//! the proxy's specification that it shows.

mod apps;
mod failing;
mod grpc;
mod sidecar;
mod smuggling;
mod websocket;
