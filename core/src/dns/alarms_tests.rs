//! Alarms by a clock that the test moves.

use super::super::testing::{Hand, Running, until};
use super::*;

struct Setting {
    _running: Running,
    hand: Arc<Hand>,
    alarms: Alarms,
}

fn setting() -> Setting {
    let (running, hand) = (Running::new(), Arc::new(Hand::default()));
    let alarms = Alarms::new(running.tasks.clone(), hand.clone());
    Setting { _running: running, hand, alarms }
}

impl Setting {
    /// Moves the clock once the timer sleeps.
    fn advance(&self, milliseconds: u64) {
        until(|| self.hand.sleeping() == 1);
        self.hand.advance(Duration::from_millis(milliseconds));
    }

    fn is_timed(&self) -> bool {
        self.alarms.0.waiting().timed
    }
}

fn heard(alarm: &Alarm) -> usize {
    alarm.bell.0.lock().unwrap().0
}

#[test]
fn a_question_hears_of_each_time_once() {
    let setting = setting();
    let mut alarm = setting.alarms.set();
    setting.advance(999);
    setting.advance(1);
    assert_eq!(crate::net::block_on(alarm.next()), 0);
    setting.advance(1000);
    assert_eq!(crate::net::block_on(alarm.next()), 1);
    // A timer that sleeps for no longer than a newcomer waits wakes in between.
    for _ in 0..2 {
        setting.advance(1000);
    }
    setting.advance(499);
    until(|| setting.hand.sleeping() == 1);
    assert_eq!(heard(&alarm), 2);
    setting.advance(1);
    assert_eq!(crate::net::block_on(alarm.next()), 2);
    until(|| !setting.is_timed());
}

#[test]
fn whoever_comes_later_is_due_later_and_needs_no_timer_of_its_own() {
    let setting = setting();
    let first = setting.alarms.set();
    setting.advance(4000);
    until(|| heard(&first) == 2);
    let second = setting.alarms.set();
    setting.advance(500);
    until(|| heard(&first) == 3);
    setting.advance(500);
    until(|| heard(&second) == 1);
    assert_eq!((heard(&first), setting.hand.sleeping() <= 1), (3, true));
    // A clock that has jumped rings for all that has passed.
    setting.advance(60_000);
    until(|| heard(&second) == 3);
}

#[test]
fn who_has_ended_is_forgotten() {
    let setting = setting();
    let waits = setting.alarms.set();
    for _ in 0..10 * MOST_ENDED {
        drop(setting.alarms.set());
    }
    assert!(setting.alarms.0.waiting().queues[0].len() <= MOST_ENDED);
    setting.advance(1000);
    until(|| heard(&waits) == 1);
    assert!(setting.alarms.0.waiting().queues[0].is_empty());
    drop(waits);
    setting.advance(1000);
    until(|| !setting.is_timed());
    // And the next question finds a timer again.
    let next = setting.alarms.set();
    setting.advance(1000);
    until(|| heard(&next) == 1);
}
