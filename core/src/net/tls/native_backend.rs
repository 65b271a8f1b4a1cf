//! TLS by the platform's own library, on Linux OpenSSL.
//!
//! Each connection reads the whole set of trusted certificates, which takes 10
//! to 100 ms of computing: a burst of first connections would stall every
//! exchange for seconds. So handshakes run on a thread of their own, which ends
//! with the engine. There is no built-in set of certificates: an image that
//! needs the platform's library has the platform's certificates.

use super::roots::{NAMED, NO_CERTIFICATE};
use super::{Alpn, Protocol, Roots, TlsError, name_of};
use crate::net::tcp::Tcp;
use crate::sys;
use crate::telemetry::Log;
use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use async_native_tls::TlsConnector;
use futures_lite::FutureExt;
use futures_lite::io::{AsyncRead, AsyncWrite};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey};
use openssl::sign::Signer;
use std::io::{self, IoSlice};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;

/// An encrypted stream.
pub type TlsStream = async_native_tls::TlsStream<Below>;

/// A TCP connection that must not end before TLS has. The library takes such an
/// end for one in order, and whoever can cut a connection could then pass a part
/// of a response for the whole (RFC 8446 §6.1).
#[derive(Debug)]
pub struct Below(Tcp);

impl AsyncRead for Below {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.0).poll_read(context, buffer)) {
            Ok(0) if !buffer.is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Below {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

/// Whether nobody learns which protocol ALPN has chosen.
pub(super) const HIDES_THE_CHOICE: bool = true;

/// What is joined into one record, in bytes: a record carries no more.
const RECORD: usize = 16 * 1024;

/// The TCP connection below.
pub fn tcp_of(stream: &TlsStream) -> &Tcp {
    &stream.get_ref().0
}

/// Whether a read may find something that has come already: the library does not
/// tell.
pub fn holds_something(_: &TlsStream) -> bool {
    true
}

/// Writes several slices into one record. The library takes one slice at a
/// time, and a frame's head would make a record by itself.
pub fn poll_write_vectored(
    stream: &mut TlsStream,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    let stream = Pin::new(stream);
    match (filled.next(), filled.next()) {
        (Some(first), Some(_)) if first.len() < RECORD => {
            let mut joined = Vec::with_capacity(RECORD);
            for slice in slices {
                let room = RECORD - joined.len();
                joined.extend_from_slice(slice.get(..room).unwrap_or(slice));
            }
            stream.poll_write(context, &joined)
        }
        (first, _) => stream.poll_write(context, first.map_or(&[], |first| first)),
    }
}

/// See [`super::sign_rs256`]: by the same library, which may be there because it
/// is the one that is certified.
pub(super) fn sign(pem: &str, message: &[u8]) -> Option<Vec<u8>> {
    // With a passphrase at hand, a key that needs one asks nobody at a terminal.
    let key = PKey::private_key_from_pem_passphrase(pem.as_bytes(), b"").ok()?;
    if key.id() != Id::RSA {
        return None;
    }
    let mut signer = Signer::new(MessageDigest::sha256(), &key).ok()?;
    signer.sign_oneshot_to_vec(message).ok()
}

/// The thread that performs handshakes.
pub(super) struct Backend {
    handshakes: Sender<Handshake>,
    thread: Option<JoinHandle<()>>,
    trusted: String,
}

/// One handshake to perform.
struct Handshake {
    host: String,
    tcp: Tcp,
    alpn: Alpn,
    done: Sender<Result<TlsStream, TlsError>>,
    /// Closed when nobody waits any more.
    wanted: Receiver<()>,
}

/// One connector for each offer.
struct Connectors {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Backend {
    /// Reads the configured roots, if there are some, and starts the thread.
    pub(super) fn new(roots: &Roots, _: &Log) -> Result<Backend, String> {
        let connectors =
            Connectors { http1: connector(roots, "http/1.1")?, http2: connector(roots, "h2")? };
        let (handshakes, waiting) = async_channel::unbounded();
        let thread = std::thread::Builder::new().name("runsd-tls".to_owned());
        let work = move || perform(Arc::new(connectors), &waiting);
        let thread = sys::with_signals_blocked(|| thread.spawn(work));
        let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
        let trusted = match &roots.file {
            Some(file) => format!("those of {}", file.display()),
            None if roots.by_environment => format!("those {NAMED}"),
            None => "those of the platform's TLS library".to_owned(),
        };
        Ok(Backend { handshakes, thread: Some(thread), trusted })
    }

    /// Where the trusted certificates come from; their number is the library's
    /// secret.
    pub(super) fn trusted(&self) -> String {
        self.trusted.clone()
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        tcp: Tcp,
        alpn: Alpn,
    ) -> Result<(TlsStream, Protocol), TlsError> {
        // The library takes any text, and would cut it at a NUL.
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let name = Some(name_of(host)).filter(|name| !name.is_empty() && name.bytes().all(sound));
        let host = name.ok_or_else(|| TlsError::Host(host.to_owned()))?.to_owned();
        let (done, is_done) = async_channel::bounded(1);
        let (_wanting, wanted) = async_channel::bounded(1);
        let handshake = Handshake { host, tcp, alpn, done, wanted };
        let _ = self.handshakes.send(handshake).await;
        let gone = || TlsError::Handshake(io::Error::other("the engine is leaving"));
        let stream = is_done.recv().await.map_err(|_| gone())??;
        let protocol = match alpn {
            Alpn::Http1 => Protocol::Http1,
            Alpn::Http2 | Alpn::Either => Protocol::Http2,
        };
        Ok((stream, protocol))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.handshakes.close();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn connector(roots: &Roots, protocol: &str) -> Result<TlsConnector, String> {
    let mut builder = native_tls::TlsConnector::builder();
    builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
    builder.request_alpns(&[protocol]);
    if let Some(file) = &roots.file {
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        let certificates = native_tls::Certificate::stack_from_pem(&text);
        let certificates = certificates.map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err(NO_CERTIFICATE.to_owned());
        }
        builder.disable_built_in_roots(true);
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    Ok(builder.into())
}

/// Performs handshakes until there are no more to come; those under way are
/// dropped then. What each computes delays the others, waiting does not.
fn perform(connectors: Arc<Connectors>, waiting: &Receiver<Handshake>) {
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        while let Ok(handshake) = waiting.recv().await {
            let connectors = connectors.clone();
            let performing = AssertUnwindSafe(async move { handshake.perform(&connectors).await });
            // A panic ends this handshake alone: who waits for it is told by
            // the channel.
            executor.spawn(performing.catch_unwind()).detach();
        }
    }));
}

impl Handshake {
    async fn perform(self, connectors: &Connectors) {
        let Handshake { host, tcp, alpn, done, wanted } = self;
        let connector = match alpn {
            Alpn::Http1 => &connectors.http1,
            Alpn::Http2 | Alpn::Either => &connectors.http2,
        };
        if wanted.is_closed() {
            return;
        }
        let connecting = async {
            Some(
                connector.connect(host.as_str(), Below(tcp)).await.map_err(|error| explain(&error)),
            )
        };
        let unwanted = async {
            let _ = wanted.recv().await;
            None
        };
        if let Some(connected) = connecting.or(unwanted).await {
            let _ = done.send(connected).await;
        }
    }
}

/// The library tells its errors by their text alone.
fn explain(error: &native_tls::Error) -> TlsError {
    let text = error.to_string();
    if ["protocol version", "unsupported protocol"].iter().any(|words| text.contains(words)) {
        return TlsError::Version(text);
    }
    if !text.contains("certificate verify failed") {
        return TlsError::Handshake(io::Error::other(text));
    }
    // The reason stands in parentheses at the end.
    let reason = text.rsplit_once('(').and_then(|(_, reason)| reason.strip_suffix(')'));
    TlsError::Certificate(reason.unwrap_or(&text).to_owned())
}
