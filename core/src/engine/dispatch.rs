//! Log records on their way to the embedding program: a queue with a bound, and
//! one thread that hands them over one by one, so that a slow callback holds up
//! nobody's request and none is called after the engine has stopped.

use super::builder::LogCallback;
use super::error::Error;
use crate::sys;
use crate::telemetry::{Level, Members, Record};
use async_channel::{Receiver, Sender};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{JoinHandle, ThreadId};
use std::time::SystemTime;

/// Records that may wait for a callback that is busy.
const ROOM: usize = 1024;

/// A record that waits.
struct Waiting {
    level: Level,
    room: &'static str,
    message: String,
    time: SystemTime,
    details: Option<Members>,
}

impl Waiting {
    fn tell(&self, callback: &LogCallback) {
        let Waiting { level, room, ref message, time, ref details } = *self;
        let record = Record { level, room, message, time, details: details.as_ref() };
        // What panics here is the embedding program's, and costs it one record.
        let _ = catch_unwind(AssertUnwindSafe(|| callback(&record)));
    }
}

/// The way in; the log has it for as long as anything logs.
#[derive(Clone)]
pub(super) struct Queue {
    send: Sender<Waiting>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Queues a record, or counts it as lost. Does not block.
    pub(super) fn push(&self, record: &Record<'_>) {
        let Record { level, room, message, time, details } = *record;
        let (message, details) = (message.to_owned(), details.cloned());
        let waiting = Waiting { level, room, message, time, details };
        if self.send.try_send(waiting).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// The thread. Dropping this lets it hand over what is queued, waits for it,
/// and drops the callback.
pub(super) struct Dispatcher {
    send: Sender<Waiting>,
    thread: Option<JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts the thread.
    pub(super) fn start(callback: LogCallback) -> Result<(Dispatcher, Queue), Error> {
        let (send, receive) = async_channel::bounded(ROOM);
        let lost = Arc::<AtomicU64>::default();
        let queue = Queue { send: send.clone(), lost: lost.clone() };
        let body = move || dispatch(&receive, &lost, &callback);
        let thread = std::thread::Builder::new().name("runsd-log".to_owned());
        let thread = sys::with_signals_blocked(|| thread.spawn(body))
            .map_err(|cause| Error::io("cannot start a thread", cause))?;
        Ok((Dispatcher { send, thread: Some(thread) }, queue))
    }

    /// The thread that the callback is called on.
    pub(super) fn thread(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.send.close();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn dispatch(receive: &Receiver<Waiting>, lost: &AtomicU64, callback: &LogCallback) {
    let tell_lost = || {
        let count = lost.swap(0, Relaxed);
        if count > 0 {
            let message =
                format!("{count} log records were lost, because the log callback is slow");
            let time = SystemTime::now();
            Waiting { level: Level::Warn, room: "engine", message, time, details: None }
                .tell(callback);
        }
    };
    while let Ok(waiting) = receive.recv_blocking() {
        waiting.tell(callback);
        tell_lost();
    }
    tell_lost();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc;

    fn record(message: &str) -> Record<'_> {
        Record {
            level: Level::Info,
            room: "engine",
            message,
            time: SystemTime::now(),
            details: None,
        }
    }

    #[test]
    fn records_come_in_order_and_all_before_the_end() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = heard.clone();
        let callback = move |record: &Record<'_>| {
            hearing.lock().unwrap().push(record.message.to_owned());
        };
        let (dispatcher, queue) = Dispatcher::start(Box::new(callback)).unwrap();
        for number in 0..100 {
            queue.push(&record(&number.to_string()));
        }
        drop(dispatcher);
        let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(*heard.lock().unwrap(), expected);
        assert_eq!(Arc::strong_count(&heard), 1, "the callback is dropped");
        queue.push(&record("too late"));
        assert_eq!(heard.lock().unwrap().len(), 100);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told() {
        let (began, beginning) = mpsc::channel();
        let (go_on, gate) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let gate = Mutex::new(gate);
        let callback = move |record: &Record<'_>| {
            let _ = began.send(());
            let _ = gate.lock().unwrap().recv();
            let _ = tell.send(record.message.to_owned());
        };
        let (dispatcher, queue) = Dispatcher::start(Box::new(callback)).unwrap();
        queue.push(&record("the first"));
        beginning.recv().unwrap();
        for _ in 0..ROOM + 3 {
            queue.push(&record("another"));
        }
        drop(go_on);
        drop(dispatcher);
        let lost: Vec<_> = told.iter().filter(|text| text.contains("3 log records")).collect();
        assert_eq!(lost.len(), 1);
    }

    #[test]
    fn a_callback_that_panics_is_called_again() {
        let (tell, told) = mpsc::channel();
        let callback = move |record: &Record<'_>| {
            assert_ne!(record.message, "one that panics");
            let _ = tell.send(record.message.to_owned());
        };
        let (dispatcher, queue) = Dispatcher::start(Box::new(callback)).unwrap();
        queue.push(&record("one that panics"));
        queue.push(&record("another"));
        drop(dispatcher);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["another"]);
    }
}
