//! Signing with an RSA key, checked by a library that the backend is not made of.

use super::sign_rs256;
use std::io::Write;
use std::process::{Command, Stdio};

/// The key of the simulated platform's service account.
const KEY: &str = include_str!("../../../../tests/cloudrun/src/google/service-account.pem");

/// Runs `openssl` with these arguments and this input, which must succeed.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

#[test]
fn a_signature_is_what_another_library_makes_of_it() {
    let folder = std::env::temp_dir().join(format!("runsd-signing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("key.pem");
    std::fs::write(&file, KEY).unwrap();
    let theirs = openssl(&["dgst", "-sha256", "-sign", file.to_str().unwrap()], b"header.claims");
    // PKCS #1 v1.5 has no randomness: there is one signature.
    assert_eq!(sign_rs256(KEY, b"header.claims"), Some(theirs));
    // The older form of the same key.
    let older = openssl(&["rsa", "-traditional"], KEY.as_bytes());
    let older = String::from_utf8(older).unwrap();
    assert!(older.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "{older}");
    assert_eq!(sign_rs256(&older, b"x"), sign_rs256(KEY, b"x"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_no_rsa_key_signs_nothing() {
    let curve =
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"");
    let locked = openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], KEY.as_bytes());
    for bad in [&b""[..], b"text", &curve, &locked, b"-----BEGIN PRIVATE KEY-----\nAAAA\n"] {
        assert_eq!(sign_rs256(&String::from_utf8_lossy(bad), b"x"), None);
    }
}
