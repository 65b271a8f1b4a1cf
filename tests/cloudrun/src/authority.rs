//! The certificate authority of a simulation, and the stores that trust it.
//!
//! Owns keys and certificates; knows neither sockets nor which names exist.
//! `front::tls` asks for certificates, `namespace` and `sim` for trust.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::crypto::ring::sign::any_ecdsa_type;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::error::Error;

const COMMON_NAME: &str = "cloudrun-sim authority";
/// The bundles of the usual distributions, below `/etc`.
const BUNDLES: [&str; 4] = [
    "ssl/certs/ca-certificates.crt",
    "pki/tls/certs/ca-bundle.crt",
    "ssl/ca-bundle.pem",
    "ssl/cert.pem",
];

/// One authority with the certificates that it has issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    pem: String,
}

impl Authority {
    /// Makes a new authority with a key of its own (ECDSA P-256).
    pub(crate) fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
        let key = KeyPair::generate().map_err(refused)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(refused)?;
        let pem = issuer.pem();
        Ok(Self { issuer, issued: Mutex::default(), pem })
    }

    /// The authority's own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `host`, the same one each time.
    pub(crate) fn certificate(&self, host: &str) -> Result<Arc<CertifiedKey>, Error> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = issued.get(host) {
            return Ok(Arc::clone(known));
        }
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(refused)?;
        params.distinguished_name.remove(DnType::CommonName);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(refused)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(refused)?;
        let signer = any_ecdsa_type(&private).map_err(refused)?;
        let made = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer));
        issued.insert(host.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Certificate(error.to_string())
}

/// The name of the link by which OpenSSL finds the authority in a directory: the
/// start of the SHA-1 of the subject's canonical form, which is the sequence
/// without its own header, values as UTF-8, lower case, single spaces.
pub(crate) fn openssl_link() -> String {
    let value = COMMON_NAME.as_bytes();
    // Every length here is below 128 and fits one byte.
    let length = |inner: usize| u8::try_from(inner).unwrap_or(u8::MAX);
    let mut name = vec![0x31, length(value.len() + 9), 0x30, length(value.len() + 7)];
    name.extend_from_slice(&[0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, length(value.len())]);
    name.extend_from_slice(value);
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &name);
    let first: u32 =
        digest.as_ref().iter().take(4).rev().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    format!("{first:08x}.0")
}

/// Adds the authority to every certificate bundle below `etc` (made, where none
/// exists) and to the directory that OpenSSL looks in.
pub(crate) fn trust_in(etc: &Path, pem: &str, link: &str) -> io::Result<()> {
    let directory = etc.join("ssl/certs");
    fs::create_dir_all(&directory)?;
    if !directory.canonicalize()?.starts_with(etc) {
        // Writing there would change the machine.
        return Err(io::Error::other("the certificates of this machine lie outside /etc"));
    }
    let found: Vec<PathBuf> =
        BUNDLES.iter().map(|name| etc.join(name)).filter(|path| path.exists()).collect();
    if found.is_empty() {
        fs::write(directory.join("ca-certificates.crt"), pem)?;
    }
    for path in found {
        let bundle = fs::read_to_string(&path)?;
        if bundle.contains(pem) {
            continue; // a link to a bundle that was already done
        }
        // A new file: the old one may be a link that leads out of this tree.
        fs::remove_file(&path)?;
        fs::write(&path, format!("{}\n{pem}", bundle.trim_end()))?;
    }
    fs::write(directory.join(link), pem)
}

/// The machine's trusted certificates and the authority, as one bundle.
pub(crate) fn bundle_with(pem: &str) -> String {
    let etc = Path::new("/etc");
    let system = BUNDLES.iter().find_map(|name| fs::read_to_string(etc.join(name)).ok());
    format!("{}{pem}", system.unwrap_or_default())
}
