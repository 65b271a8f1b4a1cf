//! Acting as a service account: its identity token, in exchange for the right to
//! ask for it.

use super::endpoint::{Calls, Endpoint, Fault, Refused, Secret};
use serde_json::{Value, json};

/// The right to ask for another account's tokens, and no other.
pub(super) const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// Whom to act as.
#[derive(Debug)]
pub(super) struct Impersonation {
    endpoint: Endpoint,
    email: String,
    /// Accounts on the way, each of which may act as the next.
    delegates: Vec<String>,
}

impl Impersonation {
    /// Reads the URL that files give, which is that of access tokens.
    pub(super) fn new(url: &str, delegates: Vec<String>) -> Result<Impersonation, String> {
        const KEY: &str = "service_account_impersonation_url";
        let base = url
            .strip_suffix(":generateAccessToken")
            .or_else(|| url.strip_suffix(":generateIdToken"));
        let email = base.and_then(|base| base.rsplit_once("/serviceAccounts/"));
        let (Some(base), Some((_, email))) = (base, email) else {
            return Err(format!(
                "its {KEY:?} does not end in /serviceAccounts/EMAIL:generateAccessToken"
            ));
        };
        let endpoint = Endpoint::new(KEY, &format!("{base}:generateIdToken"))?;
        Ok(Impersonation { endpoint, email: email.to_owned(), delegates })
    }

    /// The account.
    pub(super) fn email(&self) -> &str {
        &self.email
    }

    /// The account's identity token for `audience`, by the right of `own`.
    pub(super) async fn id_token(
        &self,
        calls: &Calls,
        own: &Secret,
        audience: &str,
    ) -> Result<String, Fault> {
        let wish = json!({
            "audience": audience,
            "includeEmail": true,
            "delegates": self.delegates,
        });
        let authorization = Secret(format!("Bearer {}", own.0));
        let reply = calls.json(&self.endpoint, &authorization, &wish).await;
        let reply =
            reply.map_err(|fault| fault.explain(self.endpoint.url(), |r| self.remedy(r)))?;
        reply.get("token").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Fault::passing(format!("{} answered without a token", self.endpoint.url()))
        })
    }

    fn remedy(&self, refused: &Refused) -> String {
        let email = &self.email;
        match refused.status {
            403 if refused.text.contains("has not been used") => {
                "enable that API: gcloud services enable iamcredentials.googleapis.com".to_owned()
            }
            403 => format!(
                "grant who is logged in the right to act as it: gcloud iam service-accounts \
                 add-iam-policy-binding {email} --role=roles/iam.serviceAccountOpenIdTokenCreator \
                 --member=user:YOU"
            ),
            404 => format!("is there a service account {email}?"),
            401 => format!("log in again with: {}", super::LOGIN),
            _ => format!("check the account {email} and its delegates in the file"),
        }
    }
}
