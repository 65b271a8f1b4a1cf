//! What our zones say; replies are read back by hickory.

use super::super::testing::{edns_query, parsed, query, read, zone};
use super::*;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

const A: u16 = 1;
const AAAA: u16 = 28;
const MX: u16 = 15;

fn reply(name: &str, qtype: u16) -> Vec<u8> {
    zone(true).answer(&parsed(&query(name, qtype)), 512).unwrap().bytes
}

/// RCODE, answers, and the owner of the SOA in one line.
fn said(name: &str, qtype: u16) -> String {
    describe(&reply(name, qtype))
}

fn describe(reply: &[u8]) -> String {
    let message = read(reply);
    let mut line = match message.metadata.response_code {
        ResponseCode::NoError => "yes".to_owned(),
        ResponseCode::NXDomain => "no".to_owned(),
        other => format!("{other}"),
    };
    for record in &message.answers {
        line += &format!(" {}", record.data);
    }
    for record in &message.authorities {
        assert_eq!(record.record_type(), RecordType::SOA);
        let RData::SOA(soa) = &record.data else { panic!() };
        assert_eq!((record.ttl, soa.minimum), (60, 60));
        line += &format!(" soa={}", record.name.to_lowercase());
    }
    line
}

#[test]
fn a_service_has_our_addresses_and_nothing_else() {
    for name in ["hello.run.internal", "HELLO.us-East1.RUN.internal"] {
        assert_eq!(said(name, A), "yes 127.0.0.1");
        assert_eq!(said(name, AAAA), "yes ::1");
        assert_eq!(said(name, 255), "yes 127.0.0.1 ::1");
        for qtype in [2, 5, 6, MX, 16, 33, 43, 64, 65, 253] {
            assert_eq!(said(name, qtype), "yes soa=run.internal.", "{name} {qtype}");
        }
    }
    assert_eq!(said("a.route.far.below.run.internal", A), "yes 127.0.0.1");
}

#[test]
fn an_absolute_short_name_is_a_zone_of_its_own() {
    assert_eq!(said("hello.us-east1", A), "yes 127.0.0.1");
    assert_eq!(said("hello.us-east1", MX), "yes soa=hello.us-east1.");
    assert_eq!(said("routed.example", AAAA), "yes ::1");
}

#[test]
fn without_ipv6_there_is_no_data_rather_than_no_name() {
    let zone = zone(false);
    let ask = |name, qtype| zone.answer(&parsed(&query(name, qtype)), 512).unwrap().bytes;
    assert_eq!(describe(&ask("hello.run.internal", AAAA)), "yes soa=run.internal.");
    assert_eq!(describe(&ask("localhost", AAAA)), "yes soa=localhost.");
    assert_eq!(describe(&ask("hello.run.internal", 255)), "yes 127.0.0.1");
}

#[test]
fn what_is_between_the_apex_and_services_is_empty() {
    assert_eq!(said("us-east1.run.internal", A), "yes soa=run.internal.");
    assert_eq!(said("run.internal", A), "yes soa=run.internal.");
    assert!(said("run.internal", 6).starts_with("yes run.internal. hostmaster.run.internal."));
    assert_eq!(said("run.internal", 2), "yes run.internal.");
}

#[test]
fn nothing_else_in_the_zone_exists_or_goes_upstream() {
    for name in [
        "_grpc_config.hello.run.internal",
        "_grpclb._tcp.hello.run.internal",
        "a.b.c.d.e.run.internal",
        "metadata.run.internal",
        "-.run.internal",
    ] {
        for qtype in [A, AAAA, 16, 33] {
            assert_eq!(said(name, qtype), "no soa=run.internal.", "{name}");
        }
    }
    assert_eq!(said("metadata.us-east1", A), "no soa=us-east1.");
    assert_eq!(said("metadata", A), "no soa=.");
}

#[test]
fn a_name_that_only_ends_like_ours_is_not_ours() {
    let zone = zone(true);
    for name in ["example.com", "xrun.internal", "internal", "", "hello", "notlocalhost"] {
        assert_eq!(zone.answer(&parsed(&query(name, A)), 512), None, "{name}");
    }
    let mut dotted = query("helloXrun.internal", A);
    dotted[18] = b'.';
    assert_eq!(zone.answer(&parsed(&dotted), 512), None, "a dot within a label");
}

#[test]
fn the_platforms_zone_has_its_hosts() {
    let zone = "google.internal.";
    assert_eq!(said("metadata.google.internal", A), "yes 169.254.169.254");
    assert_eq!(said("MetaData.Google.INTERNAL", A), "yes 169.254.169.254");
    assert_eq!(said("metadata.google.internal", AAAA), format!("yes soa={zone}"));
    assert_eq!(said("google.internal", A), format!("yes soa={zone}"));
    assert_eq!(said("hello.google.internal", A), format!("no soa={zone}"));
    assert_eq!(said("_x.metadata.google.internal", A), format!("no soa={zone}"));
}

#[test]
fn localhost_and_the_reverse_of_loopback_are_local() {
    assert_eq!(said("localhost", A), "yes 127.0.0.1");
    assert_eq!(said("LocalHost", AAAA), "yes ::1");
    assert_eq!(said("app.localhost", A), "yes 127.0.0.1");
    assert_eq!(said("localhost", MX), "yes soa=localhost.");
    assert_eq!(said("1.0.0.127.in-addr.arpa", 12), "yes localhost.");
    assert_eq!(said("9.8.7.127.in-addr.arpa", 12), "yes localhost.");
    assert_eq!(said("0.127.in-addr.arpa", 12), "yes soa=127.in-addr.arpa.");
    assert_eq!(said("256.0.0.127.in-addr.arpa", 12), "no soa=127.in-addr.arpa.");
    assert_eq!(said("1.1.0.0.127.in-addr.arpa", 12), "no soa=127.in-addr.arpa.");
    assert_eq!(said(REVERSE_V6, 12), "yes localhost.");
    assert!(said(&format!("1.{REVERSE_V6}"), 12).starts_with("no "));
    assert_eq!(zone(true).answer(&parsed(&query("1.0.0.10.in-addr.arpa", 12)), 512), None);
}

#[test]
fn an_engine_tells_who_it_is() {
    assert_eq!(said("_runsd.run.internal", 16), "yes nonce-1");
    assert_eq!(said("_RUNSD.Run.internal", A), "yes soa=run.internal.");
}

#[test]
fn a_reply_is_these_bytes() {
    let mut packet = query("HeLLo.us-east1", A);
    packet[3] = 0x70;
    let expected = b"\x12\x34\x85\x90\0\x01\0\x01\0\0\0\0\x05HeLLo\x08us-east1\0\0\x01\0\x01\
                     \xC0\x0C\0\x01\0\x01\0\0\0\x3C\0\x04\x7F\0\0\x01";
    let reply = zone(true).answer(&parsed(&packet), 512).unwrap();
    assert_eq!(reply.bytes, expected);
}

#[test]
fn edns_is_answered_with_ours_and_only_if_asked() {
    let reply = |packet: &[u8]| zone(true).answer(&parsed(packet), 512).unwrap().bytes;
    let plain = reply(&query("hello.us-east1", A));
    let edns = reply(&edns_query("hello.us-east1", A, 4096, true));
    assert_eq!(plain[11], 0);
    assert_eq!(edns[11], 1);
    assert_eq!(edns[edns.len() - 11..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
}

#[test]
fn only_addresses_of_services_announce_a_request() {
    let zone = zone(true);
    let service = |name, qtype| zone.answer(&parsed(&query(name, qtype)), 512).unwrap().service;
    assert!(service("hello.run.internal", A));
    assert!(service("hello.us-east1", AAAA));
    for (name, qtype) in [
        ("hello.run.internal", 255),
        ("hello.run.internal", MX),
        ("localhost", A),
        ("us-east1.run.internal", A),
    ] {
        assert!(!service(name, qtype), "{name}");
    }
}
