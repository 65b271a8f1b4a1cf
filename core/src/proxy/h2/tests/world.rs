//! An app, a proxy and services, joined by sockets on ports of the kernel's.

use crate::auth::{IdToken, TokenError, Tokens};
use crate::names::{Directory, Refusal, Target};
use crate::net::{
    BoxFuture, Clock, Dialer, Drain, Executing, Incoming, Moment, OwnAddresses, Roots, SystemClock,
    Tasks, Tcp, TcpListener, Tls, TokioIo, deadline,
};
use crate::proxy::{Config, Proxy, Upstream};
use crate::telemetry::{Counters, Level, Log, Record, Sink};
use bytes::Bytes;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::{self, pki_types::PrivateKeyDer};
use futures_rustls::server::TlsStream;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, Request, Response};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Longer than any test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

impl Incoming for TlsStream<Tcp> {}

/// Everything a test needs.
pub struct World {
    pub executing: Executing,
    pub tasks: Tasks,
    pub counters: Arc<Counters>,
    /// What the log says from debug on; to tell of `unspeakable` breaks it.
    pub said: Arc<Mutex<Vec<(Level, String)>>>,
    pub names: Arc<Names>,
    pub tokens: Arc<Purse>,
    pub drain: Drain,
    pub proxy: SocketAddr,
    serving: Proxy,
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
    roots: PathBuf,
}

/// A directory that a test fills.
#[derive(Default)]
pub struct Names(Mutex<HashMap<String, Arc<Target>>>);

/// Tokens that a test sets: what is ready, what comes after a refusal, and where what
/// must be waited for comes from, if from anywhere.
#[derive(Default)]
pub struct Purse {
    pub late: Mutex<Option<async_channel::Receiver<Arc<IdToken>>>>,
    pub ready: Mutex<Option<Arc<IdToken>>>,
    pub next: Mutex<Option<Arc<IdToken>>>,
}

/// A token that says `text`.
pub fn token(text: &str) -> Option<Arc<IdToken>> {
    Some(Arc::new(IdToken::new(text, SystemTime::now() + Duration::from_secs(3600), None)))
}

impl Directory for Names {
    fn target(&self, host: &str) -> Result<Arc<Target>, Refusal> {
        assert_ne!(host, "panic", "a directory that breaks");
        let known = self.0.lock().unwrap().get(host).cloned();
        known.ok_or_else(|| Refusal::NotAllowed { host: host.to_owned() })
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Tokens for Purse {
    fn ready(&self, _: &str, _: Moment) -> Option<Arc<IdToken>> {
        self.ready.lock().unwrap().clone()
    }

    fn token<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<Arc<IdToken>, TokenError>> {
        Box::pin(async move {
            let late = self.late.lock().unwrap().clone();
            if let Some(late) = late {
                return Ok(late.recv().await.unwrap());
            }
            let (audience, cause) = (audience.to_owned(), "the account is gone".to_owned());
            Err(TokenError { audience, cause, permanent: true })
        })
    }

    fn renewed<'a>(&'a self, _: &'a str, _: &'a IdToken) -> BoxFuture<'a, Option<Arc<IdToken>>> {
        Box::pin(async {
            let late = self.late.lock().unwrap().clone();
            match late {
                Some(late) => late.recv().await.ok(),
                None => self.next.lock().unwrap().take(),
            }
        })
    }

    fn warm(&self, _: &str) {}
}

impl World {
    /// A proxy that listens and knows nobody.
    pub fn new(upstream: Upstream) -> World {
        World::by(Arc::new(SystemClock), upstream)
    }

    /// The same, on a clock of the test's.
    pub fn by(clock: Arc<dyn Clock>, upstream: Upstream) -> World {
        let config = Config {
            upstream,
            forward: false,
            refuse_pages: false,
            rewrite_redirects: true,
            access_log: false,
        };
        World::with(clock, config)
    }

    /// The same, of a proxy that behaves so.
    pub fn with(clock: Arc<dyn Clock>, config: Config) -> World {
        let (failed, _) = async_channel::bounded(1);
        let counters = Arc::<Counters>::default();
        let said = Arc::<Mutex<Vec<(Level, String)>>>::default();
        let saying = said.clone();
        let say = move |record: &Record<'_>| {
            assert!(!record.message.contains("unspeakable"), "a log that breaks");
            saying.lock().unwrap().push((record.level, record.message.into()));
        };
        let log = Log::new(Level::Debug, Sink::Callback(Box::new(say)), Instant::now);
        let executing = Executing::new(log, counters.clone(), failed).unwrap();
        let tasks = executing.tasks();
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let proxy = listener.local_addr().unwrap();
        let file = format!("runsd-h2-{}-{}.pem", std::process::id(), proxy.port());
        let roots = std::env::temp_dir().join(file);
        std::fs::write(&roots, certificate.cert.pem()).unwrap();
        let tls = Tls::new(Roots { file: Some(roots.clone()), ..Roots::default() }, Log::discard());
        let here = Arc::new(|host: String| -> BoxFuture<'static, Result<Vec<_>, String>> {
            Box::pin(async move {
                assert_ne!(host, "panic", "a resolver that breaks");
                if host == "silent" {
                    return std::future::pending().await;
                }
                Ok(vec!["127.0.0.1".parse().unwrap()])
            })
        });
        let dialer = Arc::new(Dialer::new(here, Vec::new(), tls, OwnAddresses::default()));
        let (names, tokens) = (Arc::<Names>::default(), Arc::<Purse>::default());
        let drain = Drain::default();
        let (directory, purse) = (names.clone(), tokens.clone());
        let (at_work, watch) = (tasks.clone(), (drain.watch(), Arc::default()));
        let serving = Proxy::new(config, at_work, directory, purse, dialer, watch, clock);
        serving.serve(vec![listener]);
        World {
            executing,
            tasks,
            counters,
            said,
            names,
            tokens,
            drain,
            proxy,
            serving,
            certificate,
            roots,
        }
    }

    /// What a DNS query for `name` does.
    pub fn warm(&self, name: &str) {
        self.serving.warm(name);
    }

    /// Runs a test's story, for so long and no longer.
    pub fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.executing.run(deadline(PATIENCE, story)).expect("the story did not end")
    }

    /// Makes `name` lead to `address`.
    pub fn lead(&self, name: &str, address: SocketAddr, tls: bool) {
        self.lead_to(name, "localhost", address, tls);
    }

    /// The same by way of `host`; the look-up of `panic` breaks, that of `silent` never
    /// ends.
    pub fn lead_to(&self, name: &str, host: &str, address: SocketAddr, tls: bool) {
        let target = Target {
            name: name.to_owned(),
            host: host.to_owned(),
            port: address.port(),
            tls,
            authority: format!("{host}:{}", address.port()),
            // In the clear, too: that it gets none is for the proxy to see to.
            audience: Some("https://localhost".into()),
        };
        self.names.0.lock().unwrap().insert(name.to_owned(), Arc::new(target));
    }

    /// Starts a service that `serve` is, connection by connection, and makes
    /// `name` lead to it.
    pub fn listen<F>(&self, name: &str, tls: bool, serve: impl Fn(Tcp) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        self.lead(name, listener.local_addr().unwrap(), tls);
        let tasks = self.tasks.clone();
        self.tasks.spawn("a service", async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tasks.spawn("a service's connection", serve(tcp));
            }
        });
    }

    /// Starts an HTTP/2 service in the clear whose every stream is `handle`d.
    pub fn service<F>(&self, name: &str, handle: impl Handle<F>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.tasks.clone();
        self.listen(name, false, move |tcp| {
            streams(TokioIo::new(tcp), Builder::new(), tasks.clone(), handle.clone())
        });
    }

    /// The same inside TLS.
    pub fn tls_service<F>(&self, name: &str, handle: impl Handle<F>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (acceptor, tasks) = (self.acceptor(&[b"h2"]), self.tasks.clone());
        self.listen(name, true, move |tcp| {
            let (acceptor, tasks, handle) = (acceptor.clone(), tasks.clone(), handle.clone());
            async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                streams(TokioIo::new(tls), Builder::new(), tasks, handle).await;
            }
        });
    }

    /// Starts a service in the clear, of this version, that has nothing to say; the heads
    /// that it hears, as HTTP/1.1 writes them.
    pub fn hears(&self, name: &str, upstream: Upstream) -> async_channel::Receiver<String> {
        let (heard, hears) = async_channel::unbounded();
        if upstream == Upstream::Http2 {
            self.service(name, move |request, mut respond: SendResponse<Bytes>| {
                let target = request.uri().path_and_query().unwrap();
                let mut head = format!("{} {target} HTTP/2\r\n", request.method());
                for (name, value) in request.headers() {
                    head += &format!("{name}: {}\r\n", value.to_str().unwrap());
                }
                let heard = heard.clone();
                async move {
                    heard.send(head).await.unwrap();
                    let done = Response::builder().status(204).body(()).unwrap();
                    respond.send_response(done, true).unwrap();
                }
            });
            return hears;
        }
        self.listen(name, false, move |mut tcp: Tcp| {
            let heard = heard.clone();
            async move {
                loop {
                    heard.send(hear(&mut tcp, "\r\n\r\n").await).await.unwrap();
                    say(&mut tcp, "HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        });
        hears
    }

    /// A TLS server's side that speaks `protocols`.
    pub fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        acceptor_of(&self.certificate, protocols)
    }

    /// Makes the proxy trust one more certificate; before its first connection.
    pub fn trust(&self, certificate: &rcgen::Certificate) {
        let mut roots = std::fs::OpenOptions::new().append(true).open(&self.roots).unwrap();
        roots.write_all(certificate.pem().as_bytes()).unwrap();
    }

    /// An app's connection.
    pub async fn app(&self) -> client::SendRequest<Bytes> {
        let tcp = Tcp::connect(self.proxy).await.unwrap();
        let mut builder = client::Builder::new();
        // Room for others beside a stream that nobody reads.
        builder.max_header_list_size(512 * 1024).initial_connection_window_size(1 << 20);
        let (app, connection) = builder.handshake(TokioIo::new(tcp)).await.unwrap();
        self.tasks.spawn("an app's connection", async move {
            let _ = connection.await;
        });
        app.ready().await.unwrap()
    }

    /// One request on a connection of its own, with everything that comes back.
    pub async fn ask(&self, request: Request<()>, body: Option<&[u8]>) -> Heard {
        let mut app = self.app().await;
        let (response, mut send) = app.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            send.send_data(Bytes::copy_from_slice(body), true).unwrap();
        }
        Heard::all(response).await.unwrap()
    }
}

/// A TLS server's side that has this certificate and speaks `protocols`.
pub fn acceptor_of(
    certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
    protocols: &[&[u8]],
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.roots);
    }
}

/// What a service does with a stream.
pub trait Handle<F>:
    Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static
{
}

impl<F, T> Handle<F> for T where
    T: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static
{
}

/// Serves one HTTP/2 connection.
pub async fn streams<F>(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    mut builder: Builder,
    tasks: Tasks,
    handle: impl Handle<F>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // The default is used up by frames for streams that were cancelled.
    builder.max_header_list_size(512 * 1024).data_frame_budget(1 << 30);
    let Ok(mut connection) = builder.handshake(io).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tasks.spawn("a service's stream", handle(request, respond));
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Heard {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Whether the head ended the stream.
    pub bare: bool,
}

impl Heard {
    pub async fn all(response: client::ResponseFuture) -> Result<Heard, h2::Error> {
        let (head, mut stream) = response.await?.into_parts();
        let bare = stream.is_end_stream();
        let body = read(&mut stream).await?;
        let trailers = stream.trailers().await?;
        Ok(Heard { head: Response::from_parts(head, ()), body, trailers, bare })
    }

    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().unwrap())
    }
}

/// Reads a body to its end.
pub async fn read(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    Ok(body)
}

/// Sends a body no faster than it is taken.
pub async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        while stream.capacity() == 0 {
            match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                Some(room) => room.map(drop)?,
                None => return Err(h2::Reason::CANCEL.into()),
            }
        }
        let piece = bytes.split_to(stream.capacity().min(bytes.len()));
        stream.send_data(piece, false)?;
    }
    Ok(())
}

/// A request of an app's.
pub fn get(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

/// Fields from pairs.
pub fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Reads one HTTP/1.1 message's bytes until `until` stands in them.
pub async fn hear(tcp: &mut Tcp, until: &str) -> String {
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains(until) {
        let count = tcp.read(&mut piece).await.unwrap();
        assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(heard).unwrap()
}

/// Says `text`.
pub async fn say(tcp: &mut Tcp, text: &str) {
    tcp.write_all(text.as_bytes()).await.unwrap();
}
