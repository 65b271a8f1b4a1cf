//! Files that nobody should write, the same ones every time: the original comes
//! back byte by byte from what is written in its place, and that leads to us
//! alone, for a reader as strict as glibc and as ours.

use super::super::fuzz_tests::{random, rounds};
use super::super::testing::Random;
use super::*;
use std::net::Ipv4Addr;
use std::path::Path;

const PIECES: [&[u8]; 26] = [
    b"nameserver ",
    b"search ",
    b"domain ",
    b"options ",
    b"sortlist 10.0.0.0/8",
    b"10.0.0.1",
    b"::1",
    b"fe80::1%eth0",
    b"127.0.0.1",
    b"a.example ",
    b"RUN.internal. ",
    b". ",
    b"ndots:",
    b"ndots:3 ",
    b"ndots: 2 ",
    b"rotate ",
    b"timeout:1",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\t",
    b"# ",
    b"; ",
    b"#|",
    b"# runsd-marker 1 abc 127.0.0.1 5\n",
    b"\xff\0\x0b\xc2\xa0",
];

/// The kept files of `tests/fuzz/resolv-conf`.
fn kept() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/resolv-conf");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn made(kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut file = match random.below(3) {
        0 => kept[random.below(kept.len())].clone(),
        _ => (0..random.below(30)).flat_map(|_| PIECES[random.below(26)]).copied().collect(),
    };
    for _ in 0..random.below(4) {
        let at = random.below(file.len());
        match random.below(4) {
            _ if file.is_empty() => break,
            0 => file.truncate(at),
            1 => file.insert(at, random.next() as u8),
            2 => file[at] = random.next() as u8,
            _ => drop(file.splice(at..at, PIECES[random.below(26)].iter().copied())),
        }
    }
    file
}

/// The lines that glibc takes for one with this keyword: at the very beginning,
/// and a blank behind it.
fn strictly<'f>(file: &'f [u8], keyword: &str) -> Vec<&'f [u8]> {
    let lines = file.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| {
        let rest = line.strip_prefix(keyword.as_bytes());
        rest.is_some_and(|rest| matches!(rest.first(), Some(b' ' | b'\t')))
    });
    lines.collect()
}

fn check(original: &[u8], ndots: Option<u8>) {
    let wanted = Wanted {
        nameserver: Ipv4Addr::LOCALHOST.into(),
        search: vec!["us-east1.run.internal".to_owned(), "run.internal".to_owned()],
        ndots,
        nonce: "abc-1".to_owned(),
        domain: "run.internal".to_owned(),
    };
    let file = content(Some(original), &wanted);
    let about = || String::from_utf8_lossy(original).into_owned();
    let marked = marker::Marker::find(&file).unwrap();
    assert_eq!(marked.marker.nonce, "abc-1", "{:?}", about());
    assert_eq!(marked.original.as_deref(), Some(original), "{:?}", about());
    let (before, after) = (ResolvConf::parse(original), ResolvConf::parse(&file));
    assert_eq!(after.nameservers, [wanted.nameserver], "{:?}", about());
    assert_eq!(after.search[..2], wanted.search, "{:?}", about());
    assert!(after.search.len() <= MOST_SUFFIXES);
    assert_eq!(after.ndots, ndots.or(before.ndots), "{:?}", about());
    if ndots.is_none() {
        assert_eq!(after.options, before.options, "{:?}", about());
    }
    assert_eq!(strictly(&file, "nameserver"), [b"nameserver 127.0.0.1"], "{:?}", about());
    let search = strictly(&file, "search");
    assert!(search.len() == 1 && search[0].len() <= LONGEST_LINE, "{:?}", about());
    assert!(strictly(&file, "domain").is_empty(), "{:?}", about());
    // The original twice, a mark before each line, and what is ours.
    assert!(file.len() <= 4 * original.len() + 1024, "{:?}", about());
    // What is no file of ours, or a damaged one, does no harm either.
    if let Some(found) = marker::Marker::find(original) {
        assert!(found.original.is_none_or(|found| found.len() <= original.len()));
    }
}

#[test]
fn whatever_stands_in_the_file_comes_back_and_leads_to_us_meanwhile() {
    let (kept, mut random) = (kept(), random());
    assert!(kept.len() > 10);
    for file in &kept {
        check(file, None);
        check(file, Some(2));
    }
    for _ in 0..rounds(30_000) {
        let ndots = (random.below(2) == 0).then(|| random.below(16) as u8);
        check(&made(&kept, &mut random), ndots);
    }
}
