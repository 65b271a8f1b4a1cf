//! Credentials files that fit the endpoints.

use std::path::Path;

use serde_json::{Value, json};

use super::{ACCOUNT, DELEGATE, Google, KEY};

pub(super) const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
pub(super) const KEY_ID: &str = "5a1d0000000000000000000000000000000051b1";
/// The OAuth client of `gcloud auth application-default login` has such a name.
pub(super) const CLIENT_ID: &str = "764086000000-simulated.apps.googleusercontent.com";
pub(super) const CLIENT_SECRET: &str = "d-SIMULATED-CLIENT-SECRET";
pub(super) const REFRESH_TOKEN: &str = "1//0e-SIMULATED-REFRESH-TOKEN-THAT-IS-LONG";
pub(super) const SUBJECT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(super) const POOL: &str = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/ci/providers/ci";

/// How somebody is logged in on a machine that is not Cloud Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    None,
    /// With the key of a service account.
    Key,
    /// As a user.
    User,
    /// As a user who acts as a service account.
    Impersonated,
    /// With a token of another identity provider, who acts as a service account.
    External,
}

impl Google {
    /// The credentials file of a login; `subject` holds the other provider's token.
    /// `None` where nobody is logged in.
    pub fn credentials(&self, login: Login, subject: &Path) -> Option<Value> {
        match login {
            Login::None => None,
            Login::Key => Some(key()),
            Login::User => Some(user()),
            Login::Impersonated => Some(impersonated(&user())),
            Login::External => Some(external(subject)),
        }
    }

    /// Credentials with which the key's account acts as itself, by a delegate.
    pub fn impersonated_by_key(&self) -> Value {
        impersonated(&key())
    }
}

fn acting_url() -> String {
    format!(
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}\
         :generateAccessToken"
    )
}

fn key() -> Value {
    json!({
        "type": "service_account",
        "project_id": "sim-project",
        "private_key_id": KEY_ID,
        "private_key": KEY,
        "client_email": ACCOUNT,
        "client_id": "104857600000000000002",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": TOKEN_URI,
        "universe_domain": "googleapis.com",
    })
}

fn user() -> Value {
    json!({
        "type": "authorized_user",
        "account": "",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
        "universe_domain": "googleapis.com",
    })
}

fn impersonated(source: &Value) -> Value {
    json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": acting_url(),
        "delegates": [format!("projects/-/serviceAccounts/{DELEGATE}")],
        "source_credentials": source,
    })
}

fn external(subject: &Path) -> Value {
    json!({
        "type": "external_account",
        "universe_domain": "googleapis.com",
        "audience": POOL,
        "subject_token_type": SUBJECT_TYPE,
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": acting_url(),
        "credential_source": {"file": subject, "format": {"type": "text"}},
    })
}
