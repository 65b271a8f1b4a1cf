//! Writing replies: the header's flags, EDNS, and making a reply fit.
//!
//! It owns what every reply of ours has in common. It does no I/O and knows
//! neither zone nor upstream; both give it records that are already encoded.

use super::wire::{AA, AD, CD, DO, HEADER, OPCODE, QR, Query, RA, RD, Reader, TC};

/// What we say we take over UDP, in bytes: avoids fragments everywhere.
pub(super) const OUR_UDP: u16 = 1232;
/// The option Extended DNS Error (RFC 8914).
pub(super) const EDE: u16 = 15;

/// A section of a reply that records go to, by its count in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer = 6,
    Authority = 8,
}

/// A reply in the making.
#[derive(Debug)]
pub(super) struct Builder<'q> {
    query: &'q Query,
    code: u16,
    bytes: Vec<u8>,
}

impl<'q> Builder<'q> {
    pub(super) fn new(query: &'q Query, code: u16, authoritative: bool) -> Builder<'q> {
        let aa = if authoritative { AA } else { 0 };
        let flags = QR | RA | aa | query.flags & (OPCODE | RD | CD) | code & 0x0F;
        let mut bytes = Vec::with_capacity(HEADER + query.question.len() + 64);
        bytes.extend(query.id.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend([0, u8::from(!query.question.is_empty()), 0, 0, 0, 0, 0, 0]);
        bytes.extend(&query.question);
        Builder { query, code, bytes }
    }

    /// Adds a record of class IN. Its owner is the query's name after `strip`
    /// labels have been taken from its front.
    pub(super) fn record(
        &mut self,
        section: Section,
        strip: usize,
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) {
        let Ok(length) = u16::try_from(data.len()) else { return };
        match pointer(&self.query.question, strip) {
            Some(pointer) => self.bytes.extend(pointer.to_be_bytes()),
            None => self.bytes.push(0),
        }
        self.bytes.extend(rtype.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(ttl.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(data);
        let at = section as usize;
        let count = count(&self.bytes, at).saturating_add(1);
        put(&mut self.bytes, at, count);
    }

    /// The reply, in at most `limit` bytes, with an OPT if the query has one.
    pub(super) fn finish(self, limit: usize, options: &[u8]) -> Vec<u8> {
        fit(self.bytes, &opt(self.query, self.code, options), limit)
    }
}

/// A compression pointer to the question's name without its first `strip`
/// labels; none for the root, which is shorter written out.
fn pointer(question: &[u8], strip: usize) -> Option<u16> {
    let mut at = 0;
    for _ in 0..strip {
        at += 1 + usize::from(*question.get(at)?);
    }
    let length = *question.get(at)?;
    let offset = u16::try_from(HEADER + at).ok()?;
    (length != 0).then_some(0xC000 | offset)
}

/// The OPT record that goes with a reply to `query`, empty if it had none. The
/// upper bits of `code` are there (RFC 6891, section 6.1.3).
pub(super) fn opt(query: &Query, code: u16, options: &[u8]) -> Vec<u8> {
    let Some(edns) = query.edns else { return Vec::new() };
    let options = if options.len() > usize::from(u16::MAX) { &[] } else { options };
    let mut opt = Vec::with_capacity(11 + options.len());
    put_opt(&mut opt, code, edns.dnssec_ok, options);
    opt
}

/// Appends an OPT record of version 0 that advertises [`OUR_UDP`].
pub(super) fn put_opt(message: &mut Vec<u8>, code: u16, dnssec_ok: bool, options: &[u8]) {
    message.extend([0, 0, 41]);
    message.extend(OUR_UDP.to_be_bytes());
    message.extend([(code >> 4) as u8, 0]);
    message.extend(if dnssec_ok { DO } else { 0 }.to_be_bytes());
    message.extend((options.len() as u16).to_be_bytes());
    message.extend(options);
}

/// An Extended DNS Error as an option of OPT.
pub(super) fn ede(info_code: u16, text: &str) -> Vec<u8> {
    let text = text.get(..text.len().min(200)).unwrap_or_default();
    let mut option = Vec::with_capacity(6 + text.len());
    option.extend(EDE.to_be_bytes());
    option.extend((text.len() as u16 + 2).to_be_bytes());
    option.extend(info_code.to_be_bytes());
    option.extend(text.as_bytes());
    option
}

/// A reply of SERVFAIL with an Extended DNS Error if the client speaks EDNS.
pub(super) fn servfail(query: &Query, limit: usize, options: &[u8]) -> Vec<u8> {
    Builder::new(query, super::wire::rcode::SERVFAIL, false).finish(limit, options)
}

/// Brings a message without OPT and its OPT together in at most `limit` bytes.
///
/// What does not fit goes in this order: the additional section, silently
/// (RFC 2181, section 9); then the authority section and as many answers as
/// must, whole records from the end, with TC. Clients that never retry over
/// TCP live on what is left.
pub(super) fn fit(mut message: Vec<u8>, opt: &[u8], limit: usize) -> Vec<u8> {
    let bare: Vec<u8>;
    let mut opt = opt;
    if message.len() + opt.len() > limit {
        if HEADER + question_length(&message) + opt.len() > limit {
            // An OPT without options: those are explanations, it is the protocol.
            bare = opt.get(..9).map(|opt| [opt, &[0, 0]].concat()).unwrap_or_default();
            opt = &bare;
        }
        cut(&mut message, limit.saturating_sub(opt.len()));
    }
    if !opt.is_empty() {
        let additional = count(&message, 10).saturating_add(1);
        put(&mut message, 10, additional);
        message.extend(opt);
    }
    message
}

fn question_length(message: &[u8]) -> usize {
    let mut reader = Reader::new(message.get(HEADER..).unwrap_or_default());
    let read = reader.plain_name().and_then(|_| reader.take(4));
    if read.is_some() { reader.at() } else { 0 }
}

/// Cuts `message` to at most `room` bytes at the end of a record.
fn cut(message: &mut Vec<u8>, room: usize) {
    let (mut kept, mut end) = ([0_u16; 3], HEADER + question_length(message));
    let mut reader = Reader::new(message);
    let counts = reader.header().map_or([0; 4], |header| header.counts);
    let _ = reader.take(end - HEADER);
    let mut complete = true;
    'sections: for (kept, count) in kept.iter_mut().zip(counts.into_iter().skip(1)).take(2) {
        for _ in 0..count {
            if reader.record().is_none() || reader.at() > room {
                complete = false;
                break 'sections;
            }
            (*kept, end) = (*kept + 1, reader.at());
        }
    }
    message.truncate(end);
    for (at, kept) in [6, 8, 10].into_iter().zip(kept) {
        put(message, at, kept);
    }
    if !complete {
        let flags = count(message, 2) | TC;
        put(message, 2, flags);
    }
}

/// The two bytes at `at` as a number; nothing there counts as 0.
pub(super) fn count(message: &[u8], at: usize) -> u16 {
    let bytes = message.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_be_bytes)
}

/// Writes a number over the two bytes at `at`, if they are there.
pub(super) fn put(message: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = message.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// The flags of an upstream's reply as this client gets to see them: RD and CD
/// are its own, AD only if it asked (RFC 6840, section 5.8), RA always.
pub(super) fn relayed_flags(upstream: u16, query: &Query) -> u16 {
    let wants_ad = query.flags & AD != 0 || query.dnssec_ok();
    let ad = if wants_ad { upstream & AD } else { 0 };
    QR | RA | ad | query.flags & (RD | CD) | upstream & (OPCODE | AA | TC | 0x0F)
}
