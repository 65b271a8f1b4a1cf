//! An identity of another provider (workload identity federation): a token from a
//! file or a URL, which is exchanged for one of the platform's (RFC 8693).

use super::endpoint::{Calls, Endpoint, Fault, Refused, Secret};
use super::file::read_text;
use super::impersonation::IAM_SCOPE;
use crate::auth::base64;
use serde_json::{Value, json};
use std::path::PathBuf;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An identity of another provider.
pub(super) struct External {
    pub(super) audience: String,
    pub(super) subject_type: String,
    pub(super) token_url: Endpoint,
    pub(super) user_project: Option<String>,
    /// Id and secret of an OAuth client that must vouch.
    pub(super) client: Option<(String, Secret)>,
    pub(super) subject: Subject,
}

/// Where the other provider's token is.
pub(super) struct Subject {
    place: Place,
    /// The key of the token in a JSON document; `None`: the text is the token.
    field: Option<String>,
}

enum Place {
    File(PathBuf),
    Url { url: String, headers: Vec<(String, String)> },
}

/// What an external account needs before a service takes its word.
pub(super) fn without_impersonation() -> Fault {
    Fault::permanent(
        "an external account by itself has no identity token; let it act as a service account: \
         gcloud iam workload-identity-pools create-cred-config ... \
         --service-account=SERVICE_ACCOUNT_EMAIL"
            .to_owned(),
    )
}

impl Subject {
    /// Reads a `credential_source`.
    pub(super) fn new(source: &Value) -> Result<Subject, String> {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let place = match (text("file"), text("url")) {
            (Some(file), _) => Place::File(file.into()),
            (None, Some(url)) => Place::Url { url: url.to_owned(), headers: headers(source)? },
            (None, None) => return Err(other(source)),
        };
        let format = source.get("format").unwrap_or(&Value::Null);
        let of_format = |key: &str| format.get(key).and_then(Value::as_str);
        let field = match of_format("type").unwrap_or("text") {
            "text" => None,
            "json" => {
                let field = of_format("subject_token_field_name");
                Some(field.ok_or("its format json has no \"subject_token_field_name\"")?.to_owned())
            }
            kind => {
                return Err(format!(
                    "its credential_source has the format {kind:?}, not text or json"
                ));
            }
        };
        Ok(Subject { place, field })
    }

    async fn token(&self, calls: &Calls) -> Result<Secret, Fault> {
        let (place, text) = match &self.place {
            Place::File(path) => {
                let place = path.display().to_string();
                let text = read_text(path).map_err(|error| {
                    // Whoever writes it may be about to.
                    Fault::passing(format!(
                        "{place}, the other provider's token, cannot be read: {error}"
                    ))
                })?;
                (place, text)
            }
            Place::Url { url, headers } => {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let asked = calls.get(url, &headers).await;
                let what = "the other provider";
                let text = asked.map_err(|fault| {
                    fault.explain(what, |_| "check its credential_source".to_owned())
                })?;
                (what.to_owned(), text)
            }
        };
        let token = match &self.field {
            None => Some(text.trim().to_owned()),
            Some(field) => serde_json::from_str(&text)
                .ok()
                .and_then(|document: Value| document.get(field)?.as_str().map(str::to_owned)),
        };
        token.filter(|token| !token.is_empty()).map(Secret).ok_or_else(|| {
            let field = self.field.as_deref().unwrap_or("token");
            Fault::passing(format!("{place}: there is no {field} in it"))
        })
    }
}

/// Credentials of a kind that needs code of its own to get.
fn other(source: &Value) -> String {
    let kind = ["environment_id", "executable", "certificate"]
        .into_iter()
        .find(|key| source.get(key).is_some());
    let kind = match kind {
        Some("environment_id") => "AWS",
        Some(kind) => kind,
        None => "unknown",
    };
    format!(
        "its credential_source is of the kind {kind}, and runsd reads a \"file\" or a \"url\" \
         alone: let a program write the provider's token to a file, and make the configuration with \
         gcloud iam workload-identity-pools create-cred-config ... --credential-source-file=FILE"
    )
}

fn headers(source: &Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "the \"headers\" of its credential_source are not texts".to_owned();
    let Some(headers) = source.get("headers").filter(|headers| !headers.is_null()) else {
        return Ok(Vec::new());
    };
    let sound = |text: &str| !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    headers
        .as_object()
        .ok_or_else(wrong)?
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().filter(|value| sound(value) && sound(name));
            Ok((name.clone(), value.ok_or_else(wrong)?.to_owned()))
        })
        .collect()
}

impl External {
    /// A token of the platform's, which may ask for a service account's.
    pub(super) async fn access_token(&self, calls: &Calls) -> Result<Secret, Fault> {
        let subject = self.subject.token(calls).await?;
        let options = self.user_project.as_ref().map(|project| json!({ "userProject": project }));
        let options = options.map(|options| options.to_string());
        let mut fields = vec![
            ("grant_type", GRANT),
            ("audience", &self.audience),
            ("scope", IAM_SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", &subject.0),
            ("subject_token_type", &self.subject_type),
        ];
        fields.extend(options.as_deref().map(|options| ("options", options)));
        let vouching = self.client.as_ref().map(|(id, secret)| {
            Secret(format!("Basic {}", base64(format!("{id}:{}", secret.0).as_bytes())))
        });
        let reply = calls.form(&self.token_url, vouching.as_ref(), &fields).await;
        let reply = reply.map_err(|fault| fault.explain(self.token_url.url(), remedy))?;
        let token = reply.get("access_token").and_then(Value::as_str);
        token.map(|token| Secret(token.to_owned())).ok_or_else(|| {
            Fault::passing(format!("{} answered without an access_token", self.token_url.url()))
        })
    }
}

fn remedy(refused: &Refused) -> String {
    match refused.code.as_str() {
        "invalid_grant" => "the other provider's token has expired, or the pool's provider does not \
                            accept its issuer, audience or attributes: compare them with gcloud iam \
                            workload-identity-pools providers describe"
            .to_owned(),
        _ => "check audience and subject_token_type in the file against the pool's provider".to_owned(),
    }
}
