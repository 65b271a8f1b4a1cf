//! The system calls of the simulator: namespaces, mounts, addresses, signals.
//!
//! Owns every `unsafe` block of this crate and nothing else: it knows no Cloud
//! Run, no paths and no order of events. `namespace` and the program call it.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// The two namespaces that make up the simulated instance, held open.
#[derive(Debug)]
pub(crate) struct Handles {
    /// The network namespace.
    pub(crate) net: OwnedFd,
    /// The mount namespace.
    pub(crate) mnt: OwnedFd,
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the calling thread into new namespaces (`CLONE_*` flags).
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointers; only the calling thread changes.
    check(unsafe { libc::unshare(flags) })
}

/// The effective user id.
pub(crate) fn effective_user() -> libc::uid_t {
    // SAFETY: always succeeds, takes no arguments.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub(crate) fn effective_group() -> libc::gid_t {
    // SAFETY: always succeeds, takes no arguments.
    unsafe { libc::getegid() }
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    let data = data.map_or(std::ptr::null(), |text| text.as_ptr().cast());
    // SAFETY: every pointer is null or a NUL-terminated string that outlives the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, data) })
}

/// `umount2(2)` with `MNT_DETACH`.
pub(crate) fn unmount(target: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is a NUL-terminated string that outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })
}

/// Moves the calling thread into a network namespace.
pub(crate) fn join_network(net: RawFd) -> io::Result<()> {
    // SAFETY: a plain file descriptor; the kernel checks that it is a namespace.
    check(unsafe { libc::setns(net, libc::CLONE_NEWNET) })
}

/// Moves the calling thread into both namespaces. The thread must not share
/// its root and working directory with others (see `detach_directories`).
pub(crate) fn join(net: RawFd, mnt: RawFd) -> io::Result<()> {
    join_network(net)?;
    // SAFETY: as in `join_network`.
    check(unsafe { libc::setns(mnt, libc::CLONE_NEWNS) })
}

/// Gives the calling thread a root and working directory of its own, which the
/// kernel demands before a thread may change its mount namespace.
pub(crate) fn detach_directories() -> io::Result<()> {
    unshare(libc::CLONE_FS)
}

/// Makes `command` start inside the namespaces, in the caller's working directory.
pub(crate) fn start_inside(command: &mut Command, handles: Arc<Handles>) {
    let hook = move || {
        let mut directory = [0 as libc::c_char; libc::PATH_MAX as usize];
        // SAFETY: the buffer is ours and its true length is passed. Entering a mount
        // namespace resets the working directory, so it is read before and set after.
        let known = unsafe { libc::getcwd(directory.as_mut_ptr(), directory.len()) };
        join(handles.net.as_raw_fd(), handles.mnt.as_raw_fd())?;
        if !known.is_null() {
            // SAFETY: getcwd left a NUL-terminated path. A directory that does not exist
            // inside is no reason to fail: the command then starts in `/`.
            unsafe { libc::chdir(directory.as_ptr()) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes system calls only: it neither
    // allocates nor takes locks.
    unsafe { command.pre_exec(hook) };
}

fn control_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
}

/// A socket to the configuration of the current network namespace.
pub(crate) fn route_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn interface(name: &[u8]) -> libc::ifreq {
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero, so that the name ends.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name) {
        *slot = *byte as libc::c_char;
    }
    request
}

fn control(socket: &OwnedFd, request: libc::Ioctl, argument: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: all requests used here take a pointer to an ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request, std::ptr::from_mut(argument)) })
}

/// Brings `lo` of the current network namespace up, with 127.0.0.1 and `::1`.
pub(crate) fn loopback_up() -> io::Result<()> {
    let mut request = interface(b"lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(&control_socket()?, libc::SIOCSIFFLAGS as libc::Ioctl, &mut request)
}

/// Adds `address`/32 to `lo` of the current network namespace, as alias `number`.
pub(crate) fn add_loopback_address(number: usize, address: Ipv4Addr) -> io::Result<()> {
    let socket = control_socket()?;
    let alias = format!("lo:{number}");
    for (call, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::BROADCAST)]
    {
        let mut request = interface(alias.as_bytes());
        // SAFETY: sockaddr_in is plain data for which all zeroes is a valid value.
        let mut inet: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        inet.sin_family = libc::AF_INET as libc::sa_family_t;
        inet.sin_addr.s_addr = u32::from(value).to_be();
        // SAFETY: sockaddr and sockaddr_in have the same size, and the kernel reads
        // the one as the other by its family.
        request.ifr_ifru.ifru_addr =
            unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) };
        control(&socket, call as libc::Ioctl, &mut request)?;
    }
    Ok(())
}

/// Sends a signal to a process that the caller started and has not reaped.
pub fn signal(process: u32, number: libc::c_int) -> io::Result<()> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(process, number) })
}
