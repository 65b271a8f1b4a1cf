//! TLS to services: verified, at least 1.2, the protocol chosen by ALPN (RFC 7301).

use super::stream::Stream;
use super::tcp::Tcp;
use crate::telemetry::Log;
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::{self, ClientConfig, RootCertStore};
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

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

/// Where the trusted certificates come from.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// A PEM file that replaces every other source.
    pub file: Option<PathBuf>,
    /// Whether `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, which replace the
    /// system's own places.
    pub by_environment: bool,
}

/// Where distributions keep all their trusted certificates in one file. One
/// file is read in a tenth of the time that a folder of links to the same takes.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

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
    Certificate(rustls::CertificateError),
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
            TlsError::Handshake(cause) => write!(f, "TLS handshake failed: {cause}"),
        }
    }
}

/// The TLS client; configurations are built when first needed, because reading
/// the roots takes milliseconds that start-up does not have.
pub struct Tls {
    roots: Roots,
    log: Log,
    built: OnceLock<Result<Built, String>>,
}

struct Built {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
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

    fn built(&self) -> Result<&Built, TlsError> {
        let built = self.built.get_or_init(|| {
            let roots = self.roots.load(&self.log)?;
            build(roots).map_err(|error| error.to_string())
        });
        built.as_ref().map_err(|cause| TlsError::Roots {
            file: self.roots.file.clone().unwrap_or_default(),
            cause: cause.clone(),
        })
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
        let built = self.built()?;
        let config = match alpn {
            Alpn::Http1 => &built.http1,
            Alpn::Http2 => &built.http2,
            Alpn::Either => &built.either,
        };
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|_| TlsError::Host(host.to_owned()))?;
        let stream =
            TlsConnector::from(config.clone()).connect(name, tcp).await.map_err(explain)?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((Stream::Tls(Box::new(stream)), protocol))
    }
}

impl Roots {
    fn of_the_system(&self) -> Vec<CertificateDer<'static>> {
        let bundle = BUNDLES.iter().map(Path::new).find(|bundle| bundle.is_file());
        let bundled = bundle
            .filter(|_| !self.by_environment)
            .map(|bundle| rustls_native_certs::load_certs_from_paths(Some(bundle), None).certs)
            .filter(|certificates| !certificates.is_empty());
        bundled.unwrap_or_else(|| rustls_native_certs::load_native_certs().certs)
    }

    /// `--ca-file`, else `SSL_CERT_FILE` and `SSL_CERT_DIR` or the system's,
    /// else the set of Mozilla that is built in.
    fn load(&self, log: &Log) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        if let Some(file) = &self.file {
            let certificates = CertificateDer::pem_file_iter(file)
                .map_err(|error| error.to_string())?
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| error.to_string())?;
            let (taken, _) = store.add_parsable_certificates(certificates);
            if taken == 0 {
                return Err("it holds no certificate that can be used".to_owned());
            }
            return Ok(store);
        }
        store.add_parsable_certificates(self.of_the_system());
        if store.is_empty() {
            log.info(
                "net",
                format_args!(
                    "this image has no trusted certificates; using the built-in set of Mozilla"
                ),
            );
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Ok(store)
    }
}

fn build(roots: RootCertStore) -> Result<Built, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let offering = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    };
    Ok(Built {
        http1: offering(&[b"http/1.1"]),
        http2: offering(&[b"h2"]),
        either: offering(&[b"h2", b"http/1.1"]),
    })
}

fn explain(error: std::io::Error) -> TlsError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(cause)) => TlsError::Certificate(cause.clone()),
        _ => TlsError::Handshake(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let file = PathBuf::from("/nonexistent/authority.pem");
        let tls = Tls::new(Roots { file: Some(file), ..Roots::default() }, Log::discard());
        let error = tls.prepare().unwrap_err().to_string();
        assert!(error.contains("/nonexistent/authority.pem"), "{error}");
    }

    #[test]
    fn the_built_in_roots_build() {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        assert!(store.len() > 100);
        build(store).unwrap();
    }
}
