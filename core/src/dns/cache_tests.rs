//! The cache over a time that the test tells.

use super::super::testing::{address, query, response, soa};
use super::*;

fn key(name: &str) -> Key {
    Key::from(name.as_bytes())
}

fn positive(ttl: u32) -> Arc<Answer> {
    Arc::new(Answer::read(&address(&query("example.com", 1), ttl, 1)).unwrap())
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn describe(found: Found) -> String {
    match found {
        Found::Answer(_, Age::Seconds(age)) => format!("{age} s old"),
        Found::Answer(_, Age::Stale) => "stale".to_owned(),
        Found::Answer(_, Age::Relayed) => "new".to_owned(),
        Found::Failed(_) => "failed".to_owned(),
        Found::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn an_answer_ages_and_ends() {
    let (mut cache, start) = (Cache::new(10, 100_000), Instant::now());
    cache.store(&key("a"), &positive(100), start);
    let mut at = |seconds| describe(cache.find(b"a", after(start, seconds)));
    assert_eq!((at(0).as_str(), at(42).as_str()), ("0 s old", "42 s old"));
    assert_eq!((at(99).as_str(), at(100).as_str()), ("99 s old", "nothing"));
    assert_eq!(describe(cache.find(b"b", start)), "nothing");
}

#[test]
fn failures_pause_longer_each_time_and_an_answer_ends_that() {
    let (mut cache, start) = (Cache::new(10, 100_000), Instant::now());
    let mut now = start;
    for pause in [1, 2, 4, 5, 5] {
        assert!(cache.fail(&key("a"), &Failure::Silent, now).is_none());
        let just_before = after(now, pause) - Duration::from_millis(1);
        assert_eq!(describe(cache.find(b"a", just_before)), "failed", "{pause}");
        now = after(now, pause);
        assert_eq!(describe(cache.find(b"a", now)), "nothing", "{pause}");
    }
    cache.store(&key("a"), &positive(10), now);
    assert_eq!(describe(cache.find(b"a", now)), "0 s old");
    let later = after(now, 10);
    assert!(cache.fail(&key("a"), &Failure::Silent, later).is_some());
    assert_eq!(describe(cache.find(b"a", after(later, 1))), "nothing", "the first pause again");
}

#[test]
fn what_has_expired_is_served_only_while_upstream_fails() {
    let (mut cache, start) = (Cache::new(10, 100_000), Instant::now());
    cache.store(&key("a"), &positive(10), start);
    let later = after(start, 60);
    assert_eq!(describe(cache.find(b"a", later)), "nothing");
    assert!(cache.fail(&key("a"), &Failure::Silent, later).is_some());
    assert_eq!(describe(cache.find(b"a", later)), "stale");
    let next_day = after(start, 10 + 24 * 60 * 60);
    assert!(cache.fail(&key("a"), &Failure::Silent, next_day).is_none());
    assert_eq!(describe(cache.find(b"a", next_day)), "failed");
}

#[test]
fn what_must_not_be_kept_removes_what_was_known() {
    let (mut cache, start) = (Cache::new(10, 100_000), Instant::now());
    cache.store(&key("a"), &positive(10), start);
    cache.store(&key("a"), &positive(0), start);
    assert_eq!(describe(cache.find(b"a", start)), "nothing");
    let refused = response(&query("a", 1), 0x0183, [&[], &[soa(0, 0)], &[]]);
    cache.store(&key("b"), &Arc::new(Answer::read(&refused).unwrap()), start);
    assert_eq!(cache.usage().0, 1);
}

#[test]
fn a_million_names_take_no_more_than_the_bounds() {
    let (mut cache, start) = (Cache::new(500, 100_000), Instant::now());
    let answer = positive(100);
    for number in 0..100_000 {
        cache.store(&key(&format!("name-{number}")), &answer, start);
        assert_eq!(
            describe(cache.find(b"name-0", start)),
            "0 s old",
            "{number}: what is used stays"
        );
    }
    let (entries, order, bytes) = cache.usage();
    assert!(entries <= 500 && entries == order && bytes <= 100_000, "{entries} {order} {bytes}");
    let mut by_bytes = Cache::new(usize::MAX, 10_000);
    for number in 0..1000 {
        by_bytes.store(&key(&format!("name-{number}")), &answer, start);
        by_bytes.fail(&key(&format!("other-{number}")), &Failure::Silent, start);
    }
    let (entries, order, bytes) = by_bytes.usage();
    assert!((1..100).contains(&entries) && entries == order && bytes <= 10_000);
}

#[test]
fn explanations_of_failures_count_too() {
    let (mut cache, start) = (Cache::new(usize::MAX, 20_000), Instant::now());
    for number in 0..1000 {
        let failure = Failure::Answered(vec![0; 256]);
        cache.fail(&key(&format!("name-{number}")), &failure, start);
    }
    let (entries, _, bytes) = cache.usage();
    assert!(entries * (256 + OVERHEAD) <= bytes && bytes <= 20_000, "{entries} {bytes}");
}
