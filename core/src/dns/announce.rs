//! Announcements: a look-up of a service says that a request will come.
//!
//! It owns how often that is told, because whoever hears it fetches a token and
//! opens a connection: once a second for a name, and for few names, whatever
//! somebody looks up who tries them all. It has no clock, time is told. The
//! server calls it for each look-up of a service.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a name is not told again.
const PAUSE: Duration = Duration::from_secs(1);
/// Names told in that time.
const MOST: usize = 64;

/// Who hears of look-ups, and what was told lately.
pub(super) struct Announcements {
    tell: Arc<dyn Fn(&str) + Send + Sync>,
    lately: Mutex<Lately>,
}

#[derive(Default)]
struct Lately {
    since: Option<Instant>,
    names: HashSet<Box<str>>,
}

impl Announcements {
    /// `tell` must be cheap.
    pub(super) fn new(tell: Arc<dyn Fn(&str) + Send + Sync>) -> Announcements {
        Announcements { tell, lately: Mutex::default() }
    }

    /// Tells of `name` unless that was told a moment ago, or much else was.
    pub(super) fn looked_up(&self, name: &str, now: Instant) {
        if self.is_news(name, now) {
            (self.tell)(name);
        }
    }

    fn is_news(&self, name: &str, now: Instant) -> bool {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since: Instant| now.saturating_duration_since(since) >= PAUSE;
        if lately.since.is_none_or(over) {
            lately.since = Some(now);
            lately.names.clear();
        }
        if lately.names.contains(name) || lately.names.len() >= MOST {
            return false;
        }
        lately.names.insert(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Announcements, and what they have told.
    fn telling() -> (Announcements, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = told.clone();
        let tell = Arc::new(move |name: &str| hears.lock().unwrap().push(name.to_owned()));
        (Announcements::new(tell), told)
    }

    #[test]
    fn a_name_is_told_once_a_second() {
        let (announcements, told) = telling();
        let start = Instant::now();
        for milliseconds in [0, 1, 999, 1000, 1500, 2000] {
            let now = start + Duration::from_millis(milliseconds);
            announcements.looked_up("a", now);
            announcements.looked_up("b", now);
        }
        assert_eq!(*told.lock().unwrap(), ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn a_scan_of_names_is_not_told_whole() {
        let (announcements, told) = telling();
        let start = Instant::now();
        for number in 0..100_000 {
            announcements.looked_up(&format!("n{number}"), start);
        }
        assert_eq!(told.lock().unwrap().len(), MOST);
        announcements.looked_up("later", start + PAUSE);
        assert_eq!(told.lock().unwrap().last().unwrap(), "later");
    }
}
