//! Where the token goes, by what the app has put into its request.
//!
//! Cloud Run looks at `X-Serverless-Authorization` first and at `Authorization`
//! only without it, and hands the former on to the container with its signature
//! removed; an app that forwards its inbound fields would forward that.

use crate::cloudrun::is_spent;
use std::time::SystemTime;

/// The field that carries our token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    /// None: the app has brought a token of its own.
    Nothing,
    /// `Authorization`, which the app does not use.
    Authorization,
    /// `X-Serverless-Authorization`, because `Authorization` is the app's, or
    /// in the place of a copy that no service would take.
    Serverless,
}

/// The name of that field on HTTP/1.1.
pub(super) const AUTHORIZATION: &[u8] = b"Authorization";
/// The name of the platform's own field on HTTP/1.1.
pub(super) const SERVERLESS: &[u8] = b"X-Serverless-Authorization";

/// Decides; `serverless` is the app's `X-Serverless-Authorization`, if any. For
/// [`Carry::Serverless`] such a copy must be left out.
pub(super) fn carry(
    has_authorization: bool,
    serverless: Option<&[u8]>,
    now: impl FnOnce() -> SystemTime,
) -> Carry {
    match serverless {
        Some(value) if is_spent(value, now()) => Carry::Serverless,
        Some(_) => Carry::Nothing,
        None if has_authorization => Carry::Serverless,
        None => Carry::Authorization,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apps_own_fields_stay_and_dead_copies_go() {
        let decide = |own, serverless: Option<&str>| {
            carry(own, serverless.map(str::as_bytes), SystemTime::now)
        };
        assert_eq!(decide(false, None), Carry::Authorization);
        assert_eq!(decide(true, None), Carry::Serverless);
        assert_eq!(decide(false, Some("Bearer a.e30.sig")), Carry::Nothing);
        assert_eq!(decide(true, Some("Bearer a.e30.sig")), Carry::Nothing);
        let dead = "Bearer a.e30.";
        assert_eq!(decide(false, Some(dead)), Carry::Serverless);
        assert_eq!(decide(true, Some(dead)), Carry::Serverless);
    }
}
