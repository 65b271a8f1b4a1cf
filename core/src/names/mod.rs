//! Names: what an app may type for a service, and where that leads.
//!
//! It owns the name grammar and the values that name resolution yields; it
//! does no I/O and does not know any platform's addresses. The proxy and the
//! engine call it; a platform implements [`Directory`].

mod grammar;
mod route;

use crate::net::BoxFuture;
use std::fmt;
use std::sync::Arc;

pub(crate) use grammar::normal;
pub use grammar::{Grammar, Kind, Name, is_project_number, is_region};
pub use route::Route;

/// Where a host that an app typed leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the app typed: lower-case, without port and final dot.
    pub name: String,
    /// The host to connect to, lower-case, without port.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The value of `Host` or `:authority` for the service: the host, with the
    /// port where it is not the scheme's own.
    pub authority: String,
    /// The audience of the token to send; `None`: send no token.
    pub audience: Option<Arc<str>>,
}

/// Why a host leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It breaks a rule of the grammar.
    Name {
        /// What the app typed.
        host: String,
        /// The rule, as half a sentence.
        rule: String,
    },
    /// A word that is never a service, such as `localhost`.
    Reserved {
        /// What the app typed.
        host: String,
    },
    /// It is in a project whose services may not be called.
    Project {
        /// What the app typed.
        host: String,
        /// The project's number.
        project: String,
    },
    /// The list of services that may be called does not name it.
    NotAllowed {
        /// What the app typed.
        host: String,
    },
    /// Not known yet where we are; [`Directory::settled`] tells when.
    Unsettled {
        /// What the app typed.
        host: String,
        /// What is missing and why, as half a sentence.
        missing: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Name { host, rule } => {
                write!(f, "{host:?} is not the name of a service: {rule}")
            }
            Refusal::Reserved { host } => {
                write!(f, "{host:?} is reserved and never a service; call it without the proxy")
            }
            Refusal::Project { host, project } => write!(
                f,
                "{host:?} is in project {project}, which is not our own; if its services are to \
                 receive this service's identity, allow it with --allow-project {project}"
            ),
            Refusal::NotAllowed { host } => write!(
                f,
                "{host:?} is not in the list of services that may be called; add it with --allow"
            ),
            Refusal::Unsettled { host, missing } => write!(f, "cannot map {host:?} yet: {missing}"),
        }
    }
}

/// The platform's answer to: where does this host lead?
pub trait Directory: Send + Sync + 'static {
    /// Maps a host, as the app typed it, without its port. Does not block.
    ///
    /// # Errors
    /// Every [`Refusal`].
    fn target(&self, host: &str) -> Result<Arc<Target>, Refusal>;

    /// Ends when [`Refusal::Unsettled`] is no longer the answer; a caller
    /// bounds the wait.
    fn settled(&self) -> BoxFuture<'_, ()>;
}
