//! `broken?how=…`: answers that no client should take for good ones.
//!
//! `reset`: the connection (HTTP/2: the stream) is reset. `truncate`: a declared
//! body that ends early. `garbage`: no HTTP. `close-after-accept`: the request is
//! read, nothing is answered. `half-head`: the head stops in the middle.
//! `bad-chunk`: a chunk size that is none. `hang`: nothing, for ever. On HTTP/2,
//! where framing cannot break this way, all but `truncate` and `hang` reset.
//!
//! `raw&hex=BYTES[&then=hang|reset|close]`: these bytes in the place of an answer
//! over HTTP/1.1, then nothing more, a reset, or (by default) an orderly end.
//! `drip&ms=PAUSE`: a whole answer, byte by byte. `headers&bytes=N`: an answer
//! whose one field is so long.

use std::io;
use std::time::Duration;

use crate::front::exchange::{Exchange, Side};

const BYTES: (&str, &[u8]) = ("content-type", b"application/octet-stream");
const DRIPPED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\none by one";

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
            Err(give_up())
        }
        "headers" => {
            let size = usize::try_from(exchange.call.number("bytes", 1000)).unwrap_or(0);
            let long = vec![b'x'; size.min(1 << 20)];
            exchange.respond(200, &[("x-sim-long", &long)], Some(0)).await?;
            exchange.finish(&[]).await
        }
        "raw" => raw(exchange).await,
        "drip" => drip(exchange).await,
        "reset" | "garbage" | "close-after-accept" | "half-head" | "bad-chunk" => {
            break_off(exchange, &how).await
        }
        _ => {
            let ways = b"broken?how=reset|truncate|garbage|close-after-accept|half-head|bad-chunk|\
                         hang|headers|raw|drip\n";
            exchange.full(400, &[], ways).await
        }
    }
}

async fn break_off(exchange: &mut Exchange<'_>, how: &str) -> io::Result<()> {
    let Side::H1(side) = &mut exchange.side else { return Err(give_up()) };
    if how == "reset" {
        side.reset.set();
    }
    let bytes: &[u8] = match how {
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

async fn raw(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let text = exchange.call.parameter("hex").unwrap_or_default();
    let then = exchange.call.parameter("then").unwrap_or_default();
    let bytes = unhex(&text).ok_or_else(give_up)?;
    let Side::H1(side) = &mut exchange.side else { return Err(give_up()) };
    if then == "reset" {
        side.reset.set();
    }
    let wire = side.take_over();
    wire.write(&bytes).await?;
    match then.as_str() {
        "hang" => std::future::pending().await,
        "reset" => Err(give_up()),
        _ => {
            wire.close().await;
            Ok(())
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

async fn drip(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let pause = Duration::from_millis(exchange.call.number("ms", 1000));
    let Side::H1(side) = &mut exchange.side else { return Err(give_up()) };
    let wire = side.take_over();
    for byte in DRIPPED {
        wire.write(std::slice::from_ref(byte)).await?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
