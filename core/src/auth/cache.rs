//! The token cache: one entry per audience, one fetch at a time for each.
//!
//! A fetch is a task of its own, so that a waiter who leaves does not end it.
//! Validity is judged by the wall clock: a throttled instance's timers drift.

use super::{IdToken, TokenError, TokenSource, Tokens, jittered};
use crate::net::{BoxFuture, Clock, Moment, Tasks};
use futures_lite::FutureExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// Audiences kept; beyond it the one unused for longest goes.
const ENTRIES: usize = 256;
/// A token that ends sooner might not survive its journey.
const LEAST_LEFT: Duration = Duration::from_secs(10);
/// The metadata server hands out the same token until about four minutes
/// before its end: asking earlier only loops.
const REFRESH_BEFORE: Duration = Duration::from_secs(240);
/// How often to ask while the same token comes back.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// An audience unused for this long is not refreshed.
const UNUSED: Duration = Duration::from_secs(600);
/// How long a request waits.
const WAIT: Duration = Duration::from_secs(5);
/// How long a refusal is believed.
const REFUSED: Duration = Duration::from_secs(10);
/// The pauses after passing failures.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// How often a service's word that a token is invalid makes us fetch another.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// The cache; cheap to clone.
#[derive(Clone)]
pub struct TokenCache(Arc<Inner>);

struct Inner {
    source: Arc<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    /// Sorted by audience: among the few that an app has, one is found sooner than
    /// it would be hashed.
    entries: RwLock<Vec<Arc<Entry>>>,
}

struct Entry {
    audience: Arc<str>,
    state: Mutex<State>,
}

struct State {
    token: Option<Arc<IdToken>>,
    /// Closed when the fetch under way ends.
    fetch: Option<async_channel::Receiver<()>>,
    refusal: Option<(TokenError, Instant)>,
    trouble: Option<TokenError>,
    used: Instant,
    fetched: Option<Instant>,
    renewed: Option<Instant>,
    refreshing: bool,
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment; a panic leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an audience, or where it belongs.
fn place(entries: &[Arc<Entry>], audience: &str) -> Result<usize, usize> {
    entries.binary_search_by(|entry| (*entry.audience).cmp(audience))
}

/// For how long a token is good yet, by the wall clock.
fn left(token: &IdToken, wall: SystemTime) -> Duration {
    token.expires().duration_since(wall).unwrap_or_default()
}

impl TokenCache {
    /// An empty cache over `source`.
    pub fn new(source: Arc<dyn TokenSource>, clock: Arc<dyn Clock>, tasks: Tasks) -> TokenCache {
        TokenCache(Arc::new(Inner { source, clock, tasks, entries: RwLock::default() }))
    }

    /// How many audiences it knows.
    pub fn len(&self) -> usize {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn known(&self, audience: &str) -> Option<Arc<Entry>> {
        let entries = self.0.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(place(&entries, audience).ok()?).cloned()
    }

    fn entry(&self, audience: &str) -> Arc<Entry> {
        if let Some(entry) = self.known(audience) {
            return entry;
        }
        let mut entries = self.0.entries.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have entered it meanwhile.
        if let Some(entry) = place(&entries, audience).ok().and_then(|at| entries.get(at)) {
            return entry.clone();
        }
        if entries.len() >= ENTRIES {
            let oldest = entries.iter().enumerate().min_by_key(|(_, entry)| entry.state().used);
            if let Some(at) = oldest.map(|(at, _)| at) {
                entries.remove(at);
            }
        }
        let state = State {
            token: None,
            fetch: None,
            refusal: None,
            trouble: None,
            used: self.0.clock.now(),
            fetched: None,
            renewed: None,
            refreshing: false,
        };
        let entry = Arc::new(Entry { audience: audience.into(), state: Mutex::new(state) });
        let at = place(&entries, audience).unwrap_or_else(|at| at);
        entries.insert(at, entry.clone());
        entry
    }

    /// The entry's token, if it is good at this moment; a use, which may start a
    /// refresh that a drifting timer has missed.
    fn good(&self, entry: &Arc<Entry>, state: &mut State, at: Moment) -> Option<Arc<IdToken>> {
        state.used = at.now;
        let token = state.token.as_ref()?;
        let left = left(token, at.wall);
        let good = (left >= LEAST_LEFT).then(|| token.clone());
        let recently = |fetched: Instant| at.now.saturating_duration_since(fetched) < ASK_AGAIN;
        if left < REFRESH_BEFORE && !state.fetched.is_some_and(recently) {
            self.fetch(entry, state);
        }
        good
    }

    /// Starts a fetch unless one is under way, and yields what ends with it.
    fn fetch(&self, entry: &Arc<Entry>, state: &mut State) -> async_channel::Receiver<()> {
        if let Some(under_way) = state.fetch.as_ref().filter(|fetch| !fetch.is_closed()) {
            return under_way.clone();
        }
        let (done, ended) = async_channel::bounded(1);
        state.fetch = Some(ended.clone());
        let (cache, entry) = (self.clone(), entry.clone());
        self.0.tasks.spawn("token fetch", async move {
            cache.run_fetch(&entry).await;
            done.close();
        });
        ended
    }

    async fn run_fetch(&self, entry: &Arc<Entry>) {
        let counters = self.0.tasks.counters();
        let mut pause = FIRST_PAUSE;
        loop {
            counters.token_fetches.add();
            let begun = self.0.clock.now();
            let fetched = self.0.source.fetch(&entry.audience).await;
            counters.token_time.observe(self.0.clock.now().saturating_duration_since(begun));
            if self.note(entry, fetched) {
                return;
            }
            self.0.clock.sleep(jittered(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Puts the outcome of a fetch in its place. Whether that was the last try:
    /// there is a token, asking again cannot help, or nobody waits any more.
    fn note(&self, entry: &Arc<Entry>, fetched: Result<IdToken, TokenError>) -> bool {
        let now = self.0.clock.now();
        let mut state = entry.state();
        state.fetched = Some(now);
        let fetched = fetched.and_then(|token| self.unspent(&entry.audience, token));
        let error = match fetched {
            Ok(token) => {
                state.token = Some(Arc::new(token));
                (state.refusal, state.trouble) = (None, None);
                if !std::mem::replace(&mut state.refreshing, true) {
                    self.keep_fresh(entry);
                }
                return true;
            }
            Err(error) => error,
        };
        self.0.tasks.counters().token_failures.add();
        if error.permanent {
            self.0.tasks.log().error("auth", format_args!("{error}"));
            state.refusal = Some((error, now));
            return true;
        }
        self.0.tasks.log().debug("auth", format_args!("{error}"));
        state.trouble = Some(error);
        now.saturating_duration_since(state.used) >= WAIT
    }

    /// A token that ends at once is none: it would be asked for again at once.
    fn unspent(&self, audience: &str, token: IdToken) -> Result<IdToken, TokenError> {
        let wall = self.0.clock.wall();
        if left(&token, wall) >= LEAST_LEFT {
            return Ok(token);
        }
        let ago = wall.duration_since(token.expires()).unwrap_or_default();
        Err(TokenError {
            audience: audience.to_owned(),
            cause: format!(
                "the token that came had ended {} s ago; is this machine's clock right, or the \
                 token given by hand an old one?",
                ago.as_secs()
            ),
            permanent: true,
        })
    }

    /// Keeps an audience's token fresh for as long as it is in use.
    fn keep_fresh(&self, entry: &Arc<Entry>) {
        let (cache, kept) = (self.clone(), Arc::downgrade(entry));
        self.0.tasks.spawn("token refresh", async move {
            loop {
                let wall = cache.0.clock.wall();
                let Some(has) = kept
                    .upgrade()
                    .map(|entry| entry.state().token.as_ref().map(|token| left(token, wall)))
                else {
                    return;
                };
                let until = has.unwrap_or_default().saturating_sub(REFRESH_BEFORE);
                let pause = if until.is_zero() { ASK_AGAIN } else { until + jittered(ASK_AGAIN) };
                cache.0.clock.sleep(pause).await;
                // The cache may have let go of it meanwhile.
                let Some(entry) = kept.upgrade() else { return };
                let ended = {
                    let mut state = entry.state();
                    let unused = cache.0.clock.now().saturating_duration_since(state.used);
                    if unused > UNUSED {
                        state.refreshing = false;
                        return;
                    }
                    cache.fetch(&entry, &mut state)
                };
                let _ = ended.recv().await;
            }
        });
    }

    /// How long a request waits; once more if the whole instance stood still
    /// meanwhile, and the answer with it.
    async fn patience(&self) {
        loop {
            let start = self.0.clock.now();
            self.0.clock.sleep(WAIT).await;
            if self.0.clock.now().saturating_duration_since(start) < WAIT * 2 {
                return;
            }
        }
    }

    async fn wait(&self, audience: &str) -> Result<Arc<IdToken>, TokenError> {
        let entry = self.entry(audience);
        let late = self.patience();
        let get = async {
            loop {
                let ended = {
                    let mut state = entry.state();
                    let at = self.0.clock.moment();
                    if let Some(token) = self.good(&entry, &mut state, at) {
                        return Ok(token);
                    }
                    match &state.refusal {
                        Some((error, since))
                            if at.now.saturating_duration_since(*since) < REFUSED =>
                        {
                            return Err(error.clone());
                        }
                        _ => self.fetch(&entry, &mut state),
                    }
                };
                let _ = ended.recv().await;
            }
        };
        let in_time = async { Some(get.await) }.or(async {
            late.await;
            None
        });
        match in_time.await {
            Some(result) => result,
            None => Err(entry.state().trouble.clone().unwrap_or_else(|| TokenError {
                audience: audience.to_owned(),
                cause: format!("its source did not answer within {} s", WAIT.as_secs()),
                permanent: false,
            })),
        }
    }
}

impl Tokens for TokenCache {
    fn ready(&self, audience: &str, at: Moment) -> Option<Arc<IdToken>> {
        // Every request asks: the entry is not taken out of the list for it.
        let entries = self.0.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(place(&entries, audience).ok()?)?;
        self.good(entry, &mut entry.state(), at)
    }

    fn token<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<Arc<IdToken>, TokenError>> {
        Box::pin(self.wait(audience))
    }

    fn renewed<'a>(
        &'a self,
        audience: &'a str,
        stale: &'a IdToken,
    ) -> BoxFuture<'a, Option<Arc<IdToken>>> {
        Box::pin(async move {
            let other = |token: &Arc<IdToken>| token.bearer() != stale.bearer();
            let entry = self.entry(audience);
            let ended = {
                let mut state = entry.state();
                if let Some(token) = state.token.clone().filter(other) {
                    return Some(token);
                }
                let now = self.0.clock.now();
                let recently = |at: Instant| now.saturating_duration_since(at) < RENEW_EVERY;
                match &state.fetch {
                    // Somebody else's fetch for the same reason serves as well.
                    Some(under_way) if !under_way.is_closed() => under_way.clone(),
                    _ if state.renewed.is_some_and(recently) => return None,
                    _ => {
                        state.renewed = Some(now);
                        self.fetch(&entry, &mut state)
                    }
                }
            };
            let in_time = async { ended.recv().await.is_err() }.or(async {
                self.patience().await;
                false
            });
            if !in_time.await {
                return None;
            }
            entry.state().token.clone().filter(other)
        })
    }

    fn warm(&self, audience: &str) {
        let entry = self.entry(audience);
        let mut state = entry.state();
        let refused = state.refusal.is_some();
        let at = self.0.clock.moment();
        if self.good(&entry, &mut state, at).is_none() && !refused {
            self.fetch(&entry, &mut state);
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
