//! Application default credentials: whose identity a call carries anywhere but
//! on Cloud Run.
//!
//! It owns the chain: the file that the environment or gcloud names, whatever
//! kind of credentials is in it, and without one the metadata server of the
//! machine. The file is read anew for each token, so that a new login needs no
//! restart; tokens are asked for once an hour. No secret of a file, and no token
//! on the way to another, gets into a message.

mod endpoint;
mod external;
mod file;
mod impersonation;
mod service_account;
mod user;

pub use file::Place as CredentialsPlace;

use self::endpoint::{Calls, Fault, Secret};
use self::external::External;
use self::file::Found;
use self::impersonation::Impersonation;
use self::service_account::ServiceAccount;
use self::user::User;
use super::metadata::{Fault as MetadataFault, Metadata};
use super::token::id_token;
use crate::auth::{IdToken, TokenError, TokenSource};
use crate::control::Client;
use crate::net::{BoxFuture, Clock};
use crate::telemetry::Log;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a metadata server that exists needs to answer: where there is none, who
/// waits is to learn soon what is missing.
const METADATA: Duration = Duration::from_secs(2);

/// How to get credentials on a machine that has none.
pub(super) const LOGIN: &str =
    "gcloud auth application-default login --impersonate-service-account=SERVICE_ACCOUNT_EMAIL";

/// What a credentials file holds.
pub(super) struct Credentials {
    source: Source,
    /// Whose identity the source's own is exchanged for.
    impersonation: Option<Impersonation>,
}

/// Credentials that prove somebody by themselves.
enum Source {
    ServiceAccount(ServiceAccount),
    User(User),
    External(External),
}

impl Credentials {
    async fn id_token(&self, calls: &Calls, audience: &str) -> Result<String, Fault> {
        if let Some(impersonation) = &self.impersonation {
            let own = self.source.access_token(calls).await?;
            return impersonation.id_token(calls, &own, audience).await;
        }
        match &self.source {
            Source::ServiceAccount(account) => account.id_token(calls, audience).await,
            Source::User(user) => user.id_token(calls).await,
            Source::External(_) => Err(external::without_impersonation()),
        }
    }

    /// What kind of credentials it is, for people.
    fn kind(&self) -> String {
        let source = match &self.source {
            Source::ServiceAccount(account) => format!("the key of {}", account.email()),
            Source::User(_) => "a user's own login".to_owned(),
            Source::External(_) => "an identity of another provider".to_owned(),
        };
        match &self.impersonation {
            Some(impersonation) => format!("{source}, impersonating {}", impersonation.email()),
            None => source,
        }
    }

    /// Whether its tokens name one audience whatever is asked for.
    fn has_fixed_audience(&self) -> bool {
        self.impersonation.is_none() && matches!(self.source, Source::User(_))
    }
}

impl Source {
    async fn access_token(&self, calls: &Calls) -> Result<Secret, Fault> {
        match self {
            Source::ServiceAccount(account) => account.access_token(calls).await,
            Source::User(user) => user.access_token(calls).await,
            Source::External(external) => external.access_token(calls).await,
        }
    }
}

/// What a machine's credentials are, without using them.
pub struct LoggedIn {
    /// The file, and what kind of credentials is in it, as half a sentence.
    pub detail: String,
    /// What would be better, where there is something.
    pub advice: Option<String>,
}

impl CredentialsPlace {
    /// Looks at the file. Blocks on it.
    ///
    /// # Errors
    /// What is missing or wrong, and the remedy.
    pub fn look(&self) -> Result<LoggedIn, (String, String)> {
        let Some(found) = self.read().map_err(|cause| split(&cause))? else {
            return Err((self.missing(), format!("log in with: {LOGIN}")));
        };
        let path = found.path.display();
        let credentials = file::parse(&found.text).map_err(|problem| {
            (format!("{path}: {problem}"), format!("log in anew with: {LOGIN}"))
        })?;
        let detail = format!("{path}: {}", credentials.kind());
        let advice = credentials.has_fixed_audience().then(|| {
            format!(
                "its tokens have one audience alone, which services may refuse; act as a service \
                 account instead: {LOGIN}"
            )
        });
        Ok(LoggedIn { detail, advice })
    }
}

/// What happened, and what to do about it.
fn split(cause: &str) -> (String, String) {
    let (what, remedy) = cause.rsplit_once("; ").unwrap_or((cause, LOGIN));
    (what.to_owned(), remedy.to_owned())
}

/// Identity tokens by application default credentials.
pub struct AdcTokens {
    place: CredentialsPlace,
    calls: Calls,
    metadata: Metadata,
    log: Log,
    told: AtomicBool,
}

impl AdcTokens {
    /// The chain over the file at `place`; `metadata` comes last.
    pub fn new(
        place: CredentialsPlace,
        client: Client,
        metadata: &Metadata,
        clock: Arc<dyn Clock>,
        log: Log,
    ) -> AdcTokens {
        AdcTokens {
            place,
            calls: Calls { client, clock },
            metadata: metadata.within(METADATA),
            log,
            told: AtomicBool::new(false),
        }
    }

    async fn by_file(&self, found: Found, audience: &str) -> Result<IdToken, Fault> {
        let of_file = |fault: Fault| fault.of(&found.path);
        let credentials = file::parse(&found.text).map_err(Fault::permanent).map_err(of_file)?;
        if credentials.has_fixed_audience() && !self.told.swap(true, Ordering::Relaxed) {
            self.log.warn(
                "cloudrun",
                format_args!(
                    "{}: a user's own login gives tokens for one audience alone, which a service \
                     may refuse; act as a service account instead: {LOGIN}",
                    found.path.display()
                ),
            );
        }
        let text = credentials.id_token(&self.calls, audience).await.map_err(of_file)?;
        id_token(&text).map_err(Fault::passing).map_err(of_file)
    }

    /// Without a file: a virtual machine or a cluster has a metadata server, a
    /// laptop has not.
    async fn by_metadata(&self, audience: &str) -> Result<IdToken, Fault> {
        match self.metadata.identity(audience).await {
            Ok(text) => id_token(&text).map_err(Fault::passing),
            Err(MetadataFault::Passing(cause)) => Err(Fault::passing(cause)),
            Err(fault) => {
                let missing = self.place.missing();
                // It was given its time; who asks again hears the same at once.
                Err(Fault::permanent(format!("{missing}, and {fault}; log in with: {LOGIN}")))
            }
        }
    }
}

impl TokenSource for AdcTokens {
    fn fetch<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<IdToken, TokenError>> {
        Box::pin(async move {
            let token = match self.place.read() {
                Ok(Some(found)) => self.by_file(found, audience).await,
                Ok(None) => self.by_metadata(audience).await,
                Err(cause) => Err(Fault::permanent(cause)),
            };
            token.map_err(|fault| fault.into_error(audience))
        })
    }

    fn origin(&self) -> String {
        match self.place.read() {
            Ok(Some(found)) => match file::parse(&found.text) {
                Ok(credentials) => format!("{}: {}", found.path.display(), credentials.kind()),
                Err(problem) => format!("{}: {problem}", found.path.display()),
            },
            Ok(None) => {
                format!("{}; the metadata server at {}", self.place.missing(), self.metadata.host())
            }
            Err(cause) => cause,
        }
    }
}
