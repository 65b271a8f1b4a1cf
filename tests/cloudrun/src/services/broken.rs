//! `broken?how=…`: answers that no client should take for good ones.
//!
//! `reset`: the connection (HTTP/2: the stream) is reset. `truncate`: a declared
//! body that ends early. `garbage`: no HTTP. `close-after-accept`: the request is
//! read, nothing is answered. `half-head`: the head stops in the middle.
//! `bad-chunk`: a chunk size that is none. `hang`: nothing, for ever. On HTTP/2,
//! where framing cannot break this way, all but `truncate` and `hang` reset.

use std::io;

use crate::front::exchange::{Exchange, Side};

const BYTES: (&str, &[u8]) = ("content-type", b"application/octet-stream");

fn give_up() -> io::Error {
    io::Error::other("broken as asked")
}

pub(super) async fn run(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let how = exchange.call.parameter("how").unwrap_or_default();
    match how.as_str() {
        "hang" => std::future::pending().await,
        "truncate" => {
            exchange.respond(200, &[BYTES], Some(1000)).await?;
            exchange.data("half").await?;
            return Err(give_up());
        }
        "reset" | "garbage" | "close-after-accept" | "half-head" | "bad-chunk" => {}
        _ => return exchange
            .full(
                400,
                &[],
                b"broken?how=reset|truncate|garbage|close-after-accept|half-head|bad-chunk|hang\n",
            )
            .await,
    }
    let Side::H1(side) = &mut exchange.side else { return Err(give_up()) };
    if how == "reset" {
        side.reset.set();
    }
    let bytes: &[u8] = match how.as_str() {
        "garbage" => b"\x15\x03\x01 this is not HTTP\r\n\r\n",
        "half-head" => b"HTTP/1.1 200 OK\r\ncontent-type: text/pl",
        "bad-chunk" => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n"
        }
        _ => b"",
    };
    side.take_over().write(bytes).await?;
    Err(give_up())
}
