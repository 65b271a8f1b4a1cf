//! The DNS cache: answers by what was asked, bounded by entries and bytes.
//!
//! It owns which answer may be given again and for how long (RFC 2308), what
//! failed lately (RFC 9520), and what may be served although it has expired
//! (RFC 8767). It has no clock, time is told, and it asks nobody. The
//! forwarder alone calls it.

use super::answer::{Age, Answer};
use super::race::Failure;
use std::collections::hash_map::Entry::Occupied;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause after a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after failures (RFC 9520, section 3.2, asks for at most 5 min).
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long after its end an answer may still stand in for a failing upstream.
const MOST_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// What an entry costs besides its key and its answer, in bytes, about.
const OVERHEAD: usize = 160;

/// What was asked: a byte of flags, then the question with its name in lower case.
pub(super) type Key = Arc<[u8]>;

/// What the cache knows.
#[derive(Debug)]
pub(super) enum Found {
    /// An answer to give.
    Answer(Arc<Answer>, Age),
    /// It failed a moment ago: do not ask yet.
    Failed(Failure),
    /// Ask.
    Nothing,
}

/// Answers and failures.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// Every key once, next to be evicted first (second chance).
    order: VecDeque<Key>,
    bytes: usize,
    most_entries: usize,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    answer: Option<(Arc<Answer>, Instant)>,
    failed: Option<Failed>,
    used: bool,
    size: usize,
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    until: Instant,
    pause: Duration,
}

impl Entry {
    /// The answer with its age, if it may still be given for what it is.
    fn fresh(&self, now: Instant) -> Option<(Arc<Answer>, Age)> {
        let (answer, stored) = self.answer.as_ref()?;
        let age = now.saturating_duration_since(*stored);
        (age < answer.lifetime()?).then(|| {
            (answer.clone(), Age::Seconds(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)))
        })
    }

    /// The answer, if it may stand in for an upstream that fails.
    fn stale(&self, now: Instant) -> Option<Arc<Answer>> {
        let (answer, stored) = self.answer.as_ref()?;
        let until = *stored + answer.lifetime()? + MOST_STALE;
        (now < until).then(|| answer.clone())
    }
}

impl Cache {
    /// An empty cache with its bounds; `most_bytes` is an estimate of memory.
    pub(super) fn new(most_entries: usize, most_bytes: usize) -> Cache {
        let (entries, order) = (HashMap::new(), VecDeque::new());
        Cache { entries, order, bytes: 0, most_entries, most_bytes }
    }

    /// What is known about `key`.
    pub(super) fn find(&mut self, key: &[u8], now: Instant) -> Found {
        let Some(entry) = self.entries.get_mut(key) else { return Found::Nothing };
        entry.used = true;
        if let Some((answer, age)) = entry.fresh(now) {
            return Found::Answer(answer, age);
        }
        match entry.failed.as_ref().filter(|failed| now < failed.until) {
            Some(failed) => match entry.stale(now) {
                Some(answer) => Found::Answer(answer, Age::Stale),
                None => Found::Failed(failed.failure.clone()),
            },
            None => Found::Nothing,
        }
    }

    /// Keeps an answer for its lifetime, in place of what was known.
    pub(super) fn store(&mut self, key: &Key, answer: &Arc<Answer>, now: Instant) {
        if answer.lifetime().is_none() {
            // The old answer is wrong now, and the new one must not be kept.
            if let Some(entry) = self.entries.get_mut(&**key) {
                self.bytes = self.bytes.saturating_sub(entry.size);
                (entry.answer, entry.failed, entry.size) = (None, None, cost(key, None));
                self.bytes += entry.size;
            }
            return;
        }
        let size = cost(key, Some(answer));
        self.put(key, size, |entry| {
            entry.answer = Some((answer.clone(), now));
            entry.failed = None;
        });
    }

    /// Notes that asking failed. Returns an expired answer to give instead.
    pub(super) fn fail(
        &mut self,
        key: &Key,
        failure: &Failure,
        now: Instant,
    ) -> Option<Arc<Answer>> {
        let known = self.entries.get(&**key);
        let stale = known.and_then(|entry| entry.stale(now));
        let last = known.and_then(|entry| entry.failed.as_ref()).map(|failed| failed.pause);
        let pause = last.map_or(FIRST_PAUSE, |last| (last * 2).min(LAST_PAUSE));
        let size = cost(key, stale.as_ref()) + failure.size();
        self.put(key, size, |entry| {
            if stale.is_none() {
                entry.answer = None;
            }
            entry.failed = Some(Failed { failure: failure.clone(), until: now + pause, pause });
        });
        stale
    }

    fn put(&mut self, key: &Key, size: usize, change: impl FnOnce(&mut Entry)) {
        let order = &mut self.order;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            order.push_back(key.clone());
            Entry::default()
        });
        self.bytes = self.bytes.saturating_sub(entry.size) + size;
        entry.size = size;
        change(entry);
        while self.entries.len() > self.most_entries || self.bytes > self.most_bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            let Occupied(mut entry) = self.entries.entry(oldest.clone()) else { continue };
            if std::mem::take(&mut entry.get_mut().used) {
                self.order.push_back(oldest);
            } else {
                self.bytes = self.bytes.saturating_sub(entry.remove().size);
            }
        }
    }

    /// How many names it holds, and the memory they take in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    #[cfg(test)]
    fn usage(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.order.len(), self.bytes)
    }
}

fn cost(key: &Key, answer: Option<&Arc<Answer>>) -> usize {
    OVERHEAD + key.len() + answer.map_or(0, |answer| answer.size())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
