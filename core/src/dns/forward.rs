//! The forwarder: other people's names, through the cache or from upstream.
//!
//! It owns the cache and the questions under way, so that equal questions at
//! the same time make one upstream query. It must not know zones or client
//! sockets. The servers and the resolver call it.

use super::alarms::Alarms;
use super::answer::{Age, Answer};
use super::cache::{Cache, Found, Key};
use super::exchange::Request;
use super::flight::Flight;
use super::race::{Failure, race};
use super::reply::{ede, servfail};
use super::sockets::Sockets;
use super::wire::{CD, LONGEST_QUESTION, Query, RD};
use crate::net::{Clock, OwnAddresses, Tasks};
use crate::sys::most_descriptors;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Questions of clients that may be under way upstream.
pub(super) const MOST_FLIGHTS: usize = 1024;
/// Questions of the proxy's own that may be when clients have taken all.
const MOST_OWN: usize = 64;
/// Clients that may wait for them; each costs about a kilobyte.
const MOST_WAITING: usize = 16 * 1024;
/// Names that are remembered.
const MOST_ENTRIES: usize = 8192;
/// Memory for them, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// Forwards queries to the original nameservers; cheap to clone.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    nameservers: Vec<SocketAddr>,
    own: OwnAddresses,
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    alarms: Alarms,
    /// The nameserver that answered last: a dead first one costs its second once.
    preferred: AtomicUsize,
    waiting: AtomicUsize,
    sockets: Sockets,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    flights: HashMap<Course, Arc<Flight>>,
}

/// What sets a flight apart from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Course {
    key: Key,
    over_tcp: bool,
    /// The proxy's own, in the place of one of a client's that found no room.
    own: bool,
}

/// What came of a question.
pub(super) type Outcome = Result<(Arc<Answer>, Age), Failure>;

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forwarder({:?})", self.0.nameservers)
    }
}

impl Forwarder {
    /// A forwarder to `nameservers`, in this order, of which those in `own` are
    /// never asked.
    pub fn new(
        nameservers: Vec<SocketAddr>,
        own: OwnAddresses,
        tasks: Tasks,
        clock: Arc<dyn Clock>,
    ) -> Forwarder {
        let cache = Cache::new(MOST_ENTRIES, MOST_BYTES);
        Forwarder(Arc::new(Inner {
            nameservers,
            own,
            alarms: Alarms::new(tasks.clone(), clock.clone()),
            tasks,
            clock,
            preferred: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            sockets: Sockets::within(most_descriptors()),
            state: Mutex::new(State { cache, flights: HashMap::new() }),
        }))
    }

    /// What is remembered: names, and the memory they take in bytes.
    pub fn remembered(&self) -> (usize, usize) {
        self.0.state().cache.size()
    }

    /// The nameservers that are ourselves, and are never asked; and whether
    /// there are others.
    pub fn ourselves(&self) -> (Vec<SocketAddr>, bool) {
        let all = self.0.nameservers.iter().copied();
        let own: Vec<_> = all.filter(|server| self.0.own.contains(*server)).collect();
        let others = own.len() < self.0.nameservers.len();
        (own, others)
    }

    /// The reply if it is known already.
    pub(super) fn known(&self, query: &Query, limit: usize) -> Option<Vec<u8>> {
        let wanted = Wanted::new(query);
        match self.0.state().cache.find(wanted.key(), self.now()) {
            Found::Answer(answer, age) => Some((answer, age)),
            Found::Failed(_) | Found::Nothing => None,
        }
        .map(|(answer, age)| answer.reply(query, age, limit))
    }

    /// The reply to `query` in at most `limit` bytes, SERVFAIL at worst, within
    /// about 4.5 s. To be called in a task that nothing but the engine's end
    /// ends: others may wait for what it asks.
    pub(super) async fn reply(&self, query: &Query, limit: usize, over_tcp: bool) -> Vec<u8> {
        let outcome = match self.look(query, (over_tcp, false), 0) {
            Looked::Known(outcome) => outcome,
            Looked::Wait(waits) => waits.landed().await,
            // Asked by this task itself: another one would cost as much again.
            Looked::Start(_waits, landing) => {
                Box::pin(landing.fly(Request::new(query, over_tcp))).await
            }
        };
        match outcome {
            Ok((answer, age)) => answer.reply(query, age, limit),
            Err(failure) => {
                self.0.tasks.counters().dns_failed.add();
                let (code, text) = failure.explained();
                let options = match &failure {
                    Failure::Answered(errors) if !errors.is_empty() => errors.clone(),
                    _ => ede(code, text),
                };
                servfail(query, limit, &options)
            }
        }
    }

    /// The answer to a question of the proxy's own, from the cache or from
    /// upstream; clients cannot take all the room that it needs.
    pub(super) async fn ask(&self, query: &Query) -> Outcome {
        let outcome = self.ask_along(query, false).await;
        match outcome {
            // It may have been a client's, which had no part in that room.
            Err(Failure::Busy) => self.ask_along(query, true).await,
            outcome => outcome,
        }
    }

    /// The same, along with clients that ask it or `apart` from them.
    async fn ask_along(&self, query: &Query, apart: bool) -> Outcome {
        match self.look(query, (false, apart), MOST_OWN) {
            Looked::Known(outcome) => outcome,
            Looked::Wait(waits) => waits.landed().await,
            Looked::Start(waits, landing) => {
                self.start(landing, Request { own: true, ..Request::new(query, false) });
                waits.landed().await
            }
        }
    }

    /// What is known of `query`, or who is asking it. Whoever gets a landing
    /// must ask. It may be one of so many `more` than clients have.
    fn look(&self, query: &Query, (over_tcp, own): (bool, bool), more: usize) -> Looked<'_> {
        let waiting = match Waiting::begin(&self.0, more) {
            Ok(waiting) => waiting,
            Err(failure) => return Looked::Known(Err(failure)),
        };
        let mut state = self.0.state();
        let wanted = Wanted::new(query);
        match state.cache.find(wanted.key(), self.now()) {
            Found::Answer(answer, age) => return Looked::Known(Ok((answer, age))),
            Found::Failed(failure) => return Looked::Known(Err(failure)),
            Found::Nothing => {}
        }
        let course = Course { key: Key::from(wanted.key()), over_tcp, own };
        let is_full = state.flights.len() >= MOST_FLIGHTS + more;
        match state.flights.entry(course) {
            Entry::Occupied(flight) => {
                Looked::Wait(Waits { flight: flight.get().clone(), _waiting: waiting })
            }
            Entry::Vacant(_) if is_full => Looked::Known(Err(Failure::Busy)),
            Entry::Vacant(place) => {
                let (course, flight) = (place.key().clone(), Arc::<Flight>::default());
                place.insert(flight.clone());
                let landing = Landing { inner: self.0.clone(), course, flight: flight.clone() };
                Looked::Start(Waits { flight, _waiting: waiting }, landing)
            }
        }
    }

    /// The time, by the clock that answers age by.
    pub(super) fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// What `failure` means, as half a sentence.
    pub(super) fn say(&self, failure: &Failure) -> String {
        let list: Vec<String> =
            self.0.nameservers.iter().map(|server| server.ip().to_string()).collect();
        let (who, list) = match list.len() {
            1 => ("nameserver", list.concat()),
            _ => ("nameservers", list.join(", ")),
        };
        match failure {
            Failure::NoNameserver => "there is no nameserver to ask".to_owned(),
            Failure::Silent => format!("the {who} {list} did not answer"),
            Failure::Unreachable => format!("the {who} {list} cannot be reached"),
            Failure::Answered(_) => format!("the {who} {list} failed (SERVFAIL or REFUSED)"),
            Failure::Busy => "too many DNS queries are under way".to_owned(),
            Failure::Internal => "an internal error, which has been logged".to_owned(),
        }
    }

    /// Asks in a task of its own: a client that leaves must not end it.
    /// Where nothing runs any more it lands here, so nothing may be locked.
    fn start(&self, landing: Landing, request: Request) {
        self.0.tasks.spawn("DNS lookup", async move {
            let _ = landing.fly(request).await;
        });
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nameservers that are not ourselves. Looked at each time: our own
    /// addresses are known only when we listen.
    fn others(&self) -> Cow<'_, [SocketAddr]> {
        let is_other = |server: &SocketAddr| !self.own.contains(*server);
        match self.nameservers.iter().all(is_other) {
            true => Cow::Borrowed(&self.nameservers),
            false => self.nameservers.iter().copied().filter(is_other).collect(),
        }
    }

    async fn fly(&self, key: &Key, request: &Request) -> Outcome {
        self.tasks.counters().dns_forwarded.add();
        let servers = self.others();
        let first = self.preferred.load(Ordering::Relaxed);
        let begun = self.clock.now();
        let raced = race(&servers, first, request, &self.sockets, self.alarms.set()).await;
        self.tasks.counters().dns_time.observe(self.clock.now().saturating_duration_since(begun));
        match raced {
            Ok((answer, server)) => {
                self.preferred.store(server, Ordering::Relaxed);
                let answer = Arc::new(answer);
                self.state().cache.store(key, &answer, self.clock.now());
                Ok((answer, Age::Relayed))
            }
            // No fault of the name: the next question may find a server, or room.
            Err(failure @ (Failure::NoNameserver | Failure::Busy)) => Err(failure),
            Err(failure) => match self.state().cache.fail(key, &failure, self.clock.now()) {
                Some(stale) => Ok((stale, Age::Stale)),
                None => Err(failure),
            },
        }
    }
}

/// Ends a flight, whatever ends its task.
struct Landing {
    inner: Arc<Inner>,
    course: Course,
    flight: Arc<Flight>,
}

impl Landing {
    /// Asks, and tells whoever waits.
    async fn fly(self, request: Request) -> Outcome {
        let outcome = self.inner.fly(&self.course.key, &request).await;
        self.flight.land(outcome.clone());
        outcome
    }
}

/// What a look at a question finds.
enum Looked<'f> {
    Known(Outcome),
    /// Somebody asks.
    Wait(Waits<'f>),
    /// Nobody asks yet.
    Start(Waits<'f>, Landing),
}

/// A client that waits for a flight.
struct Waits<'f> {
    flight: Arc<Flight>,
    _waiting: Waiting<'f>,
}

impl Waits<'_> {
    async fn landed(self) -> Outcome {
        self.flight.landed().await
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.inner.state().flights.remove(&self.course);
        // Unless there is an outcome.
        self.flight.land(Err(Failure::Internal));
    }
}

/// Counts a waiting client for as long as it waits.
struct Waiting<'f>(&'f AtomicUsize);

impl Waiting<'_> {
    fn begin(inner: &Inner, more: usize) -> Result<Waiting<'_>, Failure> {
        let waiting = Waiting(&inner.waiting);
        let before = inner.waiting.fetch_add(1, Ordering::Relaxed);
        if before < MOST_WAITING + more { Ok(waiting) } else { Err(Failure::Busy) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A question as the cache knows it, before it is worth an allocation.
struct Wanted {
    bytes: [u8; 1 + LONGEST_QUESTION],
    length: usize,
}

impl Wanted {
    /// Lengths of labels are below the letters, so lowering the case of the
    /// whole name touches only letters.
    fn new(query: &Query) -> Wanted {
        let [high, low] = (query.flags & (RD | CD)).to_be_bytes();
        let mut bytes = [0; 1 + LONGEST_QUESTION];
        bytes[0] = low | high << 1 | u8::from(query.dnssec_ok());
        let question = query.question.as_slice();
        let name = question.len().saturating_sub(4);
        for (at, (to, from)) in bytes.iter_mut().skip(1).zip(question).enumerate() {
            *to = if at < name { from.to_ascii_lowercase() } else { *from };
        }
        Wanted { bytes, length: question.len() + 1 }
    }

    fn key(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
