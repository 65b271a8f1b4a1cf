//! Sockets that end with this process: children of the embedding program close
//! their copies of them, so that a port is free and a peer hears the end as
//! soon as this process closes its own. A socket that is being accepted or
//! closed at the very moment of a fork may be missed: it ends with the child.

use crate::sys;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};

/// A socket that children do not keep.
#[derive(Debug)]
pub(super) struct Ours<S: AsFd>(S);

impl<S: AsFd> Ours<S> {
    pub(super) fn new(socket: S) -> Ours<S> {
        sys::remember(socket.as_fd().as_raw_fd());
        Ours(socket)
    }
}

impl<S: AsFd> Drop for Ours<S> {
    fn drop(&mut self) {
        sys::forget(self.0.as_fd().as_raw_fd());
    }
}

impl<S: AsFd> Deref for Ours<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}
