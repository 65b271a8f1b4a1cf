//! What runsd tells its user: records, where they go, and the counters.
//!
//! It owns the levels, the sinks (Cloud Logging JSON, text, a callback) and the
//! numbers; it must not know what any other room does; every room calls it.

mod counters;
mod record;

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

pub use counters::Counters;
pub use record::{Format, Level, Record};

/// Where records go.
pub enum Sink {
    /// Nowhere.
    #[cfg(test)]
    Discard,
    /// Standard error, one line a record, written in one call.
    Stderr(Format),
    /// A function, called on any engine thread; it must not block.
    Callback(Box<dyn Fn(&Record<'_>) + Send + Sync>),
}

/// A handle to the log; cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    sink: Sink,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.0.level)
    }
}

impl Log {
    /// A log that passes records of `level` and above to `sink`.
    pub fn new(level: Level, sink: Sink) -> Log {
        Log(Arc::new(Inner { level, sink }))
    }

    /// A log that says nothing.
    #[cfg(test)]
    pub fn discard() -> Log {
        Log::new(Level::Error, Sink::Discard)
    }

    /// Whether a record of `level` would go anywhere; ask before building a
    /// costly message.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.0.level
    }

    /// Writes one record. `room` names the part of runsd that speaks.
    pub fn write(&self, level: Level, room: &'static str, message: fmt::Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        let message = message.to_string();
        let record = Record { level, room, message: &message, time: SystemTime::now() };
        match &self.0.sink {
            #[cfg(test)]
            Sink::Discard => {}
            Sink::Stderr(format) => {
                let line = record.line(*format);
                // A log that cannot be written has nobody left to tell.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
            Sink::Callback(call) => call(&record),
        }
    }

    /// Something failed for good; the user must act.
    pub fn error(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Level::Error, room, message);
    }

    /// Something works less well than it should; the user may act.
    pub fn warn(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Level::Warn, room, message);
    }

    /// A milestone: started, stopped, mode chosen.
    pub fn info(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Level::Info, room, message);
    }

    /// What a developer wants to see when something is odd.
    pub fn debug(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Level::Debug, room, message);
    }
}
