//! The HTTP/1.1 side of the front end.
//!
//! Owns the order of requests on one connection and the framing of answers;
//! knows no service. `tls` hands it connections, `exchange` writes through it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::exchange::{self, Exchange};
use super::{Arrival, Shared, external, handle, host};
use crate::relay::ResetSwitch;
use crate::wire::{Fields, Framing, Head, Wire, field};

/// A longer rest of a request body is not read: the connection is closed.
const MAX_DRAIN: usize = 1 << 20;

/// How the body of the answer is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// No head was sent so far.
    Open,
    Length,
    Chunked,
    UntilClose,
    /// No body (HEAD, 204, 304).
    Nothing,
    Ended,
}

/// The answering side of one request.
pub(crate) struct Side<'a> {
    pub(crate) wire: &'a mut Wire,
    /// The trailers of the request, after its body.
    pub(crate) trailers: Fields,
    /// Ends the connection with a reset once it is dropped.
    pub(crate) reset: ResetSwitch,
    /// Whether the connection serves another request after this one.
    pub(crate) keep: bool,
    /// Whether an answer to keep the connection is followed by its silent end.
    pub(crate) vanish: bool,
    framing: Framing,
    version: u8,
    head_only: bool,
    expects: bool,
    output: Output,
}

fn reason(status: u16) -> &'static str {
    let status = http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl Side<'_> {
    pub(crate) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        if std::mem::take(&mut self.expects) {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        self.wire.body(&mut self.framing, &mut self.trailers).await
    }

    pub(crate) async fn interim(&mut self, code: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        if self.version == 0 {
            return Ok(()); // RFC 9110 §15.2: HTTP/1.0 knows no interim answers
        }
        let mut out = format!("HTTP/1.1 {code} {}\r\n", reason(code)).into_bytes();
        for (name, value) in fields {
            push_field(&mut out, name, value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if code == 100 {
            self.expects = false;
        }
        self.wire.write(&out).await
    }

    pub(crate) async fn respond(
        &mut self,
        status: u16,
        fields: &[(&str, &[u8])],
        length: Option<u64>,
    ) -> io::Result<()> {
        if self.expects {
            // The body may or may not come now: the connection cannot go on.
            self.keep = false;
        }
        let bodiless = matches!(status, 204 | 304);
        let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
        for (name, value) in fields {
            push_field(&mut out, name, value);
        }
        self.output = match length {
            _ if bodiless => Output::Nothing,
            Some(length) => {
                push_field(&mut out, "content-length", length.to_string().as_bytes());
                Output::Length
            }
            None if self.version == 0 => {
                self.keep = false;
                Output::UntilClose
            }
            None => {
                push_field(&mut out, "transfer-encoding", b"chunked");
                Output::Chunked
            }
        };
        if self.head_only {
            self.output = Output::Nothing;
        }
        push_field(&mut out, "server", b"Google Frontend");
        if !self.keep {
            push_field(&mut out, "connection", b"close");
        } else if self.version == 0 {
            push_field(&mut out, "connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
        self.wire.write(&out).await
    }

    pub(crate) async fn data(&mut self, piece: &[u8]) -> io::Result<()> {
        match self.output {
            Output::Chunked if !piece.is_empty() => {
                let mut out = format!("{:x}\r\n", piece.len()).into_bytes();
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
                self.wire.write(&out).await
            }
            Output::Length | Output::UntilClose => self.wire.write(piece).await,
            _ => Ok(()),
        }
    }

    pub(crate) async fn finish(&mut self, trailers: &[(&str, &[u8])]) -> io::Result<()> {
        if self.output == Output::Chunked {
            let mut out = b"0\r\n".to_vec();
            for (name, value) in trailers {
                push_field(&mut out, name, value);
            }
            out.extend_from_slice(b"\r\n");
            self.wire.write(&out).await?;
        }
        self.output = Output::Ended;
        Ok(())
    }

    /// The connection for a service that speaks another protocol from here on.
    pub(crate) fn take_over(&mut self) -> &mut Wire {
        self.keep = false;
        self.output = Output::Ended;
        self.wire
    }

    /// Reads the rest of the request body. `false`: the connection cannot go on.
    async fn drain(&mut self) -> io::Result<bool> {
        if !self.keep || self.output != Output::Ended {
            return Ok(false);
        }
        let mut drained = 0;
        while let Some(piece) = self.wire.body(&mut self.framing, &mut self.trailers).await? {
            drained += piece.len();
            if drained > MAX_DRAIN {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut wire: Wire,
    reset: ResetSwitch,
) -> io::Result<()> {
    loop {
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                refuse(&mut wire).await?;
                break;
            }
            Err(error) => return Err(error),
        };
        let Some(framing) = head.framing() else {
            refuse(&mut wire).await?;
            break;
        };
        let arrival = arrival(&head);
        if external::is_external(&arrival.host) {
            external::answer(&shared, &mut wire, &head, &arrival).await?;
            if head.keeps_alive() && framing == Framing::Length(0) {
                continue;
            }
            break;
        }
        let expects =
            field(&head.fields, "expect").is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"));
        let side = Side {
            wire: &mut wire,
            trailers: Fields::new(),
            reset: reset.clone(),
            keep: head.keeps_alive(),
            vanish: false,
            framing,
            version: head.version,
            head_only: head.method == "HEAD",
            expects: expects && head.version == 1,
            output: Output::Open,
        };
        let mut exchange = Exchange::new(&shared, arrival, exchange::Side::H1(side));
        // An error means that the answer cannot be completed: the connection then
        // ends without the orderly close that would make it look complete.
        handle(&mut exchange).await?;
        let exchange::Side::H1(mut side) = exchange.side else { break };
        if side.vanish || !side.drain().await? {
            break;
        }
    }
    wire.close().await;
    Ok(())
}

/// What arrived, in the terms of both protocols.
pub(crate) fn arrival(head: &Head) -> Arrival {
    let host = field(&head.fields, "host").map(String::from_utf8_lossy).unwrap_or_default();
    Arrival {
        scheme: "https",
        protocol: if head.version == 0 { "HTTP/1.0" } else { "HTTP/1.1" },
        method: head.method.clone(),
        target: head.target.clone(),
        host: host::canonical(&host),
        head: head.bytes.clone(),
        fields: head.fields.clone(),
    }
}

async fn refuse(wire: &mut Wire) -> io::Result<()> {
    wire.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await
}
