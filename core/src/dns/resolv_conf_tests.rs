//! The content we write, and the file over its life.

use super::take_over::Restored;
use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn render(original: &[u8], wanted: &Wanted) -> Vec<u8> {
    content(Some(original), wanted)
}

/// A directory of a test's own, gone when it ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("runsd-dns-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join("resolv.conf");
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o755));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wanted() -> Wanted {
    Wanted {
        nameserver: "127.0.0.1".parse().unwrap(),
        search: vec!["us-east1.run.internal".to_owned(), "run.internal.".to_owned()],
        ndots: None,
        nonce: "n-1".to_owned(),
        domain: "run.internal".to_owned(),
    }
}

fn take(path: &Path) -> TakeOver {
    TakeOver::write(path, &wanted()).unwrap()
}

/// The lines that resolvers see.
fn visible(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file).into_owned();
    let shown = |line: &&str| !line.is_empty() && !line.starts_with(['#', ';']);
    text.lines().filter(shown).map(str::to_owned).collect()
}

const OURS: [&str; 2] = ["nameserver 127.0.0.1", "search us-east1.run.internal run.internal"];

/// Contents that files have been found to have.
const CONTENTS: [&[u8]; 9] = [
    b"",
    b"\n",
    b"nameserver 169.254.169.254\nsearch google.internal.\n",
    b"nameserver 10.0.0.1",
    b"nameserver 10.0.0.1\r\nsearch a.example b.example\r\noptions ndots:5\r\n",
    b"options ndots: 2\nnameserver\nnameserver nonsense\nsearch\n",
    b"# a comment\n; another\nsortlist 10.0.0.0/8\ndomain corp.example\n\n\nnameserver ::1\n",
    b"\xff\xfe\0nameserver 10.0.0.1\n#| not ours\n",
    b"nameserver fe80::1%eth0\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n",
];

#[test]
fn parsing_takes_what_makes_sense() {
    let conf = ResolvConf::parse(
        b" nameserver 10.0.0.1\nnameserver ::1 # six\r\nnameserver x\ndomain corp.example\n\
          search a.example. B.example .\noptions rotate ndots:3 timeout:1\nsortlist 1.2.3.4\n",
    );
    assert_eq!(conf.nameservers, ["10.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert_eq!(conf.search, ["a.example", "B.example"]);
    assert_eq!((conf.ndots, conf.options.len()), (Some(3), 3));
    assert_eq!(
        ResolvConf::parse(b"search a b\ndomain corp.example other").search,
        ["corp.example"]
    );
    assert_eq!(ResolvConf::parse(b"options ndots: 2").ndots, Some(2));
    assert_eq!(ResolvConf::parse(b"options ndots:x").ndots, None);
    assert_eq!(ResolvConf::parse(b"options ndots:1\noptions ndots:4").ndots, Some(4));
    assert_eq!(ResolvConf::parse(b""), ResolvConf::default());
}

#[test]
fn there_is_one_nameserver_and_one_search_line() {
    for content in CONTENTS {
        let file = render(content, &wanted());
        let shown = visible(&file);
        let starting = |word: &str| shown.iter().filter(|line| line.starts_with(word)).count();
        assert_eq!(starting("nameserver"), 1, "{content:?}");
        assert_eq!((starting("search"), starting("domain")), (1, 0), "{content:?}");
        assert!(shown[1].starts_with(OURS[1]), "{content:?}");
        let conf = ResolvConf::parse(&file);
        assert_eq!(conf.ndots, ResolvConf::parse(content).ndots, "{content:?}");
        assert_eq!(conf.options, ResolvConf::parse(content).options, "{content:?}");
    }
}

#[test]
fn comments_options_and_sortlist_stay() {
    let original = b"; mine\nnameserver 10.0.0.1\noptions edns0 ndots:2\nsortlist 10.0.0.0/8\n";
    let file = render(original, &wanted());
    let kept = visible(&file);
    assert_eq!(kept, [OURS[0], OURS[1], "options edns0 ndots:2", "sortlist 10.0.0.0/8"]);
    assert!(String::from_utf8(file).unwrap().lines().any(|line| line == "; mine"));
}

#[test]
fn ndots_changes_only_on_demand() {
    let lines = |original: &[u8]| {
        visible(&render(original, &Wanted { ndots: Some(4), ..wanted() })).split_off(2)
    };
    assert_eq!(lines(b"options edns0 ndots:2 rotate"), ["options edns0 rotate", "options ndots:4"]);
    assert_eq!(lines(b"options ndots: 2"), ["options ndots:4"]);
    assert_eq!(lines(b""), ["options ndots:4"]);
}

#[test]
fn the_search_line_is_ours_first_without_repetitions_and_bounded() {
    let search = |original: &str| visible(&render(original.as_bytes(), &wanted()))[1].clone();
    assert_eq!(
        search("search google.internal. RUN.internal b.example google.internal\n"),
        "search us-east1.run.internal run.internal google.internal b.example"
    );
    assert_eq!(search("search a b c d e f g"), "search us-east1.run.internal run.internal a b c d");
    assert_eq!(search("domain corp.example."), format!("{} corp.example", OURS[1]));
    let long = "x".repeat(220);
    assert_eq!(search(&format!("search {long} short")), format!("{} short", OURS[1]));
    let none = Wanted { search: Vec::new(), ..wanted() };
    assert_eq!(visible(&render(b"", &none)), [OURS[0]]);
}

#[test]
fn every_original_comes_back_byte_by_byte() {
    for content in CONTENTS {
        let directory = Directory::new();
        let path = directory.file(content);
        let taken = take(&path);
        assert_eq!(fs::read(&path).unwrap(), render(content, &wanted()));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "nothing is put beside it");
        assert_eq!(taken.restore().unwrap(), Restored::Original);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_killed_predecessors_original_is_recovered() {
    for content in CONTENTS {
        let directory = Directory::new();
        let path = directory.file(&render(content, &wanted()));
        let original = read_original(&path).unwrap();
        assert_eq!((original.bytes.as_slice(), original.missing), (content, false));
        let marked = original.marked.clone().unwrap();
        assert_eq!((marked.nonce.as_str(), marked.nameserver), ("n-1", wanted().nameserver));
        assert_eq!(marked.domain, wanted().domain);
        let again = TakeOver::write(&path, &Wanted { nonce: "n-2".into(), ..wanted() });
        assert_eq!(again.unwrap().restore().unwrap(), Restored::Original);
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn dropping_restores() {
    let directory = Directory::new();
    let path = directory.file(CONTENTS[2]);
    drop(take(&path));
    assert_eq!(fs::read(&path).unwrap(), CONTENTS[2]);
}

#[test]
fn a_file_that_was_not_there_is_gone_again() {
    let directory = Directory::new();
    let path = directory.0.join("resolv.conf");
    let original = read_original(&path).unwrap();
    assert!(original.missing && original.bytes.is_empty() && original.marked.is_none());
    let taken = take(&path);
    assert_eq!(visible(&fs::read(&path).unwrap()), OURS);
    let recovered = read_original(&path).unwrap();
    assert!(recovered.missing && recovered.marked.is_some());
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert!(!path.exists());
}

#[test]
fn what_others_have_changed_is_left_alone() {
    let directory = Directory::new();
    let path = directory.file(CONTENTS[2]);
    let taken = take(&path);
    fs::write(&path, "nameserver 10.9.9.9\n").unwrap();
    assert_eq!(taken.restore().unwrap(), Restored::ChangedByOthers);
    assert_eq!(fs::read(&path).unwrap(), b"nameserver 10.9.9.9\n");
    let taken = take(&path);
    fs::remove_file(&path).unwrap();
    assert_eq!(taken.restore().unwrap(), Restored::ChangedByOthers);
    assert!(!path.exists());
}

#[test]
fn symbolic_links_are_followed_and_stay() {
    let directory = Directory::new();
    let (target, link) = (directory.file(CONTENTS[4]), directory.0.join("link"));
    symlink(&target, &link).unwrap();
    let taken = take(&link);
    assert_eq!(visible(&fs::read(&target).unwrap())[0], OURS[0]);
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert!(link.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), CONTENTS[4]);
}

#[test]
fn a_link_to_no_file_outlives_the_file_it_led_to() {
    let directory = Directory::new();
    let (target, link) = (directory.0.join("target"), directory.0.join("link"));
    symlink(&target, &link).unwrap();
    let taken = take(&link);
    assert_eq!(visible(&fs::read(&target).unwrap()), OURS);
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert!(link.is_symlink() && !target.exists());
    // The same for a successor of one that was killed.
    std::mem::forget(take(&link));
    assert!(read_original(&link).unwrap().put_back(&link).unwrap());
    assert!(link.is_symlink() && !target.exists());
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let directory = Directory::new();
    let path = directory.0.join("resolv.conf");
    let refused = |said: &str| {
        let errors = [
            read_original(&path).map(|_| ()).unwrap_err(),
            TakeOver::write(&path, &wanted()).map(|_| ()).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
        fs::remove_file(&path).unwrap();
    };
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    refused("not a regular file");
    // Its end would never come.
    symlink("/dev/zero", &path).unwrap();
    refused("not a regular file");
    symlink("resolv.conf", &path).unwrap();
    refused("symbolic links");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    refused("bytes are no resolv.conf");
}

#[test]
fn a_megabyte_of_anything_comes_back_byte_by_byte() {
    // Every byte value, in an order of no meaning (a linear congruence).
    let mut state = 1_u32;
    let garbage: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let directory = Directory::new();
    let path = directory.file(&garbage);
    let taken = take(&path);
    assert_eq!(read_original(&path).unwrap().bytes, garbage);
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[test]
fn what_has_changed_before_we_write_is_what_comes_back() {
    let directory = Directory::new();
    let path = directory.file(CONTENTS[2]);
    let seen = read_original(&path).unwrap();
    fs::write(&path, CONTENTS[3]).unwrap();
    let taken = take(&path);
    assert_ne!(seen.bytes, CONTENTS[3]);
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert_eq!(fs::read(&path).unwrap(), CONTENTS[3]);
}

#[test]
fn only_the_file_of_the_killed_is_put_back() {
    let directory = Directory::new();
    let path = directory.file(CONTENTS[2]);
    std::mem::forget(take(&path));
    let killed = read_original(&path).unwrap();
    // Another one has taken it over since, or somebody has mended it.
    let another = Wanted { nonce: "n-2".into(), ..wanted() };
    let taken = TakeOver::write(&path, &another).unwrap();
    assert!(!killed.put_back(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), render(CONTENTS[2], &another));
    assert_eq!(taken.restore().unwrap(), Restored::Original);
    assert!(!killed.put_back(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), CONTENTS[2]);
    std::mem::forget(take(&path));
    assert!(read_original(&path).unwrap().put_back(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), CONTENTS[2]);
}

#[test]
fn the_inode_and_the_directory_stay_as_they_are() {
    use std::os::unix::fs::MetadataExt;
    let directory = Directory::new();
    let path = directory.file(CONTENTS[2]);
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o555)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let taken = take(&path);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    taken.restore().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
}

#[test]
fn a_path_that_is_no_file_is_an_error_and_leaves_nothing() {
    let directory = Directory::new();
    let inside = directory.0.join("missing/resolv.conf");
    let original = read_original(&inside).unwrap();
    assert!(original.missing);
    TakeOver::write(&inside, &wanted()).unwrap_err();
    TakeOver::write(&directory.0, &wanted()).unwrap_err();
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
    read_original(&directory.0).unwrap_err();
}

#[test]
fn shorter_content_covers_the_longer_in_one_write() {
    assert_eq!(take_over::padded(b"ab\n", 6), b"ab\n\n\n\n");
    assert_eq!(take_over::padded(b"ab\n", 3), b"ab\n");
    assert_eq!(take_over::padded(b"ab\n", 0), b"ab\n");
    let directory = Directory::new();
    // A predecessor's file that somebody has written more into: only the
    // original in it counts.
    let long = [render(b"# short\n", &wanted()), b"# long\n".repeat(10_000)].concat();
    let path = directory.file(&long);
    let taken = take(&path);
    assert_eq!(fs::read(&path).unwrap(), render(b"# short\n", &wanted()));
    taken.restore().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"# short\n");
}

#[test]
fn a_damaged_mark_is_no_mark_and_does_no_harm() {
    for file in [
        "# runsd-marker 1 ",
        "# runsd-marker 1 nonce\n",
        "# runsd-marker 1 nonce 127.0.0.1\n",
        "# runsd-marker 1 nonce 127.0.0.1 run.internal\n",
        "# runsd-marker 1 nonce 127.0.0.1 run.internal many\n#|x\n",
    ] {
        assert!(Marker::find(file.as_bytes()).is_none(), "{file:?}");
    }
    let cut = b"# runsd-marker 1 n 127.0.0.1 run.internal 99\n#|nameserver 10.0.0.1\n";
    assert_eq!(Marker::find(cut).unwrap().original.unwrap(), b"nameserver 10.0.0.1");
}
