//! Repeats: the same message again and again is one line a minute with a count,
//! so that one broken service cannot fill a log; nor can one that makes up names,
//! because different messages of one kind are few a minute. What is remembered is
//! bounded.

use super::record::Level;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// For how long a message that was said is only counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Different messages of one kind that are said within the window.
const DIFFERENT: u32 = 20;
/// Messages that are remembered; beyond it the oldest is forgotten.
const MESSAGES: usize = 64;
/// What is kept of a message to tell its count with, in bytes.
const KEPT: usize = 1024;

/// What was said in the last minute.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    said: Vec<Said>,
    /// One for each kind that has come: they are words of the program.
    kinds: Vec<Kind>,
    hasher: RandomState,
}

/// What a message is, besides its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) level: Level,
    pub(super) room: &'static str,
    /// What it is about, for a summary of many.
    pub(super) kind: &'static str,
}

#[derive(Debug)]
struct Kind {
    source: Source,
    since: Instant,
    said: u32,
    held: u64,
}

#[derive(Debug)]
struct Said {
    hash: u64,
    at: Instant,
    count: u32,
    source: Source,
    message: String,
}

/// A message that was held back, to be told with its count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) level: Level,
    pub(super) room: &'static str,
    /// The message, cut where it is long, and how often it came.
    pub(super) message: String,
}

impl Repeats {
    /// Whether a message is to be said: not where it, or many of its kind, were
    /// within the window. Puts what is to be told before it into `due`.
    pub(super) fn admit(
        &mut self,
        source: Source,
        message: &str,
        now: Instant,
        due: &mut Vec<Repeated>,
    ) -> bool {
        self.settle(now, due);
        let hash = self.hasher.hash_one((source, message));
        if let Some(said) = self.said.iter_mut().find(|said| said.hash == hash) {
            said.count = said.count.saturating_add(1);
            return false;
        }
        if !self.has_room(source, now) {
            return false;
        }
        if self.said.len() >= MESSAGES {
            due.extend(self.said.remove(0).repeated(now));
        }
        let message = cut(message).to_owned();
        self.said.push(Said { hash, at: now, count: 0, source, message });
        true
    }

    /// Whether one more of this kind may be said; counts it either way.
    fn has_room(&mut self, source: Source, now: Instant) -> bool {
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.source == source) else {
            self.kinds.push(Kind { source, since: now, said: 1, held: 0 });
            return true;
        };
        let room = kind.said < DIFFERENT;
        if room {
            kind.said += 1;
        } else {
            kind.held += 1;
        }
        room
    }

    /// Forgets what was said before the window, and yields what was held back.
    pub(super) fn settle(&mut self, now: Instant, due: &mut Vec<Repeated>) {
        let over = |said: &Said| now.saturating_duration_since(said.at) >= WINDOW;
        // In the order in which they were said, so that the oldest stand first.
        let old = self.said.iter().take_while(|said| over(said)).count();
        due.extend(self.said.drain(..old).filter_map(|said| said.repeated(now)));
        let over = |kind: &mut Kind| now.saturating_duration_since(kind.since) >= WINDOW;
        due.extend(self.kinds.extract_if(.., over).filter_map(|kind| kind.held_back(now)));
    }

    /// Forgets everything, and yields what was held back.
    pub(super) fn end(&mut self, now: Instant) -> Vec<Repeated> {
        let repeated = self.said.drain(..).filter_map(|said| said.repeated(now));
        let held_back = self.kinds.drain(..).filter_map(|kind| kind.held_back(now));
        repeated.chain(held_back).collect()
    }
}

impl Said {
    fn repeated(self, now: Instant) -> Option<Repeated> {
        let Said { at, count, source: Source { level, room, .. }, message, .. } = self;
        let seconds = now.saturating_duration_since(at).as_secs().max(1);
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let message = format!("{message} (repeated {times} in {seconds} s)");
        (count > 0).then_some(Repeated { level, room, message })
    }
}

impl Kind {
    fn held_back(self, now: Instant) -> Option<Repeated> {
        let Kind { source: Source { level, room, kind }, since, held, .. } = self;
        let seconds = now.saturating_duration_since(since).as_secs().max(1);
        let messages = if held == 1 { "message" } else { "messages" };
        let message = format!(
            "{held} more {messages} about {kind} held back in {seconds} s; --log-level debug writes \
             each"
        );
        (held > 0).then_some(Repeated { level, room, message })
    }
}

fn cut(message: &str) -> &str {
    let end = (0..=KEPT.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    end.and_then(|end| message.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        repeats: Repeats,
        now: Instant,
        due: Vec<Repeated>,
    }

    impl World {
        fn new() -> World {
            World { repeats: Repeats::default(), now: Instant::now(), due: Vec::new() }
        }

        fn says(&mut self, message: &str) -> bool {
            self.says_of("names", message)
        }

        fn says_of(&mut self, kind: &'static str, message: &str) -> bool {
            let source = Source { level: Level::Warn, room: "proxy", kind };
            self.repeats.admit(source, message, self.now, &mut self.due)
        }

        fn due(&mut self) -> Vec<String> {
            self.due.drain(..).map(|repeated| repeated.message).collect()
        }
    }

    #[test]
    fn a_repeat_is_held_back_and_counted() {
        let mut world = World::new();
        assert!(world.says("cannot reach hello"));
        for _ in 0..41 {
            assert!(!world.says("cannot reach hello"));
        }
        assert!(world.says("cannot reach orders"), "another message is no repeat");
        world.now += WINDOW - Duration::from_millis(1);
        assert!(!world.says("cannot reach hello"));
        assert!(world.due().is_empty());
        world.now += Duration::from_millis(1);
        assert!(world.says("cannot reach hello"), "a minute later it is news again");
        assert_eq!(world.due(), ["cannot reach hello (repeated 42 times in 60 s)"]);
    }

    #[test]
    fn what_was_said_once_is_not_told_again() {
        let mut world = World::new();
        assert!(world.says("once"));
        world.now += WINDOW;
        world.repeats.settle(world.now, &mut world.due);
        assert!(world.due().is_empty());
        assert!(world.says("twice") && !world.says("twice"));
        world.now += Duration::from_secs(3);
        let ended = world.repeats.end(world.now);
        assert_eq!(ended[0].message, "twice (repeated once in 3 s)");
    }

    #[test]
    fn different_messages_of_one_kind_are_few_a_minute_and_then_one_summary() {
        let mut world = World::new();
        let mut said = 0;
        for number in 0..10_000 {
            said += u32::from(world.says(&format!("{number} is no name")));
        }
        assert_eq!((said, world.due().len()), (DIFFERENT, 0));
        assert!(world.says_of("tokens", "no token"), "another kind has its own room");
        assert!(!world.says("0 is no name"), "what was said is a repeat still");
        world.now += WINDOW;
        assert!(world.says("10000 is no name"));
        let due = world.due();
        assert_eq!(due.len(), 2, "{due:?}");
        assert_eq!(due[0], "0 is no name (repeated once in 60 s)");
        assert!(due[1].starts_with("9980 more messages about names held back in 60 s"), "{due:?}");
        world.now += WINDOW;
        assert!(world.says("10001 is no name") && world.due().is_empty());
        for number in 0..=DIFFERENT {
            world.says(&format!("again {number}"));
        }
        let ended = world.repeats.end(world.now);
        assert_eq!(ended.len(), 1);
        assert!(ended[0].message.starts_with("2 more messages about names"), "{ended:?}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut world = World::new();
        let long = "\u{e9}".repeat(KEPT);
        assert!(world.says(&long) && !world.says(&long));
        for kind in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            for number in 0..DIFFERENT {
                assert!(world.says_of(kind, &format!("{number} {long}")));
            }
        }
        assert_eq!(world.repeats.said.len(), MESSAGES);
        assert!(world.repeats.said.iter().all(|said| said.message.len() <= KEPT));
        assert_eq!(world.due().len(), 1, "what had been held back is told before it is forgotten");
    }
}
