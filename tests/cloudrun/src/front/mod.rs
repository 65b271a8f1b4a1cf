//! The front end of Cloud Run: TLS, names, tokens, and then the service.
//!
//! Owns what happens to a request before a service sees it, and the record of
//! it; what services answer is `services`. `sim` starts it, tests read and
//! script it through [`Front`].

pub(crate) mod exchange;
pub(crate) mod external;
mod h1;
mod h2;
pub(crate) mod host;
pub(crate) mod iam;
mod tls;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use self::exchange::{Call, Exchange};
use self::host::Address;
use self::iam::Verdict;
use crate::authority::Authority;
use crate::error::Error;
use crate::google::{self, Google};
use crate::options::Options;
use crate::services::{self, gate::Gates};
use crate::token::Mint;
use crate::wire::Fields;

/// How long a listener may take to open or close.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that reached the front end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The host it asked for, in lower case, without a port.
    pub host: String,
    /// The service that the host names; empty: none.
    pub service: String,
    /// The tag that the host names.
    pub tag: Option<String>,
    /// The region that the host names.
    pub region: String,
    /// The number of the project that the host names.
    pub project: String,
    /// `https` or `http`.
    pub scheme: String,
    /// The method.
    pub method: String,
    /// The target as it arrived.
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: String,
    /// HTTP/1: the head, byte for byte. HTTP/2: a rendering, one field a line.
    pub head: Vec<u8>,
    /// The fields in their order (HTTP/2: within one name).
    pub headers: Vec<(String, Vec<u8>)>,
    /// How many bytes of the body were read so far.
    pub body_len: u64,
    /// The final status; 0: none so far.
    pub status: u16,
    /// How the client ended it before the answer was complete, where the service
    /// waits for that (`grpc`'s method `Hang`).
    pub end: Option<String>,
    /// What the token check found, in words.
    pub verdict: String,
    /// The audience of the token that was checked.
    pub audience: Option<String>,
}

/// What arrived, before anything is decided.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) scheme: &'static str,
    pub(crate) protocol: &'static str,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) head: Vec<u8>,
    pub(crate) fields: Fields,
}

/// Where a request leads.
pub(crate) enum Judgement {
    /// No such host or service: 404.
    Unknown,
    /// A host that gives tokens, and checks none.
    TokenEndpoint,
    /// A service, and what the check of the caller found.
    Service(Address, Verdict),
}

/// A request to open or close the listener, and where to say that it is done.
type Gate = (bool, std::sync::mpsc::Sender<()>);

/// What all connections of the front end share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) mint: Arc<Mint>,
    pub(crate) google: Google,
    authority: Arc<Authority>,
    stranger: Authority,
    seen: Mutex<Vec<Arc<Mutex<Seen>>>>,
    external: Mutex<Vec<Seen>>,
    denied: Mutex<HashSet<String>>,
    connections: AtomicUsize,
    wrong_certificate: AtomicBool,
    silent: AtomicBool,
    slam: AtomicBool,
    pub(crate) gates: Gates,
    cut: watch::Sender<u64>,
    goaway: watch::Sender<u64>,
    gate: mpsc::UnboundedSender<Gate>,
}

/// A handle on the simulated front end: what it saw, how it behaves.
#[derive(Clone)]
pub struct Front(Arc<Shared>);

/// The sockets of the front end. Which host a request names decides what it
/// meets, not the socket it came by.
pub(crate) struct Sockets {
    /// TLS, can be closed and opened by [`Front::refuse`].
    pub(crate) tls: TcpListener,
    /// TLS on the address of the external host.
    pub(crate) external_tls: Option<TcpListener>,
    /// Without TLS.
    pub(crate) plain: Vec<TcpListener>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub(crate) fn new(
        options: Options,
        (mint, google): (Arc<Mint>, Google),
        authority: Arc<Authority>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Gate>), Error> {
        let (gate, commands) = mpsc::unbounded_channel();
        let mut denied = HashSet::new();
        denied.extend(options.deny.iter().cloned());
        let shared = Shared {
            options,
            mint,
            google,
            authority,
            stranger: Authority::new()?,
            seen: Mutex::default(),
            external: Mutex::default(),
            denied: Mutex::new(denied),
            connections: AtomicUsize::new(0),
            wrong_certificate: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            slam: AtomicBool::new(false),
            gates: Gates::default(),
            cut: watch::Sender::new(0),
            goaway: watch::Sender::new(0),
            gate,
        };
        Ok((Self(Arc::new(shared)), commands))
    }

    /// Serves until the simulation ends.
    pub(crate) fn serve(&self, sockets: Sockets, commands: mpsc::UnboundedReceiver<Gate>) {
        let address = sockets.tls.local_addr();
        tokio::spawn(tls::serve(Arc::clone(&self.0), sockets.tls, address, commands));
        if let Some(listener) = sockets.external_tls {
            let (_, never) = mpsc::unbounded_channel();
            let address = listener.local_addr();
            tokio::spawn(tls::serve(Arc::clone(&self.0), listener, address, never));
        }
        for listener in sockets.plain {
            tokio::spawn(external::serve_plain(Arc::clone(&self.0), listener));
        }
    }

    /// Every request so far to a host of Cloud Run, in order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        locked(&self.0.seen).iter().map(|seen| locked(seen).clone()).collect()
    }

    /// Every request to `example.com`, over TLS or not.
    pub fn external(&self) -> Vec<Seen> {
        locked(&self.0.external).clone()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        locked(&self.0.seen).clear();
        locked(&self.0.external).clear();
    }

    /// How many TLS connections were established so far.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// From now on valid callers get 403 from `service`.
    pub fn deny(&self, service: &str) {
        locked(&self.0.denied).insert(service.to_owned());
    }

    /// Takes the denials back.
    pub fn allow(&self, service: &str) {
        locked(&self.0.denied).remove(service);
    }

    /// Tokens issued so far become 401 `invalid_token`; the metadata server makes new ones.
    pub fn invalidate_tokens(&self) {
        self.0.mint.revoke();
    }

    /// Whether new connections get a certificate of another name and authority.
    pub fn wrong_certificate(&self, wrong: bool) {
        self.0.wrong_certificate.store(wrong, Ordering::SeqCst);
    }

    /// Whether new connections are accepted and never spoken to.
    pub fn silent(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::SeqCst);
    }

    /// Whether new connections are closed right after they were accepted.
    pub fn slam(&self, slam: bool) {
        self.0.slam.store(slam, Ordering::SeqCst);
    }

    /// Resets every established connection, as a killed machine does. Returns when
    /// they are gone. Not to be called from the simulation's own thread.
    pub fn cut(&self) {
        self.0.cut.send_modify(|count| *count += 1);
        let begun = Instant::now();
        // After the patience the caller's own assertion fails, which says more.
        while self.0.cut.receiver_count() > 0 && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Opens the gate that a service waits at (`?gate=NAME`), once.
    pub fn open(&self, gate: &str) {
        self.0.gates.open(gate);
    }

    /// Closes (or opens again) the TLS port. Returns when it is so. Established
    /// connections stay. Not to be called from the simulation's own thread.
    pub fn refuse(&self, refuse: bool) {
        let (done, wait) = std::sync::mpsc::channel();
        if self.0.gate.send((refuse, done)).is_ok() {
            // After the patience the caller's own assertion fails, which says more.
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    /// Tells every HTTP/2 connection that no further stream is taken (RFC 9113 §6.8).
    pub fn goaway(&self) {
        self.0.goaway.send_modify(|count| *count += 1);
    }
}

impl Shared {
    /// Whether valid callers may not call `service`.
    pub(crate) fn denies(&self, service: &str) -> bool {
        locked(&self.denied).contains(service)
    }

    fn is_public(&self, address: &Address) -> bool {
        services::is_public(&address.service) || self.options.public.contains(&address.service)
    }

    /// How long a service waits before it answers.
    fn latency(&self, service: &str) -> Duration {
        let slow = self.options.latency.iter().find(|(name, _)| name == service);
        slow.map_or(Duration::ZERO, |(_, time)| *time)
    }

    fn judge(&self, host: &str, fields: &Fields) -> Judgement {
        if google::is_endpoint(host) {
            return Judgement::TokenEndpoint;
        }
        let named = |list: &[String], address: &Address| list.contains(&address.service);
        let known = |address: &Address| {
            let further = named(&self.options.services, address) || self.is_public(address);
            (services::exists(&address.service) || further)
                && !named(&self.options.internal, address)
        };
        match host::parse(host, &self.options).filter(known) {
            None => Judgement::Unknown,
            Some(address) if self.is_public(&address) => Judgement::Service(address, Verdict::Pass),
            Some(address) => {
                let verdict = iam::check(self, &address, fields);
                Judgement::Service(address, verdict)
            }
        }
    }

    /// Records an arrival.
    fn record(&self, arrival: &Arrival, judgement: &Judgement) -> Arc<Mutex<Seen>> {
        let mut seen = seen(arrival);
        if let Judgement::Service(address, verdict) = judgement {
            seen.service.clone_from(&address.service);
            seen.tag.clone_from(&address.tag);
            seen.region.clone_from(&address.region);
            seen.project.clone_from(&address.project);
            seen.verdict =
                if self.is_public(address) { "public".into() } else { verdict.to_string() };
        } else {
            seen.verdict = match judgement {
                Judgement::TokenEndpoint => "token endpoint".into(),
                _ => "unknown host".into(),
            };
        }
        let seen = Arc::new(Mutex::new(seen));
        // What a token endpoint was asked is told by `Google`.
        if !matches!(judgement, Judgement::TokenEndpoint) {
            locked(&self.seen).push(Arc::clone(&seen));
        }
        seen
    }

    pub(crate) fn record_external(&self, arrival: &Arrival, status: u16) {
        let seen = Seen { status, verdict: "external".into(), ..seen(arrival) };
        self.observe(&seen);
        locked(&self.external).push(seen);
    }

    /// Tells the observer of a request whose status is decided.
    pub(crate) fn observe(&self, seen: &Seen) {
        if let Some(observer) = &self.options.observer {
            observer(seen);
        }
    }
}

fn seen(arrival: &Arrival) -> Seen {
    Seen {
        host: arrival.host.clone(),
        scheme: arrival.scheme.to_owned(),
        method: arrival.method.clone(),
        target: arrival.target.clone(),
        protocol: arrival.protocol.to_owned(),
        head: arrival.head.clone(),
        headers: arrival.fields.clone(),
        audience: iam::bearer(&arrival.fields).and_then(crate::token::audience_of),
        ..Seen::default()
    }
}

/// The page that Google's front end shows for an error.
fn page(status: u16, title: &str, text: &str) -> String {
    format!(
        "\n<html><head>\n<meta http-equiv=\"content-type\" content=\"text/html;charset=utf-8\">\n\
         <title>{status} {title}</title>\n</head>\n<body text=#000000 bgcolor=#ffffff>\n\
         <h1>Error: {title}</h1>\n<h2>{text}</h2>\n<h2></h2>\n</body></html>\n"
    )
}

/// The path and query as they stand in a page.
fn asked(call: &Call) -> String {
    let mark = if call.query.is_empty() { "" } else { "?" };
    let target = format!("{}{mark}{}", call.path, call.query);
    let plain = target.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<code>{}</code>", plain.replace('"', "&quot;"))
}

/// Answers one request: refuses it as the platform does, or lets the service answer.
pub(crate) async fn handle(exchange: &mut Exchange<'_>) -> io::Result<()> {
    const CHALLENGE: &str = "Bearer error=\"invalid_token\", \
                             error_description=\"The access token could not be verified\"";
    let html = ("content-type", "text/html; charset=UTF-8");
    if google::is_endpoint(&exchange.call.host) {
        let google = exchange.google().clone();
        return google::run(&google, exchange).await;
    }
    match exchange.verdict {
        Some(Verdict::Pass) => {
            let latency = exchange.latency();
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            services::run(exchange).await
        }
        None => {
            let body =
                page(404, "Page not found", "The requested URL was not found on this server.");
            exchange.full(404, &[html], body.as_bytes()).await
        }
        Some(Verdict::Invalid(_)) => {
            let asked = asked(&exchange.call);
            let text =
                format!("Your client does not have permission to the requested URL {asked}.");
            let fields = [html, ("www-authenticate", CHALLENGE)];
            exchange.full(401, &fields, page(401, "Unauthorized", &text).as_bytes()).await
        }
        // Who says nothing is anybody, and anybody may not call.
        Some(Verdict::NoToken | Verdict::Forbidden) => {
            let asked = asked(&exchange.call);
            let text = format!(
                "Your client does not have permission to get URL {asked} from this server."
            );
            exchange.full(403, &[html], page(403, "Forbidden", &text).as_bytes()).await
        }
    }
}

/// Binds the listener of [`Front::refuse`] again.
async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            // The port is ours; something else has it for a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
