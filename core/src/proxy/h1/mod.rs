//! HTTP/1.1 from apps. To services over HTTP/1.1 the bytes pass as they are,
//! but for what frames, routes and authenticates them; over HTTP/2 they are
//! taken apart, and `over_h2` is all that knows how.

mod call;
mod connection;
mod exchange;
mod over_h2;
mod request;
mod response;
mod scratch;
mod tunnel;
mod upload;

pub(super) use connection::serve;

#[cfg(test)]
mod h1_tests;

#[cfg(test)]
mod forward_tests;

#[cfg(test)]
mod fuzz_tests;

#[cfg(test)]
mod policy_fuzz_tests;

#[cfg(test)]
mod timing_tests;
