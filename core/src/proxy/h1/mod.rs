//! HTTP/1.1 from apps, and to services over HTTP/1.1: the bytes pass as they
//! are, but for what frames, routes and authenticates them.

mod call;
mod connection;
mod exchange;
mod request;
mod response;
mod tunnel;

pub(super) use connection::serve;

#[cfg(test)]
mod h1_tests;
