//! The committed header is the one that the source says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

use std::path::Path;

#[test]
fn the_committed_header_is_generated_from_the_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bindings = cbindgen::generate(here).expect("the source must be readable for cbindgen");
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    let generated = String::from_utf8(generated).expect("a header is text");
    let path = here.join("../include/runsd.h");
    if std::env::var_os("RUNSD_WRITE_HEADER").is_some() {
        std::fs::write(&path, &generated).expect("include/ must be writable");
    }
    let committed = std::fs::read_to_string(&path).expect("include/runsd.h must exist");
    assert_eq!(committed, generated, "run: RUNSD_WRITE_HEADER=1 cargo test -p runsd-ffi");
}
