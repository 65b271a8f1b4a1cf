//! Proof of identity: tokens, and the cache that keeps them ready.
//!
//! It owns every token in the process and its life; it does not know where
//! tokens come from (a [`TokenSource`] does) nor how they travel. The proxy
//! asks it once per request, usually for a map read.

mod cache;
mod jitter;
mod jwt;

use crate::net::{BoxFuture, Moment};
use bytes::Bytes;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

pub use cache::TokenCache;
pub use jitter::jittered;
pub use jwt::{base64, base64url, claims};

/// A token that proves the caller to one audience. Its text appears in no log,
/// error or `Debug` output.
pub struct IdToken {
    bearer: Bytes,
    /// The same, checked: none if it cannot stand in a field.
    value: Option<HeaderValue>,
    expires: SystemTime,
    issued: Option<SystemTime>,
    email: Option<String>,
}

impl IdToken {
    /// A token from its text, its expiry by the wall clock and the caller's
    /// email where the token tells it.
    pub fn new(token: &str, expires: SystemTime, email: Option<String>) -> IdToken {
        let bearer = Bytes::from(format!("Bearer {token}"));
        let value = HeaderValue::from_maybe_shared(bearer.clone()).ok();
        IdToken { bearer, value, expires, issued: None, email }
    }

    /// The same token, which says when it was issued.
    pub fn issued_at(self, issued: Option<SystemTime>) -> IdToken {
        IdToken { issued, ..self }
    }

    /// The value of the header field that carries it: `Bearer …`.
    pub fn bearer(&self) -> &[u8] {
        &self.bearer
    }

    /// The same as HTTP/2 takes it, without a copy for each request; `None` if
    /// it has bytes that must not stand in a field.
    pub fn value(&self) -> Option<&HeaderValue> {
        self.value.as_ref()
    }

    /// When it ends, by the wall clock.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// When it was issued, by the issuer's clock, where the token tells it.
    pub fn issued(&self) -> Option<SystemTime> {
        self.issued
    }

    /// Who it proves, where the token tells it.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdToken(secret, expires {:?})", self.expires)
    }
}

/// Why there is no token. Carries no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// For which audience.
    pub audience: String,
    /// What happened and what to do, as a sentence without its full stop.
    pub cause: String,
    /// Whether asking again cannot help.
    pub permanent: bool,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no identity token for {}: {}", self.audience, self.cause)
    }
}

/// The platform's answer to: what proves me to this audience?
pub trait TokenSource: Send + Sync + 'static {
    /// Fetches a token once: no cache, no retry; those are the caller's.
    fn fetch<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<IdToken, TokenError>>;

    /// Where its tokens come from, as half a sentence for people.
    fn origin(&self) -> String;
}

/// The face of the token cache that the proxy sees.
pub trait Tokens: Send + Sync + 'static {
    /// The token for `audience` if it is at hand and good for a while from `at` on,
    /// which is now. Does not block.
    fn ready(&self, audience: &str, at: Moment) -> Option<Arc<IdToken>>;

    /// The token for `audience`, fetched if need be: at most 5 s.
    fn token<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<Arc<IdToken>, TokenError>>;

    /// A service refused `stale` as invalid: fetches again at most once per
    /// audience per 60 s; `None` if there is no other token to try.
    fn renewed<'a>(
        &'a self,
        audience: &'a str,
        stale: &'a IdToken,
    ) -> BoxFuture<'a, Option<Arc<IdToken>>>;

    /// Starts a fetch, so that the token is ready when a request comes.
    fn warm(&self, audience: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_stand_in_a_field_has_no_value() {
        let of = |token| IdToken::new(token, SystemTime::UNIX_EPOCH, None);
        assert_eq!(of("a.b.c").value().unwrap().as_bytes(), of("a.b.c").bearer());
        assert!(of("a\r\nb").value().is_none());
    }
}
