//! A service account's key: it signs an assertion, which is exchanged for a token
//! (RFC 7523, with the platform's `target_audience`).

use super::endpoint::{CallFault, Calls, Endpoint, Fault, Refused, Secret};
use super::impersonation::IAM_SCOPE;
use crate::auth::base64url;
use crate::net::sign_rs256;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long an assertion may be used, in seconds: the longest that is accepted.
const LIFETIME: u64 = 3600;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The key of a service account.
pub(super) struct ServiceAccount {
    pub(super) email: String,
    pub(super) key: Secret,
    pub(super) key_id: Option<String>,
    pub(super) token_uri: Endpoint,
}

impl ServiceAccount {
    pub(super) fn email(&self) -> &str {
        &self.email
    }

    /// An identity token for `audience`.
    pub(super) async fn id_token(&self, calls: &Calls, audience: &str) -> Result<String, Fault> {
        self.grant(calls, ("target_audience", audience), "id_token").await
    }

    /// A token that may ask for another account's identity, and nothing else.
    pub(super) async fn access_token(&self, calls: &Calls) -> Result<Secret, Fault> {
        self.grant(calls, ("scope", IAM_SCOPE), "access_token").await.map(Secret)
    }

    async fn grant(
        &self,
        calls: &Calls,
        wish: (&str, &str),
        wanted: &str,
    ) -> Result<String, Fault> {
        let assertion = self.assertion(wish, calls.clock.wall())?;
        let fields = [("grant_type", GRANT), ("assertion", &assertion.0)];
        let reply = calls.form(&self.token_uri, None, &fields).await;
        let reply = reply.map_err(|fault| self.explain(fault))?;
        reply.get(wanted).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Fault::passing(format!("{} answered without an {wanted}", self.token_uri.url()))
        })
    }

    /// What the account asks for, signed by its key.
    fn assertion(&self, (name, value): (&str, &str), now: SystemTime) -> Result<Secret, Fault> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let mut claims = json!({
            "iss": self.email,
            "sub": self.email,
            "aud": self.token_uri.url(),
            "iat": now,
            "exp": now + LIFETIME,
        });
        claims[name] = value.into();
        let segment = |value: &Value| base64url(value.to_string().as_bytes());
        let body = format!("{}.{}", segment(&header), segment(&claims));
        let signature = sign_rs256(&self.key.0, body.as_bytes()).ok_or_else(|| {
            Fault::permanent(
                "its \"private_key\" is not an RSA key in PEM form; was the file edited?"
                    .to_owned(),
            )
        })?;
        Ok(Secret(format!("{body}.{}", base64url(&signature))))
    }

    fn explain(&self, fault: CallFault) -> Fault {
        fault.explain(self.token_uri.url(), |Refused { code, .. }| match code.as_str() {
            "invalid_grant" => format!(
                "either the key of {0} was deleted or disabled (make another: gcloud iam \
                 service-accounts keys create FILE --iam-account={0}), or this machine's clock is \
                 wrong",
                self.email
            ),
            _ => format!("does the service account {} still exist, and is it enabled?", self.email),
        })
    }
}
