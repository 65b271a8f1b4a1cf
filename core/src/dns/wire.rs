//! Reading DNS messages: the header check, the question, EDNS, and the walk
//! over records.
//!
//! It owns what makes a query acceptable (RFC 1035, 6891, 9619). It does no
//! I/O, knows no zone, and never allocates by what a header claims: it reads
//! records one by one, and ends where the bytes end. The zone, the forwarder
//! and both servers call it.

use super::reply::Builder;
use std::fmt::Write;

/// Bytes of the fixed header (RFC 1035, section 4.1.1).
pub(super) const HEADER: usize = 12;
/// The longest name, in bytes on the wire (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;
/// The longest question: such a name, a type and a class.
pub(super) const LONGEST_QUESTION: usize = LONGEST_NAME + 4;
/// The most labels of a name, and so the most pointers that can lead to some.
const MOST_LABELS: usize = 127;
/// What every client takes over UDP, in bytes (RFC 1035, section 2.3.4).
const PLAIN_UDP: u16 = 512;
/// The most that goes out in one datagram, whatever a client says it takes.
const MOST_UDP: u16 = 4096;

/// Flag: this is a response.
pub(super) const QR: u16 = 0x8000;
/// Flag: authoritative answer.
pub(super) const AA: u16 = 0x0400;
/// Flag: truncated.
pub(super) const TC: u16 = 0x0200;
/// Flag: recursion desired.
pub(super) const RD: u16 = 0x0100;
/// Flag: recursion available.
pub(super) const RA: u16 = 0x0080;
/// Flag: authentic data.
pub(super) const AD: u16 = 0x0020;
/// Flag: checking disabled.
pub(super) const CD: u16 = 0x0010;
/// The bits of the opcode.
pub(super) const OPCODE: u16 = 0x7800;
/// The flag "DNSSEC OK" in the TTL field of OPT (RFC 3225).
pub(super) const DO: u16 = 0x8000;

/// Response codes (RFC 1035, section 4.1.1; RFC 6891, section 9).
pub(super) mod rcode {
    pub(in super::super) const NOERROR: u16 = 0;
    pub(in super::super) const FORMERR: u16 = 1;
    pub(in super::super) const SERVFAIL: u16 = 2;
    pub(in super::super) const NXDOMAIN: u16 = 3;
    pub(in super::super) const NOTIMP: u16 = 4;
    pub(in super::super) const REFUSED: u16 = 5;
    pub(in super::super) const BADVERS: u16 = 16;
}

/// Record types.
pub(super) mod rtype {
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const NS: u16 = 2;
    pub(in super::super) const SOA: u16 = 6;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const TXT: u16 = 16;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const OPT: u16 = 41;
    pub(in super::super) const IXFR: u16 = 251;
    pub(in super::super) const AXFR: u16 = 252;
    pub(in super::super) const ANY: u16 = 255;
}

/// The class Internet.
pub(super) const IN: u16 = 1;

/// What a client says in its OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram it takes, in bytes, as it says.
    pub size: u16,
    /// Whether it wants DNSSEC records.
    pub dnssec_ok: bool,
}

/// A query that is worth an answer: one question of class IN.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Name, type and class exactly as the client wrote them.
    pub(super) question: Vec<u8>,
    /// The name in lower case with dots between labels and none at the end;
    /// any byte that no host name has is written `\DDD`.
    pub(super) name: String,
    pub(super) qtype: u16,
    pub(super) edns: Option<Edns>,
}

/// Why a packet is not a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not a query at all: no answer.
    Ignore,
    /// This answer says what is wrong with it.
    Answer(Vec<u8>),
}

impl Query {
    /// Reads a query from the bytes of a datagram or a TCP frame. What follows
    /// the last record is ignored.
    ///
    /// # Errors
    /// [`Invalid`], with the reply to send.
    pub fn parse(packet: &[u8]) -> Result<Query, Invalid> {
        let mut reader = Reader::new(packet);
        let header = reader.header().ok_or(Invalid::Ignore)?;
        if header.flags & QR != 0 {
            return Err(Invalid::Ignore);
        }
        let mut query = Query {
            id: header.id,
            flags: header.flags & (OPCODE | RD | AD | CD),
            question: Vec::new(),
            name: String::new(),
            qtype: 0,
            edns: None,
        };
        let fail = |query: &Query, code| Err(Invalid::Answer(query.error(code)));
        let [questions, answers, authorities, additional] = header.counts;
        let refused = match header.flags & OPCODE {
            0 => questions != 1 || answers != 0 || authorities > 1 || additional > 2,
            _ => true,
        };
        if refused {
            query.edns = reader.edns(header.counts);
            let code = if header.flags & OPCODE == 0 { rcode::FORMERR } else { rcode::NOTIMP };
            return fail(&query, code);
        }
        let Some((qtype, class)) = query.read_question(&mut reader) else {
            query.question.clear();
            return fail(&query, rcode::FORMERR);
        };
        query.qtype = qtype;
        if authorities == 1 {
            // An IXFR carries the client's SOA there (RFC 1995, section 3).
            let code = if qtype == rtype::IXFR { rcode::REFUSED } else { rcode::FORMERR };
            return fail(&query, code);
        }
        let version = match query.read_additional(&mut reader, additional) {
            Some(version) => version,
            None => {
                query.edns = None;
                return fail(&query, rcode::FORMERR);
            }
        };
        if version > 0 {
            return fail(&query, rcode::BADVERS);
        }
        if class != IN || matches!(qtype, rtype::AXFR | rtype::IXFR) {
            return fail(&query, rcode::REFUSED);
        }
        Ok(query)
    }

    fn read_question(&mut self, reader: &mut Reader<'_>) -> Option<(u16, u16)> {
        self.name = text(reader.plain_name()?);
        let (qtype, class) = (reader.u16()?, reader.u16()?);
        self.question = reader.bytes.get(HEADER..reader.at)?.to_vec();
        Some((qtype, class))
    }

    /// Reads the additional section; returns the version of EDNS, or nothing
    /// if it is malformed or has two OPTs (RFC 6891, section 6.1.1).
    fn read_additional(&mut self, reader: &mut Reader<'_>, count: u16) -> Option<u8> {
        let mut version = 0;
        for _ in 0..count {
            let record = reader.record()?;
            if record.rtype != rtype::OPT {
                continue;
            }
            if self.edns.is_some() {
                return None;
            }
            self.edns = Some(record.edns()?);
            [_, version, ..] = record.ttl.to_be_bytes();
        }
        Some(version)
    }

    /// The name asked for: lower case, no final dot, empty for the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The largest reply that may go to this client over UDP, in bytes.
    pub fn udp_limit(&self) -> usize {
        let size = self.edns.map_or(PLAIN_UDP, |edns| edns.size.clamp(PLAIN_UDP, MOST_UDP));
        usize::from(size)
    }

    /// Whether the client wants DNSSEC records.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// A reply that only says `code`.
    pub(super) fn error(&self, code: u16) -> Vec<u8> {
        Builder::new(self, code, false).finish(self.udp_limit(), &[])
    }
}

/// The options of an OPT record, each with its code; `None` ends a malformed list.
pub(super) fn options(mut data: &[u8]) -> impl Iterator<Item = Option<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let mut reader = Reader::new(data);
        let read = reader.option();
        data = if read.is_some() { data.get(reader.at..).unwrap_or_default() } else { &[] };
        Some(read)
    })
}

/// The fixed header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Questions, answers, authorities, additional records, as claimed.
    pub(super) counts: [u16; 4],
}

/// One record, its data uninterpreted.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRecord<'a> {
    /// Whether its owner is the root.
    pub(super) at_root: bool,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    /// Where the TTL stands in the message.
    pub(super) ttl_at: usize,
    pub(super) data: &'a [u8],
}

impl RawRecord<'_> {
    /// What an OPT says; `None` if it is malformed.
    fn edns(&self) -> Option<Edns> {
        let [_, _, flags @ ..] = self.ttl.to_be_bytes();
        let dnssec_ok = u16::from_be_bytes(flags) & DO != 0;
        let valid = self.at_root && options(self.data).all(|option| option.is_some());
        valid.then_some(Edns { size: self.class, dnssec_ok })
    }
}

/// A place in a message. Every read is checked; nothing is read twice without
/// a bound.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Where the next read begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn header(&mut self) -> Option<Header> {
        let (id, flags) = (self.u16()?, self.u16()?);
        Some(Header { id, flags, counts: [self.u16()?, self.u16()?, self.u16()?, self.u16()?] })
    }

    fn option(&mut self) -> Option<(u16, &'a [u8])> {
        let (code, length) = (self.u16()?, self.u16()?);
        Some((code, self.take(usize::from(length))?))
    }

    /// A name without compression, as it stands there: a question comes first,
    /// so a pointer in it has nothing to point to.
    pub(super) fn plain_name(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            let length = self.u8().filter(|length| *length <= 63)?;
            self.take(usize::from(length))?;
            if self.at - start > LONGEST_NAME {
                return None;
            }
            if length == 0 {
                return self.bytes.get(start..self.at);
            }
        }
    }

    /// Passes over a name that may be compressed. Returns whether it is the
    /// root. A pointer must lead to before everything this name has used so
    /// far, which also excludes loops; a message full of pointers to pointers
    /// must not take the square of its length to read.
    pub(super) fn skip_name(&mut self) -> Option<bool> {
        let (mut lowest, mut at, mut length) = (self.at, self.at, 0);
        let mut jumps = 0;
        loop {
            let first = *self.bytes.get(at)?;
            match first {
                0 => {
                    if jumps == 0 {
                        self.at = at + 1;
                    }
                    return (length < LONGEST_NAME).then_some(length == 0);
                }
                1..=63 => {
                    let step = 1 + usize::from(first);
                    (length, at) = (length + step, at + step);
                }
                0xC0..=0xFF => {
                    let second = *self.bytes.get(at + 1)?;
                    let target = usize::from(u16::from_be_bytes([first & 0x3F, second]));
                    if target >= lowest || target < HEADER || jumps == MOST_LABELS {
                        return None;
                    }
                    if jumps == 0 {
                        self.at = at + 2;
                    }
                    (jumps, lowest, at) = (jumps + 1, target, target);
                }
                _ => return None,
            }
            if length >= LONGEST_NAME {
                return None;
            }
        }
    }

    /// The only OPT of a message that is refused whatever else is in it: the
    /// reply has one if and only if it has one.
    fn edns(&mut self, counts: [u16; 4]) -> Option<Edns> {
        let [questions, answers, authorities, additional] = counts;
        for _ in 0..questions {
            self.skip_name()?;
            self.take(4)?;
        }
        for _ in 0..u32::from(answers) + u32::from(authorities) {
            self.record()?;
        }
        let mut edns = None;
        for _ in 0..additional {
            let record = self.record()?;
            if record.rtype == rtype::OPT && edns.replace(record.edns()?).is_some() {
                return None;
            }
        }
        edns
    }

    /// Reads one record.
    pub(super) fn record(&mut self) -> Option<RawRecord<'a>> {
        let at_root = self.skip_name()?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl_at = self.at;
        let (ttl, length) = (self.u32()?, self.u16()?);
        let data = self.take(usize::from(length))?;
        Some(RawRecord { at_root, rtype, class, ttl, ttl_at, data })
    }
}

/// A name in lower case, with dots between its labels.
fn text(mut name: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    while let [length @ 1..=63, rest @ ..] = name {
        let Some((label, others)) = rest.split_at_checked(usize::from(*length)) else { break };
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(*byte)),
                b'A'..=b'Z' => text.push(char::from(byte.to_ascii_lowercase())),
                _ => {
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        name = others;
    }
    text
}

/// Whether two questions ask the same: names are compared without regard to
/// case, types and classes exactly. Lengths of labels are below `A`, so they
/// are not touched by that.
pub(super) fn same_question(one: &[u8], other: &[u8]) -> bool {
    let name = |question: &[u8]| question.len().saturating_sub(4);
    match (one.split_at_checked(name(one)), other.split_at_checked(name(other))) {
        (Some((a, a_end)), Some((b, b_end))) => a.eq_ignore_ascii_case(b) && a_end == b_end,
        _ => false,
    }
}

/// A name as it stands in a message, without compression; `None` if it cannot
/// be one.
pub(super) fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        wire.push(length);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
