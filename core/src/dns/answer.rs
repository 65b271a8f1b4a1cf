//! An upstream's answer: checked once, kept as the bytes that came, and
//! patched for each client that gets it.
//!
//! It owns what may be changed on the way through: ID, the case of the
//! question, flags, OPT and TTLs; records pass untouched, because re-encoding
//! loses what an encoder does not know. It does no I/O and has no clock.

use super::reply::{EDE, count, ede, fit, opt, put, relayed_flags};
use super::wire::{
    AA, AD, HEADER, Header, Query, RA, Reader, TC, options, rcode, rtype, same_question,
};
use std::borrow::Cow;
use std::time::Duration;

/// The longest that a positive answer is kept, in seconds.
const POSITIVE_CAP: u32 = 300;
/// The longest that a negative answer is kept, in seconds.
const NEGATIVE_CAP: u32 = 30;
/// The TTL of records that have expired while upstream fails (RFC 8767, section 5).
pub(super) const STALE_TTL: u32 = 30;
/// Extended DNS Errors of what is served although it has expired.
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN: u16 = 19;
/// The section that an OPT stands in (RFC 6891, section 6.1.1), by its count in
/// the header.
const ADDITIONAL: usize = 3;
/// The bytes of a record at the root without data.
const SHORTEST_RECORD: usize = 11;
/// Bytes of explanations from upstream that are passed on.
const MOST_OPTIONS: usize = 256;

/// How old an answer is when it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It has just come.
    Relayed,
    /// It is kept, and came this many seconds ago.
    Seconds(u32),
    /// It has expired, and upstream cannot be asked.
    Stale,
}

/// A well-formed response.
#[derive(Debug)]
pub(super) struct Answer {
    /// Up to the OPT, or to the end of the last record.
    bytes: Vec<u8>,
    header: Header,
    question_end: usize,
    /// Where the TTLs stand.
    ttls: Vec<u16>,
    /// All twelve bits.
    code: u16,
    has_opt: bool,
    /// The Extended DNS Errors, still encoded.
    errors: Vec<u8>,
    /// `None` if it must not be kept.
    lifetime: Option<Duration>,
}

impl Answer {
    /// Reads a response; `None` if it is malformed. Records behind the OPT are
    /// left out: taking the OPT from before them would break their pointers.
    pub(super) fn read(packet: &[u8]) -> Option<Answer> {
        let mut reader = Reader::new(packet);
        let header = reader.header()?;
        if header.counts[0] != 1 {
            return None;
        }
        reader.plain_name()?;
        let qtype = reader.u16()?;
        reader.take(2)?;
        let question_end = reader.at();
        let claimed: usize = header.counts.iter().skip(1).map(|count| usize::from(*count)).sum();
        let mut answer = Answer {
            bytes: Vec::new(),
            header,
            question_end,
            ttls: Vec::with_capacity(claimed.min(packet.len() / SHORTEST_RECORD)),
            code: header.flags & 0x0F,
            has_opt: false,
            errors: Vec::new(),
            lifetime: None,
        };
        let mut lives = Lives::new(qtype);
        let mut end = question_end;
        let mut counts = [1, 0, 0, 0];
        let sections = header.counts.into_iter().zip(&mut counts).enumerate().skip(1);
        'sections: for (section, (claimed, kept)) in sections {
            for _ in 0..claimed {
                let record = reader.record()?;
                if record.rtype == rtype::OPT {
                    if section != ADDITIONAL {
                        return None;
                    }
                    answer.read_opt(record.ttl, record.data);
                    break 'sections;
                }
                answer.ttls.push(u16::try_from(record.ttl_at).ok()?);
                lives.note(section, record.rtype, record.ttl, record.data);
                (*kept, end) = (*kept + 1, reader.at());
            }
        }
        answer.bytes = packet.get(..end)?.to_vec();
        for (at, kept) in [4, 6, 8, 10].into_iter().zip(counts) {
            put(&mut answer.bytes, at, kept);
        }
        answer.lifetime = lives.lifetime(answer.code).filter(|_| !answer.is_truncated());
        Some(answer)
    }

    fn read_opt(&mut self, ttl: u32, data: &[u8]) {
        self.has_opt = true;
        self.code |= ((ttl >> 24) as u16) << 4;
        for (code, value) in options(data).flatten() {
            if code == EDE && self.errors.len() + 4 + value.len() <= MOST_OPTIONS {
                self.errors.extend(code.to_be_bytes());
                self.errors.extend((value.len() as u16).to_be_bytes());
                self.errors.extend(value);
            }
        }
    }

    /// The question as it came.
    pub(super) fn question(&self) -> &[u8] {
        self.bytes.get(HEADER..self.question_end).unwrap_or_default()
    }

    /// The response code.
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.header.flags & TC != 0
    }

    /// Whether it came with an OPT.
    pub(super) fn has_opt(&self) -> bool {
        self.has_opt
    }

    /// The explanations that came with it, as options of OPT.
    pub(super) fn errors(&self) -> &[u8] {
        &self.errors
    }

    /// How long it may be kept; `None` if not at all.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// What it occupies, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Answer>() + self.bytes.capacity() + 2 * self.ttls.capacity() + self.errors.len()
    }

    /// The message without its OPT.
    pub(super) fn message(&self) -> &[u8] {
        &self.bytes
    }

    /// What goes out in the OPT: the explanations that came, and that it is
    /// stale (RFC 8914, sections 4.4 and 4.20).
    fn explained(&self, age: Age) -> Cow<'_, [u8]> {
        let code = match self.code {
            rcode::NXDOMAIN => STALE_NXDOMAIN,
            _ => STALE_ANSWER,
        };
        match age {
            Age::Stale => Cow::Owned([self.errors.as_slice(), &ede(code, "")].concat()),
            Age::Relayed | Age::Seconds(_) => Cow::Borrowed(&self.errors),
        }
    }

    /// The reply to `query`, in at most `limit` bytes. What is kept is not
    /// authoritative, whatever it was when it came (RFC 1035, section 4.1.1).
    pub(super) fn reply(&self, query: &Query, age: Age, limit: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        put(&mut bytes, 0, query.id);
        let mut flags = relayed_flags(self.header.flags, query);
        if self.code > 0x0F && query.edns.is_none() {
            // Without an OPT the upper bits have no place.
            flags = flags & !0x0F | rcode::SERVFAIL;
        }
        if age != Age::Relayed {
            flags &= !AA;
        }
        debug_assert!(flags & RA != 0 && (flags & AD == 0 || self.header.flags & AD != 0));
        put(&mut bytes, 2, flags);
        if let Some(question) = bytes.get_mut(HEADER..self.question_end)
            && question.len() == query.question.len()
        {
            question.copy_from_slice(&query.question);
        }
        self.age_ttls(&mut bytes, age);
        fit(bytes, &opt(query, self.code, &self.explained(age)), limit)
    }

    fn age_ttls(&self, bytes: &mut [u8], age: Age) {
        if age == Age::Relayed {
            return;
        }
        for at in self.ttls.iter().map(|at| usize::from(*at)) {
            let Some(field) = bytes.get_mut(at..at + 4) else { continue };
            let mut ttl = [0; 4];
            ttl.copy_from_slice(field);
            let aged = match age {
                Age::Seconds(age) => clean(u32::from_be_bytes(ttl)).saturating_sub(age),
                Age::Relayed | Age::Stale => STALE_TTL,
            };
            field.copy_from_slice(&aged.to_be_bytes());
        }
    }

    /// Whether it answers `question`, asked with `id`.
    pub(super) fn answers(&self, id: u16, question: &[u8]) -> bool {
        count(&self.bytes, 0) == id && same_question(self.question(), question)
    }
}

/// A TTL whose highest bit is set counts as 0 (RFC 2181, section 8).
fn clean(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// How long the records of one answer live.
struct Lives {
    qtype: u16,
    least: u32,
    /// The negative TTL that an SOA in the authority section allows.
    negative: Option<u32>,
    found: bool,
}

impl Lives {
    fn new(qtype: u16) -> Lives {
        Lives { qtype, least: u32::MAX, negative: None, found: false }
    }

    fn note(&mut self, section: usize, rtype: u16, ttl: u32, data: &[u8]) {
        let ttl = clean(ttl);
        self.least = self.least.min(ttl);
        if section == 1 && (rtype == self.qtype || self.qtype == rtype::ANY) {
            self.found = true;
        }
        if section == 2 && rtype == rtype::SOA {
            let minimum = data.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            self.negative = Some(ttl.min(minimum));
        }
    }

    /// RFC 2308, section 5: a negative answer without an SOA is not kept.
    fn lifetime(&self, code: u16) -> Option<Duration> {
        let seconds = match code {
            rcode::NOERROR if self.found => self.least.min(POSITIVE_CAP),
            rcode::NOERROR | rcode::NXDOMAIN => self.negative?.min(self.least).min(NEGATIVE_CAP),
            _ => 0,
        };
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
