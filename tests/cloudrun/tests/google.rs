//! The token endpoints: what is signed, scoped and sent right is taken, and
//! nothing else.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cloudrun_sim::google::{ACCOUNT, USER};
use cloudrun_sim::{Login, Options, Sim};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

const TOKEN: &str = "https://oauth2.googleapis.com/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Posts with curl; the status and the document that came.
fn post(sim: &Sim, url: &str, arguments: &[&str]) -> (u16, Value) {
    let mut command = sim.command("curl");
    let output = command.args(["-sS", "-w", "\n%{http_code}"]).args(arguments).arg(url).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let (body, status) = output.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Posts a form.
fn form(sim: &Sim, url: &str, fields: &[(&str, &str)]) -> (u16, Value) {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments: Vec<&str> =
        fields.iter().flat_map(|field| ["--data-urlencode", field.as_str()]).collect();
    post(sim, url, &arguments)
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn key(sim: &Sim) -> Value {
    sim.google().credentials(Login::Key, Path::new("")).unwrap()
}

/// Claims that are taken.
fn claims() -> Value {
    json!({
        "iss": ACCOUNT, "sub": ACCOUNT, "aud": TOKEN, "iat": now(), "exp": now() + 3600,
        "target_audience": "https://x",
    })
}

fn assertion(key: &Value, claims: &Value) -> String {
    let pem = key["private_key"].as_str().unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key["private_key_id"]});
    let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = format!("{}.{}", segment(&header), segment(claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), body.as_bytes(), &mut signature).unwrap();
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn present(sim: &Sim, assertion: &str) -> (u16, Value) {
    form(sim, TOKEN, &[("grant_type", JWT_BEARER), ("assertion", assertion)])
}

#[test]
fn an_assertion_is_checked_to_the_bit() {
    let sim = Sim::start(Options::default()).unwrap();
    let key = key(&sim);
    let good = assertion(&key, &claims());
    let (status, answer) = present(&sim, &good);
    assert_eq!(status, 200, "{answer}");
    let payload = answer["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!((&payload["aud"], &payload["email"]), (&"https://x".into(), &ACCOUNT.into()));
    // One bit of the signature, then one claim without a new signature.
    let (body, signature) = good.rsplit_once('.').unwrap();
    let mut bits = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bits[100] ^= 1;
    let bent = format!("{body}.{}", URL_SAFE_NO_PAD.encode(bits));
    let (header, _) = body.split_once('.').unwrap();
    let other = json!({"iss": ACCOUNT, "target_audience": "https://other"});
    let swapped = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.to_string()));
    for bad in [bent, swapped, String::new(), "a.b.c".to_owned(), "a.b".to_owned()] {
        let (status, answer) = present(&sim, &bad);
        assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into()), "{bad}");
    }
    for (claim, value) in [
        ("iss", json!("other@sim-project.iam.gserviceaccount.com")),
        ("sub", json!(USER)),
        ("aud", json!("https://example.com/token")),
        ("exp", json!(now() - 1)),
        ("exp", json!(now() + 7200)),
        ("iat", json!(now() + 3600)),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        let (status, answer) = present(&sim, &assertion(&key, &claims));
        assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into()), "{claim}");
    }
    sim.google().delete_key(true);
    assert_eq!(present(&sim, &good).0, 400);
}

#[test]
fn a_login_is_its_client_its_secret_and_its_token() {
    let sim = Sim::start(Options::default()).unwrap();
    let user = sim.google().credentials(Login::User, Path::new("")).unwrap();
    let text = |name: &str| user[name].as_str().unwrap().to_owned();
    let names = ["client_id", "client_secret", "refresh_token"];
    for spoilt in [None, Some(0), Some(1), Some(2)] {
        let mut values = names.map(text);
        spoilt.into_iter().for_each(|at: usize| values[at].push('x'));
        let mut fields = vec![("grant_type", "refresh_token")];
        fields.extend(names.into_iter().zip(values.iter().map(String::as_str)));
        let (status, answer) = form(&sim, TOKEN, &fields);
        match spoilt {
            None => assert!(answer["id_token"].is_string() && answer["access_token"].is_string()),
            Some(2) => assert_eq!((status, &answer["error"]), (400, &"invalid_grant".into())),
            Some(_) => assert_eq!((status, &answer["error"]), (401, &"invalid_client".into())),
        }
    }
    assert_eq!(form(&sim, TOKEN, &[("grant_type", "password")]).0, 400);
}

#[test]
fn who_may_act_as_an_account_is_checked() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = |account: &str| {
        format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}\
             :generateIdToken"
        )
    };
    let granted = |scope: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove("target_audience");
        claims["scope"] = scope.into();
        let (_, answer) = present(&sim, &assertion(&key(&sim), &claims));
        format!("Authorization: Bearer {}", answer["access_token"].as_str().unwrap())
    };
    let right = granted("https://www.googleapis.com/auth/iam");
    let small = granted("https://www.googleapis.com/auth/devstorage.read_only");
    let wish = r#"{"audience":"https://x","includeEmail":true}"#;
    for (bearer, account, body, expected) in [
        (right.as_str(), ACCOUNT, wish, 200),
        ("X: y", ACCOUNT, wish, 401),
        ("Authorization: Bearer ya29.made-up", ACCOUNT, wish, 401),
        (small.as_str(), ACCOUNT, wish, 403),
        (right.as_str(), "nobody@sim-project.iam.gserviceaccount.com", wish, 404),
        (right.as_str(), ACCOUNT, "{}", 400),
        (right.as_str(), ACCOUNT, r#"{"audience":"https://x","delegates":["a"]}"#, 403),
    ] {
        let arguments = ["-H", bearer, "-H", "Content-Type: application/json", "-d", body];
        let (status, answer) = post(&sim, &url(account), &arguments);
        assert_eq!(status, expected, "{account} {body}: {answer}");
        assert_eq!(answer["token"].is_string(), expected == 200, "{answer}");
    }
}

#[test]
fn another_providers_token_must_be_the_providers() {
    let sim = Sim::start(Options::default()).unwrap();
    let file = sim.google().credentials(Login::External, Path::new("/x")).unwrap();
    let subject = sim.google().subject_token().to_owned();
    let right = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", file["audience"].as_str().unwrap()),
        ("subject_token_type", file["subject_token_type"].as_str().unwrap()),
        ("subject_token", &subject),
        ("scope", "https://www.googleapis.com/auth/iam"),
    ];
    let url = file["token_url"].as_str().unwrap();
    assert_eq!(form(&sim, url, &right).0, 200);
    for spoilt in 0..5 {
        let mut fields = right;
        fields[spoilt].1 = "other";
        let (status, answer) = form(&sim, url, &fields);
        assert!(status == 400 && answer["error"].is_string(), "{spoilt}: {answer}");
    }
    sim.google().fail_next(1, 503);
    assert_eq!(form(&sim, url, &right).0, 503);
    assert_eq!(form(&sim, url, &right).0, 200);
}

#[test]
fn a_laptop_has_nothing_of_cloud_run() {
    for (login, file) in [(Login::None, false), (Login::Impersonated, true)] {
        let sim = Sim::start(Options { laptop: Some(login), ..Options::default() }).unwrap();
        let script = "echo ${K_SERVICE-none} ${PORT-none}; \
                      test -f $HOME/.config/gcloud/application_default_credentials.json; echo $?; \
                      curl -sS http://169.254.169.254/ 2>/dev/null; echo $?";
        let output = sim.command("sh").args(["-c", script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["none none", if file { "0" } else { "1" }]);
        assert_ne!(lines[2], "0", "a metadata server answers");
        let home = sim.environment().into_iter().find(|(name, _)| name == "HOME").unwrap().1;
        assert!(std::fs::exists(&home).unwrap());
        drop(sim);
        assert!(!std::fs::exists(&home).unwrap(), "it is left behind");
    }
}
