//! The least that a proxy over the HTTP/2 library can do, for tests/bench/run:
//! one connection to the service and one task for each call, which gets the
//! service's authority and a token and is passed on as it is. It has no policy,
//! second attempt, pool, note or limit, and gives a stream all it has whether
//! that has room or not: so it serves small calls alone, in one thread, and ends
//! at the first error.
//!
//!     floor-h2 PORT SERVICE-PORT HOST TOKEN CA-FILE

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::{Authority, Scheme, Uri};
use http::{Request, Response};
use std::env;
use std::error::Error;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a call needs of the service.
#[derive(Clone)]
struct Service {
    sender: client::SendRequest<Bytes>,
    authority: Authority,
    bearer: HeaderValue,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, service, host, token, authorities] = arguments.as_slice() else {
        return Err("floor-h2 PORT SERVICE-PORT HOST TOKEN CA-FILE".into());
    };
    let stream = encrypted(service.parse()?, host, authorities).await?;
    let (sender, connection) = client::handshake(stream).await?;
    let driven = tokio::spawn(connection);
    let bearer = format!("Bearer {token}").try_into()?;
    let service = Service { sender, authority: host.parse()?, bearer };
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).await?;
    tokio::select! {
        ended = listen(listener, service) => ended,
        ended = driven => Ok(ended??),
    }
}

async fn encrypted(port: u16, host: &str, authorities: &str) -> Outcome<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(authorities)? {
        roots.add(authority?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}

async fn listen(listener: TcpListener, service: Service) -> Outcome<()> {
    loop {
        let (app, _) = listener.accept().await?;
        app.set_nodelay(true)?;
        tokio::spawn(serve(app, service.clone()));
    }
}

/// Serves an app's connection to its end; one that says nothing is a probe.
async fn serve(app: TcpStream, service: Service) {
    let Ok(mut connection) = server::handshake(app).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            // An app that has had enough leaves calls behind.
            let _ = relay(request, respond, service).await;
        });
    }
}

async fn relay(
    request: Request<RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    service: Service,
) -> Outcome<()> {
    let (mut head, mut body) = request.into_parts();
    let mut uri = head.uri.into_parts();
    (uri.scheme, uri.authority) = (Some(Scheme::HTTPS), Some(service.authority));
    head.uri = Uri::from_parts(uri)?;
    head.headers.insert(AUTHORIZATION, service.bearer);
    let mut sender = service.sender.ready().await?;
    let ended = body.is_end_stream();
    let (response, mut up) = sender.send_request(Request::from_parts(head, ()), ended)?;
    if !ended {
        pass(&mut body, &mut up).await?;
    }
    let (head, mut body) = response.await?.into_parts();
    let ended = body.is_end_stream();
    let mut down = respond.send_response(Response::from_parts(head, ()), ended)?;
    if !ended {
        pass(&mut body, &mut down).await?;
    }
    Ok(())
}

/// Passes a body on to its end, trailers included.
async fn pass(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Outcome<()> {
    while let Some(piece) = from.data().await.transpose()? {
        from.flow_control().release_capacity(piece.len())?;
        let ended = from.is_end_stream();
        to.send_data(piece, ended)?;
        if ended {
            return Ok(());
        }
    }
    match from.trailers().await? {
        Some(trailers) => to.send_trailers(trailers)?,
        None => to.send_data(Bytes::new(), true)?,
    }
    Ok(())
}
