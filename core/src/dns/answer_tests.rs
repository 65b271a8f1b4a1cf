//! What may be changed in an upstream's answer on its way through.

use super::super::testing::{
    address, code, edns_query, parsed, query, read, record, response, soa,
};
use super::*;

const FRESH: Age = Age::Relayed;

fn answer(bytes: &[u8]) -> Answer {
    Answer::read(bytes).unwrap()
}

fn seconds(bytes: &[u8]) -> Option<u64> {
    answer(bytes).lifetime().map(|time| time.as_secs())
}

/// `bytes` with an OPT that has these options.
fn with_opt(mut bytes: Vec<u8>, code: u8, options: &[u8]) -> Vec<u8> {
    bytes[11] += 1;
    bytes.extend([0, 0, 41, 0x10, 0, code, 0, 0x80, 0, 0, options.len() as u8]);
    bytes.extend(options);
    bytes
}

#[test]
fn id_and_case_are_the_clients_and_records_are_untouched() {
    let asked = query("example.com", 1);
    // A type that nobody knows, and an A without data (RFC 2136 uses those).
    let odd = [record(1, 7, &[10, 0, 0, 1]), record(65_400, 7, b"\xC0\x0C?"), record(1, 7, &[])];
    let upstream = response(&asked, 0x8180 | 0x0040, [&odd, &[], &[]]);
    let mut client = query("eXample.COM", 1);
    client[..2].copy_from_slice(&[9, 9]);
    let reply = answer(&upstream).reply(&parsed(&client), FRESH, 512);
    assert_eq!(reply[..4], [9, 9, 0x81, 0x80]);
    assert_eq!(reply[12..29], client[12..29]);
    assert_eq!(reply[29..], upstream[29..]);
}

#[test]
fn rd_and_cd_are_echoed_and_ra_is_always_set() {
    let mut asked = query("example.com", 1);
    (asked[2], asked[3]) = (0, 0x10);
    let upstream = response(&asked, 0x0400 | 0x0100, [&[record(1, 7, &[1; 4])], &[], &[]]);
    let reply = answer(&upstream).reply(&parsed(&asked), FRESH, 512);
    assert_eq!(reply[2..4], [0x84, 0x90]);
}

#[test]
fn ad_needs_upstream_and_a_client_that_asks() {
    let ad = |upstream: u16, query: &[u8]| {
        let upstream = response(query, upstream, [&[record(1, 7, &[1; 4])], &[], &[]]);
        answer(&upstream).reply(&parsed(query), FRESH, 512)[3] & 0x20 != 0
    };
    let plain = query("example.com", 1);
    let mut asks = plain.clone();
    asks[3] |= 0x20;
    assert!(!ad(0x0120, &plain));
    assert!(ad(0x0120, &asks));
    assert!(!ad(0x0100, &asks));
    assert!(ad(0x0120, &edns_query("example.com", 1, 1232, true)));
}

#[test]
fn opt_goes_from_hop_to_hop_but_for_explanations() {
    let cookie = [0, 10, 0, 2, 1, 2];
    let error = [0, 15, 0, 4, 0, 22, b'h', b'i'];
    let client = edns_query("example.com", 1, 1232, false);
    let upstream = with_opt(address(&client, 7, 1), 0, &[cookie.as_slice(), &error].concat());
    let reply = answer(&upstream).reply(&parsed(&client), FRESH, 1232);
    assert_eq!(reply[reply.len() - 19..][..11], [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 8]);
    assert_eq!(reply[reply.len() - 8..], error);
    let plain = query("example.com", 1);
    let reply = answer(&upstream).reply(&parsed(&plain), FRESH, 512);
    assert_eq!(reply, address(&plain, 7, 1));
}

#[test]
fn records_behind_an_opt_are_left_out() {
    let client = query("example.com", 1);
    let mut upstream = with_opt(address(&client, 7, 1), 0, &[]);
    upstream[11] = 2;
    upstream.extend(record(1, 7, &[10, 0, 0, 2]));
    let reply = answer(&upstream).reply(&parsed(&client), FRESH, 512);
    assert_eq!(reply, address(&client, 7, 1));
}

#[test]
fn an_opt_among_the_answers_is_malformed() {
    let client = query("example.com", 1);
    let opt = [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0].to_vec();
    for sections in [[1, 0], [0, 1]] {
        let [answers, authorities] = sections.map(|count| vec![opt.clone(); count]);
        let upstream = response(&client, 0x0180, [&answers, &authorities, &[]]);
        assert!(Answer::read(&upstream).is_none());
    }
}

#[test]
fn an_extended_code_without_an_opt_is_a_failure() {
    let client = query("example.com", 1);
    let upstream = with_opt(response(&client, 0x0187, [&[], &[], &[]]), 1, &[]);
    assert_eq!(answer(&upstream).code(), 23);
    assert_eq!(code(&answer(&upstream).reply(&parsed(&client), FRESH, 512)), 2);
    let edns = edns_query("example.com", 1, 1232, false);
    let reply = answer(&upstream).reply(&parsed(&edns), FRESH, 512);
    assert_eq!((code(&reply), reply[reply.len() - 6]), (7, 1));
}

#[test]
fn what_does_not_fit_goes_record_by_record_and_the_opt_stays() {
    let client = edns_query("example.com", 1, 512, false);
    let many: Vec<_> = (0..60).map(|last| record(1, 7, &[10, 0, 0, last])).collect();
    let upstream = response(&client, 0x0180, [&many, &[], &many[..2]]);
    let reply = answer(&upstream).reply(&parsed(&client), FRESH, 512);
    let message = read(&reply);
    let room = (512 - 29 - 11) / 16;
    assert_eq!((reply.len(), message.answers.len()), (29 + room * 16 + 11, room));
    assert!(message.metadata.truncation && message.edns.is_some());
    let plain = answer(&upstream).reply(&parsed(&query("example.com", 1)), FRESH, 512);
    assert_eq!(read(&plain).answers.len(), (512 - 29) / 16);
}

#[test]
fn additional_records_go_first_and_without_a_word() {
    let client = query("example.com", 1);
    let some: Vec<_> = (0..20).map(|last| record(1, 7, &[10, 0, 0, last])).collect();
    let upstream = response(&client, 0x0180, [&some, &[], &some]);
    let message = read(&answer(&upstream).reply(&parsed(&client), FRESH, 512));
    assert_eq!((message.answers.len(), message.additionals.len()), (20, 0));
    assert!(!message.metadata.truncation);
}

#[test]
fn ttls_age_and_never_below_nothing() {
    let client = query("example.com", 1);
    let records = [record(1, 100, &[1; 4]), record(1, 5, &[2; 4]), record(1, 0x8000_0001, &[3; 4])];
    let upstream = response(&client, 0x0180, [&records, &[], &[]]);
    let ttls = |age| {
        let message = read(&answer(&upstream).reply(&parsed(&client), age, 512));
        message.answers.iter().map(|record| record.ttl).collect::<Vec<_>>()
    };
    assert_eq!(ttls(Age::Seconds(7)), [93, 0, 0]);
    assert_eq!(ttls(Age::Stale), [30, 30, 30]);
}

#[test]
fn what_is_kept_is_not_authoritative() {
    let client = query("example.com", 1);
    let upstream = response(&client, 0x0580, [&[record(1, 100, &[1; 4])], &[], &[]]);
    let flags = |age| answer(&upstream).reply(&parsed(&client), age, 512)[2];
    assert_eq!(flags(Age::Relayed), 0x85);
    assert_eq!([Age::Seconds(0), Age::Seconds(7), Age::Stale].map(flags), [0x81; 3]);
}

#[test]
fn what_is_stale_says_so_where_that_can_be_said() {
    let client = edns_query("example.com", 1, 1232, false);
    let error = [0, 15, 0, 4, 0, 22, b'h', b'i'];
    for (flags, stale) in [(0x0180, 3), (0x0183, 19)] {
        let upstream = with_opt(response(&client, flags, [&[], &[soa(9, 9)], &[]]), 0, &error);
        let reply = answer(&upstream).reply(&parsed(&client), Age::Stale, 1232);
        // Beside what upstream said.
        let options = [error.as_slice(), &[0, 15, 0, 2, 0, stale]].concat();
        assert_eq!(reply[reply.len() - 16..], [&[0, 14], options.as_slice()].concat());
        let plain = parsed(&query("example.com", 1));
        let reply = answer(&upstream).reply(&plain, Age::Stale, 512);
        assert!(read(&reply).edns.is_none());
        let kept = answer(&upstream).reply(&parsed(&client), Age::Seconds(5), 1232);
        assert_eq!(kept[kept.len() - 10..], [&[0, 8], error.as_slice()].concat());
    }
}

#[test]
fn lifetimes_are_capped_and_need_a_reason() {
    let client = query("example.com", 1);
    let reply = |flags, answers: &[Vec<u8>], authority: &[Vec<u8>]| {
        seconds(&response(&client, flags, [answers, authority, &[]]))
    };
    let a = |ttl| record(1, ttl, &[1; 4]);
    assert_eq!(reply(0x0180, &[a(1000)], &[]), Some(300));
    assert_eq!(reply(0x0180, &[a(20), a(10)], &[]), Some(10));
    assert_eq!(reply(0x0180, &[a(0)], &[]), None);
    assert_eq!(reply(0x0380, &[a(20)], &[]), None, "TC");
    assert_eq!(reply(0x0183, &[], &[soa(900, 900)]), Some(30));
    assert_eq!(reply(0x0183, &[], &[soa(900, 7)]), Some(7));
    assert_eq!(reply(0x0180, &[], &[soa(6, 900)]), Some(6));
    assert_eq!(reply(0x0180, &[], &[]), None, "no SOA");
    assert_eq!(reply(0x0180, &[record(5, 9, &[0])], &[]), None, "an alias to nothing");
    assert_eq!(reply(0x0182, &[], &[soa(9, 9)]), None, "SERVFAIL");
}

#[test]
fn what_is_malformed_is_no_answer() {
    let good = address(&query("example.com", 1), 7, 1);
    for length in 0..good.len() {
        assert!(Answer::read(&good[..length]).is_none(), "{length}");
    }
    let mut padded = good.clone();
    padded.extend([1, 2, 3]);
    let reply = answer(&padded).reply(&parsed(&query("example.com", 1)), FRESH, 512);
    assert_eq!(reply, good);
    let mut many = good;
    many[6] = 0xFF;
    assert!(Answer::read(&many).is_none());
}
