//! Stopping: who waits, for how long, and who hears why.

use super::*;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;

/// An engine with an exchange that never ends, and both its ends.
fn busy() -> (Engine, [TcpStream; 2]) {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let routes =
        format!(r#"[{{"name": "hello", "url": "http://{}"}}]"#, service.local_addr().unwrap());
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    let engine = builder.set("routes", &routes).start().unwrap();
    let mut app = TcpStream::connect(engine.proxy_addrs()[0]).unwrap();
    app.write_all(b"GET http://hello/ HTTP/1.1\r\nHost: hello\r\n\r\n").unwrap();
    let (upstream, _) = service.accept().unwrap();
    (engine, [app, upstream])
}

#[test]
fn a_caller_with_less_time_shortens_a_stop_that_is_under_way() {
    for first in [Duration::from_secs(3600), Duration::MAX] {
        let (engine, _ends) = busy();
        let patient = thread::spawn({
            let engine = engine.clone();
            move || engine.stop(first).unwrap()
        });
        while engine.state() != State::Stopping {
            thread::yield_now();
        }
        let hasty = engine.stop(Duration::from_millis(1)).unwrap();
        assert_eq!(hasty, StopReport { aborted: 1 });
        assert_eq!(patient.join().unwrap(), hasty);
    }
}

#[test]
fn a_caller_with_more_time_does_not_lengthen_it() {
    let (engine, _ends) = busy();
    let hasty = thread::spawn({
        let engine = engine.clone();
        move || engine.stop(Duration::from_millis(100)).unwrap()
    });
    while engine.state() == State::Running {
        thread::yield_now();
    }
    assert_eq!(engine.stop(Duration::MAX).unwrap(), StopReport { aborted: 1 });
    assert_eq!(hasty.join().unwrap(), StopReport { aborted: 1 });
}

#[test]
fn a_close_stops_it_for_everybody_who_has_a_handle() {
    let (engine, _ends) = busy();
    let waiting = thread::spawn({
        let engine = engine.clone();
        move || engine.wait(None)
    });
    engine.close();
    waiting.join().unwrap().unwrap();
    assert_eq!(engine.stop(Duration::MAX).unwrap(), StopReport { aborted: 1 });
    engine.close();
    assert_eq!(Engine::forked_from(), None);
}

#[test]
fn a_failed_engine_says_why_and_can_be_stopped() {
    let (engine, _ends) = busy();
    let waiting = thread::spawn({
        let engine = engine.clone();
        move || engine.wait(None)
    });
    engine.shared().fail("the accept loop ended: no reason".to_owned());
    let cause = waiting.join().unwrap().unwrap_err();
    assert_eq!(cause.kind(), ErrorKind::Internal);
    assert_eq!(cause.to_string(), "the accept loop ended: no reason");
    assert_eq!(engine.state(), State::Failed);
    let stopped = engine.stop(Duration::ZERO).unwrap_err();
    assert_eq!(stopped.to_string(), cause.to_string());
    assert_eq!(engine.state(), State::Failed);
    assert!(TcpStream::connect(engine.proxy_addrs()[0]).is_err());
}
