//! The platform's token endpoints, to which credentials lead that are used
//! elsewhere than on Cloud Run: OAuth, the security token service, and the IAM
//! credentials API.
//!
//! Owns what they accept and the credentials files that fit; asks `token` for
//! identity tokens. The front end hands it the requests to these hosts, tests
//! read and script it through [`Google`].

mod files;
mod iam_credentials;
mod oauth;
mod sts;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;
use ring::signature::{KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use crate::front::exchange::Exchange;
use crate::token::Mint;

pub use files::Login;

/// The hosts that answer here.
const HOSTS: [&str; 3] =
    ["oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"];
/// The key of every simulation's service account. It proves nothing elsewhere: no
/// account anywhere has it.
const KEY: &str = include_str!("service-account.pem");
/// No request here is longer, in bytes.
const LONGEST: usize = 64 << 10;

/// The service account that has the key, and that others act as.
pub const ACCOUNT: &str = "laptop@sim-project.iam.gserviceaccount.com";
/// The account in between, where credentials name a delegate.
pub const DELEGATE: &str = "between@sim-project.iam.gserviceaccount.com";
/// The user who is logged in.
pub const USER: &str = "someone@example.com";

/// Whether `host` (canonical) is a token endpoint.
pub(crate) fn is_endpoint(host: &str) -> bool {
    HOSTS.contains(&host)
}

/// Who has an access token, and what it is good for.
#[derive(Clone)]
struct Grant {
    who: String,
    scope: String,
}

#[derive(Default)]
struct Script {
    calls: Vec<String>,
    grants: HashMap<String, Grant>,
    login_ended: bool,
    key_deleted: bool,
    acting_denied: bool,
    failures: (usize, u16),
}

struct Shared {
    mint: Arc<Mint>,
    /// What the other identity provider says of its user.
    subject: String,
    script: Mutex<Script>,
}

/// A handle on the simulated token endpoints: what they were asked, what they do
/// next.
#[derive(Clone)]
pub struct Google(Arc<Shared>);

/// What an endpoint answers.
struct Reply {
    status: u16,
    body: Value,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// The form of OAuth (RFC 6749 §5.2).
    fn oauth(status: u16, error: &str, description: &str) -> Self {
        Self { status, body: json!({"error": error, "error_description": description}) }
    }

    /// The form of the platform's other APIs.
    fn api(status: u16, name: &str, message: &str) -> Self {
        let error = json!({"code": status, "message": message, "status": name});
        Self { status, body: json!({"error": error}) }
    }
}

impl Google {
    pub(crate) fn new(mint: Arc<Mint>) -> Option<Self> {
        let subject = format!("provider.{}.token", random()?);
        Some(Self(Arc::new(Shared { mint, subject, script: Mutex::default() })))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call so far, each as its host's first word and what it asked for.
    pub fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        self.script().calls.clear();
    }

    /// The token of the other identity provider, as a file or a URL may hold it.
    pub fn subject_token(&self) -> &str {
        &self.0.subject
    }

    /// Whether the user's login has ended.
    pub fn end_login(&self, ended: bool) {
        self.script().login_ended = ended;
    }

    /// Whether the service account's key was deleted.
    pub fn delete_key(&self, deleted: bool) {
        self.script().key_deleted = deleted;
    }

    /// Whether nobody may act as the service account.
    pub fn deny_acting(&self, denied: bool) {
        self.script().acting_denied = denied;
    }

    /// The next `n` calls are answered with `status`.
    pub fn fail_next(&self, n: usize, status: u16) {
        self.script().failures = (n, status);
    }

    /// A new access token of `who`.
    fn grant(&self, who: &str, scope: &str) -> Option<String> {
        let token = format!("ya29.{}", random()?);
        let grant = Grant { who: who.to_owned(), scope: scope.to_owned() };
        self.script().grants.insert(token.clone(), grant);
        Some(token)
    }

    fn note(&self, call: String) {
        self.script().calls.push(call);
    }

    fn next_failure(&self) -> Option<u16> {
        let mut script = self.script();
        if script.failures.0 == 0 {
            return None;
        }
        script.failures.0 -= 1;
        Some(script.failures.1)
    }
}

/// The public key of the service account. Reading the private one takes some
/// milliseconds, which a start has better use for.
fn public_key() -> Option<Vec<u8>> {
    let pem: String = KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).ok()?).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

fn random() -> Option<String> {
    let mut bytes = [0; 24];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Answers a request to one of the hosts.
pub(crate) async fn run(google: &Google, exchange: &mut Exchange<'_>) -> io::Result<()> {
    let mut body = Vec::new();
    while let Some(piece) = exchange.read().await? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST {
            return Err(io::Error::other("the request is too long"));
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let host = exchange.call.host.clone();
    let reply = match (google.next_failure(), host.as_str(), exchange.call.path.as_str()) {
        (Some(status), ..) => Reply::api(status, "UNAVAILABLE", "the simulation was told to fail"),
        (None, "oauth2.googleapis.com", "/token") => oauth::token(google, &body),
        (None, "sts.googleapis.com", "/v1/token") => sts::token(google, &body),
        (None, "iamcredentials.googleapis.com", path) => {
            let bearer = exchange.call.field("authorization").unwrap_or_default();
            let bearer = String::from_utf8_lossy(bearer).into_owned();
            iam_credentials::call(google, path, &bearer, &body)
        }
        _ => Reply::api(404, "NOT_FOUND", "Requested entity was not found."),
    };
    let fields = [("content-type", "application/json; charset=UTF-8")];
    exchange.full(reply.status, &fields, format!("{:#}\n", reply.body).as_bytes()).await
}
