//! The seam, whichever library is below it.

use super::*;
use crate::net::{TcpListener, block_on};
use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::{self, pki_types::PrivateKeyDer};
use futures_rustls::server::TlsStream;
use std::io;
use std::sync::Arc;

/// A certificate for `localhost`, in a file, and a server that has it.
struct Server {
    file: PathBuf,
    listener: TcpListener,
    key: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Server {
    fn new() -> Server {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let file =
            std::env::temp_dir().join(format!("runsd-tls-{}-{port}.pem", std::process::id()));
        std::fs::write(&file, key.cert.pem()).unwrap();
        Server { file, listener, key }
    }

    fn client(&self) -> Tls {
        Tls::new(Roots { file: Some(self.file.clone()), ..Roots::default() }, Log::discard())
    }

    /// Takes a connection that may speak `protocols`.
    async fn accept(&self, protocols: &[&[u8]]) -> io::Result<TlsStream<Tcp>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.signing_key.serialize_der()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.key.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let (tcp, _) = self.listener.accept().await?;
        TlsAcceptor::from(Arc::new(config)).accept(tcp).await
    }

    /// Takes a connection and speaks `protocols`; says what was chosen.
    async fn serve(&self, protocols: &[&[u8]]) -> io::Result<Option<Vec<u8>>> {
        let mut tls = self.accept(protocols).await?;
        let mut heard = [0; 4];
        tls.read_exact(&mut heard).await?;
        tls.write_all(&heard).await?;
        tls.close().await?;
        Ok(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }

    async fn call(&self, tls: &Tls, host: &str, alpn: Alpn) -> Result<Protocol, TlsError> {
        let tcp = Tcp::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, protocol) = tls.connect(host, tcp, alpn).await?;
        // Two slices, as the head of a frame and its payload are.
        let slices = [io::IoSlice::new(b"he"), io::IoSlice::new(b"re")];
        let count = stream.write_vectored(&slices).await.unwrap();
        stream.write_all(&b"here"[count..]).await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"here");
        Ok(protocol)
    }
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let file = PathBuf::from("/nonexistent/authority.pem");
    let tls = Tls::new(Roots { file: Some(file), ..Roots::default() }, Log::discard());
    let error = tls.prepare().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/authority.pem"), "{error}");
    let server = Server::new();
    std::fs::write(&server.file, "nothing").unwrap();
    let error = server.client().prepare().unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
}

#[test]
fn the_protocol_is_the_one_that_was_agreed_on() {
    let server = Server::new();
    let tls = server.client();
    for (alpn, protocol, chosen) in
        [(Alpn::Http1, Protocol::Http1, &b"http/1.1"[..]), (Alpn::Http2, Protocol::Http2, b"h2")]
    {
        let serving = server.serve(&[b"h2", b"http/1.1"]);
        let (served, called) = block_on(zip(serving, server.call(&tls, "localhost", alpn)));
        assert_eq!(served.unwrap().as_deref(), Some(chosen));
        assert_eq!(called.unwrap(), protocol);
    }
}

#[test]
fn a_certificate_must_be_trusted_and_name_the_host() {
    let (server, other) = (Server::new(), Server::new());
    for (tls, host) in [(other.client(), "localhost"), (server.client(), "elsewhere")] {
        let serving = server.serve(&[b"http/1.1"]);
        let (_, called) = block_on(zip(serving, server.call(&tls, host, Alpn::Http1)));
        let error = called.unwrap_err();
        assert!(matches!(error, TlsError::Certificate(_)), "{error}");
        assert!(error.to_string().contains("--ca-file"), "{error}");
    }
}

#[test]
fn who_was_verified_a_moment_ago_vouches_for_nobody_else() {
    let (server, other) = (Server::new(), Server::new());
    let tls = server.client();
    let call = |server: &Server, host: &str| {
        let serving = server.serve(&[b"http/1.1"]);
        block_on(zip(serving, server.call(&tls, host, Alpn::Http1))).1
    };
    for _ in 0..2 {
        assert_eq!(call(&server, "localhost").unwrap(), Protocol::Http1);
        // The same certificate by another name, and the name with another one.
        for (server, host) in [(&server, "elsewhere"), (&other, "localhost")] {
            let error = call(server, host).unwrap_err();
            assert!(matches!(error, TlsError::Certificate(_)), "{error}");
        }
    }
}

#[test]
fn a_peer_that_shares_no_protocol_fails_the_handshake() {
    let server = Server::new();
    let tls = server.client();
    let serving = server.serve(&[b"http/1.1"]);
    let (_, called) = block_on(zip(serving, server.call(&tls, "localhost", Alpn::Http2)));
    let error = called.unwrap_err();
    assert!(matches!(error, TlsError::Handshake(_)), "{error}");
}

#[test]
fn what_no_certificate_can_name_is_refused() {
    let server = Server::new();
    let tls = server.client();
    for host in ["", "a b", "a\0.example", "a/b"] {
        let tcp = block_on(Tcp::connect(server.listener.local_addr().unwrap())).unwrap();
        let error = block_on(tls.connect(host, tcp, Alpn::Http1)).unwrap_err();
        assert!(matches!(error, TlsError::Host(_)), "{host:?}: {error}");
    }
}

#[test]
fn it_may_go_while_a_handshake_waits() {
    let server = Server::new();
    let tls = server.client();
    let tcp = block_on(Tcp::connect(server.listener.local_addr().unwrap())).unwrap();
    // The server says nothing.
    let waiting =
        block_on(futures_lite::future::poll_once(tls.connect("localhost", tcp, Alpn::Http1)));
    assert!(waiting.is_none());
    drop(tls);
}

#[test]
fn an_end_that_tls_has_not_announced_is_none() {
    for announced in [true, false] {
        let server = Server::new();
        let tls = server.client();
        let serving = async {
            let mut stream = server.accept(&[b"http/1.1"]).await.unwrap();
            stream.write_all(b"part").await.unwrap();
            stream.flush().await.unwrap();
            let mut tcp = stream.get_ref().0.clone();
            let ended = if announced { stream.close().await } else { tcp.close().await };
            ended.unwrap();
            // The other direction stays open, so that nothing is reset.
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        };
        let calling = async {
            let tcp = Tcp::connect(server.listener.local_addr().unwrap()).await.unwrap();
            let (mut stream, _) = tls.connect("localhost", tcp, Alpn::Http1).await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            stream.read(&mut heard).await.map_err(|error| error.kind())
        };
        let (_, ended) = block_on(zip(serving, calling));
        let expected = if announced { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof) };
        assert_eq!(ended, expected, "announced: {announced}");
    }
}
