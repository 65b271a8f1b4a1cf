//! Why a simulation could not start.

use std::{fmt, io};

/// Why a simulation could not start. Its text says what failed and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The machine does not let this process create namespaces.
    NoNamespaces(io::Error),
    /// A step of building the instance failed.
    Setup {
        /// What was being done.
        step: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A certificate could not be made.
    Certificate(String),
    /// An option has a value that cannot work.
    Option(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNamespaces(cause) => write!(
                out,
                "this machine does not let this user create namespaces ({cause}): \
                 run as root, or use the loopback mode (--loopback)"
            ),
            Self::Setup { step, cause } => write!(out, "{step}: {cause}"),
            Self::Certificate(cause) => write!(out, "making a certificate: {cause}"),
            Self::Option(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoNamespaces(cause) | Self::Setup { cause, .. } => Some(cause),
            Self::Certificate(_) | Self::Option(_) => None,
        }
    }
}

/// Names the step in which an I/O error happened.
pub(crate) trait Step<T> {
    fn step(self, text: impl Into<String>) -> Result<T, Error>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, text: impl Into<String>) -> Result<T, Error> {
        self.map_err(|cause| Error::Setup { step: text.into(), cause })
    }
}
