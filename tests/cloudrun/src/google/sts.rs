//! The security token service: a token of another provider for one of the
//! platform's (RFC 8693).

use serde_json::json;

use super::files::{POOL, SUBJECT_TYPE};
use super::{Google, Reply};
use crate::wire::parameter;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Whom the pool's provider makes of the other provider's user.
const PRINCIPAL: &str = "principal:ci";

pub(super) fn token(google: &Google, form: &str) -> Reply {
    let is = |name: &str, value: &str| parameter(form, name).as_deref() == Some(value);
    if !is("grant_type", EXCHANGE) || !is("requested_token_type", ACCESS_TOKEN) {
        return Reply::oauth(400, "invalid_request", "Invalid grant or requested token type.");
    }
    if !is("audience", POOL) {
        return Reply::oauth(
            400,
            "invalid_target",
            "The target service indicated by the \
                             \"audience\" parameters is invalid.",
        );
    }
    if !is("subject_token_type", SUBJECT_TYPE) {
        return Reply::oauth(400, "invalid_request", "Invalid subject_token_type.");
    }
    let scope = parameter(form, "scope").unwrap_or_default();
    google.note(format!("sts exchange scope={scope}"));
    if !is("subject_token", google.subject_token()) {
        return Reply::oauth(400, "invalid_grant", "The ID Token is not issued by the provider.");
    }
    match google.grant(PRINCIPAL, &scope) {
        Some(token) => Reply::ok(json!({
            "access_token": token, "expires_in": 3599, "token_type": "Bearer",
            "issued_token_type": ACCESS_TOKEN,
        })),
        None => Reply::oauth(500, "internal_failure", "no random numbers"),
    }
}
