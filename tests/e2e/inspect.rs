//! `runsd explain` and `runsd doctor`: what they say is what would happen.

use cloudrun_sim::Options;
use runsd_tests::{Ran, World, runsd, start};
use serde_json::Value;
use std::process::Command;

fn finding(ran: &Ran, what: &str) -> (String, String) {
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    let list = report["findings"].as_array().expect("findings");
    let found = list.iter().find(|finding| finding["what"] == what);
    let found = found.unwrap_or_else(|| panic!("no {what:?} in {}", ran.out));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail") + &text("remedy"))
}

#[test]
fn a_name_is_explained_to_its_end() {
    let world = World::default();
    let ran = world.run_plain(&["explain", "green---hello.us-east1", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    for (what, part) in [
        ("name", "tag \"green\""),
        ("place", "region us-central1, project 123456789012"),
        ("url", "https://green---hello-123456789012.us-east1.run.app"),
        ("audience", "https://hello-123456789012.us-east1.run.app"),
        ("address", "198.18.0.10:443"),
        ("connection", "HTTP/2"),
        ("token", "developer.gserviceaccount.com"),
    ] {
        let (verdict, text) = finding(&ran, what);
        assert!(verdict == "ok" && text.contains(part), "{what}: {text}");
    }
    assert!(!ran.out.contains("eyJ"), "a token is shown: {}", ran.out);
}

#[test]
fn what_is_wrong_with_a_name_is_said() {
    let world = World::default();
    let ran = world.run_plain(&["explain", "hello.us-east1.999999999999", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(finding(&ran, "url").1.contains("--allow-project 999999999999"));
    let ran = world.run_plain(&["explain", "he_llo"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("FAILED"), "{}", ran.out);
}

#[test]
fn the_doctor_finds_what_stands_in_the_way() {
    let world = World::new(Options { deny: vec!["hello".to_owned()], ..Options::default() });
    let before = world.sim.resolv_conf();
    let ran = world.run_plain(&["doctor", "hello", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(finding(&ran, "mode").1, "full mode");
    assert_eq!(finding(&ran, "nameserver").0, "ok");
    let (verdict, text) = finding(&ran, "call");
    assert!(verdict == "warning" && text.contains("roles/run.invoker"), "{text}");
    assert_eq!(world.sim.resolv_conf(), before);
    world.sim.dns().script("*", cloudrun_sim::Behaviour::Silent);
    world.sim.metadata().silent(true);
    let ran = world.run_plain(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(finding(&ran, "nameserver").0, "failure");
    assert!(finding(&ran, "place").1.contains("--region"));
}

#[test]
fn a_laptop_is_told_what_is_missing() {
    let mut doctor = Command::new(runsd());
    let ran = start(doctor.args(["doctor", "--json"]).env_remove("K_SERVICE")).wait();
    assert!(finding(&ran, "platform").1.contains("--route"), "{ran:#?}");
    assert_eq!(finding(&ran, "mode").1, "off mode");
}
