//! The credentials file: where it is, and what is in it.

use super::endpoint::{Endpoint, Secret};
use super::external::{External, Subject};
use super::impersonation::Impersonation;
use super::service_account::ServiceAccount;
use super::user::User;
use super::{Credentials, Source};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The variable that names the file.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// Where gcloud writes it, below its own folder.
const FILE: &str = "application_default_credentials.json";
/// The one universe whose services have URLs that runsd knows.
const UNIVERSE: &str = "googleapis.com";
/// No credentials are larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where the credentials are, if there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    path: Option<PathBuf>,
    /// Whether the user names the file, and must hear that it is missing.
    named: bool,
}

/// A file that is there.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Place {
    /// Finds the place in the environment.
    pub fn find(lookup: impl Fn(&str) -> Option<String>) -> Place {
        if let Some(path) = lookup(VARIABLE) {
            return Place { path: Some(path.into()), named: true };
        }
        let folder = lookup("CLOUDSDK_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| Some(Path::new(&lookup("HOME")?).join(".config/gcloud")));
        Place { path: folder.map(|folder| folder.join(FILE)), named: false }
    }

    /// Whether the user names a file.
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// What is not there, as half a sentence.
    pub(super) fn missing(&self) -> String {
        match &self.path {
            Some(path) => {
                format!("there are no credentials: {VARIABLE} is not set, no {}", path.display())
            }
            None => format!("there are no credentials: neither {VARIABLE} nor HOME is set"),
        }
    }

    /// The file; `None` where gcloud has written none. Blocks on a local file.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do, as half a sentence.
    pub(super) fn read(&self) -> Result<Option<Found>, String> {
        let Some(path) = &self.path else { return Ok(None) };
        match read_text(path) {
            Ok(text) => Ok(Some(Found { path: path.clone(), text })),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.named => Ok(None),
            Err(error) => {
                let by =
                    if self.named { format!(", which {VARIABLE} names,") } else { String::new() };
                Err(format!(
                    "{}{by} cannot be read: {error}; name a file that can, or log in with: {}",
                    path.display(),
                    super::LOGIN
                ))
            }
        }
    }
}

/// The text of a regular file: a pipe would make the engine wait, and so would
/// some files that the kernel makes up, such as its own log.
pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST {
        return Err(std::io::Error::new(ErrorKind::InvalidData, "it is over 1 MiB"));
    }
    Ok(text)
}

/// Reads credentials.
///
/// # Errors
/// What is wrong with them and what to do, as half a sentence without a value
/// that may be secret.
pub(super) fn parse(text: &str) -> Result<Credentials, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| {
        // The parser's own words quote the text.
        format!("it is not JSON (line {}, column {})", error.line(), error.column())
    })?;
    let fields = Fields(&document);
    match fields.text("universe_domain")? {
        Some(universe) if universe != UNIVERSE => {
            return Err(format!(
                "it is for the universe {universe:?}, and runsd knows {UNIVERSE} alone: use \
                 credentials of that one"
            ));
        }
        _ => {}
    }
    match fields.required("type")? {
        "impersonated_service_account" => impersonated(&fields),
        "external_account" => {
            let impersonation = fields.text("service_account_impersonation_url")?;
            let impersonation =
                impersonation.map(|url| Impersonation::new(url, Vec::new())).transpose()?;
            Ok(Credentials { source: Source::External(external(&fields)?), impersonation })
        }
        kind => Ok(Credentials { source: source(kind, &fields)?, impersonation: None }),
    }
}

/// Credentials that prove somebody by themselves.
fn source(kind: &str, fields: &Fields<'_>) -> Result<Source, String> {
    match kind {
        "service_account" => {
            let token_uri = fields.required("token_uri")?;
            Ok(Source::ServiceAccount(ServiceAccount {
                email: fields.required("client_email")?.to_owned(),
                key: fields.secret("private_key")?,
                key_id: fields.text("private_key_id")?.map(str::to_owned),
                token_uri: Endpoint::new("token_uri", token_uri)?,
            }))
        }
        "authorized_user" => {
            let token_uri = fields.text("token_uri")?.unwrap_or(super::user::TOKEN_URI);
            Ok(Source::User(User {
                client_id: fields.required("client_id")?.to_owned(),
                client_secret: fields.secret("client_secret")?,
                refresh_token: fields.secret("refresh_token")?,
                token_uri: Endpoint::new("token_uri", token_uri)?,
            }))
        }
        kind => Err(format!(
            "runsd does not know credentials of the type {kind:?}; it knows service_account, \
             impersonated_service_account, external_account and authorized_user. Log in with: {}",
            super::LOGIN
        )),
    }
}

fn impersonated(fields: &Fields<'_>) -> Result<Credentials, String> {
    let own = fields.0.get("source_credentials").filter(|own| own.is_object());
    let own = Fields(own.ok_or_else(|| missing("source_credentials"))?);
    let source = match own.required("type")? {
        "external_account" if own.text("service_account_impersonation_url")?.is_none() => {
            Source::External(external(&own)?)
        }
        kind @ ("impersonated_service_account" | "external_account") => {
            return Err(format!(
                "its source_credentials are of the type {kind:?} and impersonate another account \
                 themselves; name that account among its \"delegates\" instead"
            ));
        }
        kind => source(kind, &own)?,
    };
    let delegates = match fields.0.get("delegates") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => serde_json::from_value(list.clone())
            .map_err(|_| "its \"delegates\" are not a list of texts".to_owned())?,
    };
    let url = fields.required("service_account_impersonation_url")?;
    Ok(Credentials { source, impersonation: Some(Impersonation::new(url, delegates)?) })
}

fn external(fields: &Fields<'_>) -> Result<External, String> {
    let place = fields.0.get("credential_source").unwrap_or(&Value::Null);
    let client = match fields.text("client_id")? {
        Some(id) => Some((id.to_owned(), fields.secret("client_secret")?)),
        None => None,
    };
    Ok(External {
        audience: fields.required("audience")?.to_owned(),
        subject_type: fields.required("subject_token_type")?.to_owned(),
        token_url: Endpoint::new("token_url", fields.required("token_url")?)?,
        user_project: fields.text("workforce_pool_user_project")?.map(str::to_owned),
        client,
        subject: Subject::new(place)?,
    })
}

fn missing(key: &str) -> String {
    format!("it has no {key:?}; was the file cut or edited?")
}

/// The fields of an object.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_str().map(Some).ok_or_else(|| format!("its {key:?} is not a text"))
            }
        }
    }

    fn required(&self, key: &str) -> Result<&'a str, String> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(key))
    }

    fn secret(&self, key: &str) -> Result<Secret, String> {
        self.required(key).map(|text| Secret(text.to_owned()))
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
