//! The services that the simulated Cloud Run runs.
//!
//! Owns which services exist and what they answer; a request gets here when its
//! caller has been let through. They know no sockets and no tokens.

mod broken;
pub(crate) mod gate;
mod grpc;
mod plain;
mod streams;
mod websocket;

use std::io;

use crate::front::exchange::Exchange;

const PUBLIC: &str = "public";
const NAMES: [&str; 22] = [
    "broken",
    "download",
    "early",
    "echo",
    "gate",
    "grpc",
    "hello",
    "hints",
    "idle-close",
    PUBLIC,
    "push-close",
    "redirect",
    "slow",
    "sse",
    "status",
    "stream",
    "trailers",
    "upload",
    "ws",
    // Spare names with the behaviour of `hello`, for tests that need several services.
    "orders",
    "users",
    "billing",
];

/// Whether there is such a service.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether it can be called without a token.
pub(crate) fn is_public(name: &str) -> bool {
    name == PUBLIC
}

/// Lets the service answer.
pub(crate) async fn run(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let service = exchange.call.service.clone();
    match service.as_str() {
        "echo" => plain::echo(exchange).await,
        "status" => plain::status(exchange).await,
        "redirect" => plain::redirect(exchange).await,
        "upload" => plain::upload(exchange).await,
        "slow" => plain::slow(exchange).await,
        "push-close" | "idle-close" => plain::last(exchange, service == "idle-close").await,
        "stream" => streams::stream(exchange).await,
        "sse" => streams::events(exchange).await,
        "download" => streams::download(exchange).await,
        "trailers" => streams::trailers(exchange).await,
        "early" => streams::early(exchange).await,
        "hints" => streams::hints(exchange).await,
        "gate" => gate::run(exchange).await,
        "ws" => websocket::run(exchange).await,
        "grpc" => grpc::run(exchange).await,
        "broken" => broken::run(exchange).await,
        _ => plain::hello(exchange).await,
    }
}
