//! The metadata server: one call at a time, its answers checked.

use super::METADATA_ADDRESS;
use crate::control::{CallError, Client, Reply};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

/// One call; a slow server is asked again rather than waited for.
const CALL: Duration = Duration::from_secs(4);

/// Why the metadata server gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may answer if asked again: 429, 5xx.
    Passing(String),
    /// No connection, or silence: there may be none, or none yet.
    Unreachable(String),
    /// It will not: 4xx.
    Refused(String),
    /// Something answered that is not the metadata server.
    Stranger(String),
    /// The same, and it never will be: it does not even speak the protocol.
    OtherProtocol(String),
}

impl Fault {
    /// Whether asking again is of no use before somebody has changed something.
    pub fn is_final(&self) -> bool {
        matches!(self, Fault::Refused(_) | Fault::OtherProtocol(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fault::Passing(text)
        | Fault::Unreachable(text)
        | Fault::Refused(text)
        | Fault::Stranger(text)
        | Fault::OtherProtocol(text)) = self;
        f.write_str(text)
    }
}

/// A client of the metadata server.
#[derive(Clone, Debug)]
pub struct Metadata {
    client: Client,
    host: String,
    limit: Duration,
}

impl Metadata {
    /// A client of the server at `host`, `HOST[:PORT]`; `None`: the platform's.
    pub fn new(client: Client, host: Option<&str>) -> Metadata {
        let host = host.map_or_else(|| METADATA_ADDRESS.to_string(), str::to_owned);
        Metadata { client, host, limit: CALL }
    }

    /// The same server, of which an answer is awaited for `limit`.
    pub fn within(&self, limit: Duration) -> Metadata {
        Metadata { limit, ..self.clone() }
    }

    /// Where it is: `HOST[:PORT]`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The region: `projects/N/regions/REGION`, or that of the zone.
    ///
    /// # Errors
    /// The [`Fault`] of the first path, unless it is refused and the second answers.
    pub async fn region(&self) -> Result<String, Fault> {
        match self.text("instance/region").await {
            Err(Fault::Refused(_)) => {
                let zone = self.text("instance/zone").await?;
                let name = last(&zone);
                Ok(name.rsplit_once('-').map_or(name, |(region, _)| region).to_owned())
            }
            answer => answer.map(|text| last(&text).to_owned()),
        }
    }

    /// The project's number.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn project_number(&self) -> Result<String, Fault> {
        self.text("project/numeric-project-id").await
    }

    /// The project's id, which names its traces.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn project_id(&self) -> Result<String, Fault> {
        self.text("project/project-id").await
    }

    /// An identity token for `audience`, as it came.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn identity(&self, audience: &str) -> Result<String, Fault> {
        let audience = percent_encoded(audience);
        self.text(&format!(
            "instance/service-accounts/default/identity?audience={audience}&format=full"
        ))
        .await
    }

    /// What time it is there, as [`Reply::date`] tells.
    ///
    /// # Errors
    /// Every [`Fault`].
    pub async fn clock(&self) -> Result<Option<SystemTime>, Fault> {
        self.ask("project/numeric-project-id").await.map(|reply| reply.date())
    }

    async fn text(&self, path: &str) -> Result<String, Fault> {
        self.ask(path).await.map(|reply| reply.body.trim().to_owned())
    }

    async fn ask(&self, path: &str) -> Result<Reply, Fault> {
        let url = format!("http://{}/computeMetadata/v1/{path}", self.host);
        let called = self.client.get(&url, &[("Metadata-Flavor", "Google")], self.limit).await;
        let at = format!("the metadata server at {}", self.host);
        let reply = called.map_err(|error| match error {
            CallError::Url(_) => Fault::Refused(format!("{at}: {error}")),
            CallError::Failed(_) | CallError::Timeout(_) => {
                Fault::Unreachable(format!("{at} cannot be reached: {error}"))
            }
            CallError::OnlyHttp2 => Fault::OtherProtocol(format!(
                "what answers at {} is not the metadata server: {error}, and that speaks \
                 HTTP/1.1; correct --metadata-host or the variable GCE_METADATA_HOST",
                self.host
            )),
        })?;
        if reply.header("metadata-flavor") != Some("Google") {
            return Err(Fault::Stranger(format!(
                "what answers at {} is not the metadata server: its reply has no Metadata-Flavor",
                self.host
            )));
        }
        let short: String = reply.body.chars().filter(|c| !c.is_control()).take(200).collect();
        match reply.status {
            200 => Ok(reply),
            status @ (429 | 500..) => {
                Err(Fault::Passing(format!("{at} answered {status}: {short}")))
            }
            status => Err(Fault::Refused(format!("{at} answered {status}: {short}"))),
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_encoded_whole() {
        assert_eq!(percent_encoded("https://a.b/?c=d&e"), "https%3A%2F%2Fa.b%2F%3Fc%3Dd%26e");
        assert_eq!(percent_encoded("é"), "%C3%A9");
    }

    #[test]
    fn paths_end_in_what_is_meant() {
        assert_eq!(last("projects/12/regions/us-east1"), "us-east1");
        assert_eq!(last("us-east1"), "us-east1");
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod exchanges;
