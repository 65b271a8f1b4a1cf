//! What runsd tells its user: records, where they go, and the counters.
//!
//! It owns the levels, the sinks (Cloud Logging JSON, text, a callback), the
//! holding back of repeats and the numbers; it must not know what any other room
//! does; every room calls it.

mod access;
mod counters;
mod exposition;
mod json;
mod record;
mod repeats;

use repeats::{Repeated, Repeats, Source};
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

pub use access::{Access, visible_agent, visible_url};
pub use counters::Counters;
pub use exposition::{CONTENT_TYPE, Exposition};
pub(crate) use json::Members;
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

/// The time that repeats are measured by.
type Now = Box<dyn Fn() -> Instant + Send + Sync>;

/// A handle to the log; cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    sink: Sink,
    now: Now,
    repeats: Mutex<Repeats>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.0.level)
    }
}

impl Log {
    /// A log that passes records of `level` and above to `sink`, and measures by
    /// `now` how long ago the same was said.
    pub fn new(level: Level, sink: Sink, now: impl Fn() -> Instant + Send + Sync + 'static) -> Log {
        Log(Arc::new(Inner { level, sink, now: Box::new(now), repeats: Mutex::default() }))
    }

    /// A log that says nothing.
    #[cfg(test)]
    pub fn discard() -> Log {
        Log::new(Level::Error, Sink::Discard, Instant::now)
    }

    /// Whether a record of `level` would go anywhere; ask before building a
    /// costly message.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.0.level
    }

    /// Writes one record. What was said within the last minute is counted
    /// instead, and so are many different ones of one kind; whoever looks for
    /// something odd (a log of the level `Debug`) is told everything. `false`: it
    /// was only counted.
    fn write(&self, source: Source, message: fmt::Arguments<'_>) -> bool {
        let Source { level, room, .. } = source;
        if !self.enabled(level) {
            return true;
        }
        let message = message.to_string();
        if !self.enabled(Level::Debug) {
            let mut due = Vec::new();
            let now = (self.0.now)();
            let said = self.repeats().admit(source, &message, now, &mut due);
            due.iter().for_each(|repeated| self.tell(repeated));
            if !said {
                return false;
            }
        }
        self.put(level, room, &message, None);
        true
    }

    /// Writes what is known of one request, whatever the level: the access log
    /// is asked for by name.
    pub fn access(&self, access: &Access<'_>) {
        let (message, details) = (access.to_string(), access.details());
        self.put(access.level(), record::ACCESS, &message, Some(&details));
    }

    /// Tells what was held back for a minute. To be called now and then, for
    /// what does not come again.
    pub fn settle(&self) {
        let mut due = Vec::new();
        let now = (self.0.now)();
        self.repeats().settle(now, &mut due);
        due.iter().for_each(|repeated| self.tell(repeated));
    }

    /// Tells everything that was held back; for the end.
    pub fn end(&self) {
        let now = (self.0.now)();
        let due = self.repeats().end(now);
        due.iter().for_each(|repeated| self.tell(repeated));
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.0.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, repeated: &Repeated) {
        self.put(repeated.level, repeated.room, &repeated.message, None);
    }

    fn put(&self, level: Level, room: &'static str, message: &str, details: Option<&Members>) {
        let record = Record { level, room, message, time: SystemTime::now(), details };
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

    /// Something failed for good; the user must act. `room` names the part of
    /// runsd that speaks, here as everywhere.
    pub fn error(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Source { level: Level::Error, room, kind: room }, message);
    }

    /// Something works less well than it should; the user may act.
    pub fn warn(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.warn_of(room, room, message);
    }

    /// The same, where what is not runsd's to choose may make it come in many
    /// variants: `kind` is what they have in common. `false`: it was held back,
    /// because it or many of its kind have just been said.
    pub fn warn_of(
        &self,
        room: &'static str,
        kind: &'static str,
        message: fmt::Arguments<'_>,
    ) -> bool {
        self.write(Source { level: Level::Warn, room, kind }, message)
    }

    /// A milestone: started, stopped, mode chosen.
    pub fn info(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Source { level: Level::Info, room, kind: room }, message);
    }

    /// What a developer wants to see when something is odd.
    pub fn debug(&self, room: &'static str, message: fmt::Arguments<'_>) {
        self.write(Source { level: Level::Debug, room, kind: room }, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    type Shared<T> = Arc<Mutex<T>>;

    /// A log with a clock to set, and what it has said.
    fn log(level: Level) -> (Log, Shared<Duration>, Shared<Vec<String>>) {
        let (begin, passed) = (Instant::now(), Arc::new(Mutex::new(Duration::ZERO)));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (clock, saying) = (passed.clone(), said.clone());
        let sink = Sink::Callback(Box::new(move |record: &Record<'_>| {
            saying.lock().unwrap().push(record.message.to_owned());
        }));
        (Log::new(level, sink, move || begin + *clock.lock().unwrap()), passed, said)
    }

    #[test]
    fn repeats_are_one_line_a_minute_with_their_count() {
        let (log, passed, said) = log(Level::Warn);
        for _ in 0..42 {
            log.warn("proxy", format_args!("cannot reach {}", "hello"));
        }
        *passed.lock().unwrap() = Duration::from_secs(60);
        log.settle();
        log.warn("proxy", format_args!("cannot reach hello"));
        log.warn("proxy", format_args!("cannot reach hello"));
        log.end();
        assert_eq!(
            *said.lock().unwrap(),
            [
                "cannot reach hello",
                "cannot reach hello (repeated 41 times in 60 s)",
                "cannot reach hello",
                "cannot reach hello (repeated once in 1 s)",
            ]
        );
    }

    #[test]
    fn levels_differ_and_whoever_looks_is_told_everything() {
        let (log, _, said) = log(Level::Debug);
        log.warn("dns", format_args!("same"));
        log.info("dns", format_args!("same"));
        log.warn("dns", format_args!("same"));
        log.debug("dns", format_args!("same"));
        log.debug("dns", format_args!("same"));
        assert_eq!(said.lock().unwrap().len(), 5);
    }
}
