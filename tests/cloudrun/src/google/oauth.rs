//! OAuth's token endpoint: assertions of a service account, and logins of users.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::files::{CLIENT_ID, CLIENT_SECRET, KEY_ID, REFRESH_TOKEN, TOKEN_URI};
use super::{ACCOUNT, Google, Reply, USER, public_key};
use crate::token::now;
use crate::wire::parameter;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How far the clocks may differ, in seconds.
const SKEW: u64 = 300;

pub(super) fn token(google: &Google, form: &str) -> Reply {
    match parameter(form, "grant_type").as_deref() {
        Some(JWT_BEARER) => assertion(google, &parameter(form, "assertion").unwrap_or_default()),
        Some("refresh_token") => refresh(google, form),
        _ => Reply::oauth(400, "unsupported_grant_type", "Invalid grant_type"),
    }
}

fn assertion(google: &Google, assertion: &str) -> Reply {
    let invalid = |description: &str| Reply::oauth(400, "invalid_grant", description);
    let claims = match verified(google, assertion) {
        Ok(claims) => claims,
        Err(description) => return invalid(description),
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let number = |name: &str| claims.get(name).and_then(Value::as_u64).unwrap_or(0);
    if text("iss") != Some(ACCOUNT) || text("sub") != Some(ACCOUNT) {
        return invalid("Invalid issuer: Not a valid email or user ID.");
    }
    if text("aud") != Some(TOKEN_URI) {
        return invalid("Invalid JWT: Failed audience check.");
    }
    let (issued, ends) = (number("iat"), number("exp"));
    if issued > now() + SKEW || ends <= now() || ends > issued + 3600 {
        return invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
             timeframe. Check your iat and exp values in the JWT claim.",
        );
    }
    match (text("target_audience"), text("scope")) {
        (Some(audience), None) => {
            google.note(format!("oauth2 assertion target_audience={audience}"));
            Reply::ok(json!({"id_token": google.0.mint.token_of(ACCOUNT, audience, true)}))
        }
        (None, Some(scope)) => {
            google.note(format!("oauth2 assertion scope={scope}"));
            access(google, ACCOUNT, scope)
        }
        _ => {
            Reply::oauth(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        }
    }
}

/// The claims of an assertion whose signature is that of the account's key.
fn verified(google: &Google, assertion: &str) -> Result<Value, &'static str> {
    let wrong = "Invalid JWT Signature.";
    let (body, signature) = assertion.rsplit_once('.').ok_or(wrong)?;
    let (header, payload) = body.split_once('.').ok_or(wrong)?;
    let read = |segment: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
    };
    let header = read(header).ok_or(wrong)?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err("Invalid JWT: alg must be RS256.");
    }
    let id = header.get("kid").and_then(Value::as_str);
    if google.script().key_deleted || id != Some(KEY_ID) {
        return Err(wrong);
    }
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key().ok_or(wrong)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong)?;
    key.verify(body.as_bytes(), &signature).map_err(|_| wrong)?;
    read(payload).ok_or(wrong)
}

fn refresh(google: &Google, form: &str) -> Reply {
    let is = |name: &str, value: &str| parameter(form, name).as_deref() == Some(value);
    google.note("oauth2 refresh".to_owned());
    if !is("client_id", CLIENT_ID) || !is("client_secret", CLIENT_SECRET) {
        return Reply::oauth(401, "invalid_client", "The OAuth client was not found.");
    }
    if google.script().login_ended || !is("refresh_token", REFRESH_TOKEN) {
        return Reply::oauth(400, "invalid_grant", "Token has been expired or revoked.");
    }
    let mut reply = access(google, USER, "https://www.googleapis.com/auth/cloud-platform");
    reply.body["id_token"] = google.0.mint.token_of(USER, CLIENT_ID, true).into();
    reply
}

fn access(google: &Google, who: &str, scope: &str) -> Reply {
    match google.grant(who, scope) {
        Some(token) => Reply::ok(
            json!({"access_token": token, "expires_in": 3599, "scope": scope, "token_type": "Bearer"}),
        ),
        None => Reply::oauth(500, "internal_failure", "no random numbers"),
    }
}
