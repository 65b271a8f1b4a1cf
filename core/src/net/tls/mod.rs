//! TLS to services: verified, at least 1.2, the protocol chosen by ALPN (RFC 7301).
//!
//! One seam over two libraries. rustls is the default; the platform's own is
//! for images that must use it, and wins where both are built in. It hides what
//! ALPN has chosen, so that there the protocol is chosen before the dial; it
//! never resumes a session; and it reads every trusted certificate anew for
//! each connection, which is why its handshakes have a thread of their own.

#[cfg(feature = "native-tls")]
mod native_backend;
mod roots;
#[cfg(all(feature = "rustls", not(feature = "native-tls")))]
mod rustls_backend;
#[cfg(all(feature = "rustls", not(feature = "native-tls")))]
mod verified;

#[cfg(feature = "native-tls")]
use native_backend as backend;
#[cfg(all(feature = "rustls", not(feature = "native-tls")))]
use rustls_backend as backend;
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
compile_error!("runsd needs one of the features `rustls` and `native-tls`");

pub(super) use backend::{TlsStream, holds_something, poll_write_vectored, tcp_of};
pub use roots::Roots;

use super::stream::Stream;
use super::tcp::Tcp;
use crate::telemetry::Log;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The library that is built in, by its name.
pub const TLS_LIBRARY: &str = if cfg!(feature = "native-tls") { "native-tls" } else { "rustls" };

/// What to offer in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1` alone.
    Http1,
    /// `h2` alone.
    Http2,
    /// `h2`, then `http/1.1`.
    Either,
}

/// What the peer chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, also when the peer chose nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        })
    }
}

/// Why a handshake failed.
#[derive(Debug)]
pub enum TlsError {
    /// No trusted certificates could be read from the configured file.
    Roots {
        /// The file.
        file: PathBuf,
        /// What was wrong with it.
        cause: String,
    },
    /// The host is not one a certificate can name.
    Host(String),
    /// The peer's certificate does not prove what it should.
    Certificate(String),
    /// The peer has no version of TLS that may be used; what it said.
    Version(String),
    /// The peer agreed to none of the protocols offered, or broke off.
    Handshake(std::io::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Roots { file, cause } => {
                write!(f, "cannot read trusted certificates from {}: {cause}", file.display())
            }
            TlsError::Host(host) => write!(f, "{host:?} is not a host name"),
            TlsError::Certificate(cause) => write!(
                f,
                "its certificate is not valid: {cause}; if it is issued by an authority of your \
                 own, name that authority's file with --ca-file or SSL_CERT_FILE"
            ),
            TlsError::Version(cause) => write!(f, "it offers no TLS 1.2 or later: {cause}"),
            TlsError::Handshake(cause) => write!(f, "TLS handshake failed: {cause}"),
        }
    }
}

/// The TLS client; what it needs is built when first needed, because reading
/// the roots takes milliseconds that start-up does not have.
pub struct Tls {
    roots: Roots,
    log: Log,
    built: OnceLock<Result<backend::Backend, String>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.roots)
    }
}

impl Tls {
    /// A client that trusts `roots`; reads nothing yet.
    pub fn new(roots: Roots, log: Log) -> Tls {
        Tls { roots, log, built: OnceLock::new() }
    }

    /// Reads the roots if that has not happened yet. Blocks for some
    /// milliseconds on files.
    ///
    /// # Errors
    /// [`TlsError::Roots`] if a configured file cannot be used.
    pub fn prepare(&self) -> Result<(), TlsError> {
        self.built().map(|_| ())
    }

    /// How many certificates are trusted, where that can be known, and where they
    /// come from. Reads them if that has not happened yet.
    ///
    /// # Errors
    /// As [`Tls::prepare`].
    pub fn trusted(&self) -> Result<String, TlsError> {
        self.built().map(backend::Backend::trusted)
    }

    fn built(&self) -> Result<&backend::Backend, TlsError> {
        let built = self.built.get_or_init(|| backend::Backend::new(&self.roots, &self.log));
        built.as_ref().map_err(|cause| TlsError::Roots {
            file: self.roots.file.clone().unwrap_or_default(),
            cause: cause.clone(),
        })
    }

    /// What to offer on one connection for `alpn`, and on a second one if the
    /// peer breaks the first off: a library that hides the choice offers one
    /// protocol at a time.
    pub fn offers(alpn: Alpn) -> (Alpn, Option<Alpn>) {
        match alpn {
            Alpn::Either if backend::HIDES_THE_CHOICE => (Alpn::Http2, Some(Alpn::Http1)),
            _ => (alpn, None),
        }
    }

    /// Performs the handshake as `host` on `tcp`.
    ///
    /// # Errors
    /// Every [`TlsError`]; the connection is gone then.
    pub async fn connect(
        &self,
        host: &str,
        tcp: Tcp,
        alpn: Alpn,
    ) -> Result<(Stream, Protocol), TlsError> {
        let (stream, protocol) = self.built()?.connect(host, tcp, alpn).await?;
        Ok((Stream::Tls(Box::new(stream)), protocol))
    }
}

/// The RS256 signature of `message` (RFC 7518 §3.3) by the RSA key in `pem`;
/// `None` where that holds no such key. Computes for about a millisecond.
pub fn sign_rs256(pem: &str, message: &[u8]) -> Option<Vec<u8>> {
    backend::sign(pem, message)
}

/// The host as certificates name it: an IPv6 address without its brackets.
fn name_of(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod signing_tests;
#[cfg(test)]
mod tests;
