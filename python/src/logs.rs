//! Log records on their way to Python: a queue with a bound, which no thread of
//! the engine waits for, and which a thread of Python's empties. No thread of
//! Rust's ever calls into Python: one that did so while the interpreter shuts
//! down would never return.

use pyo3::prelude::*;
use runsd::{Level, Record};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

/// Records that may wait for Python.
const ROOM: usize = 1024;

/// Python's numbers for levels, the room, the message, and seconds since 1970.
type Entry = (i32, String, String, f64);

#[derive(Default)]
struct Queue {
    waiting: Vec<Entry>,
    lost: u64,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().closed = true;
        self.changed.notify_all();
    }
}

/// The end that the engine's log callback holds; dropped when the engine stops.
pub(crate) struct Feed(Arc<Shared>);

impl Feed {
    pub(crate) fn push(&self, record: &Record<'_>) {
        let level = match record.level {
            Level::Error => 40,
            Level::Warn => 30,
            Level::Info => 20,
            Level::Debug => 10,
            _ => 5,
        };
        let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let entry = (level, record.room.to_owned(), record.message.to_owned(), time);
        let mut queue = self.0.queue();
        if queue.closed || queue.waiting.len() >= ROOM {
            queue.lost += 1;
        } else {
            queue.waiting.push(entry);
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The end that Python empties.
#[pyclass(frozen, module = "runsd._runsd")]
pub(crate) struct Logs(Arc<Shared>);

/// Both ends.
pub(crate) fn queue() -> (Feed, Logs) {
    let shared = Arc::<Shared>::default();
    (Feed(shared.clone()), Logs(shared))
}

#[pymethods]
impl Logs {
    /// Waits for records: all that wait, oldest first, and how many found no
    /// room since the last call; none once the queue is closed and empty.
    fn take(&self, py: Python<'_>) -> (Vec<Entry>, u64) {
        py.detach(|| {
            let mut queue = self.0.queue();
            while queue.waiting.is_empty() && !queue.closed {
                queue = self.0.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.lost))
        })
    }

    /// Takes no more records.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
