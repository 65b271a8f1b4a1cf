//! Packets that nobody should send, the same ones every time: no panic, no
//! hang, and no reply that hickory, as another reader, calls malformed.

use super::answer::{Age, Answer};
use super::testing::{Random, address, edns_query, query, read, zone};
use super::wire::{Invalid, Query};

const PACKETS: usize = 200_000;
const NAMES: [&str; 6] =
    ["hello.run.internal", "localhost", "metadata.google.internal", "x.y", "", "a.us-east1"];

/// Noise of up to 600 bytes.
fn raw(random: &mut Random) -> Vec<u8> {
    (0..random.below(600)).map(|_| random.next() as u8).collect()
}

/// A query or a response with some bytes changed, lost or added.
fn mangled(random: &mut Random) -> Vec<u8> {
    let (name, qtype) = (NAMES[random.below(NAMES.len())], random.below(260) as u16);
    let mut packet = match random.below(3) {
        0 => query(name, qtype),
        1 => edns_query(name, qtype, random.next() as u16, random.below(2) == 0),
        _ => address(&query(name, 1), random.next() as u32, 1),
    };
    for _ in 0..random.below(4) {
        let at = random.below(packet.len());
        match random.below(6) {
            0 => packet.truncate(at),
            1 => packet.insert(at, random.next() as u8),
            2 => packet[at.min(11)] = random.below(4) as u8,
            3 => packet.splice(at..at, [0xC0, random.below(64) as u8]).for_each(drop),
            _ => packet[at] = random.next() as u8,
        }
        if packet.is_empty() {
            break;
        }
    }
    packet
}

#[test]
fn no_packet_does_any_harm() {
    let (zone, mut random) = (zone(true), Random(0x9E37_79B9_7F4A_7C15));
    let client = Query::parse(&edns_query("x.y", 1, 1232, true)).unwrap();
    let (mut queries, mut answers) = (0, 0);
    for number in 0..PACKETS {
        let packet = if number % 4 == 0 { raw(&mut random) } else { mangled(&mut random) };
        if let Some(answer) = Answer::read(&packet) {
            answers += 1;
            let limit = 512 + random.below(100);
            let age = [Age::Seconds(9), Age::Stale][random.below(2)];
            assert!(answer.reply(&client, age, limit).len() <= limit.max(packet.len() + 11));
        }
        match Query::parse(&packet) {
            Ok(query) => {
                queries += 1;
                let panics = query.name() == "panic.run.internal";
                if let Some(reply) = (!panics).then(|| zone.answer(&query, 512)).flatten() {
                    assert!(reply.bytes.len() <= 512);
                    if number % 16 == 1 {
                        read(&reply.bytes);
                    }
                }
            }
            Err(Invalid::Answer(reply)) => assert!((12..=512).contains(&reply.len())),
            Err(Invalid::Ignore) => {}
        }
    }
    assert!(queries > PACKETS / 20 && answers > PACKETS / 20, "{queries} {answers}");
}

#[test]
fn a_query_cut_anywhere_or_with_any_byte_changed_does_no_harm() {
    let zone = zone(true);
    let packet = edns_query("hello.us-east1.run.internal", 28, 4096, true);
    for at in 0..packet.len() {
        for byte in 0..=255 {
            let mut changed = packet.clone();
            changed[at] = byte;
            for packet in [&changed[..], &changed[..at]] {
                if let Ok(query) = Query::parse(packet) {
                    zone.answer(&query, 512);
                }
            }
        }
    }
}
