//! Services that answer once.

use std::io;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use crate::front::exchange::{Call, Exchange, Side};
use crate::token::now;
use crate::wire;

const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

/// What identifies the answering service.
fn identity(call: &Call) -> Vec<(&'static str, String)> {
    let revision = match &call.tag {
        Some(tag) => format!("{}-{tag}", call.service),
        None => format!("{}-00001-abc", call.service),
    };
    let mut all = vec![
        ("x-sim-service", call.service.clone()),
        ("x-sim-region", call.region.clone()),
        ("x-sim-revision", revision),
        ("x-sim-protocol", call.protocol.to_owned()),
    ];
    all.extend(call.tag.clone().map(|tag| ("x-sim-tag", tag)));
    all
}

/// `hello`: says who it is, and when.
pub(super) async fn hello(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let call = &exchange.call;
    let body = format!("hello from {} ({})\n", call.service, call.region);
    let named = identity(call);
    let mut fields: Vec<(&str, &str)> =
        named.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fields.push(TEXT);
    let date = wire::http_date(now());
    fields.push(("date", &date));
    exchange.full(200, &fields, body.as_bytes()).await
}

/// `echo`: the head as the service received it, then the body.
pub(super) async fn echo(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let head = exchange.call.head.clone();
    exchange.respond(200, &[(BYTES.0, BYTES.1.as_bytes())], None).await?;
    exchange.data(head).await?;
    while let Some(piece) = exchange.read().await? {
        exchange.data(piece).await?;
    }
    // HTTP/1 trailers in the form in which they came; HTTP/2 the same.
    for (name, value) in exchange.request_trailers().await? {
        let mut line = format!("{name}: ").into_bytes();
        line.extend_from_slice(&value);
        line.extend_from_slice(b"\r\n");
        exchange.data(line).await?;
    }
    exchange.finish(&[]).await
}

/// `status?code=N[&www=TEXT][&field=NAME:VALUE]…`: any final status.
pub(super) async fn status(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let code = u16::try_from(exchange.call.number("code", 200)).unwrap_or(200);
    let code = if (200..1000).contains(&code) { code } else { 400 };
    let challenge = exchange.call.parameter("www");
    let query = exchange.call.query.clone();
    let named = query.split('&').filter_map(|pair| pair.strip_prefix("field="));
    let named: Vec<String> = named.map(wire::decode).collect();
    let mut fields = vec![TEXT];
    fields.extend(challenge.as_deref().map(|text| ("www-authenticate", text)));
    fields.extend(named.iter().filter_map(|field| field.split_once(':')));
    let body = format!("status {code}\n");
    exchange
        .full(code, &fields, if matches!(code, 204 | 304) { b"" } else { body.as_bytes() })
        .await
}

/// `redirect[?to=URL][&code=N]`: by default to a path of the own URL.
pub(super) async fn redirect(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let own = format!("https://{}/landed", exchange.call.host);
    if exchange.call.path == "/landed" {
        return exchange.full(200, &[TEXT], b"landed\n").await;
    }
    let code = u16::try_from(exchange.call.number("code", 302)).unwrap_or(302);
    let code = if (300..400).contains(&code) { code } else { 302 };
    let target = exchange.call.parameter("to").unwrap_or(own);
    exchange.full(code, &[TEXT, ("location", &target)], b"").await
}

/// `upload[?gate=NAME]`: how many bytes came, and their checksums (FNV-1a with 64
/// bits, SHA-256). With a gate it reads nothing before the gate opens.
pub(super) async fn upload(exchange: &mut Exchange<'_>) -> io::Result<()> {
    exchange.wait_at_gate().await;
    let (mut length, mut sum) = (0_u64, 0xcbf2_9ce4_8422_2325_u64);
    let mut digest = Context::new(&SHA256);
    while let Some(piece) = exchange.read().await? {
        length += piece.len() as u64;
        digest.update(&piece);
        for byte in &piece {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let digest = digest.finish();
    let sha256: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!("{{\"bytes\":{length},\"fnv1a\":\"{sum:016x}\",\"sha256\":\"{sha256}\"}}\n");
    exchange.full(200, &[("content-type", "application/json")], body.as_bytes()).await
}

/// `slow?ms=N`: waits, then answers.
pub(super) async fn slow(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let wait = Duration::from_millis(exchange.call.number("ms", 1000));
    tokio::time::sleep(wait).await;
    exchange.full(200, &[TEXT], b"slow\n").await
}

/// `push-close` and `idle-close`: the last answer on its connection, said or unsaid.
pub(super) async fn last(exchange: &mut Exchange<'_>, unsaid: bool) -> io::Result<()> {
    if let Side::H1(side) = &mut exchange.side {
        if unsaid {
            side.vanish = true;
        } else {
            side.keep = false;
        }
    }
    exchange.full(200, &[TEXT], b"last\n").await
}
