//! HTTP/1.1 connections: the one used last is taken first, so that what a
//! quiet app does not need grows old and goes.

use crate::names::Target;
use crate::net::{Alpn, Buffer, Dialer, Secure, Stream};
use crate::proxy::error::ProxyError;
use crate::proxy::limits::{IDLE, IDLE_CONNECTIONS};
use futures_lite::io::AsyncRead;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

/// A connection to a service.
#[derive(Debug)]
pub(in crate::proxy) struct H1 {
    pub(in crate::proxy) stream: Stream,
    /// What the service has sent and nobody has looked at yet.
    pub(in crate::proxy) buffer: Buffer,
    /// Whether an exchange has ended well on it.
    pub(in crate::proxy) reused: bool,
    since: SystemTime,
}

/// The idle connections of every origin.
#[derive(Debug, Default)]
pub(in crate::proxy) struct H1Pool(Mutex<HashMap<String, Vec<H1>>>);

impl H1 {
    /// Whether nothing has come: an end, an alert or surplus bytes make it
    /// useless. Does not wait.
    fn is_quiet(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        let mut context = Context::from_waker(Waker::noop());
        matches!(Pin::new(&mut self.stream).poll_read(&mut context, &mut [0]), Poll::Pending)
    }
}

impl H1Pool {
    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<H1>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection that is still good.
    pub(in crate::proxy) fn take(&self, target: &Target) -> Option<H1> {
        let mut idle = self.idle();
        let connections = idle.get_mut(&target.authority)?;
        while let Some(mut connection) = connections.pop() {
            // The wall clock: a throttled instance's own clock stands still
            // while the connection grows old.
            let young = connection.since.elapsed().is_ok_and(|age| age < IDLE);
            if young && connection.stream.is_tls() == target.tls && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which an exchange has ended well.
    pub(in crate::proxy) fn put(&self, target: &Target, mut connection: H1) {
        if !connection.buffer.is_empty() {
            return;
        }
        connection.buffer.release();
        connection.reused = true;
        connection.since = SystemTime::now();
        let mut idle = self.idle();
        let connections = match idle.get_mut(&target.authority) {
            Some(connections) => connections,
            None => idle.entry(target.authority.clone()).or_default(),
        };
        if connections.len() < IDLE_CONNECTIONS {
            connections.push(connection);
        }
    }

    /// How many connections to `target` are idle.
    pub(in crate::proxy) fn count(&self, target: &Target) -> usize {
        self.idle().get(&target.authority).map_or(0, Vec::len)
    }

    /// Drops what has been idle for too long.
    pub(in crate::proxy) fn sweep(&self) {
        self.idle().retain(|_, connections| {
            connections.retain(|one| one.since.elapsed().is_ok_and(|age| age < IDLE));
            !connections.is_empty()
        });
    }

    /// Closes every idle connection.
    pub(in crate::proxy) fn clear(&self) {
        self.idle().clear();
    }
}

/// Opens a connection.
pub(in crate::proxy) async fn connect(
    dialer: &Arc<Dialer>,
    target: &Target,
) -> Result<H1, ProxyError> {
    let secure = if target.tls { Secure::Tls(Alpn::Http1) } else { Secure::No };
    let connected = dialer
        .dial(&target.host, target.port, secure)
        .await
        .map_err(|cause| ProxyError::Dial { name: target.name.clone(), cause })?;
    let (buffer, since) = (Buffer::default(), SystemTime::now());
    Ok(H1 { stream: connected.stream, buffer, reused: false, since })
}
