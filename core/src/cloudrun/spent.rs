//! Tokens that have served: Cloud Run hands the one that it has checked on to
//! the container, which may forward it with its other inbound fields.

use crate::auth::claims;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the platform puts in the place of a signature it has checked.
const REMOVED: &[u8] = b"SIGNATURE_REMOVED_BY_GOOGLE";

/// Whether the value of a header field carries a token that no service would
/// take: no signature, or past its end.
pub fn is_spent(value: &[u8], now: SystemTime) -> bool {
    let token = match value.split_first_chunk::<7>() {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => return false,
    };
    let mut segments = token.split(|byte| *byte == b'.');
    let (Some(_), Some(_)) = (segments.next(), segments.next()) else { return false };
    let signature = segments.next().unwrap_or_default();
    if signature.is_empty() || signature == REMOVED {
        return true;
    }
    std::str::from_utf8(token)
        .ok()
        .and_then(claims)
        .and_then(|claims| claims.get("exp").and_then(Value::as_u64))
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_inbound_copy_without_a_signature_is_spent() {
        // {"exp":2000}
        let payload = "eyJleHAiOjIwMDB9";
        for (value, spent) in [
            (format!("Bearer a.{payload}.SIGNATURE_REMOVED_BY_GOOGLE"), true),
            (format!("bearer a.{payload}."), true),
            (format!("Bearer a.{payload}"), true),
            (format!("Bearer a.{payload}.sig"), false),
            ("Bearer opaque".to_owned(), false),
            ("Basic a.b.".to_owned(), false),
        ] {
            assert_eq!(is_spent(value.as_bytes(), at(1999)), spent, "{value}");
        }
        assert!(is_spent(format!("Bearer a.{payload}.sig").as_bytes(), at(2000)));
    }
}
