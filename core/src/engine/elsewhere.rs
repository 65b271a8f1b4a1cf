//! Blocking work for callers that must not block: on a thread of its own, with
//! a future that waits on a plain channel, so that any runtime can poll it.

use super::error::{Error, ErrorKind};
use crate::sys;
use std::thread::JoinHandle;

/// Runs `work` on a thread named `name` and waits for what it gives. Giving
/// the future up does not stop the work; what it gives is dropped then.
pub(super) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (send, receive) = async_channel::bounded(1);
    let thread = spawn(name, move || {
        let _ = send.try_send(work());
    })?;
    let gone = |_| Error::new(ErrorKind::Internal, "an internal error; please report it");
    let given = receive.recv().await.map_err(gone);
    // It has nothing left to do, so this does not block; no thread outlives
    // the call that it was for.
    let _ = thread.join();
    given
}

/// Runs `work` on a thread of its own.
pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    sys::with_signals_blocked(|| thread.spawn(work))
        .map_err(|cause| Error::io("cannot start a thread", cause))
}
