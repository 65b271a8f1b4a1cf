//! The resolver against a nameserver that follows a script.

use super::super::testing::*;
use super::*;
use crate::net::{OwnAddresses, SystemClock};
use std::net::SocketAddr;

/// Answers by name and type: two names, an alias, and nothing else.
fn nameserver() -> Upstream {
    Upstream::udp(|packet| {
        let query = parsed(packet);
        let yes = |data: &[Vec<u8>]| response(packet, 0x0180, [data, &[], &[]]);
        match (query.name(), query.qtype) {
            ("both.example" | "short.corp.example", 1) => yes(&[record(1, 60, &[10, 0, 0, 1])]),
            ("both.example", 28) => yes(&[record(28, 60, &[0xFD; 16])]),
            ("alias.example", 1) => {
                let target = b"\x04both\x07example\0";
                let mut address = record(1, 60, &[10, 0, 0, 2]);
                address.splice(..2, *target);
                let unasked = [record(1, 60, &[6; 4])];
                yes(&[&[record(5, 60, target), address], unasked.as_slice()].concat())
            }
            ("mail.example", _) => yes(&[]),
            ("broken.example", _) => response(packet, 0x0182, [&[], &[], &[]]),
            ("odd.example", _) => response(packet, 0x0184, [&[], &[], &[]]),
            _ => response(packet, 0x0183, [&[], &[soa(60, 60)], &[]]),
        }
    })
}

/// What `host` resolves to, in words; and whom it asked how often.
fn resolved(running: &Running, servers: &[SocketAddr], host: &str) -> String {
    let (own, clock) = (OwnAddresses::default(), Arc::new(SystemClock));
    let forwarder = Forwarder::new(servers.to_vec(), own, running.tasks.clone(), clock);
    let hosts = Hosts::parse(b"10.1.1.1 listed listed.example\n");
    let search = vec!["corp.example.".to_owned(), "other.example".to_owned()];
    let resolve = resolver(forwarder, hosts, search);
    match running.run(resolve(host.to_owned())) {
        Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(cause) => cause,
    }
}

#[test]
fn literals_hosts_and_localhost_need_no_nameserver() {
    let (running, server) = (Running::new(), nameserver());
    let find = |host| resolved(&running, &[server.address], host);
    assert_eq!(find("192.0.2.1"), "192.0.2.1");
    assert_eq!(find("fd00::1"), "fd00::1");
    assert_eq!(find("Listed.example."), "10.1.1.1");
    assert_eq!(find("localhost"), "127.0.0.1 ::1");
    assert_eq!(find("db.LocalHost"), "127.0.0.1 ::1");
    assert_eq!(server.asked(), 0);
}

#[test]
fn both_address_types_are_found_ipv4_first() {
    let (running, server) = (Running::new(), nameserver());
    let ipv6 = std::net::Ipv6Addr::from([0xFD; 16]);
    let find = |host| resolved(&running, &[server.address], host);
    assert_eq!(find("both.example"), format!("10.0.0.1 {ipv6}"));
    assert_eq!(find("Both.Example."), format!("10.0.0.1 {ipv6}"));
    assert_eq!(find("alias.example"), "10.0.0.2");
    assert_eq!(server.asked(), 6);
}

#[test]
fn short_names_walk_the_search_list_and_long_ones_do_not() {
    let (running, server) = (Running::new(), nameserver());
    let find = |host| resolved(&running, &[server.address], host);
    assert_eq!(find("short"), "10.0.0.1");
    assert_eq!(server.asked(), 4);
    assert_eq!(find("nothing.example"), "it does not exist (NXDOMAIN)");
    assert_eq!(find("short."), "it does not exist (NXDOMAIN)");
    assert_eq!(server.asked(), 8);
}

#[test]
fn errors_say_why() {
    let (running, server) = (Running::new(), nameserver());
    let find = |host: &str| resolved(&running, &[server.address], host);
    assert_eq!(find("mail.example"), "it has no address");
    assert_eq!(find("broken.example"), "the nameserver 127.0.0.1 failed (SERVFAIL or REFUSED)");
    assert_eq!(find("odd.example"), "the nameserver answered with RCODE 4");
    for host in ["", ".", "a..b", "with space.example", &"x".repeat(64), &"x.".repeat(128)] {
        assert_eq!(find(host), "it is not a host name", "{host:?}");
    }
    let two = [nobody(), nobody()];
    let expected = "the nameservers 127.0.0.1, 127.0.0.1 cannot be reached";
    assert_eq!(resolved(&running, &two, "both.example"), expected);
    assert_eq!(resolved(&running, &[], "both.example"), "there is no nameserver to ask");
}
