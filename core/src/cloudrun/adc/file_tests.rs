//! Finding and reading credentials files.

use super::*;
use serde_json::json;

fn place(variables: &[(&str, &str)]) -> Place {
    Place::find(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn the_file_is_where_the_environment_or_gcloud_says() {
    let named = place(&[("GOOGLE_APPLICATION_CREDENTIALS", "/a.json"), ("HOME", "/home/x")]);
    assert_eq!((named.path.as_deref(), named.named), (Some(Path::new("/a.json")), true));
    let own = place(&[("CLOUDSDK_CONFIG", "/sdk"), ("HOME", "/home/x")]);
    let file = "/sdk/application_default_credentials.json";
    assert_eq!((own.path.as_deref(), own.named), (Some(Path::new(file)), false));
    let usual = place(&[("HOME", "/home/x")]);
    let file = "/home/x/.config/gcloud/application_default_credentials.json";
    assert_eq!(usual.path.as_deref(), Some(Path::new(file)));
    assert_eq!(place(&[]), Place::default());
}

#[test]
fn no_file_is_no_error_unless_it_is_named() {
    assert!(matches!(place(&[]).read(), Ok(None)));
    let nowhere = place(&[("CLOUDSDK_CONFIG", "/no/such/folder")]);
    assert!(matches!(nowhere.read(), Ok(None)));
    assert!(nowhere.missing().contains("/no/such/folder"), "{}", nowhere.missing());
    for path in ["/no/such/file", "/dev/null", "/"] {
        let error = place(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]).read().err().unwrap();
        assert!(error.contains(path) && error.contains("gcloud auth"), "{error}");
    }
}

fn key() -> Value {
    json!({
        "type": "service_account", "client_email": "a@b", "private_key": "-----sekret",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn acting(source: &Value) -> Value {
    json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url":
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken",
        "source_credentials": source,
    })
}

fn external(source: &Value) -> Value {
    json!({
        "type": "external_account", "audience": "//iam/x", "subject_token_type": "jwt",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
    })
}

fn with(mut document: Value, key: &str, value: impl Into<Value>) -> Value {
    document[key] = value.into();
    document
}

fn error(document: &Value) -> String {
    match parse(&document.to_string()) {
        Ok(_) => panic!("{document} is taken"),
        Err(error) => error,
    }
}

#[test]
fn every_kind_says_who_it_is() {
    let user = json!({
        "type": "authorized_user", "client_id": "x", "client_secret": "s", "refresh_token": "r",
    });
    let file = json!({ "file": "/token" });
    for (document, kind) in [
        (key(), "the key of a@b"),
        (user.clone(), "a user's own login"),
        (acting(&user), "a user's own login, impersonating a@b"),
        (acting(&key()), "the key of a@b, impersonating a@b"),
        (external(&file), "an identity of another provider"),
        (acting(&external(&file)), "an identity of another provider, impersonating a@b"),
    ] {
        assert_eq!(parse(&document.to_string()).unwrap_or_else(|e| panic!("{e}")).kind(), kind);
    }
}

#[test]
fn what_cannot_be_used_says_what_to_do() {
    let twice = acting(&acting(&key()));
    let aws = json!({ "environment_id": "aws1", "region_url": "http://x" });
    let program = json!({ "executable": { "command": "x" } });
    let format = json!({ "file": "/x", "format": { "type": "json" } });
    for (document, part) in [
        (json!({}), "no \"type\""),
        (json!([]), "no \"type\""),
        (json!({ "type": 1 }), "not a text"),
        (json!({ "type": "gdch_service_account" }), "does not know"),
        (with(key(), "universe_domain", "example.com"), "universe \"example.com\""),
        (with(key(), "private_key", Value::Null), "no \"private_key\""),
        (with(key(), "client_email", ""), "no \"client_email\""),
        (with(key(), "token_uri", "https://evil.example/"), "secrets are sent nowhere else"),
        (with(acting(&key()), "source_credentials", Value::Null), "no \"source_credentials\""),
        (with(acting(&key()), "delegates", "x"), "delegates"),
        (with(acting(&key()), "service_account_impersonation_url", "https://x"), "EMAIL"),
        (twice, "\"delegates\""),
        (external(&aws), "AWS"),
        (external(&program), "executable"),
        (external(&json!({})), "--credential-source-file"),
        (external(&format), "subject_token_field_name"),
        (external(&json!({ "url": "http://x", "headers": { "A": "b\r\nC: d" } })), "headers"),
        (external(&json!({ "file": "/x", "format": { "type": "xml" } })), "text or json"),
    ] {
        let error = error(&document);
        assert!(error.contains(part), "{document}: {error}");
        assert!(!error.contains("sekret"), "{error}");
    }
    let torn = parse("{\"type\": \"service_account\", \"private_key\": sekret").err().unwrap();
    assert!(torn.contains("line 1") && !torn.contains("sekret"), "{torn}");
}

#[test]
fn secrets_are_in_no_debug_output() {
    assert_eq!(format!("{:?}", Secret("sekret".to_owned())), "Secret");
}

#[test]
fn a_pipe_is_refused_at_once_and_not_waited_for() {
    let path = std::env::temp_dir().join(format!("runsd-credentials-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let error = read_text(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}
