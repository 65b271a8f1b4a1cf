//! The HTTP/2 side of the front end.
//!
//! Owns streams and their flow control by way of the `h2` crate; knows no
//! service. `tls` hands it connections, `exchange` writes through it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use ::h2::server::{self, SendResponse};
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::exchange::{self, Exchange};
use super::{Arrival, Shared, handle, host};
use crate::wire::{Duplex, Fields};

/// As many as Cloud Run takes on one connection.
const MAX_STREAMS: u32 = 100;
const WINDOW: u32 = 1 << 20;
const MAX_HEADER_LIST: u32 = 256 << 10;
/// Tiny messages must not end the connection: a test may send many of them.
const DATA_FRAME_BUDGET: usize = 1 << 20;

/// The answering side of one stream.
pub(crate) struct Side {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    head_only: bool,
}

fn broken(error: ::h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into())
    } else {
        io::Error::other(error)
    }
}

fn header_map<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> io::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        map.append(name, HeaderValue::from_bytes(value).map_err(io::Error::other)?);
    }
    Ok(map)
}

impl Side {
    pub(crate) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let Some(piece) = self.body.data().await else { return Ok(None) };
        let piece = piece.map_err(broken)?;
        self.body.flow_control().release_capacity(piece.len()).map_err(broken)?;
        Ok(Some(piece))
    }

    pub(crate) async fn request_trailers(&mut self) -> io::Result<Fields> {
        let trailers = self.body.trailers().await.map_err(broken)?.unwrap_or_default();
        Ok(fields(&trailers))
    }

    fn head(status: u16, fields: HeaderMap) -> io::Result<Response<()>> {
        let mut head = Response::builder().status(status).body(()).map_err(io::Error::other)?;
        *head.headers_mut() = fields;
        Ok(head)
    }

    pub(crate) fn interim(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        let fields = header_map(fields.iter().map(|(name, value)| (*name, value.as_bytes())))?;
        self.respond.send_informational(Self::head(status, fields)?).map_err(broken)
    }

    pub(crate) fn respond(
        &mut self,
        status: u16,
        fields: &[(&str, &[u8])],
        length: Option<u64>,
    ) -> io::Result<()> {
        // Connection-specific fields do not exist here (RFC 9113 §8.2.2).
        let allowed = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection"));
        let mut map = header_map(allowed.copied())?;
        map.insert("server", HeaderValue::from_static("Google Frontend"));
        let bodiless = matches!(status, 204 | 304);
        if let Some(length) = length.filter(|_| !bodiless) {
            map.insert("content-length", HeaderValue::from(length));
        }
        let end = bodiless || self.head_only || length == Some(0);
        let head = Self::head(status, map)?;
        let stream = self.respond.send_response(head, end).map_err(broken)?;
        self.stream = (!end).then_some(stream);
        Ok(())
    }

    pub(crate) async fn data(&mut self, mut piece: Bytes) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = poll_fn(|context| stream.poll_capacity(context)).await;
            let room = room.ok_or(io::ErrorKind::BrokenPipe)?.map_err(broken)?;
            let next = piece.split_to(room.min(piece.len()));
            stream.send_data(next, false).map_err(broken)?;
        }
        Ok(())
    }

    /// Sends the whole body at once, buffered until the client makes room.
    pub(crate) fn data_now(&mut self, body: Bytes) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        stream.send_data(body, true).map_err(broken)
    }

    pub(crate) fn finish(&mut self, trailers: &[(&str, &[u8])]) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        if trailers.is_empty() {
            stream.send_data(Bytes::new(), true).map_err(broken)
        } else {
            stream.send_trailers(header_map(trailers.iter().copied())?).map_err(broken)
        }
    }

    /// Ends a started answer with trailers alone: status and trailers in one
    /// HEADERS frame, as gRPC does for errors.
    pub(crate) fn trailers_only(&mut self, fields: &[(&str, &[u8])]) -> io::Result<()> {
        self.respond
            .send_response(Self::head(200, header_map(fields.iter().copied())?)?, true)
            .map(drop)
            .map_err(broken)
    }

    /// Waits for the client's RST_STREAM and says its reason.
    pub(crate) async fn cancelled(&mut self) -> String {
        let end = match &mut self.stream {
            Some(stream) => poll_fn(|context| stream.poll_reset(context)).await,
            None => poll_fn(|context| self.respond.poll_reset(context)).await,
        };
        end.map_or_else(|error| error.to_string(), |reason| format!("{reason:?}"))
    }

    /// Ends the stream with RST_STREAM.
    pub(crate) fn reset(&mut self) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

fn fields(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn arrival(request: &Request<RecvStream>) -> Arrival {
    let uri = request.uri();
    let fields = fields(request.headers());
    let authority = uri.authority().map(|authority| authority.as_str().to_owned());
    let authority = authority.unwrap_or_else(|| {
        let host = crate::wire::field(&fields, "host").unwrap_or_default();
        String::from_utf8_lossy(host).into_owned()
    });
    let target = uri.path_and_query().map_or("*", |target| target.as_str()).to_owned();
    let mut head = format!(
        ":method: {}\r\n:scheme: {}\r\n:authority: {authority}\r\n:path: {target}\r\n",
        request.method(),
        uri.scheme_str().unwrap_or_default()
    )
    .into_bytes();
    for (name, value) in &fields {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Arrival {
        protocol: "HTTP/2",
        scheme: "https",
        method: request.method().to_string(),
        target,
        host: host::canonical(&authority),
        head,
        fields,
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, io: Box<dyn Duplex>) -> Result<(), ::h2::Error> {
    let mut goaway = shared.goaway.subscribe();
    let mut connection = server::Builder::new()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .handshake(io)
        .await?;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                tokio::spawn(stream(Arc::clone(&shared), request, respond));
            }
            Ok(()) = goaway.changed() => connection.graceful_shutdown(),
        }
    }
}

async fn stream(shared: Arc<Shared>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let arrival = arrival(&request);
    let head_only = arrival.method == "HEAD";
    let side = Side { body: request.into_body(), respond, stream: None, head_only };
    if super::external::is_external(&arrival.host) {
        super::external::answer_stream(&shared, &arrival, side);
        return;
    }
    let mut exchange = Exchange::new(&shared, arrival, exchange::Side::H2(side));
    if handle(&mut exchange).await.is_err()
        && let exchange::Side::H2(side) = &mut exchange.side
    {
        side.reset();
    }
}
