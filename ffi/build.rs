//! The shared library's name for the linker, and that it is never unloaded:
//! the reactor's thread outlives every engine.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for argument in ["-Wl,-soname,librunsd.so.1", "-Wl,-z,nodelete"] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
