//! Where the trusted certificates come from: `--ca-file`, else `SSL_CERT_FILE`
//! and `SSL_CERT_DIR` or the system's, else, with rustls, the set of Mozilla
//! that is built in.

use std::path::PathBuf;

/// What the user says of the trusted certificates.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// A PEM file that replaces every other source.
    pub file: Option<PathBuf>,
    /// Whether `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, which replace the
    /// system's own places.
    pub by_environment: bool,
}

/// What is wrong with a file that could be read.
pub(super) const NO_CERTIFICATE: &str = "it holds no certificate that can be used";

/// Where they are when the environment says so.
pub(super) const NAMED: &str = "where SSL_CERT_FILE and SSL_CERT_DIR say";
