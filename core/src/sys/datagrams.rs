//! Many datagrams in one system call, in each direction.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The most that one call takes.
pub(crate) const MOST: usize = 32;

/// Room for a datagram, and what came.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The room; a longer datagram is cut.
    pub(crate) room: Vec<u8>,
    /// How much of it was filled, in bytes.
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) peer: SocketAddr,
}

/// The address of a peer as the kernel has it. Both have their family first.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// The name of `address`, and its length in bytes.
    fn new(address: SocketAddr) -> (Name, libc::socklen_t) {
        // SAFETY: both are plain numbers, of which every value is valid.
        let mut name: Name = unsafe { MaybeUninit::zeroed().assume_init() };
        let length = match address {
            SocketAddr::V4(address) => {
                // SAFETY: as above; the whole union was initialised.
                let v4 = unsafe { &mut name.v4 };
                v4.sin_family = libc::AF_INET as libc::sa_family_t;
                v4.sin_port = address.port().to_be();
                v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                // SAFETY: as above.
                let v6 = unsafe { &mut name.v6 };
                v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                v6.sin6_port = address.port().to_be();
                v6.sin6_addr.s6_addr = address.ip().octets();
                v6.sin6_flowinfo = address.flowinfo();
                v6.sin6_scope_id = address.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        (name, length as libc::socklen_t)
    }

    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: the whole union is initialised, and the family comes first in both.
        match libc::c_int::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: as above.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some((ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { self.v6 };
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// The arguments of one call; the kernel follows the pointers in `headers`.
struct Call {
    names: [Name; MOST],
    pieces: [libc::iovec; MOST],
    headers: [libc::mmsghdr; MOST],
}

impl Call {
    fn new() -> Call {
        // SAFETY: numbers and pointers, for which zero is a value; the kernel
        // sees none that has not been set.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    /// Points the headers of the first `count` messages at their parts, which
    /// must not move afterwards.
    fn link(&mut self, count: usize) {
        let parts = self.names.iter_mut().zip(&mut self.pieces);
        for (header, (name, piece)) in self.headers.iter_mut().zip(parts).take(count) {
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
        }
    }
}

/// Makes room for `size` bytes of datagrams that wait to be read, beyond what
/// everybody may have.
///
/// # Errors
/// What the operating system says, above all that only an administrator of the
/// network may.
pub(crate) fn force_receive_buffer(socket: BorrowedFd<'_>, size: usize) -> io::Result<()> {
    let size = libc::c_int::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the value is of the length that is given, and outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the datagrams that have come to `socket` into the first of `slots`,
/// and returns their number. Never waits.
///
/// # Errors
/// `WouldBlock` if there is none, else what the operating system says.
pub(crate) fn receive_many(socket: BorrowedFd<'_>, slots: &mut [Slot]) -> io::Result<usize> {
    let (mut call, count) = (Call::new(), slots.len().min(MOST));
    call.link(count);
    for ((slot, piece), header) in slots.iter_mut().zip(&mut call.pieces).zip(&mut call.headers) {
        piece.iov_base = slot.room.as_mut_ptr().cast();
        piece.iov_len = slot.room.len();
        header.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
    }
    // SAFETY: `count` headers point to names and pieces that outlive the call,
    // and these to room of the length that is given.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            call.headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for ((slot, header), name) in slots.iter_mut().zip(&call.headers).zip(&call.names) {
        slot.length = (header.msg_len as usize).min(slot.room.len());
        slot.peer = name.address().unwrap_or(slot.peer);
    }
    Ok(received)
}

/// Sends the first of `datagrams` to their peers, and returns how many the
/// socket took. Never waits.
///
/// # Errors
/// What the operating system says of the first; `WouldBlock` if the socket is full.
pub(crate) fn send_many(
    socket: BorrowedFd<'_>,
    datagrams: &[(Vec<u8>, SocketAddr)],
) -> io::Result<usize> {
    let (mut call, count) = (Call::new(), datagrams.len().min(MOST));
    call.link(count);
    for (index, (bytes, peer)) in datagrams.iter().take(count).enumerate() {
        let (Some(header), Some(piece), Some(name)) =
            (call.headers.get_mut(index), call.pieces.get_mut(index), call.names.get_mut(index))
        else {
            break;
        };
        (*name, header.msg_hdr.msg_namelen) = Name::new(*peer);
        piece.iov_base = bytes.as_ptr().cast_mut().cast();
        piece.iov_len = bytes.len();
    }
    // SAFETY: `count` headers point to names and pieces that outlive the call,
    // and these to bytes of the length that is given, which are only read.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            call.headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn slots(count: usize, room: usize) -> Vec<Slot> {
        let peer = (Ipv4Addr::UNSPECIFIED, 0).into();
        (0..count).map(|_| Slot { room: vec![0; room], length: 0, peer }).collect()
    }

    #[test]
    fn many_go_and_come_in_one_call_and_in_order() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(one) = UdpSocket::bind(address) else { continue };
            let other = UdpSocket::bind(address).unwrap();
            let to = other.local_addr().unwrap();
            let datagrams: Vec<_> = (0..MOST + 3).map(|number| (vec![7; number], to)).collect();
            assert_eq!(send_many(one.as_fd(), &datagrams).unwrap(), MOST);
            let mut slots = slots(MOST + 3, 16);
            assert_eq!(receive_many(other.as_fd(), &mut slots[..5]).unwrap(), 5);
            assert_eq!(receive_many(other.as_fd(), &mut slots[5..]).unwrap(), MOST - 5);
            for (number, slot) in slots.iter().take(MOST).enumerate() {
                assert_eq!(slot.length, number.min(16), "longer ones are cut");
                assert_eq!(slot.peer, one.local_addr().unwrap());
                assert!(slot.room[..slot.length].iter().all(|byte| *byte == 7));
            }
        }
    }

    #[test]
    fn nothing_is_waited_for() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = receive_many(socket.as_fd(), &mut slots(2, 16)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(receive_many(socket.as_fd(), &mut []).unwrap_or(0), 0);
        assert_eq!(send_many(socket.as_fd(), &[]).unwrap(), 0);
        let wrong = [(vec![1], "[::1]:9".parse().unwrap())];
        assert!(send_many(socket.as_fd(), &wrong).is_err(), "another family");
    }
}
