//! Blocking work for callers that must not block: on a thread of its own, with
//! a future that waits on a plain channel, so that any runtime can poll it.

use super::error::{Error, ErrorKind};
use crate::sys;

/// Runs `work` on a thread named `name` and waits for what it gives. Giving
/// the future up does not stop the work; what it gives is dropped then.
pub(super) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (send, receive) = async_channel::bounded(1);
    spawn(name, move || {
        let _ = send.try_send(work());
    })?;
    let gone = |_| Error::new(ErrorKind::Internal, "an internal error; please report it");
    receive.recv().await.map_err(gone)
}

/// Runs `work` on a thread that nobody waits for.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    sys::with_signals_blocked(|| thread.spawn(work))
        .map(drop)
        .map_err(|cause| Error::io("cannot start a thread", cause))
}
