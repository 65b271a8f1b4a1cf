//! A socket that a reactor watches for as long as it is open.

use super::super::ours::Ours;
use super::source::{Direction, Rank, Seen, Source};
use super::{Reactor, outside};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A socket that does not block, watched by the reactor of the engine whose
/// thread made it.
#[derive(Debug)]
pub(in crate::net) struct Watched<S: AsFd> {
    socket: Ours<S>,
    source: Arc<Source>,
    reactor: Arc<Reactor>,
}

impl<S: AsFd> Watched<S> {
    /// Watches `socket`, which must not block; `writable` if there is no doubt
    /// that it can be written.
    ///
    /// # Errors
    /// What the operating system says.
    pub(in crate::net) fn new(socket: S, writable: bool, rank: Rank) -> io::Result<Watched<S>> {
        let reactor = match Reactor::here() {
            Some(reactor) => reactor,
            None => outside::reactor()?,
        };
        let socket = Ours::new(socket);
        let source = reactor.enter(socket.as_fd(), writable, rank)?;
        Ok(Watched { socket, source, reactor })
    }

    /// The socket itself.
    pub(in crate::net) fn get(&self) -> &S {
        &self.socket
    }

    /// Whether trying is worth it; see [`Source::poll`].
    pub(in crate::net) fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<Seen> {
        self.source.poll(direction, context)
    }

    /// See [`Source::exhausted`].
    pub(in crate::net) fn exhausted(&self, direction: Direction, seen: Seen) {
        self.source.exhausted(direction, seen);
    }

    /// See [`Source::has_news`].
    pub(in crate::net) fn has_news(&self) -> bool {
        self.source.has_news()
    }

    /// See [`Source::look_again`].
    pub(in crate::net) fn look_again(&self) {
        self.source.look_again();
    }

    /// Tries `work` whenever that is worth it, until it does not find the
    /// socket blocked; with what was known when it was tried.
    pub(in crate::net) fn poll_with<T>(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
        mut work: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<(T, Seen)>> {
        loop {
            let seen = std::task::ready!(self.poll_ready(direction, context));
            match work(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.source.blocked(direction, seen);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done.map(|done| (done, seen))),
            }
        }
    }
}

impl<S: AsFd> Drop for Watched<S> {
    fn drop(&mut self) {
        self.reactor.leave(&self.source);
    }
}
