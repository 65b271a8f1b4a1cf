//! What an engine's caller can be told.

use crate::settings::Problems;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The kind of an [`Error`], for programs; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong.
    Config,
    /// The call does not fit the engine's state.
    State,
    /// Another engine of this process has it, or the call was made in a log
    /// callback, for whose end it would have to wait.
    Busy,
    /// The engine belongs to the process from which this one was forked.
    Forked,
    /// It took too long.
    Timeout,
    /// A port is taken.
    AddrInUse,
    /// The operating system does not permit it.
    Permission,
    /// The operating system failed.
    Io,
    /// resolv.conf cannot be taken over.
    ResolvConf,
    /// The metadata server does not say where we are.
    Metadata,
    /// A defect of runsd.
    Internal,
}

/// Why an engine did not start, stop or go on.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    cause: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), cause: None }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the operating system said, where it was asked.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.cause.as_ref()
    }

    pub(super) fn config(problems: &Problems) -> Error {
        Error::new(ErrorKind::Config, problems.to_string())
    }

    /// A socket could not be bound; `holder` says who has the port, where that
    /// could be found out.
    pub(super) fn bind(
        part: &'static str,
        address: SocketAddr,
        cause: io::Error,
        holder: Option<&str>,
    ) -> Error {
        let port = address.port();
        let (kind, why) = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                let by = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
                let why = format!(
                    "port {port} is taken{by}; stop that program, or let the {part} listen \
                     elsewhere with --{part}-addr"
                );
                (ErrorKind::AddrInUse, why)
            }
            io::ErrorKind::PermissionDenied => {
                let why = format!(
                    "this user may not bind port {port}; run as root, or use --mode proxy, \
                     which needs no privileges"
                );
                (ErrorKind::Permission, why)
            }
            _ => (ErrorKind::Io, cause.to_string()),
        };
        Error { kind, message: format!("cannot listen on {address}: {why}"), cause: Some(cause) }
    }

    /// A call in a child of the process that engines belong to.
    pub(super) fn forked(parent: i32) -> Error {
        let text = format!(
            "runsd was started in process {parent}, from which this process was forked; its \
             threads are there, and it goes on serving both. Start an engine of this process's own \
             only where the parent has none: after the fork (gunicorn: in post_fork, without \
             --preload), or in a process that is spawned instead"
        );
        Error::new(ErrorKind::Forked, text)
    }

    pub(super) fn io(what: &str, cause: io::Error) -> Error {
        Error { kind: ErrorKind::Io, message: format!("{what}: {cause}"), cause: Some(cause) }
    }

    pub(super) fn resolv_conf(path: &std::path::Path, cause: io::Error) -> Error {
        let remedy = match cause.kind() {
            io::ErrorKind::PermissionDenied => "run as root, or let this user write it",
            io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
            io::ErrorKind::StorageFull => "make room on its file system",
            _ => "there must be a file that can be written",
        };
        let message = format!(
            "cannot take over {}: {cause}; full mode needs it: {remedy}, or use --mode proxy, \
             which leaves it alone",
            path.display()
        );
        Error { kind: ErrorKind::ResolvConf, message, cause: Some(cause) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// A failure is told to several waiters, so it must be possible to say it twice.
impl Clone for Error {
    fn clone(&self) -> Error {
        let cause = self.cause.as_ref().map(|cause| match cause.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(cause.kind(), cause.to_string()),
        });
        Error { kind: self.kind, message: self.message.clone(), cause }
    }
}
