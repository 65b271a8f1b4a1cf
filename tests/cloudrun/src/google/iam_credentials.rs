//! The IAM credentials API: a service account's identity token, for who may act
//! as it.

use serde_json::{Value, json};

use super::{ACCOUNT, DELEGATE, Google, Reply};

/// The scopes that permit the call.
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/iam", "https://www.googleapis.com/auth/cloud-platform"];

pub(super) fn call(google: &Google, path: &str, authorization: &str, body: &str) -> Reply {
    let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
    let Some(grant) = google.script().grants.get(token).cloned() else {
        return Reply::api(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        );
    };
    if !grant.scope.split(' ').any(|scope| SCOPES.contains(&scope)) {
        return Reply::api(
            403,
            "PERMISSION_DENIED",
            "Request had insufficient authentication scopes.",
        );
    }
    let account = path
        .strip_prefix("/v1/projects/-/serviceAccounts/")
        .and_then(|rest| rest.strip_suffix(":generateIdToken"));
    let wish: Value = serde_json::from_str(body).unwrap_or_default();
    let audience = wish.get("audience").and_then(Value::as_str).unwrap_or_default();
    let (Some(account), false) = (account, audience.is_empty()) else {
        return Reply::api(400, "INVALID_ARGUMENT", "Request contains an invalid argument.");
    };
    google.note(format!("iamcredentials generateIdToken {account} audience={audience}"));
    if account != ACCOUNT {
        return Reply::api(404, "NOT_FOUND", "Not found; Gaia id not found for email");
    }
    let delegates: Vec<&str> = wish
        .get("delegates")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let delegate = format!("projects/-/serviceAccounts/{DELEGATE}");
    let known = delegates.iter().all(|one| *one == delegate);
    if google.script().acting_denied || !known {
        return Reply::api(
            403,
            "PERMISSION_DENIED",
            "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not \
             exist).",
        );
    }
    let email = wish.get("includeEmail") == Some(&Value::Bool(true));
    let who = &grant.who;
    google.note(format!("{who} acts as {account} by {} delegates", delegates.len()));
    Reply::ok(json!({"token": google.0.mint.token_of(ACCOUNT, audience, email)}))
}
