//! `ws`: a WebSocket echo (RFC 6455) over HTTP/1.1.
//!
//! Every frame comes back unmasked with the same opcode and flags, so fragments
//! and binary data can be tested; pings become pongs, a close is answered.
//! `?how=refuse` answers 403 instead, `?how=drop` ends after the handshake,
//! `?greet` sends a first text frame together with the handshake, `?deflate`
//! agrees to compression (RFC 7692): what comes back is what was compressed.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::front::exchange::{Exchange, Side};
use crate::wire::Wire;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_FRAME: u64 = 16 << 20;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

struct Frame {
    /// FIN, the reserved bits and the opcode.
    first: u8,
    payload: Vec<u8>,
}

/// The key that proves that we speak the protocol (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(GUID);
    STANDARD.encode(digest.finish().as_ref())
}

pub(super) async fn run(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let upgrade = exchange.call.field("upgrade");
    let wants = upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
    let key = exchange.call.field("sec-websocket-key").map(<[u8]>::to_vec);
    let how = exchange.call.parameter("how").unwrap_or_default();
    let protocol = exchange.call.field("sec-websocket-protocol").map(<[u8]>::to_vec);
    let deflate = exchange.call.parameter("deflate").is_some();
    let greet = exchange.call.parameter("greet").is_some();
    let refusal = match (&exchange.side, &key) {
        _ if how == "refuse" => Some((403, "refused as asked\n")),
        (Side::H1(_), Some(_)) if wants => None,
        (Side::H1(_), _) => Some((426, "a WebSocket handshake is wanted here\n")),
        (Side::H2(_), _) => Some((426, "Cloud Run takes WebSockets over HTTP/1.1\n")),
    };
    if let Some((status, text)) = refusal {
        let fields = [("content-type", "text/plain"), ("upgrade", "websocket")];
        // On HTTP/2 there is no such field.
        let shown = if matches!(exchange.side, Side::H1(_)) { &fields[..] } else { &fields[..1] };
        return exchange.full(status, shown, text.as_bytes()).await;
    }
    exchange.decide(101);
    let Side::H1(side) = &mut exchange.side else { return Ok(()) };
    let wire = side.take_over();
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(&key.unwrap_or_default())
    );
    if let Some(chosen) = protocol.as_deref().and_then(|all| all.split(|b| *b == b',').next()) {
        let chosen = String::from_utf8_lossy(chosen);
        head.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", chosen.trim()));
    }
    if deflate {
        head.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    head.push_str("\r\n");
    let mut first = head.into_bytes();
    if greet {
        first.extend_from_slice(b"\x81\x05hello");
    }
    wire.write(&first).await?;
    if how == "drop" { Ok(()) } else { echo(wire).await }
}

async fn echo(wire: &mut Wire) -> io::Result<()> {
    let mut ahead = BytesMut::new();
    loop {
        while let Some(mut frame) = next_frame(&mut ahead)? {
            let opcode = frame.first & 0x0f;
            match opcode {
                PING => frame.first = (frame.first & 0xf0) | PONG,
                PONG => continue,
                _ => {}
            }
            wire.write(&encode(&frame)).await?;
            if opcode == CLOSE {
                return Ok(());
            }
        }
        match wire.raw().await? {
            Some(bytes) => ahead.extend_from_slice(&bytes),
            None => return Ok(()),
        }
    }
}

/// Takes a whole frame off the front of `ahead` (RFC 6455 §5.2).
fn next_frame(ahead: &mut BytesMut) -> io::Result<Option<Frame>> {
    let mut rest = &ahead[..];
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(taken)
    };
    let Some([first, second]) = take(2).and_then(|two| <[u8; 2]>::try_from(two).ok()) else {
        return Ok(None);
    };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(long) = take(extended) else { return Ok(None) };
    let size = match extended {
        0 => u64::from(second & 0x7f),
        _ => long.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    if size > MAX_FRAME || second & 0x80 == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an unmasked or huge frame"));
    }
    let size = usize::try_from(size).map_err(io::Error::other)?;
    let Some(mask) = take(4).and_then(|four| <[u8; 4]>::try_from(four).ok()) else {
        return Ok(None);
    };
    let Some(masked) = take(size) else { return Ok(None) };
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let whole = 2 + extended + 4 + size;
    let _ = ahead.split_to(whole);
    Ok(Some(Frame { first, payload }))
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = vec![frame.first];
    let size = frame.payload.len();
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&frame.payload);
    out
}
