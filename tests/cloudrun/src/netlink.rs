//! Requests to the kernel's network configuration (rtnetlink, `man 7 rtnetlink`).
//!
//! Owns the layout of the messages and reading the answers; knows nothing of why
//! an interface, an address or a route is wanted. `link` calls it. A [`Network`]
//! stays bound to the network namespace in which it was opened, wherever the
//! calling thread goes.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::RawFd;

use crate::kernel;

/// The length of `nlmsghdr`; in an answer of type `NLMSG_ERROR` the error follows it.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
/// No answer to the requests made here is as long.
const ANSWER: usize = 32 << 10;

// Of linux/veth.h and linux/if_link.h; libc does not have them.
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// The index of `lo`, the same in every network namespace.
pub(crate) const LO: u32 = 1;

/// Where the packets of a route go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// To a router on the interface.
    Router(Ipv4Addr),
    /// Straight to their destination on the interface. Holds before routes to
    /// [`Via::Here`] that are less specific.
    Neighbour,
    /// To this machine: the destinations are its own.
    Here,
}

/// The configuration of one network namespace.
#[derive(Debug)]
pub(crate) struct Network {
    socket: File,
    sequence: u32,
}

/// A message, or a part of one, while it is written.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

impl Body {
    /// `ifinfomsg`: which interface, and the flags that shall change, and to what.
    fn interface(index: u32, set: libc::c_int) -> Self {
        let mut body = Self(vec![0; 4]);
        body.0.extend_from_slice(&index.to_ne_bytes());
        body.0.extend_from_slice(&set.to_ne_bytes());
        body.0.extend_from_slice(&set.to_ne_bytes());
        body
    }

    /// Appends an attribute: length, type, value, padding.
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        self
    }

    /// Appends an attribute that consists of attributes (or begins with a header).
    fn nested(self, kind: u16, value: &Self) -> Self {
        self.attribute(kind, &value.0)
    }
}

impl Network {
    /// Opens the configuration of the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: kernel::route_socket()?.into(), sequence: 0 })
    }

    /// Makes a pair of connected Ethernet interfaces: `name` with the index `index`
    /// here, one of the same name with the index `far` in the network namespace
    /// that is open as `other`. The indices must be free.
    pub(crate) fn add_pair(
        &mut self,
        name: &str,
        index: u32,
        far: u32,
        other: RawFd,
    ) -> io::Result<()> {
        let peer = Body::interface(far, 0)
            .attribute(libc::IFLA_IFNAME, &terminated(name))
            .attribute(libc::IFLA_NET_NS_FD, &other.to_ne_bytes());
        let data = Body::default().nested(VETH_INFO_PEER, &peer);
        let info = Body::default()
            .attribute(libc::IFLA_INFO_KIND, b"veth")
            .nested(libc::IFLA_INFO_DATA, &data);
        let body = Body::interface(index, 0)
            .attribute(libc::IFLA_IFNAME, &terminated(name))
            .nested(libc::IFLA_LINKINFO, &info);
        self.request(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body).map(|_| ())
    }

    /// Keeps the interface from making itself an IPv6 address when it comes up.
    /// Fails where the kernel has no IPv6.
    pub(crate) fn without_ipv6_address(&mut self, index: u32) -> io::Result<()> {
        let mode = Body::default().attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
        let family = u16::try_from(libc::AF_INET6).map_err(io::Error::other)?;
        let families = Body::default().nested(family, &mode);
        let body = Body::interface(index, 0).nested(libc::IFLA_AF_SPEC, &families);
        self.request(libc::RTM_SETLINK, 0, &body).map(|_| ())
    }

    /// Brings the interface up.
    pub(crate) fn up(&mut self, index: u32) -> io::Result<()> {
        self.request(libc::RTM_SETLINK, 0, &Body::interface(index, libc::IFF_UP)).map(|_| ())
    }

    /// Whether the interface would send what it is given.
    pub(crate) fn is_running(&mut self, index: u32) -> io::Result<bool> {
        let answer = self.request(libc::RTM_GETLINK, 0, &Body::interface(index, 0))?;
        let flags = word(&answer, HEADER + 8).ok_or(io::ErrorKind::InvalidData)?;
        Ok(flags & libc::IFF_RUNNING != 0)
    }

    /// Gives the interface an address with a prefix of this many bits.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        bits: u8,
    ) -> io::Result<()> {
        // ifaddrmsg. An address of 169.254/16 too has a scope that all may use.
        let mut body = Body(vec![family(), bits, 0, libc::RT_SCOPE_UNIVERSE]);
        body.0.extend_from_slice(&index.to_ne_bytes());
        let body = body
            .attribute(libc::IFA_LOCAL, &address.octets())
            .attribute(libc::IFA_ADDRESS, &address.octets());
        self.request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body).map(|_| ())
    }

    /// Adds a route to `destination`, a prefix of this many bits.
    pub(crate) fn add_route(
        &mut self,
        (destination, bits): (Ipv4Addr, u8),
        index: u32,
        via: Via,
    ) -> io::Result<()> {
        let (table, scope, kind) = match via {
            Via::Router(_) => (libc::RT_TABLE_MAIN, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST),
            Via::Neighbour => (libc::RT_TABLE_LOCAL, libc::RT_SCOPE_LINK, libc::RTN_UNICAST),
            Via::Here => (libc::RT_TABLE_LOCAL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL),
        };
        // rtmsg.
        let head = [family(), bits, 0, 0, table, libc::RTPROT_BOOT, scope, kind, 0, 0, 0, 0];
        let mut body = Body(head.to_vec()).attribute(libc::RTA_OIF, &index.to_ne_bytes());
        if bits > 0 {
            body = body.attribute(libc::RTA_DST, &destination.octets());
        }
        if let Via::Router(router) = via {
            body = body.attribute(libc::RTA_GATEWAY, &router.octets());
        }
        self.request(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body).map(|_| ())
    }

    /// Sends a request and returns the answer: the last words of it where that is
    /// no more than "done".
    fn request(&mut self, kind: u16, flags: libc::c_int, body: &Body) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | acknowledged(kind))
            .map_err(io::Error::other)?;
        let length = u32::try_from(HEADER + body.0.len()).map_err(io::Error::other)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(&body.0);
        self.socket.write_all(&message)?;
        let mut answer = vec![0; ANSWER];
        let size = self.socket.read(&mut answer)?;
        answer.truncate(size);
        let told = answer.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        if told.map(u16::from_ne_bytes).map(i32::from) == Some(libc::NLMSG_ERROR) {
            match word(&answer, HEADER) {
                Some(0) => {}
                Some(error) => return Err(io::Error::from_raw_os_error(-error)),
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(answer)
    }
}

/// A question has an answer anyway; only to a command the kernel says "done".
fn acknowledged(kind: u16) -> libc::c_int {
    if kind == libc::RTM_GETLINK { 0 } else { libc::NLM_F_ACK }
}

fn family() -> u8 {
    // Two, on every Linux.
    libc::AF_INET as u8
}

fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(i32::from_ne_bytes(*word))
}
