//! An engine thread that panics outside all tasks: nothing in the engine does,
//! so the tests bring a waker that does. The engine has failed then, says why,
//! and serves what is under way until it is stopped.

use super::handle::{Engine, State};
use crate::ErrorKind;
use crate::net::sleep;
use crate::telemetry::Record;
use futures_lite::future::yield_now;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Longer than a loaded machine takes for anything here.
const LIMIT: Duration = Duration::from_secs(60);

/// A waker that panics on the thread that wakes it.
struct Trap;

impl Wake for Trap {
    fn wake(self: Arc<Self>) {
        panic!("woken on purpose");
    }
}

/// Makes a thread panic when this timer ends, which it does in a moment.
async fn lay_a_trap() {
    let mut timer = Box::pin(sleep(Duration::from_millis(1)));
    let trap = Waker::from(Arc::new(Trap));
    assert!(timer.as_mut().poll(&mut Context::from_waker(&trap)).is_pending());
    // One that is given up is taken back.
    std::mem::forget(timer);
}

impl Engine {
    /// Makes an engine thread panic; `again` and again, as often as it goes on.
    pub(crate) fn lose_a_thread(&self, again: bool) {
        let tasks = self.tasks().unwrap();
        tasks.spawn("a trap", async move {
            loop {
                lay_a_trap().await;
                if !again {
                    return;
                }
                yield_now().await;
            }
        });
    }
}

/// An engine with an exchange under way, both its ends, and what its log says.
fn busy(threads: &str) -> (Engine, [TcpStream; 2], mpsc::Receiver<String>) {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", service.local_addr().unwrap());
    let routes = format!(r#"[{{"name": "slow", "url": "{url}"}}]"#);
    let (tell, told) = mpsc::channel();
    let log = move |record: &Record<'_>| {
        let _ = tell.send(record.message.to_owned());
    };
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy").log(log);
    let engine = builder.set("routes", &routes).set("threads", threads).start().unwrap();
    let mut app = TcpStream::connect(engine.proxy_addrs()[0]).unwrap();
    app.set_read_timeout(Some(LIMIT)).unwrap();
    app.write_all(b"GET http://slow/ HTTP/1.0\r\nHost: slow\r\n\r\n").unwrap();
    let (mut at_service, _) = service.accept().unwrap();
    assert_ne!(at_service.read(&mut [0; 4096]).unwrap(), 0);
    (engine, [app, at_service], told)
}

#[test]
fn a_lost_thread_is_a_failed_engine_that_serves_what_is_under_way() {
    const CAUSE: &str = "an engine thread ended: an internal error, which has been logged";
    for threads in ["1", "2"] {
        let (engine, [mut app, mut service], told) = busy(threads);
        engine.lose_a_thread(false);
        let failed = engine.wait(Some(LIMIT)).unwrap_err();
        assert_eq!((failed.kind(), failed.to_string().as_str()), (ErrorKind::Internal, CAUSE));
        assert_eq!((engine.state(), engine.stats().panics), (State::Failed, 1));
        service.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nlate").unwrap();
        let mut answer = String::new();
        app.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("late"), "{answer}");
        assert_eq!(engine.stop(LIMIT).unwrap_err().to_string(), CAUSE);
        assert!(TcpStream::connect(engine.proxy_addrs()[0]).is_err());
        let said: Vec<_> = told.iter().filter(|line| line.contains("internal error")).collect();
        let expected = "internal error in an engine thread: woken on purpose; please report it";
        assert_eq!(said, [expected], "with {threads} threads");
    }
}

#[test]
fn a_thread_that_panics_without_end_can_be_stopped_and_is_told_of_once_a_minute() {
    let (engine, _ends, told) = busy("1");
    engine.lose_a_thread(true);
    while engine.stats().panics < 3 {
        std::thread::yield_now();
    }
    assert_eq!(engine.state(), State::Failed);
    engine.stop(Duration::ZERO).unwrap_err();
    let said: Vec<_> = told.iter().filter(|line| line.contains("internal error")).collect();
    // The first, and at the end how often it came.
    assert_eq!(said.len(), 2, "{said:?}");
}
