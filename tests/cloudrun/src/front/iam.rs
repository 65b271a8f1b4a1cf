//! Who may call: the check that Cloud Run makes before a service sees a request.

use super::Shared;
use super::host::{self, Address};
use crate::token::Refusal;
use crate::wire::{Fields, field};

/// The name of the field that is checked alone where it is present.
pub(crate) const OWN_FIELD: &str = "x-serverless-authorization";
/// What the platform leaves in the place of a token's third segment.
const REMOVED: &str = "SIGNATURE_REMOVED_BY_GOOGLE";

/// The outcome of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The caller may call.
    Pass,
    /// No bearer token at all: 403, as for a caller who may not call.
    NoToken,
    /// A token that proves nothing: 401 `invalid_token`.
    Invalid(Reason),
    /// A valid token of a caller who may not call: 403.
    Forbidden,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Token(Refusal),
    Audience,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Pass => "token ok",
            Self::NoToken => "no token",
            Self::Invalid(Reason::Audience) => "token for another audience",
            Self::Invalid(Reason::Token(Refusal::Malformed)) => "token malformed",
            Self::Invalid(Reason::Token(Refusal::Forged)) => "token forged",
            Self::Invalid(Reason::Token(Refusal::Expired)) => "token expired",
            Self::Invalid(Reason::Token(Refusal::Revoked)) => "token revoked",
            Self::Forbidden => "caller not allowed",
        })
    }
}

/// The token that the platform would check.
pub(crate) fn bearer(fields: &Fields) -> Option<&str> {
    let value = field(fields, OWN_FIELD).or_else(|| field(fields, "authorization"))?;
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Checks a call of a private service.
pub(crate) fn check(shared: &Shared, address: &Address, fields: &Fields) -> Verdict {
    let Some(token) = bearer(fields) else { return Verdict::NoToken };
    match shared.mint.verify(token) {
        Err(refusal) => Verdict::Invalid(Reason::Token(refusal)),
        Ok(claims) if !host::is_audience(&claims.audience, address, &shared.options) => {
            Verdict::Invalid(Reason::Audience)
        }
        Ok(_) if shared.denies(&address.service) => Verdict::Forbidden,
        Ok(_) => Verdict::Pass,
    }
}

/// Takes the signature out of the platform's own field, as the service gets it:
/// in the fields, and in the bytes of an HTTP/1 head.
pub(crate) fn strip_signature(fields: &mut Fields, head: &mut Vec<u8>) {
    for (name, value) in fields {
        if !name.eq_ignore_ascii_case(OWN_FIELD) {
            continue;
        }
        let Some(at) = value.iter().rposition(|byte| *byte == b'.') else { continue };
        let old = value.clone();
        value.truncate(at + 1);
        value.extend_from_slice(REMOVED.as_bytes());
        replace(head, &old, value);
    }
}

/// Replaces `old` in lines that begin with the platform's own field.
fn replace(head: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let own = |line: &[u8]| {
        line.get(..OWN_FIELD.len()).is_some_and(|n| n.eq_ignore_ascii_case(OWN_FIELD.as_bytes()))
    };
    let mut out = Vec::with_capacity(head.len() + REMOVED.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let at = line.windows(old.len().max(1)).position(|window| window == old);
        match at.filter(|_| own(line)).and_then(|at| line.split_at_checked(at)) {
            Some((before, rest)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(new);
                out.extend_from_slice(rest.get(old.len()..).unwrap_or_default());
            }
            None => out.extend_from_slice(line),
        }
    }
    *head = out;
}
