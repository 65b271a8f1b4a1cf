//! `grpc`: an echo of raw gRPC messages over HTTP/2, without a schema.
//!
//! - `/sim.Echo/Unary` and `/sim.Echo/ClientStream`: reads all messages, answers
//!   with the last one (or none).
//! - `/sim.Echo/ServerStream`: answers a message as many times as its first byte
//!   says (3, where it is empty).
//! - `/sim.Echo/Bidi`: each message comes back as it arrives.
//! - `/sim.Echo/Fail`: trailers only, `grpc-status` from the metadata
//!   `x-sim-status` (default 9).
//! - `/sim.Echo/Hang`: answers the head, then nothing, and notes in
//!   [`crate::Seen::end`] how the client ended the call.
//! - `/sim.Echo/Trailers`: no message; a trailer `x-sim-large` of as many bytes as
//!   the metadata `x-sim-bytes` says.
//! - others: trailers only, 12 UNIMPLEMENTED.
//!
//! Custom metadata (`x-*`, `*-bin`) comes back in the head and in the trailers.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use crate::front::exchange::{Exchange, Side};

const TYPE: (&str, &[u8]) = ("content-type", b"application/grpc");
const PREFIX: usize = 5;
const MAX_MESSAGE: usize = 16 << 20;

type Metadata = Vec<(String, Vec<u8>)>;

fn borrowed(metadata: &Metadata) -> impl Iterator<Item = (&str, &[u8])> {
    metadata.iter().map(|(name, value)| (name.as_str(), &value[..]))
}

pub(super) async fn run(exchange: &mut Exchange<'_>) -> io::Result<()> {
    if !matches!(exchange.side, Side::H2(_)) {
        return exchange.full(464, &[("content-type", "text/plain")], b"gRPC needs HTTP/2\n").await;
    }
    let metadata: Metadata = exchange
        .call
        .fields
        .iter()
        .filter(|(name, _)| name.ends_with("-bin") || name.starts_with("x-"))
        .filter(|(name, _)| name != "x-serverless-authorization")
        .cloned()
        .collect();
    let path = exchange.call.path.clone();
    match path.rsplit('/').next().unwrap_or_default() {
        "Unary" | "ClientStream" => collect(exchange, &metadata).await,
        "ServerStream" => repeat(exchange, &metadata).await,
        "Bidi" | "BidiStream" => echo(exchange, &metadata).await,
        "Fail" => {
            let status = exchange.call.field("x-sim-status").unwrap_or(b"9").to_vec();
            fail(exchange, &metadata, &status, b"failed%20as%20asked")
        }
        "Hang" => hang(exchange, &metadata).await,
        "Trailers" => large_trailers(exchange, &metadata).await,
        _ => fail(exchange, &metadata, b"12", b"unknown%20method"),
    }
}

async fn start(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let mut fields = vec![TYPE];
    fields.extend(borrowed(metadata));
    exchange.respond(200, &fields, None).await
}

async fn end(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let mut trailers: Vec<(&str, &[u8])> = vec![("grpc-status", b"0"), ("grpc-message", b"")];
    trailers.extend(borrowed(metadata));
    exchange.finish(&trailers).await
}

fn fail(
    exchange: &mut Exchange<'_>,
    metadata: &Metadata,
    status: &[u8],
    message: &[u8],
) -> io::Result<()> {
    exchange.decide(200);
    let mut fields = vec![TYPE, ("grpc-status", status), ("grpc-message", message)];
    fields.extend(borrowed(metadata));
    match &mut exchange.side {
        Side::H2(side) => side.trailers_only(&fields),
        Side::H1(_) => Ok(()),
    }
}

/// The next whole message with its prefix; `None` at the end of the stream.
async fn message(exchange: &mut Exchange<'_>, ahead: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(mut prefix) = ahead.get(..PREFIX) {
            prefix.advance(1); // the compressed flag
            let size = usize::try_from(prefix.get_u32()).map_err(io::Error::other)?;
            if size > MAX_MESSAGE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a huge message"));
            }
            if ahead.len() >= PREFIX + size {
                return Ok(Some(ahead.split_to(PREFIX + size).freeze()));
            }
        }
        match exchange.read().await? {
            Some(piece) => ahead.extend_from_slice(&piece),
            None if ahead.is_empty() => return Ok(None),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

async fn hang(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    start(exchange, metadata).await?;
    if let Side::H2(side) = &mut exchange.side {
        let end = side.cancelled().await;
        exchange.note_end(&end);
    }
    Ok(())
}

async fn large_trailers(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let size = exchange.call.field("x-sim-bytes").unwrap_or_default();
    let size = String::from_utf8_lossy(size).parse().unwrap_or(0_usize).min(1 << 20);
    start(exchange, metadata).await?;
    exchange.finish(&[("grpc-status", b"0"), ("x-sim-large", &vec![b'x'; size])]).await
}

async fn collect(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let (mut ahead, mut last) = (BytesMut::new(), None);
    while let Some(next) = message(exchange, &mut ahead).await? {
        last = Some(next);
    }
    start(exchange, metadata).await?;
    if let Some(last) = last {
        exchange.data(last).await?;
    }
    end(exchange, metadata).await
}

async fn repeat(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let mut ahead = BytesMut::new();
    let first = message(exchange, &mut ahead).await?.unwrap_or_default();
    start(exchange, metadata).await?;
    for _ in 0..first.get(PREFIX).copied().unwrap_or(3) {
        exchange.data(first.clone()).await?;
    }
    end(exchange, metadata).await
}

async fn echo(exchange: &mut Exchange<'_>, metadata: &Metadata) -> io::Result<()> {
    let mut ahead = BytesMut::new();
    start(exchange, metadata).await?;
    while let Some(next) = message(exchange, &mut ahead).await? {
        exchange.data(next).await?;
    }
    end(exchange, metadata).await
}
