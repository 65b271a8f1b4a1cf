//! Services whose answers take their time, or several parts.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::front::exchange::Exchange;

const PIECE: usize = 64 << 10;
const TEXT: (&str, &[u8]) = ("content-type", b"text/plain; charset=utf-8");
const BYTES: (&str, &[u8]) = ("content-type", b"application/octet-stream");

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// `stream?n=N&size=BYTES&ms=PAUSE`: so many pieces, flushed one by one.
pub(super) async fn stream(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let count = exchange.call.number("n", 5);
    let size = usize::try_from(exchange.call.number("size", 16)).unwrap_or(16).min(16 << 20);
    let wait = exchange.call.number("ms", 0);
    exchange.respond(200, &[BYTES], None).await?;
    for number in 0..count {
        if number > 0 {
            pause(wait).await;
        }
        let letter = b'a' + u8::try_from(number % 26).unwrap_or(0);
        exchange.data(vec![letter; size]).await?;
    }
    exchange.finish(&[]).await
}

/// `sse?n=N&ms=PAUSE[&gate=NAME]`: server-sent events; with a gate each one but
/// the first waits for an opening.
pub(super) async fn events(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let (count, wait) = (exchange.call.number("n", 5), exchange.call.number("ms", 0));
    let fields: [(&str, &[u8]); 2] =
        [("content-type", b"text/event-stream"), ("cache-control", b"no-cache")];
    exchange.respond(200, &fields, None).await?;
    for number in 0..count {
        if number > 0 {
            exchange.wait_at_gate().await;
            pause(wait).await;
        }
        exchange.data(format!("id: {number}\ndata: event {number}\n\n")).await?;
    }
    exchange.finish(&[]).await
}

/// `download?bytes=N[&chunked][&counted]`: zeroes, or the number of the 64 KiB
/// piece in each of its bytes (modulo 251, so that no piece looks like its
/// neighbour).
pub(super) async fn download(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let bytes = exchange.call.number("bytes", 1024);
    let declared = exchange.call.parameter("chunked").is_none().then_some(bytes);
    exchange.respond(200, &[BYTES], declared).await?;
    let counted = exchange.call.parameter("counted").is_some();
    let zeroes = Bytes::from(vec![0; PIECE]);
    let (mut left, mut number) = (bytes, 0_u8);
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let piece = if counted { vec![number; size].into() } else { zeroes.slice(..size) };
        exchange.data(piece).await?;
        number = (number + 1) % 251;
        left -= size as u64;
    }
    exchange.finish(&[]).await
}

/// `trailers`: the body of the request, then its trailers and one of our own.
pub(super) async fn trailers(exchange: &mut Exchange<'_>) -> io::Result<()> {
    exchange.respond(200, &[BYTES, ("trailer", b"x-sim-trailer")], None).await?;
    while let Some(piece) = exchange.read().await? {
        exchange.data(piece).await?;
    }
    let theirs = exchange.request_trailers().await?;
    let mut all: Vec<(&str, &[u8])> =
        theirs.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    all.push(("x-sim-trailer", b"end"));
    exchange.finish(&all).await
}

/// `early[?close]`: answers in full before it has read the body.
pub(super) async fn early(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let status = u16::try_from(exchange.call.number("code", 200)).unwrap_or(200).clamp(200, 999);
    exchange.full(status, &[("content-type", "text/plain")], b"early\n").await?;
    while exchange.read().await?.is_some() {}
    Ok(())
}

/// `hints`: 100 where it is expected, 103 with a link, then 200.
pub(super) async fn hints(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let expects = exchange.call.field("expect").is_some();
    if expects {
        exchange.interim(100, &[]).await?;
    }
    exchange.interim(103, &[("link", "</style.css>; rel=preload; as=style")]).await?;
    let mut length = 0;
    while let Some(piece) = exchange.read().await? {
        length += piece.len();
    }
    let body = format!("hints {length}\n");
    exchange.respond(200, &[TEXT], Some(body.len() as u64)).await?;
    exchange.data(body).await?;
    exchange.finish(&[]).await
}
