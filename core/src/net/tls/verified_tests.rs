//! What is believed again, and what is verified anew.

use super::*;
use futures_rustls::rustls::CertificateError;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use std::sync::atomic::{AtomicUsize, Ordering};

type Issuer = CertifiedIssuer<'static, KeyPair>;
/// Whether it is accepted, and how many signatures were verified for that.
type Outcome = (Result<(), Error>, usize);

/// When the certificates end: 2030-01-01T00:00:00Z.
const END: u64 = 1_893_456_000;
const HOST: &str = "hello.example";
/// The signatures of a verification: one below the authority, and the peer's own.
const ONCE: usize = 2;

/// The real algorithm, which counts how often it is used.
#[derive(Debug)]
struct Counting(&'static dyn SignatureVerificationAlgorithm, AtomicUsize);

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }
}

/// An authority that is trusted, one below it, and the verifier.
struct World {
    middle: Issuer,
    counting: &'static Counting,
    verified: Verified,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl World {
    fn new() -> World {
        let root = Issuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let middle =
            Issuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let algorithms = ring::default_provider().signature_verification_algorithms;
        // The first is what keys are made for here, ECDSA over P-256 with SHA-256.
        let counting = Box::leak(Box::new(Counting(algorithms.all[0], AtomicUsize::new(0))));
        let all = Box::leak(Box::new([counting as &dyn SignatureVerificationAlgorithm]));
        let algorithms = WebPkiSupportedAlgorithms { all, ..algorithms };
        World { middle, counting, verified: Verified::new(roots, algorithms) }
    }

    /// A chain for `names`, which ends at [`END`].
    fn chain(&self, names: &[&str]) -> Vec<CertificateDer<'static>> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(2030, 1, 1);
        let own = params.signed_by(&KeyPair::generate().unwrap(), &self.middle).unwrap();
        vec![own.der().clone(), self.middle.der().clone()]
    }

    /// What becomes of the chain so many seconds before its end.
    fn verify(&self, chain: &[CertificateDer<'_>], host: &str, left: u64) -> Outcome {
        self.verify_at(chain, host, END - left)
    }

    fn verify_at(&self, chain: &[CertificateDer<'_>], host: &str, now: u64) -> Outcome {
        let before = self.counting.1.load(Ordering::Relaxed);
        let name = ServerName::try_from(host).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let (own, others) = chain.split_first().unwrap();
        let result = self.verified.verify_server_cert(own, others, &name, &[], now);
        (result.map(|_| ()), self.counting.1.load(Ordering::Relaxed) - before)
    }
}

#[test]
fn a_chain_is_believed_for_ten_seconds_and_verified_anew_after_them() {
    let world = World::new();
    let chain = world.chain(&[HOST]);
    // At the first time, for now and for the end of the ten seconds.
    assert_eq!(world.verify(&chain, HOST, 100), (Ok(()), 2 * ONCE));
    for left in [100, 95, 91] {
        assert_eq!(world.verify(&chain, HOST, left), (Ok(()), 0), "{left} s before the end");
    }
    assert_eq!(world.verify(&chain, "HELLO.example", 91), (Ok(()), 0), "letters have no case");
    assert_eq!(world.verify(&chain, HOST, 90), (Ok(()), 2 * ONCE));
    assert_eq!(world.verify(&chain, HOST, 81), (Ok(()), 0));
    // A clock that was set back.
    assert_eq!(world.verify(&chain, HOST, 200), (Ok(()), 2 * ONCE));
}

#[test]
fn nothing_is_believed_beyond_its_end() {
    let world = World::new();
    let chain = world.chain(&[HOST]);
    // It would end among the ten seconds: verified each time.
    for left in [9, 5, 0] {
        assert_eq!(world.verify(&chain, HOST, left), (Ok(()), ONCE), "{left} s before the end");
    }
    assert_eq!(world.verify(&chain, HOST, 10), (Ok(()), 2 * ONCE));
    assert_eq!(world.verify(&chain, HOST, 1), (Ok(()), 0));
    let (refused, asked) = world.verify_at(&chain, HOST, END + 1);
    assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{refused:?}");
    assert_eq!(asked, 0, "an end is seen before any signature");
}

#[test]
fn another_name_is_verified_anew() {
    let world = World::new();
    let chain = world.chain(&[HOST, "other.example"]);
    assert_eq!(world.verify(&chain, HOST, 100), (Ok(()), 2 * ONCE));
    assert_eq!(world.verify(&chain, "other.example", 100), (Ok(()), 2 * ONCE));
    let (refused, asked) = world.verify(&chain, "stranger.example", 100);
    assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{refused:?}");
    assert_eq!(asked, ONCE);
    // A refusal is not remembered, and takes nothing away.
    assert_eq!(world.verify(&chain, "stranger.example", 100).1, ONCE);
    assert_eq!(world.verify(&chain, HOST, 100), (Ok(()), 0));
}

#[test]
fn a_chain_that_differs_in_a_byte_is_verified_anew() {
    let world = World::new();
    let chain = world.chain(&[HOST]);
    assert_eq!(world.verify(&chain, HOST, 100), (Ok(()), 2 * ONCE));
    for at in 0..chain.len() {
        let mut altered = chain.clone();
        let mut bytes = altered[at].to_vec();
        // The last of the signature.
        *bytes.last_mut().unwrap() ^= 1;
        altered[at] = bytes.into();
        let (refused, asked) = world.verify(&altered, HOST, 100);
        assert!(refused.is_err(), "certificate {at}");
        assert!(asked > 0, "certificate {at}");
    }
    // Another certificate for the same name, which nobody has signed who is trusted.
    let strange = World::new().chain(&[HOST]);
    let (refused, _) = world.verify(&strange, HOST, 100);
    assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::BadSignature)));
    // The trusted one alone, and with one more behind it.
    assert!(world.verify(&chain[..1], HOST, 100).0.is_err());
    let longer = [&chain[..], &strange[..]].concat();
    assert_eq!(world.verify(&longer, HOST, 100), (Ok(()), 2 * ONCE));
}

#[test]
fn what_is_kept_is_bounded() {
    let world = World::new();
    let names = (0..=KEPT).map(|at| format!("s{at}.example")).collect::<Vec<_>>();
    let chain = world.chain(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        assert_eq!(world.verify(&chain, name, 100), (Ok(()), 2 * ONCE));
    }
    assert_eq!(world.verified.recent().len(), KEPT);
    assert_eq!(world.verify(&chain, &names[1], 100), (Ok(()), 0));
    assert_eq!(world.verify(&chain, &names[0], 100), (Ok(()), 2 * ONCE), "the oldest has gone");
    // A long chain is verified each time.
    let mut long = chain.clone();
    while long.iter().map(|each| each.len()).sum::<usize>() <= LONGEST {
        long.push(chain[1].clone());
    }
    assert_eq!(world.verify(&long, &names[2], 100), (Ok(()), ONCE));
    assert_eq!(world.verify(&long, &names[2], 100), (Ok(()), ONCE));
    // What has grown old makes room.
    assert_eq!(world.verify(&chain, &names[0], 50), (Ok(()), 2 * ONCE));
    assert_eq!(world.verified.recent().len(), 1);
}
