//! A user's own login: a refresh token, which is exchanged for others (RFC 6749
//! §6). The identity token that comes along names the OAuth client as audience.

use super::LOGIN;
use super::endpoint::{CallFault, Calls, Endpoint, Fault, Refused, Secret};
use serde_json::Value;

/// The endpoint of files that name none.
pub(super) const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// A user's login.
pub(super) struct User {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_uri: Endpoint,
}

impl User {
    /// The identity token, for the one audience that it has.
    pub(super) async fn id_token(&self, calls: &Calls) -> Result<String, Fault> {
        self.refresh(calls, "id_token").await
    }

    /// A token of the user's own rights.
    pub(super) async fn access_token(&self, calls: &Calls) -> Result<Secret, Fault> {
        self.refresh(calls, "access_token").await.map(Secret)
    }

    async fn refresh(&self, calls: &Calls, wanted: &str) -> Result<String, Fault> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret.0),
            ("refresh_token", &self.refresh_token.0),
        ];
        let reply = calls.form(&self.token_uri, None, &fields).await;
        let reply = reply.map_err(|fault| self.explain(fault))?;
        reply.get(wanted).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Fault::permanent(format!(
                "this login gives no {wanted}, because it was made for other scopes; log in again \
                 with: {LOGIN}"
            ))
        })
    }

    fn explain(&self, fault: CallFault) -> Fault {
        fault.explain(self.token_uri.url(), |Refused { code, .. }| {
            let what = match code.as_str() {
                "invalid_grant" => "the login has expired or was revoked",
                _ => "the login is not accepted",
            };
            format!("{what}; log in again with: {LOGIN}")
        })
    }
}
