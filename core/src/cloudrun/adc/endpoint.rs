//! Calls to the token endpoints: where they may go, what they answer, and what
//! of that may be shown.
//!
//! A credentials file says where its secrets are to be sent, and one that comes
//! from elsewhere may say so with bad intent: an external account's file could
//! have any local file sent anywhere. So secrets go to the platform's own hosts
//! alone, over TLS; a test maps those hosts with `--connect-to`.

use super::super::metadata::percent_encoded;
use crate::auth::TokenError;
use crate::control::{CallError, Client, Reply};
use crate::net::Clock;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One call; a request waits 5 s for its token.
const CALL: Duration = Duration::from_secs(4);
/// The platform's hosts end so; one endpoint of old key files does not.
const ZONE: &str = ".googleapis.com";
const OLD_HOST: &str = "accounts.google.com";
/// Longer words of an answer may be part of a token, in characters.
const WORD: usize = 31;
/// What is shown of an answer's own words, in characters.
const SHOWN: usize = 300;

/// A text that no message shows.
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A URL to which secrets may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(String);

impl Endpoint {
    /// Checks the URL that a file gives under `key`.
    pub(super) fn new(key: &str, url: &str) -> Result<Endpoint, String> {
        let refused = || {
            // Shown as what it is: a text of unknown origin.
            format!(
                "its {key:?}, {:?}, is not an https URL below {}: secrets are sent nowhere else",
                url.chars().take(100).collect::<String>(),
                &ZONE[1..]
            )
        };
        // No character that two readers of URLs could take differently.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#?%".contains(&byte);
        let rest = url.strip_prefix("https://").filter(|rest| rest.bytes().all(plain));
        let host = rest.and_then(|rest| rest.split('/').next()).ok_or_else(refused)?;
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_host = host.bytes().all(|byte| sound(byte) || b".-".contains(&byte));
        if is_host && (host.ends_with(ZONE) || host == OLD_HOST) {
            return Ok(Endpoint(url.to_owned()));
        }
        Err(refused())
    }

    /// The URL.
    pub(super) fn url(&self) -> &str {
        &self.0
    }
}

/// Why there is no token.
#[derive(Debug)]
pub(super) struct Fault {
    cause: String,
    permanent: bool,
}

impl Fault {
    /// Asking again cannot help.
    pub(super) fn permanent(cause: String) -> Fault {
        Fault { cause, permanent: true }
    }

    /// Asking again may help.
    pub(super) fn passing(cause: String) -> Fault {
        Fault { cause, permanent: false }
    }

    /// Says which file it is about.
    pub(super) fn of(self, path: &Path) -> Fault {
        Fault { cause: format!("{}: {}", path.display(), self.cause), ..self }
    }

    pub(super) fn into_error(self, audience: &str) -> TokenError {
        let Fault { cause, permanent } = self;
        TokenError { audience: audience.to_owned(), cause, permanent }
    }
}

/// Why an endpoint gave nothing.
#[derive(Debug)]
pub(super) enum CallFault {
    /// No connection, silence, 429, 5xx.
    Passing(String),
    /// Another status.
    Refused(Refused),
}

/// What an endpoint said when it refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    /// Its own code, such as `invalid_grant` or `PERMISSION_DENIED`.
    pub(super) code: String,
    /// Its own words, without anything that might be a secret.
    pub(super) text: String,
}

impl CallFault {
    /// Names what was called, and for a refusal what to do.
    pub(super) fn explain(self, what: &str, remedy: impl FnOnce(&Refused) -> String) -> Fault {
        match self {
            CallFault::Passing(cause) => Fault::passing(format!("{what}: {cause}")),
            CallFault::Refused(refused) => {
                let remedy = remedy(&refused);
                let Refused { status, code, text } = refused;
                let colon = if code.is_empty() || text.is_empty() { "" } else { ": " };
                Fault::permanent(format!(
                    "{what} answered {status} {code}{colon}{}; {remedy}",
                    text.trim_end_matches('.')
                ))
            }
        }
    }
}

/// What the sources call out with.
pub(super) struct Calls {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
}

impl Calls {
    /// Posts a form.
    pub(super) async fn form(
        &self,
        to: &Endpoint,
        authorization: Option<&Secret>,
        fields: &[(&str, &str)],
    ) -> Result<Value, CallFault> {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
            .collect();
        let body = ("application/x-www-form-urlencoded", fields.join("&"));
        self.post(to, authorization, body).await
    }

    /// Posts a JSON document.
    pub(super) async fn json(
        &self,
        to: &Endpoint,
        authorization: &Secret,
        document: &Value,
    ) -> Result<Value, CallFault> {
        self.post(to, Some(authorization), ("application/json", document.to_string())).await
    }

    async fn post(
        &self,
        to: &Endpoint,
        authorization: Option<&Secret>,
        body: (&str, String),
    ) -> Result<Value, CallFault> {
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", value.0.as_str())).collect();
        answer(self.client.post(to.url(), &headers, body, CALL).await)
    }

    /// Gets a document from wherever a file says: nothing secret goes there.
    pub(super) async fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<String, CallFault> {
        let reply = self.client.get(url, headers, CALL).await.map_err(|error| failed(&error))?;
        if reply.status == 200 { Ok(reply.body) } else { Err(refusal(&reply)) }
    }
}

fn failed(error: &CallError) -> CallFault {
    CallFault::Passing(error.to_string())
}

fn answer(reply: Result<Reply, CallError>) -> Result<Value, CallFault> {
    let reply = reply.map_err(|error| failed(&error))?;
    if reply.status != 200 {
        return Err(refusal(&reply));
    }
    serde_json::from_str(&reply.body)
        .map_err(|_| CallFault::Passing("its answer is not JSON".to_owned()))
}

/// The error forms of OAuth (RFC 6749 §5.2) and of the platform's APIs.
fn refusal(reply: &Reply) -> CallFault {
    let document: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let error = document.get("error").unwrap_or(&Value::Null);
    let text = |value: Option<&Value>| shown(value.and_then(Value::as_str).unwrap_or_default());
    let (code, words) = match error {
        Value::String(code) => (shown(code), text(document.get("error_description"))),
        object => (text(object.get("status")), text(object.get("message"))),
    };
    let status = reply.status;
    if status == 429 || status >= 500 {
        return CallFault::Passing(
            format!("answered {status} {code} {words}").trim_end().to_owned(),
        );
    }
    CallFault::Refused(Refused { status, code, text: words })
}

/// An answer's words, fit for a message: on one line, not too many, and none
/// that could be a token.
fn shown(text: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || "_-+=".contains(c);
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().take(SHOWN).chain([' ']) {
        if part_of_word(c) {
            word.push(c);
            continue;
        }
        out.push_str(if word.len() > WORD { "[...]" } else { &word });
        word.clear();
        out.push(if c.is_control() { ' ' } else { c });
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_the_platforms_hosts_over_tls_alone() {
        for good in [
            "https://oauth2.googleapis.com/token",
            "https://accounts.google.com/o/oauth2/token",
            "https://sts.googleapis.com/v1/token",
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/x:generateIdToken",
            "https://sts.us-east4.rep.googleapis.com/v1/token",
        ] {
            assert_eq!(Endpoint::new("token_uri", good).unwrap().url(), good);
        }
        for bad in [
            "http://oauth2.googleapis.com/token",
            "https://evil.example/token",
            "https://googleapis.com.evil.example/token",
            "https://evilgoogleapis.com/token",
            "https://oauth2.googleapis.com@evil.example/",
            "https://evil.example\\.googleapis.com/",
            "https://evil.example#.googleapis.com/",
            "https://evil.example?.googleapis.com/",
            "https://evil.example/.googleapis.com",
            "https://evil.example:443.googleapis.com/",
            "https://oauth2.googleapis.com:8443/token",
            "https://oauth2.google\tapis.com/token",
            "https:oauth2.googleapis.com/token",
            " https://oauth2.googleapis.com/token",
            "https://oauth2.googleapis.com.",
            "https://",
            "",
        ] {
            let error = Endpoint::new("token_uri", bad).unwrap_err();
            assert!(error.contains("token_uri"), "{bad}: {error}");
        }
    }

    #[test]
    fn nothing_that_could_be_a_token_is_shown() {
        let token =
            "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJhIjoxfQ.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl";
        let words = shown(&format!("Invalid assertion {token} for a@b.iam.example\r\nX: y"));
        assert_eq!(words, "Invalid assertion [...].eyJhIjoxfQ.[...] for a@b.iam.example  X: y");
        assert!(shown(&"x ".repeat(1000)).len() <= SHOWN);
    }

    #[test]
    fn both_forms_of_errors_are_read() {
        let reply = |status, body: &str| {
            let body = body.to_owned();
            refusal(&Reply::new(status, body))
        };
        let oauth = reply(400, r#"{"error":"invalid_grant","error_description":"Token expired."}"#);
        let text = oauth.explain("x", |refused| format!("[{}]", refused.code)).cause;
        assert_eq!(text, "x answered 400 invalid_grant: Token expired; [invalid_grant]");
        let api = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}"#;
        let text = reply(403, api).explain("x", |_| "ask".into()).cause;
        assert_eq!(text, "x answered 403 PERMISSION_DENIED: no; ask");
        assert!(reply(404, "<html>").explain("x", |_| "ask".into()).permanent);
        for status in [429, 500, 503] {
            assert!(!reply(status, "").explain("x", |_| "ask".into()).permanent, "{status}");
        }
    }
}
