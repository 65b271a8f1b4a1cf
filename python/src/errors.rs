//! Exceptions: their classes are Python's, so that they can be pickled.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use runsd::ErrorKind;

/// The exception class for an error, by its name in `runsd.errors`.
fn class(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "ConfigError",
        ErrorKind::State | ErrorKind::Busy => "StateError",
        ErrorKind::Forked => "ForkError",
        ErrorKind::Timeout => "StopTimeout",
        ErrorKind::AddrInUse | ErrorKind::Permission | ErrorKind::Io | ErrorKind::ResolvConf => {
            "BindError"
        }
        _ => "InternalError",
    }
}

/// The number of an error, the same as in the C interface.
fn code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::Config => 3,
        ErrorKind::State => 4,
        ErrorKind::Busy => 5,
        ErrorKind::Forked => 6,
        ErrorKind::Timeout => 7,
        ErrorKind::AddrInUse => 8,
        ErrorKind::Permission => 9,
        ErrorKind::Io => 10,
        ErrorKind::ResolvConf => 11,
        ErrorKind::Metadata => 12,
        _ => 99,
    }
}

/// The exception that says this error.
pub(crate) fn exception(py: Python<'_>, error: &runsd::Error) -> PyErr {
    let errno = error.io_error().and_then(std::io::Error::raw_os_error).unwrap_or_default();
    let made = py
        .import("runsd.errors")
        .and_then(|module| module.getattr(class(error.kind())))
        .and_then(|class| class.call1((error.to_string(), code(error.kind()), errno)));
    match made {
        Ok(instance) => PyErr::from_value(instance),
        Err(_) => PyRuntimeError::new_err(error.to_string()),
    }
}
