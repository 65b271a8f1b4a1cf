//! What makes a query acceptable, byte by byte.

use super::super::testing::{edns_query, parsed, query};
use super::*;

/// The reply to a packet that is not acceptable.
fn refusal(packet: &[u8]) -> Vec<u8> {
    match Query::parse(packet) {
        Err(Invalid::Answer(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn code(packet: &[u8]) -> u8 {
    refusal(packet)[3] & 0x0F
}

fn with(mut packet: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    packet[at] = byte;
    packet
}

#[test]
fn what_is_no_query_gets_no_answer() {
    let query = query("hello", 1);
    for length in 0..12 {
        assert_eq!(Query::parse(&query[..length]).unwrap_err(), Invalid::Ignore);
    }
    assert_eq!(Query::parse(&with(query, 2, 0x81)).unwrap_err(), Invalid::Ignore);
}

#[test]
fn a_good_query_is_read_and_its_question_kept_verbatim() {
    let query = parsed(&query("HeLLo.Run.Internal", 28));
    assert_eq!((query.id, query.name(), query.qtype), (0x1234, "hello.run.internal", 28));
    assert_eq!(query.question, b"\x05HeLLo\x03Run\x08Internal\0\0\x1C\0\x01");
    assert_eq!((query.edns, query.udp_limit()), (None, 512));
    assert_eq!(parsed(&super::super::testing::query("", 2)).name(), "");
}

#[test]
fn counts_that_no_query_has_are_format_errors() {
    let query = query("hello", 1);
    for (at, value) in [(5, 0), (5, 2), (4, 1), (7, 1), (9, 1), (11, 3), (10, 255), (11, 1)] {
        assert_eq!(code(&with(query.clone(), at, value)), 1, "byte {at} = {value}");
    }
}

#[test]
fn other_opcodes_are_echoed_even_without_a_question() {
    let header = [0xAB, 0xCD, 0x29, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    let expected = [0xAB, 0xCD, 0xA9, 0x94, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(refusal(&header), expected);
}

#[test]
fn other_classes_and_zone_transfers_are_refused() {
    let chaos = query("version.bind", 16);
    let last = chaos.len() - 1;
    assert_eq!(code(&with(chaos.clone(), last, 3)), 5);
    assert_eq!(code(&with(chaos, last, 255)), 5);
    assert_eq!(code(&query("run.internal", 252)), 5);
    assert_eq!(code(&query("run.internal", 251)), 5);
    let incremental = with(query("run.internal", 251), 9, 1);
    assert_eq!(code(&incremental), 5);
}

#[test]
fn z_is_ignored_and_rd_and_cd_are_kept() {
    let query = parsed(&with(query("hello", 1), 3, 0x50));
    assert_eq!(query.flags, RD | CD);
}

#[test]
fn broken_names_are_format_errors() {
    let header = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let tail = [0, 0, 1, 0, 1];
    let packet = |name: &[u8]| [&header, name, tail.as_slice()].concat();
    let label = |length: u8| [&[length], vec![b'a'; usize::from(length)].as_slice()].concat();
    let long = |last: u8| [label(63), label(63), label(63), label(last)].concat();
    assert_eq!(parsed(&packet(&long(61))).question.len(), 255 + 4);
    for (what, name) in [
        ("256 bytes", long(62)),
        ("a label of 64", label(64)),
        ("a pointer to itself", vec![0xC0, 12]),
        ("a pointer forward", vec![0xC0, 20]),
        ("a pointer into the header", vec![0xC0, 4]),
        ("an extended label", vec![0x41, 1]),
        ("a label beyond the end", vec![60, b'a']),
    ] {
        assert_eq!(code(&packet(&name)), 1, "{what}");
    }
}

#[test]
fn a_dot_in_a_label_is_no_separator() {
    let mut packet = query("aXrun.internal", 1);
    packet[14] = b'.';
    assert_eq!(parsed(&packet).name(), "a\\046run.internal");
}

#[test]
fn edns_is_read_and_its_size_clamped() {
    for (says, limit) in [(0, 512), (511, 512), (1232, 1232), (4096, 4096), (65535, 4096)] {
        let query = parsed(&edns_query("hello", 1, says, true));
        assert_eq!(query.udp_limit(), limit);
        assert!(query.dnssec_ok());
    }
    assert!(!parsed(&edns_query("hello", 1, 1232, false)).dnssec_ok());
}

#[test]
fn unknown_options_are_ignored_and_broken_ones_are_not() {
    let mut packet = edns_query("hello", 1, 1232, false);
    let length = packet.len() - 1;
    packet[length] = 6;
    packet.extend([0xFD, 0xE9, 0, 2, 1, 2]);
    assert!(parsed(&packet).edns.is_some());
    let broken = with(packet.clone(), length + 4, 3);
    assert_eq!(code(&broken), 1);
    packet.pop();
    assert_eq!(code(&packet), 1, "a truncated OPT");
}

#[test]
fn two_opts_are_a_format_error() {
    let mut packet = edns_query("hello", 1, 1232, false);
    packet[11] = 2;
    let opt = packet[packet.len() - 11..].to_vec();
    packet.extend(&opt);
    assert_eq!(code(&packet), 1);
    let owned = packet.len() - 11;
    packet.splice(owned..=owned, [1, b'a', 0]);
    assert_eq!(code(&packet), 1, "an OPT that has a name");
}

#[test]
fn another_version_of_edns_is_told_ours() {
    let mut packet = edns_query("hello", 1, 1232, true);
    let version = packet.len() - 5;
    packet[version] = 1;
    let reply = refusal(&packet);
    assert_eq!(reply[3] & 0x0F, 0);
    assert_eq!(reply[reply.len() - 11..], [0, 0, 41, 0x04, 0xD0, 1, 0, 0x80, 0, 0, 0]);
}

#[test]
fn compressed_names_lead_backwards_only() {
    let skip = |bytes: &[u8], at: usize| {
        let mut reader = Reader::new(bytes);
        reader.take(at)?;
        reader.skip_name().map(|root| (root, reader.at()))
    };
    let mut message = vec![0; 12];
    message.extend(b"\x01a\0\x01b\xC0\x0C\xC0\x0F\xC0\x15\xC0\x16\xC0\x00");
    assert_eq!(skip(&message, 12), Some((false, 15)));
    assert_eq!(skip(&message, 15), Some((false, 19)));
    assert_eq!(skip(&message, 19), Some((false, 21)));
    assert_eq!(skip(&message, 14), Some((true, 15)));
    for broken in [21, 23, 25] {
        assert_eq!(skip(&message, broken), None, "at {broken}");
    }
}

#[test]
fn a_claimed_count_costs_nothing() {
    let packet = with(query("hello", 1), 10, 0xFF);
    assert_eq!(code(&packet), 1);
}

#[test]
fn a_reply_to_what_is_refused_has_an_opt_if_that_has_one() {
    let opt = [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0];
    let edns = edns_query("hello", 1, 512, true);
    let notify = with(edns.clone(), 2, 0x21);
    assert!(refusal(&notify).ends_with(&opt));
    assert_eq!(refusal(&notify)[2..12], [0xA1, 0x84, 0, 0, 0, 0, 0, 0, 0, 1]);
    // No question, as for a cookie alone (RFC 7873, section 5.4).
    let alone = [&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], opt.as_slice()].concat();
    assert_eq!(code(&alone), 1);
    assert!(refusal(&alone).ends_with(&opt));
    // With two of them, half of one, or none, there is none to answer.
    let twice = [with(notify.clone(), 11, 2), opt.to_vec()].concat();
    let half = notify[..notify.len() - 1].to_vec();
    let none = with(query("hello", 1), 2, 0x21);
    for packet in [twice, half, none] {
        assert_eq!((refusal(&packet).len(), refusal(&packet)[11]), (12, 0));
    }
}

#[test]
fn pointers_to_pointers_are_followed_no_further_than_a_name_has_labels() {
    let chain = |pointers: usize| {
        let mut message = vec![0; 12];
        message.extend(b"\x01a\0");
        for hop in 0..pointers {
            let to = if hop == 0 { 12 } else { 15 + 2 * (hop as u16 - 1) };
            message.extend((0xC000 | to).to_be_bytes());
        }
        let mut reader = Reader::new(&message);
        reader.take(message.len() - 2).unwrap();
        reader.skip_name()
    };
    assert_eq!(chain(127), Some(false));
    assert_eq!(chain(128), None);
    assert_eq!(chain(8000), None);
}
