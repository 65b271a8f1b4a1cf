//! What is known of a socket, and who hears of it, without one.

use super::epoll::Edge;
use super::source::{Direction, Rank, Source};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};

const READABLE: Edge = Edge { key: 0, readable: true, writable: false, ended: false };

pub(super) fn is_ready(source: &Source) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    source.poll(Direction::Read, &mut context).is_ready()
}

#[test]
fn what_came_during_a_try_is_not_taken_back() {
    let (source, mut context) =
        (Source::new(0, true, Rank::UnderWay), Context::from_waker(Waker::noop()));
    assert!(!is_ready(&source));
    source.note(READABLE, &mut VecDeque::new());
    for take_back in [Source::exhausted, Source::blocked] {
        let Poll::Ready(seen) = source.poll(Direction::Read, &mut context) else { panic!() };
        source.note(READABLE, &mut VecDeque::new());
        take_back(&source, Direction::Read, seen);
        assert!(is_ready(&source));
    }
    let Poll::Ready(seen) = source.poll(Direction::Read, &mut context) else { panic!() };
    source.exhausted(Direction::Read, seen);
    assert!(!is_ready(&source));
}

#[test]
fn an_end_outlives_a_short_read_but_not_what_the_kernel_says() {
    let (source, mut context) =
        (Source::new(0, true, Rank::UnderWay), Context::from_waker(Waker::noop()));
    source.note(Edge { ended: true, ..READABLE }, &mut VecDeque::new());
    let Poll::Ready(seen) = source.poll(Direction::Read, &mut context) else { panic!() };
    source.exhausted(Direction::Read, seen);
    assert!(is_ready(&source));
    source.blocked(Direction::Read, seen);
    assert!(!is_ready(&source));
}

#[test]
fn a_task_that_asks_again_is_woken_once_for_each_change() {
    let source = Source::new(0, true, Rank::UnderWay);
    let (tasks, mut woken) = ([(); 2].map(|()| Arc::new(Counted::default())), VecDeque::new());
    let asks = |task: &Arc<Counted>| {
        let waker = Waker::from(task.clone());
        match source.poll(Direction::Read, &mut Context::from_waker(&waker)) {
            Poll::Ready(seen) => source.exhausted(Direction::Read, seen),
            Poll::Pending => {}
        }
    };
    let [first, second] = &tasks;
    for changes in 1..=3 {
        asks(first);
        asks(first);
        source.note(READABLE, &mut woken);
        woken.drain(..).for_each(Waker::wake);
        assert_eq!(first.0.load(SeqCst), changes);
        asks(first);
    }
    // Whoever takes its place wakes it, and it may take its place back.
    for asker in [first, second, first] {
        asks(asker);
    }
    assert_eq!([first.0.load(SeqCst), second.0.load(SeqCst)], [4, 1]);
    source.note(READABLE, &mut woken);
    woken.drain(..).for_each(Waker::wake);
    assert_eq!([first.0.load(SeqCst), second.0.load(SeqCst)], [5, 1]);
}

/// A task, and how often it has been woken.
#[derive(Default)]
pub(super) struct Counted(pub(super) AtomicUsize);

impl std::task::Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
