//! Waiting without the GIL, and with an ear for Ctrl-C.

use pyo3::prelude::*;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long Ctrl-C may go unheard.
const TURN: Duration = Duration::from_millis(50);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for `future`, at most until `until`; `None` if that came first.
///
/// # Errors
/// What a signal handler of Python's raised; the future is given up then.
pub(crate) fn wait<F>(
    py: Python<'_>,
    future: F,
    until: Option<Instant>,
) -> PyResult<Option<F::Output>>
where
    F: Future + Send,
    F::Output: Send,
{
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let polled = py.detach(|| match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => {
                std::thread::park_timeout(left.map_or(TURN, |left| left.min(TURN)));
                None
            }
        });
        if polled.is_some() || left == Some(Duration::ZERO) {
            return Ok(polled);
        }
        py.check_signals()?;
    }
}
