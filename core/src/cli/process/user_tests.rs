//! Users and groups as the files say, and what a mistake is answered with.

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\n\nshort:x:1\n\
    app:x:1000:1001:The App:/home/app:/bin/sh\nhomeless:x:7:8\nhuge:x:4294967295:1::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nvideo:x:44:other,app\napp:x:1001:app\nappend:x:45:apple,xapp\n\
    audio:x:29:app\nempty:x:30\n";

/// The two files in a directory of their own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let name = format!("runsd-user-{}-{test}", std::process::id());
        let directory = Directory(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&directory.0).unwrap();
        directory
    }

    fn with_files(test: &str) -> Directory {
        let directory = Directory::new(test);
        std::fs::write(directory.0.join("passwd"), PASSWD).unwrap();
        std::fs::write(directory.0.join("group"), GROUP).unwrap();
        directory
    }

    fn find(&self, given: &str) -> Result<Identity, UserError> {
        let (passwd, group) = (self.0.join("passwd"), self.0.join("group"));
        Files { passwd: &passwd, group: &group }.find(given)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn identity(user: u32, group: u32, others: &[u32], home: &str) -> Identity {
    Identity { ids: Ids { user, group, others: others.to_vec() }, home: home.into() }
}

#[test]
fn users_are_found_with_their_groups() {
    let files = Directory::with_files("found");
    let app = identity(1000, 1001, &[1001, 44, 29], "/home/app");
    for (given, expected) in [
        ("app", app.clone()),
        ("1000", app),
        ("app:video", identity(1000, 44, &[], "/home/app")),
        ("app:7", identity(1000, 7, &[], "/home/app")),
        ("12345", identity(12345, 12345, &[], "/")),
        ("12345:audio", identity(12345, 29, &[], "/")),
        ("homeless", identity(7, 8, &[8], "/")),
        ("root", identity(0, 0, &[0], "/root")),
    ] {
        assert_eq!(files.find(given).unwrap(), expected, "{given}");
    }
}

#[test]
fn numbers_need_no_files() {
    let files = Directory::new("none");
    assert_eq!(files.find("65532:65532").unwrap(), identity(65532, 65532, &[], "/"));
    assert_eq!(files.find("65532").unwrap(), identity(65532, 65532, &[], "/"));
    let error = files.find("app").unwrap_err().to_string();
    assert!(error.contains("passwd"), "{error}");
}

#[test]
fn errors_name_the_user_and_the_file() {
    let files = Directory::with_files("errors");
    for (given, parts) in [
        ("nobdy", ["user \"nobdy\"", "passwd"]),
        ("short", ["user \"short\"", "passwd"]),
        ("huge", ["user \"huge\"", "passwd"]),
        ("4294967295", ["user \"4294967295\"", "passwd"]),
        ("app:vdeo", ["group \"vdeo\"", "group;"]),
        (":video", ["\":video\"", "form"]),
        ("app:", ["\"app:\"", "form"]),
        ("app:a:b", ["\"app:a:b\"", "form"]),
    ] {
        let error = files.find(given).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{given}: {error}");
        }
    }
}

#[test]
fn a_user_without_rights_may_stay_itself() {
    let app = identity(1000, 1001, &[1001], "/");
    assert!(app.to_become((1000, 1001)).is_none());
    assert!(app.to_become((1000, 7)).is_some());
    assert!(app.to_become((0, 0)).is_some());
    // Root that stays root still gives up its other groups.
    assert!(identity(0, 0, &[], "/").to_become((0, 0)).is_some());
}
