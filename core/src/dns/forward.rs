//! The forwarder: other people's names, through the cache or from upstream.
//!
//! It owns the cache and the questions under way, so that equal questions at
//! the same time make one upstream query. It must not know zones or client
//! sockets. The servers and the resolver call it.

use super::alarms::Alarms;
use super::answer::{Age, Answer};
use super::cache::{Cache, Found, Key};
use super::exchange::Request;
use super::race::{Failure, race};
use super::reply::{ede, servfail};
use super::wire::{CD, Query, RD};
use crate::net::{Clock, OwnAddresses, Tasks};
use async_channel::{Receiver, Sender};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Questions that may be under way upstream.
const MOST_FLIGHTS: usize = 1024;
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
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    flights: HashMap<(Key, bool), Flight>,
}

/// A question under way. `ended` closes when `outcome` is there.
#[derive(Clone)]
struct Flight {
    ended: Receiver<()>,
    outcome: Arc<OnceLock<Outcome>>,
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
            state: Mutex::new(State { cache, flights: HashMap::new() }),
        }))
    }

    /// What is remembered: names, and the memory they take in bytes.
    pub fn remembered(&self) -> (usize, usize) {
        self.0.state().cache.size()
    }

    /// The reply if it is known already.
    pub(super) fn known(&self, query: &Query, limit: usize) -> Option<Vec<u8>> {
        let key = key(query);
        match self.0.state().cache.find(&key, self.now()) {
            Found::Answer(answer, age) => Some((answer, age)),
            Found::Failed(_) | Found::Nothing => None,
        }
        .map(|(answer, age)| answer.reply(query, age, limit))
    }

    /// The reply to `query` in at most `limit` bytes, SERVFAIL at worst, within
    /// about 4.5 s. To be called in a task that nothing but the engine's end
    /// ends: others may wait for what it asks.
    pub(super) async fn reply(&self, query: &Query, limit: usize, over_tcp: bool) -> Vec<u8> {
        let outcome = match self.look(query, over_tcp) {
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

    /// The answer to `query`, from the cache or from upstream.
    pub(super) async fn ask(&self, query: &Query, over_tcp: bool) -> Outcome {
        match self.look(query, over_tcp) {
            Looked::Known(outcome) => outcome,
            Looked::Wait(waits) => waits.landed().await,
            Looked::Start(waits, landing) => {
                self.start(landing, Request::new(query, over_tcp));
                waits.landed().await
            }
        }
    }

    /// What is known of `query`, or who is asking it. Whoever gets a landing
    /// must ask.
    fn look(&self, query: &Query, over_tcp: bool) -> Looked<'_> {
        let waiting = match Waiting::begin(&self.0) {
            Ok(waiting) => waiting,
            Err(failure) => return Looked::Known(Err(failure)),
        };
        let mut state = self.0.state();
        let key = key(query);
        match state.cache.find(&key, self.now()) {
            Found::Answer(answer, age) => return Looked::Known(Ok((answer, age))),
            Found::Failed(failure) => return Looked::Known(Err(failure)),
            Found::Nothing => {}
        }
        let key = (Key::from(key), over_tcp);
        match state.flights.get(&key) {
            Some(flight) => Looked::Wait(Waits { flight: flight.clone(), _waiting: waiting }),
            None if state.flights.len() >= MOST_FLIGHTS => Looked::Known(Err(Failure::Busy)),
            None => {
                let (flight, landing) = self.enter(&mut state, key);
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

    /// Notes a flight that is to be started.
    fn enter(&self, state: &mut State, key: (Key, bool)) -> (Flight, Landing) {
        let (ending, ended) = async_channel::bounded(1);
        let flight = Flight { ended, outcome: Arc::default() };
        state.flights.insert(key.clone(), flight.clone());
        let outcome = flight.outcome.clone();
        (flight, Landing { inner: self.0.clone(), key, outcome, ending })
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

    async fn fly(&self, key: &Key, request: Arc<Request>) -> Outcome {
        self.tasks.counters().dns_forwarded.add();
        // Asked each time: our own addresses are known only when we listen.
        let mut servers = self.nameservers.clone();
        servers.retain(|server| !self.own.contains(*server));
        let first = self.preferred.load(Ordering::Relaxed);
        let begun = self.clock.now();
        let raced = race(&servers, first, request, self.alarms.set()).await;
        self.tasks.counters().dns_time.observe(self.clock.now().saturating_duration_since(begun));
        match raced {
            Ok((answer, server)) => {
                self.preferred.store(server, Ordering::Relaxed);
                let answer = Arc::new(answer);
                self.state().cache.store(key, &answer, self.clock.now());
                Ok((answer, Age::Seconds(0)))
            }
            // No fault of the name: the next question may find a server.
            Err(Failure::NoNameserver) => Err(Failure::NoNameserver),
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
    key: (Key, bool),
    outcome: Arc<OnceLock<Outcome>>,
    ending: Sender<()>,
}

impl Landing {
    /// Asks, and tells whoever waits.
    async fn fly(self, request: Request) -> Outcome {
        let outcome = self.inner.fly(&self.key.0, Arc::new(request)).await;
        let _ = self.outcome.set(outcome.clone());
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
    flight: Flight,
    _waiting: Waiting<'f>,
}

impl Waits<'_> {
    async fn landed(self) -> Outcome {
        let _ = self.flight.ended.recv().await;
        self.flight.outcome.get().cloned().unwrap_or(Err(Failure::Internal))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.inner.state().flights.remove(&self.key);
        self.ending.close();
    }
}

/// Counts a waiting client for as long as it waits.
struct Waiting<'f>(&'f AtomicUsize);

impl Waiting<'_> {
    fn begin(inner: &Inner) -> Result<Waiting<'_>, Failure> {
        let waiting = Waiting(&inner.waiting);
        match inner.waiting.fetch_add(1, Ordering::Relaxed) {
            MOST_WAITING.. => Err(Failure::Busy),
            _ => Ok(waiting),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The cache's key. Lengths of labels are below the letters, so lowering the
/// case of the whole name touches only letters.
fn key(query: &Query) -> Vec<u8> {
    let flags = (query.flags & (RD | CD)).to_be_bytes();
    let [high, low] = flags;
    let mut key = Vec::with_capacity(query.question.len() + 1);
    key.push(low | high << 1 | u8::from(query.dnssec_ok()));
    key.extend(&query.question);
    let name_end = key.len().saturating_sub(4);
    if let Some(name) = key.get_mut(1..name_end) {
        name.make_ascii_lowercase();
    }
    key
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
