//! The proxy and its peers: the clients that apps really use, clients that break
//! the rules, and services that fail in every way. Each test names the rows of
//! the proxy in tests/COVERAGE.md that it shows.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by a panic that says why")]

mod apps;
mod clients;
mod failing;
mod floods;
mod forward;
mod grpc;
mod memory;
mod sidecar;
mod smuggling;
mod websocket;
