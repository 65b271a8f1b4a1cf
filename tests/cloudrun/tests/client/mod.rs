//! A TLS client of the tests: bytes out, bytes in.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cloudrun_sim::{Sim, addresses};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that trusts the simulation's authority and offers these protocols.
pub(crate) fn config(sim: &Sim, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(sim.ca_pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A field with a valid token for `service`.
pub(crate) fn token(sim: &Sim, service: &str) -> String {
    let url = format!(
        "/computeMetadata/v1/instance/service-accounts/default/identity?audience={}",
        sim.url(service)
    );
    let answer = sim.enter(move || {
        let mut tcp = TcpStream::connect((addresses::METADATA, 80)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = "Host: metadata\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n";
        tcp.write_all(format!("GET {url} HTTP/1.1\r\n{head}").as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    });
    format!("Authorization: Bearer {}\r\n", answer.rsplit("\r\n").next().unwrap())
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With TLS' own goodbye.
    Orderly,
    /// Without it.
    Torn,
    /// With a reset.
    Reset,
    /// In a way that no service intends.
    Other(io::ErrorKind),
}

/// Sends `bytes` to `host` and reads to the end of the connection.
pub(crate) fn talk(sim: &Sim, host: &str, bytes: Vec<u8>) -> (String, End) {
    let config = Arc::new(config(sim, &[b"http/1.1"]));
    let name = ServerName::try_from(host.to_owned()).unwrap();
    sim.enter(move || {
        let tcp = TcpStream::connect((addresses::FRONT, 443)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = StreamOwned::new(ClientConnection::new(config, name).unwrap(), tcp);
        tls.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        let end = match tls.read_to_end(&mut answer) {
            Ok(_) => End::Orderly,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Torn,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
            Err(error) => End::Other(error.kind()),
        };
        (String::from_utf8_lossy(&answer).into_owned(), end)
    })
}

/// The host of a service in the simulation's own place.
pub(crate) fn host(sim: &Sim, service: &str) -> String {
    sim.url(service).trim_start_matches("https://").to_owned()
}

/// Sends a request for `service` with a valid token; `rest`: further fields, the
/// empty line, the body.
pub(crate) fn request(sim: &Sim, service: &str, line: &str, rest: &str) -> (String, End) {
    let (host, token) = (host(sim, service), token(sim, service));
    let bytes = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{token}{rest}");
    talk(sim, &host, bytes.into_bytes())
}
