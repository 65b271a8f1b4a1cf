//! Identity tokens: the metadata server hands them out, the front end checks them.
//!
//! Owns the shape of a token and the secret behind its third segment; knows
//! neither server. A simulation's tokens look like Google's and are signed with a
//! secret of that simulation, so that a forged or foreign one is refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// The server hands the same token out again until this long before its end.
const REISSUE_BEFORE: u64 = 4 * 60;
const LIFETIME: u64 = 3600;
const ISSUER: &str = "https://accounts.google.com";
const SUBJECT: &str = "104857600000000000001";

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// For whom it was made.
    pub(crate) audience: String,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not three segments of the right shape.
    Malformed,
    /// The third segment is not this simulation's.
    Forged,
    /// Its time has passed.
    Expired,
    /// It was taken back (`Front::invalidate_tokens`).
    Revoked,
}

struct State {
    generation: u64,
    lifetime: u64,
    email: String,
    issued: HashMap<(String, String, bool), (String, u64)>,
}

/// Makes and checks the tokens of one simulation.
pub(crate) struct Mint {
    key: hmac::Key,
    state: Mutex<State>,
}

impl Mint {
    /// A mint with a fresh secret.
    pub(crate) fn new(email: &str) -> Option<Self> {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).ok()?;
        let state = State {
            generation: 1,
            lifetime: LIFETIME,
            email: email.to_owned(),
            issued: HashMap::new(),
        };
        Some(Self { key, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service account's email.
    pub(crate) fn email(&self) -> String {
        self.state().email.clone()
    }

    /// Changes the email that tokens name from now on.
    pub(crate) fn set_email(&self, email: &str) {
        let mut state = self.state();
        state.email = email.to_owned();
        state.issued.clear();
    }

    /// Changes how long the tokens made from now on live.
    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        let mut state = self.state();
        state.lifetime = lifetime.as_secs();
        state.issued.clear();
    }

    /// Takes every token back that was made so far.
    pub(crate) fn revoke(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.issued.clear();
    }

    /// A token of the instance's account for `audience`; `full` adds the email.
    pub(crate) fn token(&self, audience: &str, full: bool) -> String {
        self.token_of(&self.email(), audience, full)
    }

    /// A token of the account `email` for `audience`; `full` adds the email.
    pub(crate) fn token_of(&self, email: &str, audience: &str, full: bool) -> String {
        let (mut state, now) = (self.state(), now());
        let wanted = (email.to_owned(), audience.to_owned(), full);
        match state.issued.get(&wanted) {
            Some((token, expiry)) if now + REISSUE_BEFORE < *expiry => return token.clone(),
            _ => {}
        }
        let expiry = now + state.lifetime;
        let mut payload = json!({
            "aud": audience, "azp": SUBJECT, "exp": expiry, "iat": now, "iss": ISSUER,
            "sub": SUBJECT,
        });
        if let Some(fields) = payload.as_object_mut().filter(|_| full) {
            fields.insert("email".into(), email.into());
            fields.insert("email_verified".into(), true.into());
        }
        let header = json!({"alg": "RS256", "kid": format!("sim-{}", state.generation),
                            "typ": "JWT"});
        let body = format!("{}.{}", segment(&header), segment(&payload));
        let token = format!("{body}.{}", self.sign(&body));
        state.issued.insert(wanted, (token.clone(), expiry));
        token
    }

    /// As long as an RSA signature, so that sizes are those of real tokens.
    fn sign(&self, body: &str) -> String {
        let tag = hmac::sign(&self.key, body.as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().repeat(8))
    }

    /// What `token` says, if it is one of this simulation's and still valid.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Refusal> {
        let (body, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = body.split_once('.').ok_or(Refusal::Malformed)?;
        let header = decode(header).ok_or(Refusal::Malformed)?;
        let payload = decode(payload).ok_or(Refusal::Malformed)?;
        if signature != self.sign(body) {
            return Err(Refusal::Forged);
        }
        let audience = payload.get("aud").and_then(Value::as_str).ok_or(Refusal::Malformed)?;
        let expiry = payload.get("exp").and_then(Value::as_u64).ok_or(Refusal::Malformed)?;
        if expiry <= now() {
            return Err(Refusal::Expired);
        }
        let current = format!("sim-{}", self.state().generation);
        if header.get("kid").and_then(Value::as_str) != Some(current.as_str()) {
            return Err(Refusal::Revoked);
        }
        Ok(Claims { audience: audience.to_owned() })
    }
}

/// The audience that a token names, checked or not. For reports only.
pub(crate) fn audience_of(token: &str) -> Option<String> {
    let payload = decode(token.split('.').nth(1)?)?;
    payload.get("aud").and_then(Value::as_str).map(str::to_owned)
}

fn segment(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(segment: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
