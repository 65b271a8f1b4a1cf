//! The mark by which a rewritten resolv.conf is known, with the original in it.
//!
//! It owns the form of both. They are comments, so that no resolver minds; the
//! original is in the file itself, because beside it nothing may be written.
//! Pure; the file's other half calls it.

use std::net::IpAddr;

const MARKER: &str = "# runsd-marker 1 ";
const LINE: &[u8] = b"#|";

/// Who rewrote a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What the engine there answers when it is asked who it is.
    pub nonce: String,
    /// Where it answers.
    pub nameserver: IpAddr,
    /// The zone in which it answers that.
    pub domain: String,
}

/// A marked file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) marker: Marker,
    /// The content before; `None` if there was no file.
    pub(super) original: Option<Vec<u8>>,
}

impl Marker {
    /// The comments that begin a rewritten file.
    pub(super) fn embed(&self, original: Option<&[u8]>) -> Vec<u8> {
        let nonce: String = self.nonce.chars().filter(|c| is_plain(*c)).collect();
        let length = original.map_or("none".to_owned(), |bytes| bytes.len().to_string());
        let (nameserver, domain) = (self.nameserver, &self.domain);
        let mut file = format!("{MARKER}{nonce} {nameserver} {domain} {length}\n").into_bytes();
        let Some(original) = original.filter(|bytes| !bytes.is_empty()) else { return file };
        for line in original.split(|byte| *byte == b'\n') {
            file.extend(LINE);
            file.extend(line);
            file.push(b'\n');
        }
        file
    }

    /// Reads a marked file; `None` if it is not one.
    pub(super) fn find(file: &[u8]) -> Option<Marked> {
        let mut lines = file.split(|byte| *byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(MARKER.as_bytes()))?;
        let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
        let marker = Marker {
            nonce: words.next()?.to_owned(),
            nameserver: words.next()?.parse().ok()?,
            domain: words.next()?.to_owned(),
        };
        let length = match words.next()? {
            "none" => return Some(Marked { marker, original: None }),
            length => length.parse::<usize>().ok()?,
        };
        let embedded = lines.map_while(|line| line.strip_prefix(LINE));
        let mut original = embedded.collect::<Vec<_>>().join(&b'\n');
        // An editor may have changed the ends of lines: more is not the original.
        original.truncate(length);
        Some(Marked { marker, original: Some(original) })
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}
