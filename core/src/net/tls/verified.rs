//! Chains of certificates that have just been verified, for a burst of
//! connections to one service: each would verify the same bytes again, which is
//! a quarter of a handshake's computing.
//!
//! What is believed again is the same name with the same certificates, byte by
//! byte, under the same roots, for ten seconds in which none of them ends. The
//! first connection pays for that: its chain is verified for both ends of them.
//! Nothing else is in a verification: there are no revocation lists, and a
//! stapled OCSP response is not looked at. That the peer has the certificate's
//! key is proven in each handshake as before (RFC 8446 §4.4.3). A resumed
//! session, which shows no certificate at all (RFC 8446 §2.2), is believed for
//! longer.

use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{
    verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use futures_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::server::ParsedCertificate;
use futures_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long a chain is believed again, by the wall clock, which goes on
/// while a throttled instance does not run.
const BELIEVED: Duration = Duration::from_secs(10);
/// How many are kept: more services than an app calls in a burst.
const KEPT: usize = 16;
/// In bytes; a longer chain is verified each time. Those of public authorities
/// have 3 to 6 KB.
const LONGEST: usize = 16 * 1024;

/// Verifies as rustls' own verifier does without revocation lists, and remembers
/// for a while what it has agreed to.
pub(super) struct Verified {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
    /// The oldest first.
    recent: Mutex<Vec<Chain>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}

/// What has been verified, and when.
struct Chain {
    name: ServerName<'static>,
    /// The peer's own is the first.
    certificates: Vec<CertificateDer<'static>>,
    since: UnixTime,
}

impl Chain {
    /// A clock that was set back makes it old.
    fn is_recent(&self, now: UnixTime) -> bool {
        self.since <= now && now < after(self.since)
    }

    fn is(&self, name: &ServerName<'_>, own: &[u8], others: &[CertificateDer<'_>]) -> bool {
        self.certificates
            .split_first()
            .is_some_and(|(first, rest)| first.as_ref() == own && rest == others)
            && self.name == *name
    }
}

impl Verified {
    /// Believes what `roots` have signed, by any of `algorithms`.
    pub(super) fn new(roots: RootCertStore, algorithms: WebPkiSupportedAlgorithms) -> Verified {
        Verified { roots, algorithms, recent: Mutex::default() }
    }

    /// The whole of a verification, at the time `at`.
    fn verify(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        at: UnixTime,
    ) -> Result<(), Error> {
        let own = ParsedCertificate::try_from(own)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&own, &self.roots, others, at, algorithms)?;
        verify_server_name(&own, name)
    }

    fn recent(&self) -> MutexGuard<'_, Vec<Chain>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, chain: Chain) {
        let mut recent = self.recent();
        recent.retain(|other| other.is_recent(chain.since));
        if recent.len() >= KEPT {
            recent.remove(0);
        }
        recent.push(chain);
    }
}

/// When what was verified at `since` is verified anew.
fn after(since: UnixTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(since.as_secs()).saturating_add(BELIEVED))
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.recent().iter().any(|chain| chain.is_recent(now) && chain.is(name, own, others)) {
            return Ok(ServerCertVerified::assertion());
        }
        self.verify(own, others, name, now)?;
        let length = own.len() + others.iter().map(|each| each.len()).sum::<usize>();
        // A certificate that is valid now and then is valid all the while.
        if length <= LONGEST && self.verify(own, others, name, after(now)).is_ok() {
            let each = std::iter::once(own).chain(others);
            let certificates = each.map(|each| each.clone().into_owned()).collect();
            self.keep(Chain { name: name.to_owned(), certificates, since: now });
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "verified_tests.rs"]
mod tests;
