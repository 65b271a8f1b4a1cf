//! A host that is not Google's, and the port without TLS.
//!
//! Owns what must never see a token: `example.com`, and the redirect from port 80.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;

use super::{Arrival, Shared, h1, h2, host};
use crate::wire::{Head, Wire};

const BODY: &[u8] = b"external\n";

/// Whether `host` (canonical) is the host that is not Google's.
pub(crate) fn is_external(host: &str) -> bool {
    matches!(host, "example.com" | "www.example.com")
}

/// Answers and records a request to the external host.
pub(crate) async fn answer(
    shared: &Shared,
    wire: &mut Wire,
    head: &Head,
    arrival: &Arrival,
) -> io::Result<()> {
    shared.record_external(arrival, 200);
    let body = if head.method == "HEAD" { b"" } else { BODY };
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        BODY.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    wire.write(&out).await
}

/// The same over HTTP/2.
pub(crate) fn answer_stream(shared: &Shared, arrival: &Arrival, mut side: h2::Side) {
    shared.record_external(arrival, 200);
    // A client that has gone needs no answer.
    let _ = side
        .respond(200, &[("content-type", b"text/plain")], Some(BODY.len() as u64))
        .and_then(|()| side.data_now(Bytes::from_static(BODY)));
}

/// Serves a port without TLS until the simulation ends.
pub(crate) async fn serve_plain(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that leaves early is no event here.
                    let _ = plain(&shared, Wire::new(Box::new(stream))).await;
                });
            }
            // Out of descriptors, for instance: leave time for some to return.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn plain(shared: &Shared, mut wire: Wire) -> io::Result<()> {
    while let Some(head) = wire.head().await? {
        let arrival = Arrival { scheme: "http", ..h1::arrival(&head) };
        if is_external(&arrival.host) {
            answer(shared, &mut wire, &head, &arrival).await?;
        } else {
            let known = host::parse(&arrival.host, &shared.options).is_some();
            wire.write(redirect(&arrival, known).as_bytes()).await?;
        }
        let bodiless = head.framing() == Some(crate::wire::Framing::Length(0));
        if !head.keeps_alive() || !bodiless {
            break;
        }
    }
    wire.close().await;
    Ok(())
}

fn redirect(arrival: &Arrival, known: bool) -> String {
    if known {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: https://{}{}\r\nServer: Google Frontend\r\n\
             Content-Length: 0\r\n\r\n",
            arrival.host, arrival.target
        )
    } else {
        "HTTP/1.1 404 Not Found\r\nServer: Google Frontend\r\nContent-Length: 0\r\n\r\n".to_owned()
    }
}
