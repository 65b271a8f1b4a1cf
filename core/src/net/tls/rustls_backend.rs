//! TLS by rustls: what ALPN chose is known, sessions are resumed, and nothing
//! clashes with a program that has a TLS library of its own.

use super::roots::{NAMED, NO_CERTIFICATE};
use super::verified::Verified;
use super::{Alpn, Protocol, Roots, TlsError, name_of};
use crate::net::tcp::Tcp;
use crate::telemetry::Log;
use futures_lite::io::AsyncWrite;
use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::crypto::ring::sign::RsaSigningKey;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::sign::SigningKey;
use futures_rustls::rustls::{
    self, AlertDescription, CipherSuite, ClientConfig, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An encrypted stream.
pub type TlsStream = futures_rustls::client::TlsStream<Tcp>;

/// Whether nobody learns which protocol ALPN has chosen.
pub(super) const HIDES_THE_CHOICE: bool = false;

/// The TCP connection below.
pub fn tcp_of(stream: &TlsStream) -> &Tcp {
    stream.get_ref().0
}

/// Whether a read may find something, or the end, that has come already. Whatever
/// has come as a whole record has been opened.
pub fn holds_something(stream: &TlsStream) -> bool {
    !stream.get_ref().1.wants_read()
}

/// Writes several slices into one record.
pub fn poll_write_vectored(
    stream: &mut TlsStream,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write_vectored(context, slices)
}

/// See [`super::sign_rs256`].
pub(super) fn sign(pem: &str, message: &[u8]) -> Option<Vec<u8>> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = RsaSigningKey::new(&key).ok()?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?;
    signer.sign(message).ok()
}

/// One configuration for each offer.
pub(super) struct Backend {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
    trusted: String,
}

impl Backend {
    /// Reads the roots.
    pub(super) fn new(roots: &Roots, log: &Log) -> Result<Backend, String> {
        build(load(roots, log)?).map_err(|error| error.to_string())
    }

    /// How many certificates are trusted, and where they come from.
    pub(super) fn trusted(&self) -> String {
        self.trusted.clone()
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        tcp: Tcp,
        alpn: Alpn,
    ) -> Result<(TlsStream, Protocol), TlsError> {
        let config = match alpn {
            Alpn::Http1 => &self.http1,
            Alpn::Http2 => &self.http2,
            Alpn::Either => &self.either,
        };
        let name = ServerName::try_from(name_of(host).to_owned());
        let name = name.map_err(|_| TlsError::Host(host.to_owned()))?;
        let stream =
            TlsConnector::from(config.clone()).connect(name, tcp).await.map_err(explain)?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((stream, protocol))
    }
}

/// Where they come from when there are none in the image.
const BUILT_IN: &str = "the built-in set of Mozilla: this image has none";

/// Where distributions keep all their trusted certificates in one file. One
/// file is read in a tenth of the time that a folder of links to the same takes.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's certificates, and where they are.
fn of_the_system(roots: &Roots) -> (Vec<CertificateDer<'static>>, String) {
    let bundle = BUNDLES.iter().map(Path::new).find(|bundle| bundle.is_file());
    let bundled = bundle
        .filter(|_| !roots.by_environment)
        .map(|path| (rustls_native_certs::load_certs_from_paths(Some(path), None).certs, path))
        .filter(|(certificates, _)| !certificates.is_empty());
    if let Some((certificates, path)) = bundled {
        return (certificates, path.display().to_string());
    }
    let place = if roots.by_environment { NAMED } else { "the system's folders" };
    (rustls_native_certs::load_native_certs().certs, place.to_owned())
}

/// The certificates that are trusted, and where they come from.
fn load(roots: &Roots, log: &Log) -> Result<(RootCertStore, String), String> {
    let mut store = RootCertStore::empty();
    if let Some(file) = &roots.file {
        let certificates = CertificateDer::pem_file_iter(file)
            .map_err(|error| error.to_string())?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let (taken, _) = store.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(NO_CERTIFICATE.to_owned());
        }
        return Ok((store, file.display().to_string()));
    }
    let (certificates, mut place) = of_the_system(roots);
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        log.warn(
            "net",
            format_args!(
                "this image has no trusted certificates; using the built-in set of Mozilla. \
                 SSL_CERT_FILE or --ca-file names others"
            ),
        );
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        BUILT_IN.clone_into(&mut place);
    }
    Ok((store, place))
}

/// The library's own, with AES-128 before AES-256, as browsers and Go offer it
/// and as every peer must take it (RFC 8446 §9.1): its hash is SHA-256, which
/// processors compute, so that a handshake takes a tenth less on either side.
/// The key exchange is of 128 bits with either.
fn provider() -> CryptoProvider {
    let provider = ring::default_provider();
    let (mut suites, others) = provider.cipher_suites.iter().partition::<Vec<_>, _>(|suite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    suites.extend(others);
    CryptoProvider { cipher_suites: suites, ..provider }
}

fn build((roots, place): (RootCertStore, String)) -> Result<Backend, rustls::Error> {
    let trusted = format!("{} certificates, from {place}", roots.len());
    let provider = Arc::new(provider());
    let verifier = Verified::new(roots, provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let offering = |protocols: &[&[u8]]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    };
    Ok(Backend {
        http1: offering(&[b"http/1.1"]),
        http2: offering(&[b"h2"]),
        either: offering(&[b"h2", b"http/1.1"]),
        trusted,
    })
}

fn explain(error: std::io::Error) -> TlsError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(cause)) => TlsError::Certificate(cause.to_string()),
        // It says so itself, or begins with a version of its own.
        Some(
            cause @ (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13,
            )),
        ) => TlsError::Version(cause.to_string()),
        _ => TlsError::Handshake(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_offered_less_for_being_offered_in_another_order() {
        let of = |provider: CryptoProvider| {
            provider.cipher_suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>()
        };
        let (ours, library) = (of(provider()), of(ring::default_provider()));
        assert_eq!(ours.first(), Some(&CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert!(library.iter().all(|suite| ours.contains(suite)), "{ours:?}");
        assert_eq!(ours.len(), library.len());
    }

    #[test]
    fn the_built_in_roots_build() {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        assert!(store.len() > 100);
        assert!(build((store, BUILT_IN.to_owned())).is_ok());
    }
}
