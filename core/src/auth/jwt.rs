//! What a JSON Web Token says of itself (RFC 7519), its signature unchecked:
//! whoever receives it checks that.

use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the platform puts in the place of a signature it has checked.
const REMOVED: &[u8] = b"SIGNATURE_REMOVED_BY_GOOGLE";

/// The payload's claims, if it can be read.
pub fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&decode(payload.as_bytes())?).ok()
}

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

/// Base64url without padding (RFC 4648 §5); padding is tolerated.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn base64url_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("-_8=", &[0xfb, 0xff]),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(decode(b"a+b"), None);
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
