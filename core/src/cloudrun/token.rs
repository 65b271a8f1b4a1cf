//! Sources of identity tokens on Cloud Run.

use super::metadata::Metadata;
use crate::auth::{IdToken, TokenError, TokenSource};
use crate::net::BoxFuture;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a token lives when it does not say so itself.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Tokens of the instance's own service account.
#[derive(Clone, Debug)]
pub struct MetadataTokens(pub Metadata);

/// One token for every audience, given by the user.
pub struct FixedToken(pub String);

impl TokenSource for MetadataTokens {
    fn fetch<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<IdToken, TokenError>> {
        Box::pin(async move {
            match self.0.identity(audience).await {
                Ok(text) => id_token(&text).map_err(|cause| error(audience, cause, false)),
                Err(fault) => Err(error(audience, fault.to_string(), fault.is_final())),
            }
        })
    }

    fn origin(&self) -> String {
        format!("the metadata server at {}", self.0.host())
    }
}

impl TokenSource for FixedToken {
    fn fetch<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<IdToken, TokenError>> {
        Box::pin(async move {
            id_token(&self.0).map_err(|cause| {
                error(audience, format!("CLOUD_RUN_ID_TOKEN is not a token: {cause}"), true)
            })
        })
    }

    fn origin(&self) -> String {
        "the variable CLOUD_RUN_ID_TOKEN, for every audience".to_owned()
    }
}

fn error(audience: &str, cause: String, permanent: bool) -> TokenError {
    TokenError { audience: audience.to_owned(), cause, permanent }
}

/// Reads expiry and email from the payload. The signature is the receiver's to
/// check; a token whose payload cannot be read is used for an hour.
pub(super) fn id_token(text: &str) -> Result<IdToken, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b)) {
        return Err("the answer is not a JSON Web Token".to_owned());
    }
    let claims = crate::auth::claims(text);
    let claim = |name: &str| claims.as_ref().and_then(|claims| claims.get(name));
    let time = |name: &str| {
        let seconds = claim(name).and_then(Value::as_u64)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    let email = claim("email").and_then(Value::as_str).map(str::to_owned);
    let expires = time("exp").unwrap_or_else(|| SystemTime::now() + LIFETIME);
    Ok(IdToken::new(text, expires, email).issued_at(time("iat")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_and_email_are_read_from_the_payload() {
        // {"exp":1700000000,"email":"a@b.c"}
        let token = id_token("e30.eyJleHAiOjE3MDAwMDAwMDAsImVtYWlsIjoiYUBiLmMifQ.c2ln").unwrap();
        assert_eq!(token.expires(), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(token.email(), Some("a@b.c"));
    }

    #[test]
    fn what_could_break_a_header_is_no_token() {
        for bad in ["", "<html>", "a\r\nX: y", "a b"] {
            assert!(id_token(bad).is_err(), "{bad:?}");
        }
        assert!(id_token("opaque").unwrap().expires() > SystemTime::now());
    }
}
