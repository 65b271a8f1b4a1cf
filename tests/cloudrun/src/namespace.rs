//! The simulated instance's view of the machine: its network and its `/etc`.
//!
//! Owns the order in which namespaces, mounts and addresses are made; knows
//! nothing of the servers, and leaves the way to them to `link`. `sim` calls it.
//! All changes happen inside the new namespaces: the machine keeps its own, and
//! when the last process and descriptor of the instance are gone, so is everything
//! made here.

use std::ffi::CString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fs, thread};

use crate::error::{Error, Step};
use crate::kernel::{self, Handles};
use crate::link::Cloud;

/// Where the kernel shows the switch for IPv6, by network namespace.
const IPV6_SWITCH: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The namespaces of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    handles: Arc<Handles>,
    /// Whether the servers have a network of their own.
    apart: bool,
    /// The private tmpfs, a directory that only exists as such inside.
    directory: PathBuf,
}

/// What the network of the instance is like.
#[derive(Debug)]
pub(crate) struct Network<'a> {
    /// Where the servers will listen, if they have to do it on the instance's `lo`.
    pub(crate) addresses: &'a [Ipv4Addr],
    pub(crate) ipv6: bool,
    /// Whether to give the servers a network of their own, if the kernel can.
    pub(crate) apart: bool,
}

/// What the files of the instance say.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    pub(crate) resolv_conf: &'a [u8],
    pub(crate) hosts: &'a str,
    /// The PEM certificate to be trusted, and the name of its OpenSSL link.
    pub(crate) authority: (&'a str, String),
}

/// Lets a process without root make namespaces, by becoming root of a user
/// namespace. Works only before the process has started its second thread.
pub(crate) fn gain_privilege() -> Result<(), Error> {
    let (user, group) = (kernel::effective_user(), kernel::effective_group());
    if user == 0 {
        return Ok(());
    }
    kernel::unshare(libc::CLONE_NEWUSER).map_err(Error::NoNamespaces)?;
    fs::write("/proc/self/setgroups", "deny").map_err(Error::NoNamespaces)?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(Error::NoNamespaces)?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(Error::NoNamespaces)
}

impl Namespaces {
    /// Makes an instance with this network and these files. `directory` is an empty
    /// directory; the tmpfs covers it. Leaves the calling thread where the servers
    /// belong: in the cloud's network and the instance's mounts.
    pub(crate) fn create(
        directory: &Path,
        network: &Network<'_>,
        files: &Files<'_>,
    ) -> Result<Self, Error> {
        let mut cloud = network.apart.then(Cloud::create).transpose()?;
        kernel::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS).map_err(Error::NoNamespaces)?;
        if !network.ipv6 {
            ipv6_off().step("switching IPv6 off")?;
        }
        kernel::loopback_up().step("bringing lo up")?;
        let apart = cloud.as_mut().map_or(Ok(false), Cloud::connect)?;
        if !apart {
            for (number, address) in network.addresses.iter().enumerate() {
                kernel::add_loopback_address(number + 1, *address)
                    .step(format!("adding {address} to lo"))?;
            }
        }
        kernel::mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)
            .step("making the mounts private")?;
        cover_with_tmpfs(directory).step("mounting a tmpfs")?;
        cover_etc(directory, files).step("giving the instance its own /etc")?;
        let handles = Handles {
            net: fs::File::open("/proc/thread-self/ns/net").step("opening the network")?.into(),
            mnt: fs::File::open("/proc/thread-self/ns/mnt").step("opening the mounts")?.into(),
        };
        if let Some(cloud) = cloud.filter(|_| apart) {
            cloud.enter().step("entering the cloud")?;
        }
        Ok(Self { handles: Arc::new(handles), apart, directory: directory.to_owned() })
    }

    /// Whether the servers have a network of their own.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }

    /// Makes `command` start inside.
    pub(crate) fn start_inside(&self, command: &mut Command) {
        kernel::start_inside(command, Arc::clone(&self.handles));
    }

    /// The files that stand for the namespaces while this process lives: network, mounts.
    pub(crate) fn files(&self) -> (PathBuf, PathBuf) {
        let file = |fd: RawFd| PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id()));
        (file(self.handles.net.as_raw_fd()), file(self.handles.mnt.as_raw_fd()))
    }

    /// Runs `f` on a fresh thread inside. A panic of `f` goes on in the caller.
    pub(crate) fn enter<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let handles = Arc::clone(&self.handles);
        let inside = move || {
            kernel::detach_directories()?;
            kernel::join(handles.net.as_raw_fd(), handles.mnt.as_raw_fd())?;
            Ok(f())
        };
        match thread::Builder::new().name("inside".into()).spawn(inside)?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Replaces the content of `/etc/resolv.conf`, as the platform's bind mount.
    pub(crate) fn set_resolv_conf(&self, bytes: &[u8]) -> io::Result<()> {
        let (directory, bytes) = (self.directory.clone(), bytes.to_vec());
        self.enter(move || {
            remove_resolv_conf()?;
            mount_resolv_conf(&directory, &bytes)
        })?
    }

    /// Leaves no `/etc/resolv.conf` at all.
    pub(crate) fn remove_resolv_conf(&self) -> io::Result<()> {
        self.enter(remove_resolv_conf)?
    }

    /// The content of `/etc/resolv.conf`.
    pub(crate) fn resolv_conf(&self) -> io::Result<Vec<u8>> {
        self.enter(|| fs::read(RESOLV_CONF))?
    }
}

/// A kernel without IPv6 has no switch either.
fn ipv6_off() -> io::Result<()> {
    match fs::write(IPV6_SWITCH, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn cover_with_tmpfs(directory: &Path) -> io::Result<()> {
    kernel::mount(c"tmpfs", &text(directory)?, Some(c"tmpfs"), 0, Some(c"mode=755"))
}

/// Gives the instance an `/etc` of its own with these files, so that nothing it
/// does there reaches the machine: a layer over the machine's; or a copy, where the
/// kernel refuses overlays, or where the user may not change what the layer shows
/// (in a user namespace the machine's root is nobody).
fn cover_etc(directory: &Path, files: &Files<'_>) -> io::Result<()> {
    if overlay(directory).is_ok() {
        if write_files(directory, files).is_ok() {
            return Ok(());
        }
        while kernel::unmount(c"/etc/resolv.conf").is_ok() {}
        kernel::unmount(c"/etc")?;
    }
    let copy = directory.join("copy");
    fs::create_dir(&copy)?;
    copy_tree(Path::new("/etc"), &copy)?;
    kernel::mount(&text(&copy)?, c"/etc", None, libc::MS_BIND, None)?;
    write_files(directory, files)
}

fn overlay(directory: &Path) -> io::Result<()> {
    let (upper, work) = (directory.join("etc"), directory.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let mut layers = b"lowerdir=/etc,upperdir=".to_vec();
    layers.extend_from_slice(upper.as_os_str().as_bytes());
    layers.extend_from_slice(b",workdir=");
    layers.extend_from_slice(work.as_os_str().as_bytes());
    let layers = CString::new(layers).map_err(io::Error::other)?;
    kernel::mount(c"overlay", c"/etc", Some(c"overlay"), 0, Some(&layers))
}

/// Copies what the user may read; what it may not, it could not use either.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        let result = if kind.is_symlink() {
            fs::read_link(entry.path()).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else if kind.is_dir() {
            fs::create_dir(&target).and_then(|()| copy_tree(&entry.path(), &target))
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).map(|_| ())
        } else {
            Ok(())
        };
        if let Err(error) = result
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
    }
    Ok(())
}

fn write_files(directory: &Path, files: &Files<'_>) -> io::Result<()> {
    remove_resolv_conf()?;
    mount_resolv_conf(directory, files.resolv_conf)?;
    replace(Path::new("/etc/hosts"), files.hosts.as_bytes())?;
    crate::authority::trust_in(Path::new("/etc"), files.authority.0, &files.authority.1)
}

/// Writes a new file in the place of whatever is there: a symbolic link would
/// lead out of the covered `/etc` and back to the machine.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::write(path, bytes),
    }
}

/// On the platform this file is a bind mount: it can be written, not renamed over.
fn mount_resolv_conf(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let source = directory.join("resolv.conf");
    replace(&source, bytes)?;
    replace(Path::new(RESOLV_CONF), b"")?;
    kernel::mount(&text(&source)?, c"/etc/resolv.conf", None, libc::MS_BIND, None)
}

fn remove_resolv_conf() -> io::Result<()> {
    // Not a mount point: then there is only the file.
    while kernel::unmount(c"/etc/resolv.conf").is_ok() {}
    match fs::remove_file(RESOLV_CONF) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
