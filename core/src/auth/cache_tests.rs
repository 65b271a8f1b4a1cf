//! The token cache over a clock that the test moves.

use super::*;
use crate::net::Executing;
use crate::telemetry::Log;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that stands still until it is moved.
struct TestClock {
    zero: Instant,
    passed: Mutex<Duration>,
    /// What the wall clock has moved while elapsed time stood still.
    suspended: Mutex<Duration>,
    /// Every pause that was asked for.
    pauses: Mutex<Vec<Duration>>,
    sleepers: Mutex<Vec<(Duration, async_channel::Sender<()>)>>,
}

impl TestClock {
    fn new() -> Arc<TestClock> {
        Arc::new(TestClock {
            zero: Instant::now(),
            passed: Mutex::default(),
            suspended: Mutex::default(),
            pauses: Mutex::default(),
            sleepers: Mutex::default(),
        })
    }

    /// The instance does not run for a while: no timer fires, and elapsed time
    /// stands still.
    fn suspend(&self, time: Duration) {
        *self.suspended.lock().unwrap() += time;
    }

    fn advance(&self, time: Duration) {
        let now = {
            let mut passed = self.passed.lock().unwrap();
            *passed += time;
            *passed
        };
        self.sleepers.lock().unwrap().retain(|(until, wake)| {
            if *until <= now {
                wake.close();
            }
            *until > now
        });
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.zero + *self.passed.lock().unwrap()
    }

    fn wall(&self) -> SystemTime {
        let moved = *self.passed.lock().unwrap() + *self.suspended.lock().unwrap();
        UNIX_EPOCH + Duration::from_secs(1_000_000) + moved
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = async_channel::bounded(1);
        self.pauses.lock().unwrap().push(time);
        let until = *self.passed.lock().unwrap() + time;
        self.sleepers.lock().unwrap().push((until, wake));
        Box::pin(async move {
            let _ = woken.recv().await;
        })
    }
}

/// Answers from a list of plans, then with fresh tokens of an hour.
struct Source {
    clock: Arc<TestClock>,
    calls: AtomicUsize,
    plans: Mutex<Vec<Plan>>,
    gate: Option<async_channel::Receiver<()>>,
}

enum Plan {
    Passing,
    Refused,
    Same(Duration),
}

impl TokenSource for Source {
    fn origin(&self) -> String {
        "a list of plans".to_owned()
    }

    fn fetch<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<IdToken, TokenError>> {
        Box::pin(async move {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                let _ = gate.recv().await;
            }
            let plan = self.plans.lock().unwrap().pop();
            let fail = |cause: &str, permanent| {
                let audience = audience.to_owned();
                Err(TokenError { audience, cause: cause.to_owned(), permanent })
            };
            match plan {
                Some(Plan::Passing) => fail("503", false),
                Some(Plan::Refused) => fail("404", true),
                Some(Plan::Same(left)) => Ok(IdToken::new("same", self.clock.wall() + left, None)),
                None => {
                    let end = self.clock.wall() + Duration::from_secs(3600);
                    Ok(IdToken::new(&format!("t{call}"), end, None))
                }
            }
        })
    }
}

struct World {
    clock: Arc<TestClock>,
    source: Arc<Source>,
    cache: TokenCache,
    executing: Executing,
}

fn world(plans: Vec<Plan>, gate: Option<async_channel::Receiver<()>>) -> World {
    let clock = TestClock::new();
    let mut plans = plans;
    plans.reverse();
    let plans = Mutex::new(plans);
    let source = Source { clock: clock.clone(), calls: AtomicUsize::new(0), plans, gate };
    let source = Arc::new(source);
    let (failed, _) = async_channel::bounded(1);
    let executing = Executing::new(Log::discard(), Arc::default(), failed).unwrap();
    let cache = TokenCache::new(source.clone(), clock.clone(), executing.tasks());
    World { clock, source, cache, executing }
}

impl World {
    fn ready(&self, audience: &str) -> Option<Arc<IdToken>> {
        self.cache.ready(audience, self.clock.moment())
    }

    fn calls(&self) -> usize {
        self.source.calls.load(Ordering::SeqCst)
    }

    /// Lets every task run until none can go on.
    fn settle(&self) {
        self.executing.run(async {
            for _ in 0..200 {
                futures_lite::future::yield_now().await;
            }
        });
    }

    fn token(&self) -> Result<Arc<IdToken>, TokenError> {
        self.executing.run(self.cache.token("a"))
    }

    /// Waits for a token while the clock goes on in steps.
    fn token_in_time(&self) -> Result<Arc<IdToken>, TokenError> {
        let ticking = async {
            loop {
                for _ in 0..20 {
                    futures_lite::future::yield_now().await;
                }
                self.clock.advance(Duration::from_millis(50));
            }
        };
        self.executing.run(self.cache.token("a").or(ticking))
    }
}

#[test]
fn one_fetch_serves_every_waiter_and_every_later_request() {
    let (open, gate) = async_channel::bounded(1);
    let world = world(vec![], Some(gate));
    let tasks = world.executing.tasks();
    let (done, finished) = async_channel::unbounded();
    for _ in 0..1000 {
        let (cache, done) = (world.cache.clone(), done.clone());
        tasks.spawn("waiter", async move {
            let _ = done.send(cache.token("a").await.is_ok()).await;
        });
    }
    world.settle();
    open.close();
    for _ in 0..1000 {
        assert!(world.executing.run(finished.recv()).unwrap());
    }
    assert!(world.ready("a").is_some());
    assert_eq!(world.calls(), 1);
}

#[test]
fn a_waiter_that_leaves_does_not_end_the_fetch() {
    let (open, gate) = async_channel::bounded(1);
    let world = world(vec![], Some(gate));
    let left = world.executing.run(async { Err(world.cache.token("a").await) }.or(async {
        for _ in 0..50 {
            futures_lite::future::yield_now().await;
        }
        Ok(())
    }));
    assert!(left.is_ok(), "nothing can have come yet");
    open.close();
    world.settle();
    assert!(world.ready("a").is_some());
}

#[test]
fn passing_failures_are_survived_within_the_wait() {
    let world = world(vec![Plan::Passing, Plan::Passing, Plan::Passing], None);
    assert_eq!(world.token_in_time().unwrap().bearer(), b"Bearer t3");
    assert_eq!(world.calls(), 4);
}

#[test]
fn a_wait_ends_after_five_seconds_with_the_last_cause() {
    let world = world((0..2000).map(|_| Plan::Passing).collect(), None);
    let error = world.token_in_time().unwrap_err();
    assert_eq!((error.cause.as_str(), error.permanent), ("503", false));
    let waited = *world.clock.passed.lock().unwrap();
    assert!((WAIT..WAIT + Duration::from_millis(200)).contains(&waited), "{waited:?}");
}

#[test]
fn pauses_after_failures_double_with_jitter_up_to_ten_seconds() {
    let world = world((0..2000).map(|_| Plan::Passing).collect(), None);
    world.cache.warm("a");
    for _ in 0..400 {
        world.settle();
        // Somebody goes on asking, and time goes on.
        assert!(world.ready("a").is_none());
        world.clock.advance(Duration::from_millis(100));
    }
    let pauses = world.clock.pauses.lock().unwrap().clone();
    assert!(pauses.len() > 8, "{pauses:?}");
    for (tries, pause) in pauses.iter().enumerate() {
        let most = FIRST_PAUSE.saturating_mul(1 << tries.min(20)).min(LAST_PAUSE);
        assert!(!pause.is_zero() && *pause <= most, "{tries}: {pause:?} of {most:?}");
    }
    let longest = pauses.iter().max().unwrap();
    assert!(*longest > FIRST_PAUSE, "they grow: {pauses:?}");
}

#[test]
fn a_fetch_that_nobody_waits_for_any_more_ends() {
    let world = world((0..2000).map(|_| Plan::Passing).collect(), None);
    world.cache.warm("a");
    let calls_after = |tenths: usize| {
        for _ in 0..tenths {
            world.settle();
            world.clock.advance(Duration::from_millis(100));
        }
        world.calls()
    };
    let calls = calls_after(40);
    assert!(calls > 1 && calls_after(200) > calls, "it goes on for a while");
    let calls = world.calls();
    assert_eq!(calls_after(300), calls);
    assert!(world.token_in_time().is_err());
    assert!(world.calls() > calls, "who asks again is served again");
}

#[test]
fn a_token_that_ended_while_the_instance_stood_still_is_not_sent() {
    let world = world(vec![], None);
    assert!(world.token().is_ok());
    // No timer has fired, and by elapsed time the token is a second old.
    world.clock.suspend(Duration::from_secs(3595));
    assert!(world.ready("a").is_none());
    assert_eq!(world.token().unwrap().bearer(), b"Bearer t1");
    // Within the last four minutes a use alone starts the refresh.
    world.clock.suspend(Duration::from_secs(3500));
    assert_eq!(world.ready("a").unwrap().bearer(), b"Bearer t1");
}

#[test]
fn a_valid_token_is_served_while_its_refresh_is_under_way() {
    let (open, gate) = async_channel::bounded(1);
    let world = world(vec![], Some(gate));
    open.try_send(()).unwrap();
    assert!(world.token().is_ok());
    world.clock.advance(Duration::from_secs(3400));
    assert_eq!(world.token().unwrap().bearer(), b"Bearer t0");
    world.settle();
    assert_eq!(world.calls(), 2, "the refresh is under way");
    assert_eq!(world.token().unwrap().bearer(), b"Bearer t0");
    open.close();
    world.settle();
    assert_eq!(world.ready("a").unwrap().bearer(), b"Bearer t1");
}

#[test]
fn an_audience_used_within_ten_minutes_is_refreshed_and_another_is_not() {
    for (last_use, calls) in [(2790, 2), (2740, 1)] {
        let world = world(vec![], None);
        assert!(world.token().is_ok());
        world.settle();
        world.clock.advance(Duration::from_secs(last_use));
        assert!(world.ready("a").is_some());
        // 240 s before its end, and the most that jitter adds.
        world.clock.advance(Duration::from_secs(3360 - last_use) + ASK_AGAIN);
        world.settle();
        assert_eq!(world.calls(), calls, "last used after {last_use} s");
    }
}

#[test]
fn the_audience_unused_for_longest_makes_room() {
    let world = world(vec![], None);
    for index in 0..ENTRIES {
        world.clock.advance(Duration::from_millis(1));
        world.cache.warm(&format!("a{index}"));
    }
    world.settle();
    world.clock.advance(Duration::from_millis(1));
    assert!(world.ready("a0").is_some(), "used again");
    world.clock.advance(Duration::from_millis(1));
    world.cache.warm("new");
    assert!(world.cache.known("a0").is_some());
    assert!(world.cache.known("a1").is_none());
}

#[test]
fn a_token_is_in_no_debug_output() {
    let token = IdToken::new("sekret", UNIX_EPOCH, Some("a@b.c".to_owned()));
    assert_eq!(token.bearer(), b"Bearer sekret");
    assert!(!format!("{token:?}").contains("sekret"));
}

#[test]
fn a_refusal_is_believed_for_ten_seconds_and_never_for_good() {
    let world = world(vec![Plan::Refused], None);
    assert!(world.token().unwrap_err().permanent);
    assert!(world.token().is_err());
    assert_eq!(world.calls(), 1);
    world.clock.advance(REFUSED);
    assert!(world.token().is_ok());
}

#[test]
fn a_token_is_refreshed_before_its_end_while_it_is_used() {
    let world = world(vec![], None);
    assert!(world.token().is_ok());
    world.settle();
    world.clock.advance(Duration::from_secs(3300));
    assert!(world.ready("a").is_some());
    world.clock.advance(Duration::from_secs(59));
    world.settle();
    assert_eq!(world.calls(), 1, "earlier the same token would come back");
    world.clock.advance(Duration::from_secs(16));
    world.settle();
    assert_eq!(world.calls(), 2, "the timer fetched without a request");
    assert_eq!(world.ready("a").unwrap().bearer(), b"Bearer t1");
}

#[test]
fn an_unused_audience_is_not_refreshed() {
    let world = world(vec![], None);
    assert!(world.token().is_ok());
    world.settle();
    world.clock.advance(Duration::from_secs(3600));
    world.settle();
    assert_eq!(world.calls(), 1);
}

#[test]
fn the_same_token_again_is_asked_for_every_ten_seconds() {
    let left = Duration::from_secs(230);
    let world = world(vec![Plan::Same(left), Plan::Same(left), Plan::Same(left)], None);
    assert!(world.token().is_ok());
    for _ in 0..50 {
        assert!(world.ready("a").is_some());
        world.settle();
    }
    assert_eq!(world.calls(), 1);
    world.clock.advance(ASK_AGAIN);
    world.settle();
    assert_eq!(world.calls(), 2);
}

#[test]
fn a_valid_token_is_served_during_an_outage_but_none_about_to_end() {
    let mut plans = vec![Plan::Same(Duration::from_secs(200))];
    plans.extend((0..5000).map(|_| Plan::Passing));
    let world = world(plans, None);
    assert!(world.token().is_ok());
    world.clock.advance(Duration::from_secs(189));
    assert!(world.ready("a").is_some());
    world.clock.advance(Duration::from_secs(2));
    assert!(world.ready("a").is_none(), "9 s are left");
    assert!(world.token_in_time().is_err());
}

#[test]
fn a_service_that_calls_a_token_invalid_is_believed_once_a_minute() {
    let world = world(vec![], None);
    let stale = world.token().unwrap();
    let renew = || world.executing.run(world.cache.renewed("a", &stale));
    assert_eq!(renew().unwrap().bearer(), b"Bearer t1");
    assert_eq!(renew().unwrap().bearer(), b"Bearer t1");
    let newer = renew().unwrap();
    let again = world.executing.run(world.cache.renewed("a", &newer));
    assert!(again.is_none(), "within 60 s");
    assert_eq!(world.calls(), 2);
}

#[test]
fn the_same_token_once_more_cures_no_refusal() {
    let same = || Plan::Same(Duration::from_secs(3600));
    let world = world(vec![same(), same()], None);
    let stale = world.token().unwrap();
    assert!(world.executing.run(world.cache.renewed("a", &stale)).is_none());
    assert_eq!(world.calls(), 2);
}

#[test]
fn the_cache_is_bounded() {
    let world = world(vec![], None);
    for index in 0..ENTRIES + 10 {
        world.clock.advance(Duration::from_millis(1));
        world.cache.warm(&format!("a{index}"));
    }
    world.settle();
    assert_eq!(world.cache.0.entries.read().unwrap().len(), ENTRIES);
    assert!(world.cache.known("a0").is_none());
    assert!(world.cache.known(&format!("a{}", ENTRIES + 9)).is_some());
}

#[test]
fn a_token_that_comes_ended_is_refused_and_not_asked_for_at_once_again() {
    let ended = || Plan::Same(Duration::from_secs(2));
    let world = world(vec![ended(), ended(), ended()], None);
    let error = world.token().unwrap_err();
    assert!(error.permanent && error.cause.contains("had ended"), "{error}");
    assert_eq!(world.calls(), 1);
    assert!(world.token().is_err());
    assert_eq!(world.calls(), 1, "a refusal is believed for a while");
}

#[test]
fn requests_that_are_refused_together_are_renewed_together() {
    let (gate, opened) = async_channel::bounded::<()>(1);
    let world = world(Vec::new(), Some(opened));
    let _ = gate.try_send(());
    let stale = world.token().unwrap();
    let renewals = || async {
        let (one, two) = (world.cache.renewed("a", &stale), world.cache.renewed("a", &stale));
        let both = futures_lite::future::zip(one, two);
        let open = async {
            gate.close();
        };
        futures_lite::future::zip(both, open).await.0
    };
    let (one, two) = world.executing.run(renewals());
    assert_ne!(one.unwrap().bearer(), stale.bearer());
    assert!(two.is_some(), "the second heard of the first one's fetch");
    assert_eq!(world.calls(), 2);
}
