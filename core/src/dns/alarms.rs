//! Patience: telling many questions how long they have waited, with one timer.
//!
//! All of them wait for the same times, so whoever began first is due first,
//! and a queue for each time is always in order. It owns these times and must
//! not know what is waited for; the race does.

use crate::net::{Clock, Tasks};
use futures_lite::future::poll_fn;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// What a question hears of, after its start: time for a second attempt, for a
/// third, and to give up, because clients do after 5 s.
pub(super) const TIMES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_millis(4500)];
/// Questions that may have ended and still stand in the first queue.
const MOST_ENDED: usize = 2048;

/// The questions that wait, and the timer.
pub(super) struct Alarms(Arc<Inner>);

struct Inner {
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// For each of the times, those that have not waited so long, and since when.
    queues: [VecDeque<(Instant, Weak<Bell>)>; TIMES.len()],
    /// Whether the timer's task runs.
    timed: bool,
}

/// How many of the times have passed, and who wants to know.
#[derive(Debug, Default)]
struct Bell(Mutex<(usize, Option<Waker>)>);

/// One question's alarm; it is off when this goes.
#[derive(Debug)]
pub(super) struct Alarm {
    bell: Arc<Bell>,
    heard: usize,
}

impl Alarms {
    /// Nobody waits yet.
    pub(super) fn new(tasks: Tasks, clock: Arc<dyn Clock>) -> Alarms {
        Alarms(Arc::new(Inner { tasks, clock, waiting: Mutex::default() }))
    }

    /// Begins to measure the time of one more question.
    pub(super) fn set(&self) -> Alarm {
        let alarm = Alarm { bell: Arc::default(), heard: 0 };
        let mut waiting = self.0.waiting();
        let [first, ..] = &mut waiting.queues;
        if first.len() >= MOST_ENDED {
            first.retain(|(_, bell)| bell.strong_count() > 0);
        }
        first.push_back((self.0.clock.now(), Arc::downgrade(&alarm.bell)));
        if !std::mem::replace(&mut waiting.timed, true) {
            drop(waiting);
            let inner = self.0.clone();
            self.0.tasks.spawn("DNS timer", async move {
                while let Some(pause) = inner.ring() {
                    inner.clock.sleep(pause).await;
                }
            });
        }
        alarm
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings for those whose time has come, and says how long to sleep: until
    /// the next one's, but never for longer than whoever comes meanwhile will
    /// wait. `None` once nobody waits: the timer ends.
    fn ring(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut waiting = self.waiting();
        let mut due: VecDeque<(Instant, Weak<Bell>)> = VecDeque::new();
        let mut pause: Option<Duration> = None;
        for (time, queue) in TIMES.into_iter().zip(&mut waiting.queues) {
            // Whoever has waited for the time before may be due for this one too.
            queue.extend(due.drain(..));
            while let Some((start, bell)) = queue.pop_front() {
                let Some(rings) = bell.upgrade() else { continue };
                let left = (start + time).saturating_duration_since(now);
                if !left.is_zero() {
                    pause = Some(pause.map_or(left, |pause| pause.min(left)));
                    queue.push_front((start, bell));
                    break;
                }
                rings.ring();
                due.push_back((start, bell));
            }
        }
        waiting.timed = pause.is_some();
        pause.map(|pause| pause.min(TIMES[0]))
    }
}

impl Bell {
    fn ring(&self) {
        let mut bell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bell.0 += 1;
        if let Some(waker) = bell.1.take() {
            waker.wake();
        }
    }
}

impl Alarm {
    /// Waits for the next of [`TIMES`] and returns its index; after the last
    /// there is none.
    pub(super) async fn next(&mut self) -> usize {
        poll_fn(|context| {
            let mut bell = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
            if self.heard < bell.0 {
                self.heard += 1;
                return Poll::Ready(self.heard - 1);
            }
            if !bell.1.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                bell.1 = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
#[path = "alarms_tests.rs"]
mod tests;
