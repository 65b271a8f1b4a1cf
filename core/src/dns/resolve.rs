//! The resolver of upstream names: from a host to its addresses.
//!
//! It owns the order of the sources: literal, hosts file, `localhost`, DNS with
//! the original search list. It asks through the forwarder, whose cache keeps
//! its answers and whose single flight turns a storm of requests into one
//! query; it never reads the resolv.conf that we rewrote. The dialer calls it.

use super::answer::{Age, Answer};
use super::forward::Forwarder;
use super::hosts::Hosts;
use super::wire::{IN, Query, RD, rcode, rtype, wire_name};
use crate::net::{BoxFuture, Resolve};
use futures_lite::future::zip;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// CNAMEs followed within one answer.
const MOST_ALIASES: usize = 16;

/// A function from a host name to its addresses, IPv4 first: an IP literal
/// itself, then `hosts`, then `localhost` as loopback (RFC 6761), then DNS. A
/// name without a dot is also tried with each suffix of `search`. The error is
/// half a sentence that says why there is no address.
pub fn resolver(forwarder: Forwarder, hosts: Hosts, search: Vec<String>) -> Resolve {
    let source = Arc::new(Source { forwarder, hosts, search });
    Arc::new(move |host: String| {
        let source = source.clone();
        let found: BoxFuture<'static, _> = Box::pin(async move { source.find(&host).await });
        found
    })
}

struct Source {
    forwarder: Forwarder,
    hosts: Hosts,
    search: Vec<String>,
}

/// Why a name has no addresses; the order is from least to most worth telling.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nothing {
    NoSuchName,
    NoAddress,
    NoName,
    Failed(String),
}

impl Nothing {
    fn said(self) -> String {
        match self {
            Nothing::NoSuchName => "it does not exist (NXDOMAIN)".to_owned(),
            Nothing::NoAddress => "it has no address".to_owned(),
            Nothing::NoName => "it is not a host name".to_owned(),
            Nothing::Failed(cause) => cause,
        }
    }
}

impl Source {
    async fn find(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let listed = self.hosts.lookup(host);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut nothing = match self.look_up(name).await {
            Ok(addresses) => return Ok(addresses),
            Err(nothing) => nothing,
        };
        if !host.contains('.') {
            for suffix in &self.search {
                let suffix = suffix.trim_end_matches('.');
                match self.look_up(&format!("{name}.{suffix}")).await {
                    Ok(addresses) => return Ok(addresses),
                    Err(other) => nothing = nothing.max(other),
                }
            }
        }
        Err(nothing.said())
    }

    /// Both address types at once, for exactly this name.
    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Nothing> {
        let name = wire_name(name).ok_or(Nothing::NoName)?;
        let (v4, v6) = zip(self.ask(&name, rtype::A), self.ask(&name, rtype::AAAA)).await;
        match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.extend(v6);
                Ok(v4)
            }
            (Ok(some), Err(_)) | (Err(_), Ok(some)) => Ok(some),
            (Err(a), Err(b)) => Err(a.max(b)),
        }
    }

    async fn ask(&self, name: &[u8], qtype: u16) -> Result<Vec<IpAddr>, Nothing> {
        let question = [name, qtype.to_be_bytes().as_slice(), IN.to_be_bytes().as_slice()].concat();
        let query = Query { id: 0, flags: RD, question, name: String::new(), qtype, edns: None };
        let failed = |failure| Nothing::Failed(self.forwarder.say(&failure));
        let (answer, _): (Arc<Answer>, Age) = self.forwarder.ask(&query).await.map_err(failed)?;
        match answer.code() {
            rcode::NOERROR => addresses(answer.message()),
            rcode::NXDOMAIN => Err(Nothing::NoSuchName),
            code => Err(Nothing::Failed(format!("the nameserver answered with RCODE {code}"))),
        }
    }
}

/// The addresses of the name asked for, aliases followed.
fn addresses(message: &[u8]) -> Result<Vec<IpAddr>, Nothing> {
    let unreadable =
        |error| Nothing::Failed(format!("the nameserver's answer cannot be read: {error}"));
    let message = Message::from_vec(message).map_err(unreadable)?;
    let mut name: &Name = message.queries.first().ok_or(Nothing::NoAddress)?.name();
    for _ in 0..MOST_ALIASES {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *name => Some(&target.0),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    let of_name = message.answers.iter().filter(|record| {
        record.name == *name && matches!(record.record_type(), RecordType::A | RecordType::AAAA)
    });
    let found: Vec<IpAddr> = of_name.filter_map(|record| record.data.ip_addr()).collect();
    if found.is_empty() { Err(Nothing::NoAddress) } else { Ok(found) }
}

fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
