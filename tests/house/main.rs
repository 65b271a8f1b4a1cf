//! The house rules, kept by tests: which room may know which, who owns a
//! foreign crate, and how large a file may grow. Every rule is shown a bad
//! specimen too, because a rule that finds nothing may be one that sees nothing.

mod coverage;
mod rules;
mod source;

use rules::{Rule, Violation};
use source::Source;

fn found(rule: Rule, path: &str, text: &str) -> Vec<Violation> {
    rule(&Source::new(path, text))
}

fn whole_tree(rule: Rule) -> Vec<Violation> {
    let tree = Source::tree();
    assert!(tree.len() > 40, "only {} files were read: is this the checkout?", tree.len());
    tree.iter().flat_map(rule).collect()
}

fn clean(rule: Rule) {
    let violations = whole_tree(rule);
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn imports_point_down() {
    clean(rules::imports_point_down);
    let specimen = "use crate::proxy::Proxy;\n";
    assert_eq!(found(rules::imports_point_down, "core/src/dns/zone.rs", specimen).len(), 1);
    assert_eq!(
        found(rules::imports_point_down, "core/src/http1/head.rs", "fn f() { crate::auth::x() }")
            .len(),
        1
    );
    assert_eq!(
        found(
            rules::imports_point_down,
            "core/src/telemetry/mod.rs",
            "use crate::{net, settings};"
        )
        .len(),
        2
    );
    assert_eq!(found(rules::imports_point_down, "core/src/engine/start.rs", specimen).len(), 0);
}

#[test]
fn interfaces_use_the_public_api_alone() {
    clean(rules::interfaces_use_the_public_api_alone);
    let specimen = "use runsd::net::Tcp;\n";
    assert_eq!(
        found(rules::interfaces_use_the_public_api_alone, "ffi/src/lib.rs", specimen).len(),
        1
    );
    assert_eq!(
        found(
            rules::interfaces_use_the_public_api_alone,
            "python/src/lib.rs",
            "use async_std::io;"
        )
        .len(),
        1
    );
    assert_eq!(
        found(rules::interfaces_use_the_public_api_alone, "ffi/src/lib.rs", "use runsd::Engine;")
            .len(),
        0
    );
}

#[test]
fn foreign_crates_have_one_owner() {
    clean(rules::foreign_crates_have_one_owner);
    for (path, specimen) in [
        ("core/src/dns/server.rs", "use async_std::net::UdpSocket;"),
        ("core/src/proxy/pool/h1.rs", "let x = h2::client::handshake(io);"),
        ("core/src/proxy/mod.rs", "use futures_rustls::TlsConnector;"),
        ("core/src/net/dial.rs", "use async_native_tls::TlsConnector;"),
        ("core/src/proxy/mod.rs", "use hickory_proto::op::Message;"),
        ("core/src/auth/cache.rs", "surf::get(url)"),
        ("core/src/engine/mod.rs", "use clap::Arg;"),
    ] {
        assert_eq!(found(rules::foreign_crates_have_one_owner, path, specimen).len(), 1, "{path}");
    }
}

#[test]
fn platform_words_stay_in_their_room() {
    clean(rules::platform_words_stay_in_their_room);
    for specimen in
        ["\"a.run.app\"", "\"169.254.169.254\"", "\"metadata.google.internal\"", "\"us-central1\""]
    {
        let text = format!("const X: &str = {specimen};");
        assert_eq!(
            found(rules::platform_words_stay_in_their_room, "core/src/dns/zone.rs", &text).len(),
            1,
            "{specimen}"
        );
        assert_eq!(
            found(rules::platform_words_stay_in_their_room, "core/src/cloudrun/urls.rs", &text)
                .len(),
            0
        );
    }
}

#[test]
fn rooms_that_wait_ask_a_clock() {
    clean(rules::rooms_that_wait_ask_a_clock);
    for specimen in ["carry(own, SystemTime::now)", "let x = Instant::now();", "begun.elapsed()"] {
        let found = |path| found(rules::rooms_that_wait_ask_a_clock, path, specimen).len();
        assert_eq!(found("core/src/proxy/h1/request.rs"), 1, "{specimen}");
        assert_eq!(found("core/src/net/time.rs"), 0, "{specimen}");
    }
}

#[test]
fn the_environment_is_read_at_the_edge() {
    clean(rules::the_environment_is_read_at_the_edge);
    assert_eq!(
        found(
            rules::the_environment_is_read_at_the_edge,
            "core/src/auth/cache.rs",
            "std::env::var(\"X\")"
        )
        .len(),
        1
    );
}

#[test]
fn unsafe_code_has_its_places() {
    clean(rules::unsafe_code_has_its_places);
    assert_eq!(
        found(rules::unsafe_code_has_its_places, "core/src/net/tcp.rs", "unsafe { x() }").len(),
        1
    );
}

#[test]
fn no_global_runtime_is_started() {
    clean(rules::no_global_runtime_is_started);
    for specimen in [
        "async_std::task::spawn(x)",
        "use async_std::fs;",
        "use async_std::{io, process};",
        "tokio::spawn(x)",
    ] {
        assert_eq!(
            found(rules::no_global_runtime_is_started, "core/src/net/tcp.rs", specimen).len(),
            1,
            "{specimen}"
        );
    }
}

#[test]
fn files_fit_their_reason_to_change() {
    clean(rules::files_are_short);
    let long = "x\n".repeat(501);
    assert_eq!(found(rules::files_are_short, "core/src/dns/zone.rs", &long).len(), 1);
}

#[test]
fn rooms_have_names_that_say_something() {
    clean(rules::names_say_something);
    for path in [
        "core/src/utils.rs",
        "core/src/net/common/mod.rs",
        "ffi/src/helpers.rs",
        "core/src/prelude.rs",
    ] {
        assert_eq!(found(rules::names_say_something, path, "").len(), 1, "{path}");
    }
}

#[test]
fn module_heads_say_what_a_room_owns() {
    clean(rules::modules_have_heads);
    assert_eq!(found(rules::modules_have_heads, "core/src/dns/mod.rs", "mod zone;\n").len(), 1);
}

#[test]
fn nothing_is_left_for_later() {
    clean(rules::nothing_is_left_for_later);
    let marker = ["TO", "DO"].concat();
    assert_eq!(
        found(rules::nothing_is_left_for_later, "core/src/dns/mod.rs", &format!("// {marker}: x"))
            .len(),
        1
    );
}

#[test]
fn functions_fit_a_screen_by_lint() {
    let root = source::root();
    let lints = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(lints.contains("too_many_lines = "), "the lint that bounds functions is off");
    let bound = std::fs::read_to_string(root.join("clippy.toml")).unwrap();
    assert!(bound.contains("too-many-lines-threshold = 60"), "functions may be 60 lines long");
}

#[test]
fn what_is_public_can_be_named() {
    // With this lint no type of a private room, and with the owners above none
    // of a foreign crate's, stands in a public signature.
    let lib = std::fs::read_to_string(source::root().join("core/src/lib.rs")).unwrap();
    assert!(lib.contains("#![deny(unnameable_types)]"), "the lint against leaked types is off");
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = std::fs::read_to_string(source::root().join("tests/COVERAGE.md")).unwrap();
    assert!(coverage::named(&page) > 200, "the page names {} tests", coverage::named(&page));
    assert_eq!(coverage::unknown(&page), Vec::<String>::new());
    let specimen = "| 1 | x | `tests/house/main.rs::imports_point_down`<br>\
                    `tests/house/main.rs::found`<br>`tests/house/main.rs::imports_point`<br>\
                    `tests/house/gone.rs::imports_point_down` | `tests/gone` \
                    `python/tests/test_types.py::test_types` `python/tests/test_types.py::test_type` \
                    `ffi/go/engine_test.go::Example` `ffi/go/engine_test.go::Exampl` |";
    assert_eq!(
        coverage::unknown(specimen),
        [
            "tests/house/main.rs::found",
            "tests/house/main.rs::imports_point",
            "tests/house/gone.rs::imports_point_down",
            "tests/gone",
            "python/tests/test_types.py::test_type",
            "ffi/go/engine_test.go::Exampl"
        ]
    );
}
