//! The metadata server: paths, headers, failures.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloudrun_sim::{Options, Sim};

const BASE: &str = "http://169.254.169.254/computeMetadata/v1/";
const FLAVOR: &str = "Metadata-Flavor: Google";

fn curl(sim: &Sim, arguments: &[&str]) -> String {
    let output = sim.command("curl").args(["-sS", "-i"]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn get(sim: &Sim, path: &str) -> String {
    curl(sim, &["-H", FLAVOR, &format!("{BASE}{path}")])
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn every_path_of_the_table_answers() {
    let sim = Sim::start(Options::default()).unwrap();
    sim.metadata().set_email("robot@example.iam.gserviceaccount.com");
    for (path, expected) in [
        ("project/numeric-project-id", "123456789012"),
        ("project/project-id", "sim-project"),
        ("instance/region", "projects/123456789012/regions/us-central1"),
        ("instance/zone", "projects/123456789012/zones/us-central1-1"),
        ("instance/service-accounts/default/email", "robot@example.iam.gserviceaccount.com"),
    ] {
        let answer = get(&sim, path);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n"), "{answer}");
        assert!(answer.contains("Server: Metadata Server for VM\r\n"));
        assert_eq!(body(&answer), expected);
    }
    let access = get(&sim, "instance/service-accounts/default/token");
    assert!(body(&access).contains("\"access_token\""), "{access}");
    assert!(get(&sim, "instance/nothing").starts_with("HTTP/1.1 404 "));
    let no_flavor = curl(&sim, &[&format!("{BASE}instance/region")]);
    assert!(no_flavor.starts_with("HTTP/1.1 403 "));
}

#[test]
fn an_identity_token_has_the_shape_of_googles() {
    let sim = Sim::start(Options::default()).unwrap();
    let path = "instance/service-accounts/default/identity";
    assert!(get(&sim, path).starts_with("HTTP/1.1 400 "));
    let answer = get(&sim, &format!("{path}?audience=https%3A%2F%2Fa.b%2F%3Fx&format=full"));
    let parts: Vec<serde_json::Value> = body(&answer)
        .split('.')
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!((&parts[0]["alg"], &parts[0]["typ"]), (&"RS256".into(), &"JWT".into()));
    assert_eq!(parts[1]["aud"], "https://a.b/?x");
    assert_eq!(parts[1]["iss"], "https://accounts.google.com");
    assert_eq!(parts[1]["email"], sim.options().email);
    let lifetime = parts[1]["exp"].as_u64().unwrap() - parts[1]["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 3600);
    // Shorter than the four minutes before the end: made anew each time it is asked for.
    assert_eq!(sim.metadata().token_fetches(), 2);
    assert_eq!(sim.metadata().calls().len(), 2);
    sim.metadata().clear();
    assert_eq!(sim.metadata().token_fetches(), 0);
}

#[test]
fn failures_are_counted_down() {
    let sim = Sim::start(Options::default()).unwrap();
    sim.metadata().fail_next(2, 503);
    for expected in ["503", "503", "200"] {
        let answer = get(&sim, "instance/region");
        assert_eq!(answer.get(9..12), Some(expected));
        assert!(answer.contains("Metadata-Flavor: Google"));
    }
    sim.metadata().fail_tokens(1, 429);
    assert_eq!(get(&sim, "instance/region").get(9..12), Some("200"));
    let identity = "instance/service-accounts/default/identity?audience=x";
    assert_eq!(get(&sim, identity).get(9..12), Some("429"));
    assert_eq!(get(&sim, identity).get(9..12), Some("200"));
}

#[test]
fn answers_come_late_or_never_as_told() {
    let sim = Sim::start(Options::default()).unwrap();
    sim.metadata().delay(Duration::from_millis(100));
    let begun = Instant::now();
    assert!(get(&sim, "instance/region").starts_with("HTTP/1.1 200 "));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    sim.metadata().silent(true);
    let url = format!("{BASE}instance/region");
    assert!(curl(&sim, &["--max-time", "0.3", "-H", FLAVOR, &url]).contains("(28)"));
}
