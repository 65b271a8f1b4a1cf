//! What is under way goes before what is new.

use super::source::{Direction, Rank, Source};
use super::{CROWD, NEW, Reactor, Turn, outside};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What is known of a socket, the socket and its peer.
type Reading = (Arc<Source>, [UnixDatagram; 2]);

/// Pairs of sockets, of which the first is in `reactor` with the rank that its
/// place says, and its reader waits; and who has been woken.
fn waiting<R: Fn(usize) -> Rank>(
    reactor: &Arc<Reactor>,
    ranks: (usize, R),
) -> (Vec<Reading>, mpsc::Receiver<Rank>) {
    let ((count, rank), (send, woken)) = (ranks, mpsc::channel());
    let one = |at| {
        let (ours, peer) = UnixDatagram::pair().unwrap();
        let source = reactor.enter(ours.as_fd(), true, rank(at)).unwrap();
        let waker = Waker::from(Arc::new(Tells(rank(at), send.clone())));
        assert!(source.poll(Direction::Read, &mut Context::from_waker(&waker)).is_pending());
        (source, [ours, peer])
    };
    ((0..count).map(one).collect(), woken)
}

/// A task that says which one it is when it is woken.
struct Tells(Rank, mpsc::Sender<Rank>);

impl std::task::Wake for Tells {
    fn wake(self: Arc<Self>) {
        self.1.send(self.0).unwrap();
    }
}

#[test]
fn new_work_begins_a_little_at_a_time_and_behind_what_is_under_way() {
    let reactor = Reactor::new().unwrap();
    let rank = |at| if at <= NEW { Rank::New } else { Rank::UnderWay };
    let (sources, woken) = waiting(&reactor, (NEW + 2, rank));
    sources.iter().for_each(|(_, [_, peer])| assert_eq!(peer.send(b"x").unwrap(), 1));
    let turn = |may_wait| {
        let mut wakers = VecDeque::new();
        let turn = reactor.turn(&mut wakers, || may_wait, || ());
        wakers.into_iter().for_each(Waker::wake);
        (turn, woken.try_iter().collect::<Vec<_>>())
    };
    let (left_over, first) = turn(false);
    assert_eq!((left_over, first[0]), (Turn::More, Rank::UnderWay));
    assert_eq!(first[1..], [Rank::New; NEW]);
    // Nothing more comes: a turn that waited would not end.
    assert_eq!(turn(true), (Turn::Had, vec![Rank::New]));
    assert_eq!(turn(false), (Turn::Had, vec![]));
    sources.iter().for_each(|(source, _)| reactor.leave(source));
}

#[test]
fn new_work_outside_an_engine_is_all_begun_too() {
    let outside = outside::reactor().unwrap();
    let (sources, woken) = waiting(&outside, (3 * NEW, |_| Rank::New));
    {
        // All of it comes before anybody looks.
        let _lead = outside.lead.lock().unwrap();
        sources.iter().for_each(|(_, [_, peer])| assert_eq!(peer.send(b"x").unwrap(), 1));
    }
    for _ in &sources {
        assert_eq!(woken.recv_timeout(LIMIT).unwrap(), Rank::New);
    }
    sources.iter().for_each(|(source, _)| outside.leave(source));
}

/// As of tasks of HTTP/2 connections, which what a service says wakes as well.
#[test]
fn tasks_that_other_news_wakes_first_do_not_pile_up() {
    let reactor = Reactor::new().unwrap();
    let (sources, _woken) = waiting(&reactor, (4 * NEW, |_| Rank::New));
    for _ in 0..6 * CROWD {
        sources.iter().for_each(|(_, [_, peer])| assert_eq!(peer.send(b"x").unwrap(), 1));
        reactor.turn(&mut VecDeque::new(), || false, || ());
        for (source, [ours, _]) in &sources {
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(seen) = source.poll(Direction::Read, &mut context) else { panic!() };
            assert_eq!(ours.recv(&mut [0]).unwrap(), 1);
            source.exhausted(Direction::Read, seen);
            assert!(source.poll(Direction::Read, &mut context).is_pending());
        }
        let later = reactor.lead.lock().unwrap().len();
        assert!(later <= CROWD * sources.len(), "{later} places");
    }
    sources.iter().for_each(|(source, _)| reactor.leave(source));
}
