//! The release form of the command: `make dist` makes it.

use runsd_tests::{World, copy_program, root, start};
use std::path::PathBuf;
use std::process::Command;

fn dist() -> PathBuf {
    let path = root().join("target/dist/runsd");
    assert!(path.exists(), "make dist comes first");
    path
}

#[test]
fn it_is_one_static_file_of_at_most_five_megabytes() {
    let size = std::fs::metadata(dist()).expect("a file").len();
    assert!(size <= 5_000_000, "{size} bytes");
    let headers = Command::new("readelf").arg("-lW").arg(dist()).output().expect("binutils");
    let headers = String::from_utf8_lossy(&headers.stdout).into_owned();
    assert!(headers.contains("LOAD"), "{headers}");
    assert!(!headers.contains("INTERP"), "it needs a dynamic linker:\n{headers}");
}

#[test]
fn it_runs_in_an_empty_root_on_cloud_run_and_elsewhere() {
    let place = std::env::temp_dir().join(format!("runsd-empty-{}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a folder");
    copy_program(&dist(), &place.join("runsd"));
    let world = World::default();
    let mut inside = world.sim.command("chroot");
    inside.arg(&place).args(["/runsd", "--", "/runsd", "--version"]);
    let mut elsewhere = Command::new("chroot");
    elsewhere.env_clear().env("PATH", "/usr/sbin:/usr/bin");
    elsewhere.arg(&place).args(["/runsd", "--", "/runsd", "--version"]);
    for command in [&mut inside, &mut elsewhere] {
        let ran = start(command).wait();
        assert!(ran.ok().starts_with("runsd "), "{ran:#?}");
    }
    std::fs::remove_dir_all(&place).expect("the folder");
}
