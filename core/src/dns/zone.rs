//! The names we answer ourselves: the services' zone, the platform's, and
//! those of the loopback.
//!
//! It owns what a name in them says, and to whom the rest is left (`None`). It
//! does no I/O and has no clock; what a name is, a function tells it. The
//! servers call it for every query before anything else.

use super::reply::{Builder, Section};
use super::wire::{Query, rcode, rtype, wire_name};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How long an answer of ours may be kept, negative ones included, in seconds.
const TTL: u32 = 60;
/// Timers for secondary servers, of which there are none, in seconds.
const REFRESH: u32 = 3600;
const RETRY: u32 = 600;
const EXPIRE: u32 = 86_400;
/// The label under our domain that tells who answers.
const SELF: &str = "_runsd";
const LOCALHOST: &str = "localhost";
const REVERSE_V4: &str = "127.in-addr.arpa";
const REVERSE_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service: it has our addresses.
    Service,
    /// Nothing by itself, but services are below it (RFC 8020).
    EmptyNonTerminal,
    /// A name that does not exist.
    NoSuchName,
    /// Somebody else's.
    NotOurs,
}

/// A zone of the platform that has one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZone {
    /// Its apex, without a final dot.
    pub zone: String,
    /// The full names in it that have the address.
    pub hosts: Vec<String>,
    /// The address.
    pub address: Ipv4Addr,
}

/// What [`Zone`] answers.
pub struct ZoneConfig {
    /// The apex of the services' zone, without a final dot.
    pub domain: String,
    /// Says what a name is; it gets lower case without a final dot.
    pub classify: Arc<dyn Fn(&str) -> Kind + Send + Sync>,
    /// The A record of every service.
    pub ipv4: Ipv4Addr,
    /// The AAAA record of every service, where there is IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// Zones of the platform.
    pub local: Vec<LocalZone>,
    /// The text of `_runsd.` under the domain, by which an engine knows itself.
    pub nonce: String,
}

/// A reply of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub bytes: Vec<u8>,
    /// Whether somebody wants a service's address, which announces a request.
    pub service: bool,
}

/// The zones.
pub struct Zone {
    classify: Arc<dyn Fn(&str) -> Kind + Send + Sync>,
    domain: Apex,
    /// The full name `_runsd.DOMAIN`.
    identity: String,
    nonce: Vec<u8>,
    ipv4: [u8; 4],
    ipv6: Option<[u8; 16]>,
    local: Vec<(Apex, LocalZone, [u8; 4])>,
    loopback: Apex,
    loopback_v6: Option<[u8; 16]>,
    /// `localhost.`, as the data of a PTR.
    localhost: Vec<u8>,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.domain.name)
    }
}

/// The top of a zone with the data of its SOA and its NS.
struct Apex {
    name: String,
    soa: Vec<u8>,
    ns: Vec<u8>,
}

impl Apex {
    fn new(name: &str) -> Apex {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let server = name_data(&name);
        let mut soa = [server.clone(), name_data(&format!("hostmaster.{name}"))].concat();
        for number in [1, REFRESH, RETRY, EXPIRE, TTL] {
            soa.extend(number.to_be_bytes());
        }
        Apex { name, soa, ns: server }
    }

    fn holds(&self, name: &str) -> bool {
        is_at_or_below(name, &self.name)
    }

    /// How many labels `name`, which it holds, has more than the apex.
    fn depth(&self, name: &str) -> usize {
        labels(name).saturating_sub(labels(&self.name))
    }
}

/// A name as data of a record; the root if it is no name.
fn name_data(name: &str) -> Vec<u8> {
    wire_name(name).unwrap_or_else(|| vec![0])
}

/// A text as data of a TXT: one string, cut to what fits.
fn text_data(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let text = text.get(..255).unwrap_or(text);
    [&[text.len() as u8], text].concat()
}

fn labels(name: &str) -> usize {
    if name.is_empty() { 0 } else { name.bytes().filter(|byte| *byte == b'.').count() + 1 }
}

fn is_at_or_below(name: &str, top: &str) -> bool {
    match name.strip_suffix(top) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

/// What there is to say about a name.
struct Said<'z> {
    exists: bool,
    service: bool,
    /// All records that it has.
    records: [Option<(u16, &'z [u8])>; 2],
    /// For negatives: how many labels above the name the SOA stands, and its data.
    soa: (usize, &'z [u8]),
}

impl<'z> Said<'z> {
    fn nothing(exists: bool, soa: (usize, &'z [u8])) -> Said<'z> {
        Said { exists, service: false, records: [None, None], soa }
    }

    fn one(rtype: u16, data: &'z [u8], soa: (usize, &'z [u8])) -> Said<'z> {
        Said { records: [Some((rtype, data)), None], ..Said::nothing(true, soa) }
    }

    fn addresses(ipv4: &'z [u8], ipv6: Option<&'z [u8; 16]>, soa: (usize, &'z [u8])) -> Said<'z> {
        let ipv6 = ipv6.map(|address| (rtype::AAAA, address.as_slice()));
        Said { records: [Some((rtype::A, ipv4)), ipv6], ..Said::nothing(true, soa) }
    }

    fn reply(&self, query: &Query, limit: usize) -> Reply {
        let code = if self.exists { rcode::NOERROR } else { rcode::NXDOMAIN };
        let mut builder = Builder::new(query, code, true);
        let mut empty = true;
        for (rtype, data) in self.records.iter().flatten() {
            if query.qtype == *rtype || query.qtype == rtype::ANY {
                builder.record(Section::Answer, 0, *rtype, TTL, data);
                empty = false;
            }
        }
        if empty {
            let (strip, data) = self.soa;
            builder.record(Section::Authority, strip, rtype::SOA, TTL, data);
        }
        let service = self.service && matches!(query.qtype, rtype::A | rtype::AAAA);
        Reply { bytes: builder.finish(limit, &[]), service }
    }
}

impl Zone {
    /// The zones of `config`. A domain that is no name is never matched.
    pub fn new(config: ZoneConfig) -> Zone {
        let domain = Apex::new(&config.domain);
        let local = config.local.into_iter().map(|mut zone| {
            for host in &mut zone.hosts {
                *host = host.trim_end_matches('.').to_ascii_lowercase();
            }
            let address = zone.address.octets();
            (Apex::new(&zone.zone), zone, address)
        });
        Zone {
            classify: config.classify,
            identity: format!("{SELF}.{}", domain.name),
            domain,
            nonce: text_data(&config.nonce),
            ipv4: config.ipv4.octets(),
            ipv6: config.ipv6.map(|address| address.octets()),
            local: local.collect(),
            loopback: Apex::new(LOCALHOST),
            loopback_v6: config.ipv6.map(|_| Ipv6Addr::LOCALHOST.octets()),
            localhost: name_data(LOCALHOST),
        }
    }

    /// The reply in at most `limit` bytes, or `None` if the name is not ours.
    pub fn answer(&self, query: &Query, limit: usize) -> Option<Reply> {
        Some(self.look_up(&query.name)?.reply(query, limit))
    }

    fn look_up(&self, name: &str) -> Option<Said<'_>> {
        if let Some(said) = self.loopback(name) {
            return Some(said);
        }
        if let Some((apex, zone, address)) = self.local.iter().find(|(apex, ..)| apex.holds(name)) {
            return Some(local(apex, zone, address, name));
        }
        if self.domain.holds(name) {
            return Some(self.service_zone(name));
        }
        match (self.classify)(name) {
            Kind::NotOurs => None,
            // A zone of its own: no other owner of the SOA would be ours.
            Kind::Service => Some(self.service_at((0, &self.domain.soa))),
            Kind::EmptyNonTerminal => Some(Said::nothing(true, (0, &self.domain.soa))),
            Kind::NoSuchName => Some(Said::nothing(false, (1, &self.domain.soa))),
        }
    }

    /// Names at or below the domain; none of them is ever anybody else's.
    fn service_zone(&self, name: &str) -> Said<'_> {
        let depth = self.domain.depth(name);
        let soa = (depth, self.domain.soa.as_slice());
        if depth == 0 {
            return apex(&self.domain);
        }
        if name == self.identity {
            return Said::one(rtype::TXT, &self.nonce, soa);
        }
        match (self.classify)(name) {
            Kind::Service => self.service_at(soa),
            Kind::EmptyNonTerminal => Said::nothing(true, soa),
            Kind::NoSuchName | Kind::NotOurs => Said::nothing(false, soa),
        }
    }

    fn service_at<'z>(&'z self, soa: (usize, &'z [u8])) -> Said<'z> {
        Said { service: true, ..Said::addresses(&self.ipv4, self.ipv6.as_ref(), soa) }
    }

    /// `localhost` and what is below it (RFC 6761, section 6.3), and the
    /// reverse names of loopback addresses (RFC 6303, section 4).
    fn loopback(&self, name: &str) -> Option<Said<'_>> {
        let apex = &self.loopback;
        if apex.holds(name) {
            let soa = (apex.depth(name), apex.soa.as_slice());
            return Some(Said::addresses(&[127, 0, 0, 1], self.loopback_v6.as_ref(), soa));
        }
        if is_at_or_below(name, REVERSE_V4) {
            let depth = labels(name) - labels(REVERSE_V4);
            let soa = (depth, apex.soa.as_slice());
            let octet = |label: &str| label.parse::<u8>().is_ok_and(|n| n.to_string() == label);
            let valid = name.split('.').take(depth).all(octet);
            return Some(match depth {
                3 if valid => Said::one(rtype::PTR, &self.localhost, soa),
                0..=2 if valid => Said::nothing(true, soa),
                _ => Said::nothing(false, soa),
            });
        }
        if is_at_or_below(name, REVERSE_V6) {
            let depth = labels(name) - labels(REVERSE_V6);
            let soa = (depth, apex.soa.as_slice());
            return Some(match depth {
                0 => Said::one(rtype::PTR, &self.localhost, soa),
                _ => Said::nothing(false, soa),
            });
        }
        None
    }
}

/// The top of a zone has its SOA and its NS.
fn apex(apex: &Apex) -> Said<'_> {
    let records = [Some((rtype::SOA, apex.soa.as_slice())), Some((rtype::NS, &apex.ns))];
    Said { records, ..Said::nothing(true, (0, &apex.soa)) }
}

fn local<'z>(top: &'z Apex, zone: &'z LocalZone, address: &'z [u8; 4], name: &str) -> Said<'z> {
    let soa = (top.depth(name), top.soa.as_slice());
    if zone.hosts.iter().any(|host| host == name) {
        return Said::one(rtype::A, address, soa);
    }
    if soa.0 == 0 {
        return apex(top);
    }
    let above_a_host = zone.hosts.iter().any(|host| is_at_or_below(host, name));
    Said::nothing(above_a_host, soa)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
