//! What tests of several files need: a clock that stands still until a test moves it,
//! and an address where nobody listens.

use crate::net::{BoxFuture, Clock};
use async_channel::Sender;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An address that refuses connections for as long as what comes with it is kept: a
/// port that had only been let go of may be another test's by now.
pub(super) fn refusing() -> (SocketAddr, impl Sized) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (kept.local_addr().unwrap(), (kept, listener))
}

pub(super) struct Hand {
    zero: (Instant, SystemTime),
    moved: Mutex<Moved>,
}

#[derive(Default)]
struct Moved {
    now: Duration,
    wall: Duration,
    /// Whoever sleeps: for how long, until when, and what wakes them.
    sleepers: Vec<(Duration, Duration, Sender<()>)>,
}

impl Hand {
    pub(super) fn new() -> Arc<Hand> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let zero = (Instant::now(), SystemTime::now() - DAY);
        Arc::new(Hand { zero, moved: Mutex::new(Moved { wall: DAY, ..Moved::default() }) })
    }

    /// How many sleep for exactly `time`.
    pub(super) fn sleepers(&self, time: Duration) -> usize {
        let mut moved = self.moved.lock().unwrap();
        moved.sleepers.retain(|(_, _, wake)| !wake.is_closed());
        moved.sleepers.iter().filter(|(asked, ..)| *asked == time).count()
    }

    /// Lets `time` pass.
    pub(super) fn pass(&self, time: Duration) {
        let mut moved = self.moved.lock().unwrap();
        moved.wall += time;
        moved.now += time;
        let now = moved.now;
        moved.sleepers.retain(|(_, until, wake)| {
            if *until <= now {
                wake.close();
            }
            *until > now
        });
    }

    /// Lets it pass on the wall clock alone, as while a process is not run.
    pub(super) fn pass_on_the_wall(&self, time: Duration) {
        self.moved.lock().unwrap().wall += time;
    }

    /// Sets the wall clock back.
    pub(super) fn set_back(&self, time: Duration) {
        self.moved.lock().unwrap().wall -= time;
    }

    /// Lets other threads work until `count` sleep for exactly `time`.
    pub(super) fn await_sleepers(&self, count: usize, time: Duration) {
        let begun = Instant::now();
        while self.sleepers(time) != count {
            assert!(begun.elapsed() < PATIENCE, "{} sleep for {time:?}", self.sleepers(time));
            std::thread::yield_now();
        }
    }

    /// The same for a test that shares its thread with what it tests.
    pub(super) async fn until_sleepers(&self, count: usize, time: Duration) {
        while self.sleepers(time) != count {
            futures_lite::future::yield_now().await;
        }
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        self.zero.0 + self.moved.lock().unwrap().now
    }

    fn wall(&self) -> SystemTime {
        self.zero.1 + self.moved.lock().unwrap().wall
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = async_channel::bounded(1);
        let mut moved = self.moved.lock().unwrap();
        let until = moved.now + time;
        moved.sleepers.push((time, until, wake));
        Box::pin(async move {
            let _ = woken.recv().await;
        })
    }
}
