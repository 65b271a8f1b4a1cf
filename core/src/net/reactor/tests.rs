//! The set against real sockets, and its threads against each other. Whatever
//! is lost here is a test that never ends, so each has a limit that says so.

use super::source::Rank;
use super::source_tests::{Counted, is_ready};
use super::{Reactor, Sleep};
use crate::net::{Executing, Tasks, Tcp, TcpListener};
use crate::telemetry::Log;
use futures_lite::future::{poll_fn, yield_now};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::panic::catch_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// An engine's threads, without an engine.
struct Threads {
    executing: Arc<Executing>,
    leave: async_channel::Sender<()>,
    ends: Vec<mpsc::Receiver<bool>>,
}

impl Threads {
    fn start(count: usize) -> Threads {
        let (failed, _) = async_channel::bounded(1);
        let executing = Executing::new(Log::discard(), Arc::default(), failed).unwrap();
        let executing = Arc::new(executing);
        let (leave, told) = async_channel::bounded::<()>(1);
        let run = |_| {
            let (executing, told) = (executing.clone(), told.clone());
            spawn(move || executing.run(async { told.recv().await.is_err() }))
        };
        let ends = (0..count).map(run).collect();
        Threads { executing, leave, ends }
    }

    fn tasks(&self) -> Tasks {
        self.executing.tasks()
    }

    /// Runs `work` on these threads, and waits for what comes of it.
    fn on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        self.tasks().spawn("a test", async move {
            let _ = send.send(work.await);
        });
        receive.recv_timeout(LIMIT).expect("it ends")
    }

    /// A listener whose connections send back what they get, until they end.
    fn echo(&self) -> SocketAddr {
        let tasks = self.tasks();
        self.on(async move {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let (address, spawning) = (listener.local_addr().unwrap(), tasks.clone());
            tasks.spawn("listener", async move {
                while let Ok((stream, _)) = listener.accept().await {
                    spawning.spawn("echo", echo(stream));
                }
            });
            address
        })
    }

    fn join(self) {
        self.leave.close();
        self.ends.iter().for_each(|end| assert_eq!(end.recv_timeout(LIMIT), Ok(true)));
    }
}

/// Does `work` on a thread of its own; what comes of it can be waited for with a limit.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = send.send(work());
    });
    receive
}

/// Lets others work until a thread waits.
fn until_waiting(reactor: &Reactor) {
    let begun = Instant::now();
    while !reactor.waiting.load(SeqCst) {
        assert!(begun.elapsed() < LIMIT, "nobody waits");
        std::thread::yield_now();
    }
}

/// Runs `future` on this thread, for which there are no tasks.
fn without_tasks<T>(reactor: &Arc<Reactor>, future: impl Future<Output = T>) -> T {
    reactor.run(future, || false, std::future::pending::<()>)
}

async fn echo(mut stream: Tcp) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        stream.write_all(&bytes[..count]).await.unwrap();
    }
    let _ = stream.close().await;
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// One that an engine's thread reads, and its peer.
fn pair(threads: &Threads) -> (Tcp, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ours = threads.on(Tcp::connect(address)).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    (ours, peer)
}

#[test]
fn a_socket_in_the_place_of_another_does_not_hear_of_it() {
    let reactor = Reactor::new().unwrap();
    // Of such pairs each hears the other at once, as UDP's do not under load.
    let [(first, of_first), (second, of_second)] = [(); 2].map(|()| UnixDatagram::pair().unwrap());
    let before = reactor.enter(first.as_fd(), true, Rank::UnderWay).unwrap();
    reactor.leave(&before);
    // As another process may have one.
    let copy = first.try_clone().unwrap();
    drop(first);
    let after = reactor.enter(second.as_fd(), true, Rank::UnderWay).unwrap();
    assert_eq!(super::place(before.key), super::place(after.key));
    let mut wakers = VecDeque::new();
    of_first.send(b"for the copy").unwrap();
    assert!(reactor.turn(&mut wakers, || false, || ()) == super::Turn::Had);
    assert!(!is_ready(&before) && !is_ready(&after));
    of_second.send(b"for the second").unwrap();
    assert!(reactor.turn(&mut wakers, || false, || ()) == super::Turn::Had);
    assert!(!is_ready(&before) && is_ready(&after));
    drop(copy);
    reactor.leave(&after);
    assert_eq!(reactor.sources().places.len(), 1);
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_read_and_the_other_direction_stays() {
    let threads = Threads::start(1);
    for _ in 0..50 {
        let (mut ours, mut peer) = pair(&threads);
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        threads.on(async move {
            let mut bytes = [0; 64];
            assert_eq!(ours.read(&mut bytes).await.unwrap(), 4);
            assert_eq!(ours.read(&mut bytes).await.unwrap(), 0);
            ours.write_all(b"answer").await.unwrap();
        });
        let mut heard = String::new();
        peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "answer");
    }
    threads.join();
}

#[test]
fn an_end_that_comes_while_it_is_waited_for_is_read() {
    let threads = Threads::start(1);
    for how in [Shutdown::Write, Shutdown::Both] {
        let (mut ours, mut peer) = pair(&threads);
        let (send, receive) = mpsc::channel();
        threads.tasks().spawn("a reader", async move {
            let mut bytes = [0; 64];
            while let Ok(count) = ours.read(&mut bytes).await {
                send.send(count).unwrap();
            }
        });
        peer.write_all(b"first").unwrap();
        assert_eq!(receive.recv_timeout(LIMIT), Ok(5));
        peer.shutdown(how).unwrap();
        assert_eq!(receive.recv_timeout(LIMIT), Ok(0));
    }
    threads.join();
}

#[test]
fn a_peer_that_breaks_off_is_an_error_for_who_waits() {
    let threads = Threads::start(1);
    let (mut ours, peer) = pair(&threads);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    let (send, receive) = mpsc::channel();
    threads.tasks().spawn("a reader", async move {
        let read = async { ours.read(&mut [0; 64]).await };
        let told = async {
            send.send(None).unwrap();
            std::future::pending().await
        };
        let read = futures_lite::future::or(read, told).await;
        send.send(Some(read.unwrap_err().kind())).unwrap();
    });
    assert_eq!(receive.recv_timeout(LIMIT), Ok(None), "it waits");
    drop(peer);
    assert_eq!(receive.recv_timeout(LIMIT), Ok(Some(std::io::ErrorKind::ConnectionReset)));
    threads.join();
}

#[test]
fn a_socket_that_is_shut_while_it_is_waited_on_ends_the_wait() {
    let threads = Threads::start(1);
    let (ours, _peer) = pair(&threads);
    let mut reading = ours.clone();
    let (send, receive) = mpsc::channel();
    threads.tasks().spawn("a reader", async move {
        let mut waits = true;
        let read = poll_fn(|context| {
            let polled = std::pin::Pin::new(&mut reading.read(&mut [0; 64])).poll(context);
            if std::mem::take(&mut waits) {
                assert!(polled.is_pending());
                send.send(None).unwrap();
            }
            polled
        });
        let read = read.await;
        send.send(Some(read.unwrap())).unwrap();
    });
    assert_eq!(receive.recv_timeout(LIMIT), Ok(None), "it waits");
    ours.shutdown(Shutdown::Both).unwrap();
    assert_eq!(receive.recv_timeout(LIMIT), Ok(Some(0)));
    threads.join();
}

#[test]
fn a_writer_goes_on_when_its_peer_makes_room() {
    const SIZE: usize = 16 << 20;
    let threads = Threads::start(1);
    let (mut ours, mut peer) = pair(&threads);
    threads.tasks().spawn("a writer", async move {
        ours.write_all(&vec![7; SIZE]).await.unwrap();
        ours.close().await.unwrap();
    });
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), SIZE);
    threads.join();
}

#[test]
fn a_thousand_sockets_are_heard_at_once() {
    #[cfg(feature = "cli")]
    crate::sys::raise_open_files();
    let threads = Threads::start(1);
    let address = threads.echo();
    let mut peers: Vec<_> = (0..1000).map(|_| connect(address)).collect();
    for round in 0..5 {
        peers.iter_mut().for_each(|peer| peer.write_all(&[round]).unwrap());
        for peer in &mut peers {
            let mut heard = [0];
            peer.read_exact(&mut heard).unwrap();
            assert_eq!(heard, [round]);
        }
    }
    drop(peers);
    threads.join();
}

#[test]
fn no_wake_up_is_lost_between_many_threads() {
    const ROUNDS: u32 = 2000;
    let threads = Threads::start(3);
    let address = threads.echo();
    // A socket's news and another thread's word, which come at any moment of a
    // thread's falling asleep.
    let speaking = (0..4).map(|_| {
        let (ask, asked) = async_channel::bounded::<u32>(1);
        let (answer, answered) = async_channel::bounded::<u32>(1);
        threads.tasks().spawn("an answer", async move {
            while let Ok(number) = asked.recv().await {
                let _ = answer.send(number + 1).await;
            }
        });
        spawn(move || {
            for number in 0..ROUNDS {
                ask.send_blocking(number).unwrap();
                assert_eq!(answered.recv_blocking(), Ok(number + 1));
            }
        })
    });
    let writing = (0..4).map(|_| {
        let mut peer = connect(address);
        spawn(move || {
            for number in 0..ROUNDS {
                peer.write_all(&number.to_be_bytes()).unwrap();
                let mut heard = [0; 4];
                peer.read_exact(&mut heard).unwrap();
                assert_eq!(heard, number.to_be_bytes());
            }
        })
    });
    let all: Vec<_> = speaking.chain(writing).collect();
    all.iter().for_each(|one| one.recv_timeout(LIMIT).unwrap());
    threads.join();
}

#[test]
fn a_thread_that_is_busy_leaves_sockets_to_the_other() {
    let threads = Threads::start(2);
    let address = threads.echo();
    let (release, held) = mpsc::channel::<()>();
    let (send, receive) = mpsc::channel();
    threads.tasks().spawn("one that takes a thread", async move {
        send.send(()).unwrap();
        let _ = held.recv_timeout(LIMIT);
    });
    receive.recv_timeout(LIMIT).unwrap();
    let mut peer = connect(address);
    for _ in 0..100 {
        peer.write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
    }
    release.send(()).unwrap();
    threads.join();
}

#[test]
fn tasks_that_always_have_work_do_not_keep_sockets_waiting() {
    let threads = Threads::start(1);
    let address = threads.echo();
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    threads.tasks().spawn("one that never waits", async move {
        while !until.load(SeqCst) {
            yield_now().await;
        }
    });
    let mut peer = connect(address);
    peer.write_all(b"x").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    threads.on(Sleep::new(Duration::from_millis(1)));
    over.store(true, SeqCst);
    threads.join();
}

#[test]
fn a_timer_is_heard_by_a_thread_that_sleeps_already() {
    let threads = Threads::start(2);
    for _ in 0..50 {
        threads.on(async {
            let reactor = Reactor::here().unwrap();
            // It is the other thread that waits, since this one does not.
            while !reactor.waiting.load(SeqCst) {
                std::thread::yield_now();
                yield_now().await;
            }
            Sleep::new(Duration::from_micros(1)).await;
        });
    }
    threads.join();
}

#[test]
fn a_timer_that_nobody_waits_for_is_gone() {
    let reactor = Reactor::new().unwrap();
    without_tasks(&reactor, async {
        let mut sleep = Box::pin(Sleep::new(LIMIT));
        assert!(futures_lite::future::poll_once(&mut sleep).await.is_none());
        assert!(reactor.timers.next().is_some());
        drop(sleep);
        assert!(reactor.timers.next().is_none());
        Sleep::new(Duration::from_millis(1)).await;
        assert!(reactor.timers.next().is_none());
        let never = Sleep::new(Duration::MAX);
        assert!(futures_lite::future::poll_once(never).await.is_none());
    });
    assert!(Reactor::here().is_none());
}

#[test]
fn threads_leave_whenever_they_are_told() {
    for count in [1, 2, 3].repeat(30) {
        let threads = Threads::start(count);
        let address = threads.echo();
        connect(address).write_all(b"x").unwrap();
        threads.join();
    }
}

#[test]
fn a_thread_that_leaves_alone_hands_its_watch_on() {
    let reactor = Reactor::new().unwrap();
    for _ in 0..100 {
        let (leave, told) = async_channel::bounded::<()>(1);
        let watching = reactor.clone();
        let watching = spawn(move || without_tasks(&watching, told.recv()).is_err());
        until_waiting(&reactor);
        let (here, there) = mpsc::channel();
        let staying = reactor.clone();
        let staying = spawn(move || {
            without_tasks(&staying, async {
                let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                here.send(listener.local_addr().unwrap()).unwrap();
                listener.accept().await.is_ok()
            })
        });
        let address = there.recv_timeout(LIMIT).unwrap();
        leave.close();
        assert_eq!(watching.recv_timeout(LIMIT), Ok(true));
        let _peer = connect(address);
        assert_eq!(staying.recv_timeout(LIMIT), Ok(true), "nobody watches");
    }
}

/// A waker that panics on the thread that wakes it.
struct Trap;

impl std::task::Wake for Trap {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_asleep() {
    let (reactor, woken) = (Reactor::new().unwrap(), Arc::new(Counted::default()));
    let now = Instant::now();
    reactor.begin_timer(now, Waker::from(Arc::new(Trap)));
    reactor.begin_timer(now, Waker::from(woken.clone()));
    let lost = catch_unwind(|| without_tasks(&reactor, std::future::pending::<()>()));
    assert_eq!((lost.is_err(), woken.0.load(SeqCst)), (true, 0));
    // The thread goes on, and has one turn.
    without_tasks(&reactor, yield_now());
    assert_eq!(woken.0.load(SeqCst), 1);
}
