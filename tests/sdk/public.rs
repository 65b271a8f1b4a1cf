//! The public interface of the crate, as the compiler describes it: documented
//! without a warning, and of types that every program has.

use crate::installed::succeed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// The crates that a description's public items name, but for its own.
fn crates_of_types(described: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for item in described["index"].as_object().into_iter().flat_map(|index| index.values()) {
        let derived = &item["inner"]["impl"];
        // What every type has by itself is not of its making.
        let by_itself = derived["is_synthetic"] == true || !derived["blanket_impl"].is_null();
        if item["crate_id"] == 0 && !by_itself {
            collect(&item["inner"], described, &mut found);
        }
    }
    found
}

fn collect(part: &Value, described: &Value, found: &mut BTreeSet<String>) {
    if let (Some(id), true) = (part["id"].as_u64(), part.get("args").is_some()) {
        let owner = &described["paths"][id.to_string()]["crate_id"];
        if let Some(owner) = owner.as_u64().filter(|owner| *owner != 0) {
            let name = &described["external_crates"][owner.to_string()]["name"];
            found.insert(name.as_str().unwrap_or("?").to_owned());
        }
    }
    match part {
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, described, found)),
        Value::Object(parts) => parts.values().for_each(|part| collect(part, described, found)),
        _ => {}
    }
}

#[test]
fn it_names_no_type_of_a_runtime_or_of_any_other_crate() {
    let root = runsd_tests::root().canonicalize().unwrap();
    let mut cargo = Command::new("cargo");
    cargo.args(["rustdoc", "--package=runsd", "--lib", "--", "-D", "warnings"]).current_dir(&root);
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    cargo.env("CARGO_TARGET_DIR", target);
    succeed(cargo.env("RUSTDOC", root.join("tests/sdk/rustdoc-json")));
    let described = std::fs::read_to_string(target.join("doc/runsd.json")).unwrap();
    let found = crates_of_types(&serde_json::from_str(&described).unwrap());
    let every_program_has: BTreeSet<String> = ["alloc", "core", "std"].map(str::to_owned).into();
    assert_eq!(found, every_program_has);
}

#[test]
fn a_foreign_type_would_be_seen() {
    let returns = |id: u64| {
        json!({"crate_id": 0, "inner": {"function": {"sig": {"output": {"resolved_path":
            {"path": "UdpSocket", "id": id, "args": null}}}}}})
    };
    let described = json!({
        "index": {"1": returns(7), "2": returns(8)},
        "paths": {"7": {"crate_id": 3}, "8": {"crate_id": 0}},
        "external_crates": {"3": {"name": "async_std"}},
    });
    assert_eq!(crates_of_types(&described), BTreeSet::from(["async_std".to_owned()]));
}
