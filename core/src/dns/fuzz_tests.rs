//! Packets that nobody should send, the same ones every time: no panic, no
//! hang, memory by what came, and no reply that another reader calls malformed.
//!
//! They are the kept ones of `tests/fuzz/messages` and what becomes of these
//! and of others by chance. For a longer run than the tests', build them with
//! `FUZZ_ROUNDS` and `FUZZ_SEED` in the environment.

use super::answer::{Age, Answer};
use super::testing::{Random, edns_query, parsed, query, question, zone};
use super::wire::{Invalid, Query};
use super::zone::Zone;
use hickory_proto::op::Message;
use std::path::Path;

const NAMES: [&str; 6] =
    ["hello.run.internal", "localhost", "metadata.google.internal", "x.y", "", "a.us-east1"];

/// How many packets each test makes.
pub(in crate::dns) fn rounds(ordinary: usize) -> usize {
    option_env!("FUZZ_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(ordinary)
}

/// The source of chance, another one for each run with another `FUZZ_SEED`.
pub(in crate::dns) fn random() -> Random {
    let seed = option_env!("FUZZ_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0_u64);
    Random(0x9E37_79B9_7F4A_7C15 ^ seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
}

/// The kept packets: lines of hexadecimal digits and comments.
fn kept() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/messages");
    let files = std::fs::read_dir(folder).unwrap();
    let packet = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let digits: Vec<u8> = lines.flat_map(str::bytes).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| packet(std::fs::read_to_string(file).unwrap())).collect()
}

/// Noise of up to 600 bytes.
fn raw(random: &mut Random) -> Vec<u8> {
    (0..random.below(600)).map(|_| random.next() as u8).collect()
}

/// A name as it may stand in a record, right or wrong.
fn name(random: &mut Random, end: usize) -> Vec<u8> {
    match random.below(8) {
        0 => vec![0],
        1 => vec![0xC0, 12],
        2 => vec![1, b'a', 0xC0, 12],
        3 => (0xC000 | random.below(end + 8) as u16).to_be_bytes().to_vec(),
        4 => [vec![63; 64], vec![0]].concat(),
        5 => vec![2, b'B', 0, 0],
        6 => vec![0x40 | random.next() as u8, 0],
        _ => vec![0xC0, 12],
    }
}

/// A response made of records that are mostly right.
fn response(random: &mut Random) -> Vec<u8> {
    let mut packet = random.next().to_be_bytes()[..2].to_vec();
    packet.extend([0x81 | random.below(8) as u8, 0x80 | random.below(6) as u8, 0, 1]);
    let counts: [u16; 3] = std::array::from_fn(|_| random.below(6) as u16);
    packet.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    packet.extend(question(NAMES[random.below(NAMES.len())], random.below(30) as u16));
    for _ in 0..counts.iter().sum::<u16>() {
        let (kind, class) = match random.below(5) {
            0 => (41, random.next() as u16),
            1 => (6, 1),
            2 => (random.next() as u16, 1),
            _ => (1, 1),
        };
        let data = match random.below(4) {
            0 => raw(random),
            1 => vec![0, 15, 0, 4, 0, random.below(30) as u8, b'h', b'i'],
            2 => Vec::new(),
            _ => vec![10, 0, 0, 1],
        };
        packet.extend(if kind == 41 { vec![0] } else { name(random, packet.len()) });
        packet.extend(u16::to_be_bytes(kind));
        packet.extend(class.to_be_bytes());
        packet.extend((random.next() as u32 >> random.below(32)).to_be_bytes());
        packet.extend((data.len() as u16).to_be_bytes());
        packet.extend(data);
    }
    packet
}

/// Some bytes changed, lost or added.
fn mangle(packet: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(packet.len());
        match random.below(6) {
            _ if packet.is_empty() => return,
            0 => packet.truncate(at),
            1 => packet.insert(at, random.next() as u8),
            2 => packet[at.min(11)] = random.below(4) as u8,
            3 => packet.splice(at..at, [0xC0, random.below(64) as u8]).for_each(drop),
            _ => packet[at] = random.next() as u8,
        }
    }
}

fn made(kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let (name, qtype) = (NAMES[random.below(NAMES.len())], random.below(260) as u16);
    let mut packet = match random.below(8) {
        0 => return raw(random),
        1 => query(name, qtype),
        2 => edns_query(name, qtype, random.next() as u16, random.below(2) == 0),
        3 | 4 => kept[random.below(kept.len())].clone(),
        _ => response(random),
    };
    mangle(&mut packet, random);
    packet
}

/// The end of a name, by its length alone.
fn name_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes[at] {
            0 => return at + 1,
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return at + 2,
        }
    }
}

/// Where the records of a reply of ours begin and end, and their types. It must
/// be whole: whatever it counts is there, and nothing else.
fn records(reply: &[u8]) -> Vec<(usize, usize, u16)> {
    let number = |at: usize| usize::from(u16::from_be_bytes([reply[at], reply[at + 1]]));
    let mut at = 12;
    for _ in 0..number(4) {
        at = name_end(reply, at) + 4;
    }
    let mut found = Vec::new();
    for _ in 0..number(6) + number(8) + number(10) {
        let fixed = name_end(reply, at);
        let end = fixed + 10 + number(fixed + 8);
        found.push((at, end, number(fixed) as u16));
        at = end;
    }
    assert_eq!(at, reply.len(), "{reply:02x?}");
    found
}

/// A relayed answer is the answer, but for what is the client's.
fn check_relayed(packet: &[u8], answer: &Answer, client: &Query, limit: usize) {
    for age in [Age::Relayed, Age::Seconds(0), Age::Seconds(9), Age::Stale] {
        let reply = answer.reply(client, age, limit);
        assert!(reply.len() <= limit, "{} of {limit}", reply.len());
        assert_eq!(reply[..2], client.id.to_be_bytes());
        let records = records(&reply);
        let opts = records.iter().filter(|(_, _, kind)| *kind == 41).count();
        assert_eq!(opts, usize::from(client.edns.is_some()), "one OPT for one");
        for (start, end, kind) in records {
            if kind == 41 {
                assert_eq!(end, reply.len(), "it is the last");
                continue;
            }
            let ttl = name_end(&reply, start) + 4;
            assert_eq!(reply[start..ttl], packet[start..ttl]);
            assert_eq!(reply[ttl + 4..end], packet[ttl + 4..end]);
            if age == Age::Relayed {
                assert_eq!(reply[ttl..ttl + 4], packet[ttl..ttl + 4]);
            }
        }
    }
    // A TTL of two bytes for each record of eleven, and the explanations.
    assert!(answer.size() <= size_of::<Answer>() + 2 * packet.len() + 512);
}

/// Everything that is done with a packet, from a client or from a nameserver.
/// Whether it was a query, and whether an answer.
fn check(packet: &[u8], zone: &Zone, random: &mut Random) -> (bool, bool) {
    let answer = Answer::read(packet);
    if let Some(answer) = &answer {
        let name_length = answer.question().len();
        let limit = (512 + random.below(700)).max(name_length + 12 + 11);
        // The question of the client is the one that was asked, but for its case.
        let mut plain = query("", 1);
        plain.splice(12.., answer.question().to_ascii_uppercase());
        let end = plain.len();
        plain[end - 4..].copy_from_slice(&[0, 1, 0, 1]);
        let edns = [plain.clone(), edns_query("", 1, 4096, true)[17..].to_vec()].concat();
        for mut packet_of_client in [plain, edns] {
            packet_of_client[11] = u8::from(packet_of_client.len() > end);
            check_relayed(packet, answer, &parsed(&packet_of_client), limit);
        }
    }
    let is_query = match Query::parse(packet) {
        Ok(query) => {
            let panics = query.name() == "panic.run.internal";
            if let Some(reply) = (!panics).then(|| zone.answer(&query, 512)).flatten() {
                assert!(reply.bytes.len() <= 512);
                records(&reply.bytes);
                Message::from_vec(&reply.bytes).unwrap();
            }
            true
        }
        Err(Invalid::Answer(reply)) => {
            assert!((12..=512).contains(&reply.len()));
            records(&reply);
            false
        }
        Err(Invalid::Ignore) => false,
    };
    (is_query, answer.is_some())
}

#[test]
fn no_packet_does_any_harm() {
    let (kept, zone, mut random) = (kept(), zone(true), random());
    assert!(kept.len() > 30);
    for packet in &kept {
        check(packet, &zone, &mut random);
    }
    let (mut queries, mut answers, rounds) = (0, 0, rounds(200_000));
    for _ in 0..rounds {
        let (query, answer) = check(&made(&kept, &mut random), &zone, &mut random);
        queries += usize::from(query);
        answers += usize::from(answer);
    }
    assert!(queries > rounds / 20 && answers > rounds / 20, "{queries} {answers}");
}

#[test]
fn a_query_cut_anywhere_or_with_any_byte_changed_does_no_harm() {
    let (zone, mut random) = (zone(true), random());
    let packet = edns_query("hello.us-east1.run.internal", 28, 4096, true);
    for at in 0..packet.len() {
        for byte in 0..=255 {
            let mut changed = packet.clone();
            changed[at] = byte;
            check(&changed, &zone, &mut random);
        }
        check(&packet[..at], &zone, &mut random);
    }
}
