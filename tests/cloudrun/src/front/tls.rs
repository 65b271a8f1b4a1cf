//! The TLS port of the front end.
//!
//! Owns accepting, certificates and the choice of the protocol (ALPN); knows no
//! request. `front` starts it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{Gate, Shared, bind_again, external, h1, h2, host};
use crate::google;
use crate::relay;
use crate::wire::Wire;

/// A client that does not finish its handshake is let go after this.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Issues a certificate for every known name that is asked for.
struct Certificates(Arc<Shared>);

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shared = &self.0;
        let name = hello.server_name()?.to_ascii_lowercase();
        if shared.wrong_certificate.load(Ordering::SeqCst) {
            return shared.stranger.certificate("wrong.invalid").ok();
        }
        let known = external::is_external(&name)
            || google::is_endpoint(&name)
            || host::parse(&name, &shared.options).is_some();
        known.then(|| shared.authority.certificate(&name).ok()).flatten()
    }
}

fn acceptor(shared: &Arc<Shared>) -> Result<TlsAcceptor, tokio_rustls::rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(Arc::clone(shared))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the simulation ends, with the port open or closed as told.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    address: io::Result<SocketAddr>,
    mut commands: mpsc::UnboundedReceiver<Gate>,
) {
    let (Ok(address), Ok(acceptor)) = (address, acceptor(&shared)) else { return };
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(Arc::clone(&shared), acceptor.clone(), stream));
                }
                // Out of descriptors, for instance: leave time for some to return.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some((refuse, done)) = commands.recv() => {
                if refuse {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(bind_again(address).await);
                }
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, acceptor: TlsAcceptor, tcp: TcpStream) {
    if shared.silent.load(Ordering::SeqCst) {
        // Held open until the simulation ends.
        let _tcp = tcp;
        return std::future::pending().await;
    }
    if shared.slam.load(Ordering::SeqCst) {
        return;
    }
    let mut cut = shared.cut.subscribe();
    let (io, reset) = relay::at_distance(tcp, shared.options.rtt);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await else { return };
    shared.connections.fetch_add(1, Ordering::SeqCst);
    // How a connection ends is recorded by its requests, and the client knows it too.
    let switch = reset.clone();
    let serving = async {
        if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
            let _ = h2::serve(shared, Box::new(tls)).await;
        } else {
            let _ = h1::serve(shared, Wire::new(Box::new(tls)), reset).await;
        }
    };
    let killed = async {
        if cut.changed().await.is_ok() {
            switch.set();
        }
    };
    // The end of `serving` resets the connection; only then `cut` goes, whose
    // receivers are counted.
    tokio::select! {
        () = serving => {}
        () = killed => {}
    }
}
