//! resolv.conf: reading it, and the content that leads to us.
//!
//! It owns the format. Parsing and rendering are pure; the file itself is
//! taken over and given back in [`TakeOver`]. The engine and `doctor` call it
//! on the start and stop path.

mod marker;
mod take_over;

pub use marker::Marker;
pub use take_over::{Original, Restored, TakeOver, read_original};

use std::net::IpAddr;

/// Suffixes in a search line: older resolvers take no more.
const MOST_SUFFIXES: usize = 6;
/// The length of a search line, in bytes: musl passes over lines above 254.
const LONGEST_LINE: usize = 250;
/// The comment that introduces what is ours.
const NOTICE: &str = "# Rewritten by runsd, which puts the original back when it exits.\n";

/// What a resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The nameservers in their order; those that are not IP addresses are left out.
    pub nameservers: Vec<IpAddr>,
    /// The search list (or the `domain`), without final dots.
    pub search: Vec<String>,
    /// The last `ndots`, if any.
    pub ndots: Option<u8>,
    /// Every option as it stands there.
    pub options: Vec<String>,
}

/// The content we want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The only nameserver.
    pub nameserver: IpAddr,
    /// Our suffixes; those of the original follow them.
    pub search: Vec<String>,
    /// In place of the original's `ndots`; `None` leaves it as it is.
    pub ndots: Option<u8>,
    /// By which the file is known to be ours: letters, digits and `-`.
    pub nonce: String,
    /// The zone in which our DNS server tells the nonce.
    pub domain: String,
}

impl ResolvConf {
    /// Reads a file's content as glibc does, and more tolerantly: any line that
    /// makes no sense is passed over.
    pub fn parse(bytes: &[u8]) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in lines(bytes) {
            let text = String::from_utf8_lossy(line);
            let mut words = text.split_whitespace();
            let keyword = words.next().unwrap_or_default();
            match keyword {
                "nameserver" => {
                    conf.nameservers
                        .extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                "search" => conf.search = words.filter_map(suffix).collect(),
                "domain" => conf.search = words.take(1).filter_map(suffix).collect(),
                "options" => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        for at in ndots(&conf.options) {
            let value = conf.options.get(at).and_then(|word| word.strip_prefix("ndots:"));
            // `ndots: 2` reads as 2 in glibc, whose atoi passes over blanks.
            let value = value.filter(|value| !value.is_empty());
            let value = value.or_else(|| conf.options.get(at + 1).map(String::as_str));
            conf.ndots = value.and_then(|value| value.parse().ok()).or(conf.ndots);
        }
        conf
    }
}

/// Where `ndots:` stands among options.
fn ndots(options: &[String]) -> impl Iterator<Item = usize> + use<'_> {
    let all = options.iter().enumerate();
    all.filter(|(_, word)| word.starts_with("ndots:")).map(|(at, _)| at)
}

fn suffix(word: &str) -> Option<String> {
    let suffix = word.trim_end_matches('.');
    (!suffix.is_empty()).then(|| suffix.to_owned())
}

/// The lines of a file without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The content of a resolv.conf that leads to us: marker and original in
/// comments, one nameserver, one search line, then the original's comments,
/// options and whatever else it had. `None`: there was no file.
fn content(original: Option<&[u8]>, wanted: &Wanted) -> Vec<u8> {
    let Wanted { nonce, nameserver, domain, .. } = wanted.clone();
    let marker = Marker { nonce, nameserver, domain };
    let mut file = marker.embed(original);
    let original = original.unwrap_or_default();
    file.extend(NOTICE.as_bytes());
    file.extend(format!("nameserver {}\n", wanted.nameserver).as_bytes());
    let theirs = ResolvConf::parse(original).search;
    if let Some(line) = search_line(wanted.search.iter().chain(&theirs)) {
        file.extend(line.as_bytes());
    }
    for line in lines(original) {
        let text = String::from_utf8_lossy(line);
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match words.first().map(String::as_str) {
            None | Some("nameserver" | "search" | "domain") => {}
            Some("options") if wanted.ndots.is_some() => {
                file.extend(options_without_ndots(&words).as_bytes());
            }
            Some(_) => {
                file.extend(line);
                file.push(b'\n');
            }
        }
    }
    if let Some(ndots) = wanted.ndots {
        file.extend(format!("options ndots:{ndots}\n").as_bytes());
    }
    file
}

/// One line, without repetitions and within its bounds; none if it were empty.
fn search_line<'s>(suffixes: impl Iterator<Item = &'s String>) -> Option<String> {
    let mut taken: Vec<String> = Vec::new();
    let mut line = "search".to_owned();
    for suffix in suffixes.filter_map(|word| suffix(word)) {
        let known = taken.iter().any(|other| other.eq_ignore_ascii_case(&suffix));
        let fits = line.len() + 1 + suffix.len() <= LONGEST_LINE;
        if !known && fits && taken.len() < MOST_SUFFIXES {
            line = format!("{line} {suffix}");
            taken.push(suffix);
        }
    }
    (!taken.is_empty()).then(|| format!("{line}\n"))
}

/// An options line with every `ndots` taken out, also one cut in two.
fn options_without_ndots(words: &[String]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        match word.strip_prefix("ndots:") {
            Some("") => {
                words.next_if(|next| next.bytes().all(|byte| byte.is_ascii_digit()));
            }
            Some(_) => {}
            None => kept.push(word),
        }
    }
    if kept.len() < 2 { String::new() } else { format!("{}\n", kept.join(" ")) }
}

#[cfg(test)]
#[path = "../resolv_conf_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "../resolv_conf_fuzz_tests.rs"]
mod fuzz_tests;
