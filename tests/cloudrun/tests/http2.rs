//! The front end over HTTP/2: gRPC, interim answers, limits, GOAWAY, distance.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[allow(dead_code, reason = "each suite uses its part of the client")]
mod client;

use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cloudrun_sim::{Options, Sim, addresses};
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

type Opened = (SendRequest<Bytes>, Connection<TlsStream<TcpStream>, Bytes>);

async fn open(config: ClientConfig, host: String) -> Opened {
    let tcp = TcpStream::connect((addresses::FRONT, 443)).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(host).unwrap();
    h2::client::handshake(connector.connect(name, tcp).await.unwrap()).await.unwrap()
}

/// Runs `work` with an open connection to `service`, inside.
fn inside<T, F>(sim: &Sim, service: &str, work: impl FnOnce(Opened) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (config, host) = (client::config(sim, &[b"h2"]), client::host(sim, service));
    sim.enter(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let work = async { work(open(config, host).await).await };
            tokio::time::timeout(Duration::from_secs(20), work).await.unwrap()
        })
    })
}

fn request(sim: &Sim, service: &str, path: &str) -> http::request::Builder {
    let field = client::token(sim, service);
    let (_, token) = field.trim_end().split_once(": ").unwrap();
    let url = format!("{}{path}", sim.url(service));
    Request::builder().method("POST").uri(url).header("authorization", token)
}

/// Head, body and trailers of one call that sends `pieces`.
async fn call(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    pieces: Vec<Bytes>,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), h2::Error> {
    let (response, mut stream) = sender.send_request(request, false)?;
    for piece in pieces {
        stream.send_data(piece, false)?;
    }
    stream.send_data(Bytes::new(), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    Ok((Response::from_parts(head, ()), bytes.to_vec(), trailers))
}

/// A call of `path` that sends `pieces`, on a connection of its own.
fn one(
    sim: &Sim,
    service: &str,
    request: http::request::Builder,
    pieces: Vec<&'static [u8]>,
) -> (Response<()>, Vec<u8>, Option<HeaderMap>) {
    let request = request.body(()).unwrap();
    let pieces = pieces.into_iter().map(Bytes::from_static).collect();
    inside(sim, service, |(mut sender, connection)| async move {
        tokio::spawn(connection);
        call(&mut sender, request, pieces).await.unwrap()
    })
}

fn message(payload: &'static [u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn grpc_calls_of_every_kind_are_echoed() {
    let sim = Sim::start(Options::default()).unwrap();
    let grpc = |path: &str| {
        request(&sim, "grpc", path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-key-bin", "AAEC")
    };
    let send = vec![&b"\0\0\0\0\x02h"[..], b"i"];
    for path in ["/sim.Echo/Unary", "/sim.Echo/Bidi", "/sim.Echo/ClientStream"] {
        let (head, body, trailers) = one(&sim, "grpc", grpc(path), send.clone());
        assert_eq!(body, message(b"hi"), "{path}");
        let trailers = trailers.unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(
            (&trailers["x-key-bin"], &head.headers()["x-key-bin"]),
            (&"AAEC".parse().unwrap(), &"AAEC".parse().unwrap())
        );
    }
    let twice = vec![&b"\0\0\0\0\x01\x02"[..]];
    let (_, body, _) = one(&sim, "grpc", grpc("/sim.Echo/ServerStream"), twice);
    assert_eq!(body, [message(b"\x02"), message(b"\x02")].concat());
    let failing = grpc("/sim.Echo/Fail").header("x-sim-status", "5");
    let (head, body, trailers) = one(&sim, "grpc", failing, vec![]);
    assert_eq!(head.headers()["grpc-status"], "5", "trailers only");
    assert!(body.is_empty() && trailers.is_none());
    let (head, ..) = one(&sim, "grpc", grpc("/sim.Echo/Nothing"), vec![]);
    assert_eq!(head.headers()["grpc-status"], "12");
}

#[test]
fn bodies_trailers_and_echo_work_as_over_http_1() {
    let sim = Sim::start(Options::default()).unwrap();
    let (_, body, _) = one(&sim, "upload", request(&sim, "upload", "/"), vec![b"hello", b" world"]);
    assert!(body.starts_with(b"{\"bytes\":11,\"fnv1a\":\"779a65e7023cd2e7\","));
    let (_, body, trailers) = one(&sim, "trailers", request(&sim, "trailers", "/"), vec![b"x"]);
    assert_eq!(
        (&body[..], &trailers.unwrap()["x-sim-trailer"]),
        (&b"x"[..], &"end".parse().unwrap())
    );
    let (_, body, _) =
        one(&sim, "echo", request(&sim, "echo", "/a?b").header("x-one", "1"), vec![b"end"]);
    let text = String::from_utf8(body).unwrap();
    assert!(text.starts_with(":method: POST\r\n:scheme: https\r\n:authority: echo-"), "{text}");
    assert!(text.contains("\r\n:path: /a?b\r\n") && text.contains("\r\nx-one: 1\r\n"));
    assert!(text.ends_with("\r\n\r\nend"));
    let (_, body, _) = one(&sim, "download", request(&sim, "download", "/?bytes=3000000"), vec![]);
    assert_eq!(body.len(), 3_000_000, "longer than every window");
}

#[test]
fn a_broken_answer_is_a_reset_stream() {
    let sim = Sim::start(Options::default()).unwrap();
    for how in ["reset", "truncate"] {
        let request = request(&sim, "broken", &format!("/?how={how}")).body(()).unwrap();
        let error = inside(&sim, "broken", |(mut sender, connection)| async move {
            tokio::spawn(connection);
            call(&mut sender, request, vec![]).await.unwrap_err()
        });
        assert!(error.is_reset() && error.is_remote(), "{error}");
    }
}

#[test]
fn goaway_ends_connections_after_their_streams() {
    let sim = Sim::start(Options::default()).unwrap();
    let [first, request] = [(); 2].map(|()| request(&sim, "echo", "/").body(()).unwrap());
    let front = sim.front().clone();
    let body = inside(&sim, "echo", |(mut sender, connection)| async move {
        let connection = tokio::spawn(connection);
        // The front end has the connection in hand before its first answer.
        call(&mut sender, first, vec![]).await.unwrap();
        let (response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"before "), false).unwrap();
        front.goaway();
        stream.send_data(Bytes::from_static(b"and after"), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        // Both sides end it then, and the slower one may find it closed.
        if let Err(error) = connection.await.unwrap() {
            let kind = error.get_io().map(std::io::Error::kind);
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(kind.is_some_and(|kind| closed.contains(&kind)), "{error}");
        }
        assert!(sender.ready().await.is_err(), "it takes no further stream");
        bytes
    });
    assert!(String::from_utf8(body).unwrap().ends_with("before and after"));
}

#[test]
fn a_connection_takes_a_hundred_streams() {
    let sim = Sim::start(Options::default()).unwrap();
    let request = request(&sim, "hello", "/").body(()).unwrap();
    let most = inside(&sim, "hello", |(mut sender, connection)| async move {
        let connection = tokio::spawn(connection);
        // The settings have arrived before the first answer.
        call(&mut sender, request, vec![]).await.unwrap();
        let most = sender.current_max_send_streams();
        connection.abort();
        most
    });
    assert_eq!(most, 100);
}

#[test]
fn distance_delays_each_round_trip() {
    let rtt = Duration::from_millis(60);
    let sim = Sim::start(Options { rtt, ..Options::default() }).unwrap();
    let request = request(&sim, "hello", "/").body(()).unwrap();
    let (opened, called) = {
        let begun = Instant::now();
        let called = inside(&sim, "hello", |(mut sender, connection)| async move {
            tokio::spawn(connection);
            let begun = Instant::now();
            call(&mut sender, request, vec![]).await.unwrap();
            begun.elapsed()
        });
        (begun.elapsed() - called, called)
    };
    assert!(opened >= 2 * rtt, "TCP and TLS: {opened:?}");
    assert!(called >= rtt, "{called:?}");
}
