//! What takes time, on a clock that the test moves: nothing here waits for it.

use super::h1_tests::{GET, HEAD_END, OK, Running, app, proxy, proxy_by, read_until, service};
use crate::proxy::limits::{CONTINUE, HEAD_TIME, IDLE, LINGER, LOOK, TUNNEL_LINGER};
use crate::proxy::testing::Hand;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(1);

/// A service that a test plays itself.
fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(super) fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::yield_now();
    };
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

#[test]
fn a_slow_head_is_a_408_after_thirty_seconds() {
    assert_eq!(HEAD_TIME, Duration::from_secs(30));
    let clock = Hand::new();
    let proxy = proxy_by(clock.clone(), listener().local_addr().unwrap(), false);
    // The pool's sweep sleeps as long.
    clock.await_sleepers(1, IDLE / 3);
    for begun in ["GET / HTTP/1.1\r\nHo", "P", "PRI *"] {
        let mut app = app(&proxy);
        app.write_all(begun.as_bytes()).unwrap();
        clock.await_sleepers(2, HEAD_TIME);
        clock.pass(HEAD_TIME - MOMENT);
        app.write_all(b"s").unwrap();
        clock.pass(MOMENT);
        let answer = read_until(&mut app, "");
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{begun:?}: {answer}");
        assert!(answer.contains("within 30 s"), "{begun:?}: {answer}");
    }
}

#[test]
fn a_head_that_a_stopped_instance_could_not_read_gets_its_time_again() {
    let clock = Hand::new();
    let (address, service) = service(vec![vec![(HEAD_END, OK)]]);
    let proxy = proxy_by(clock.clone(), address, false);
    clock.await_sleepers(1, IDLE / 3);
    let mut app = app(&proxy);
    app.write_all(&GET.as_bytes()[..9]).unwrap();
    clock.await_sleepers(2, HEAD_TIME);
    clock.pass(HEAD_TIME + Duration::from_secs(60));
    // Measured anew, for the sweep too.
    clock.await_sleepers(2, HEAD_TIME);
    app.write_all(&GET.as_bytes()[9..]).unwrap();
    assert!(read_until(&mut app, "ok").starts_with("HTTP/1.1 200 OK\r\n"));
    service.join().unwrap();
}

/// As clients of old send it behind a body.
#[test]
fn an_empty_line_behind_a_request_begins_no_other() {
    let clock = Hand::new();
    let (address, service) = service(vec![vec![(HEAD_END, OK), (HEAD_END, OK)]]);
    let proxy = proxy_by(clock.clone(), address, false);
    let mut app = app(&proxy);
    for _ in 0..2 {
        app.write_all(GET.as_bytes()).unwrap();
        app.write_all(b"\r\n").unwrap();
        let answer = read_until(&mut app, "ok");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        at_rest(&proxy);
        clock.pass(HEAD_TIME);
        at_rest(&proxy);
    }
    service.join().unwrap();
}

#[test]
fn a_body_whose_service_says_nothing_waits_a_second_and_no_longer() {
    assert_eq!(CONTINUE, Duration::from_secs(1));
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    app.write_all(
        b"POST / HTTP/1.1\r\nHost: hello\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    )
    .unwrap();
    let mut service = accepted(&listener);
    assert!(read_until(&mut service, HEAD_END).contains("Expect: 100-continue\r\n"));
    clock.await_sleepers(1, CONTINUE);
    clock.pass(CONTINUE - MOMENT);
    at_rest(&proxy);
    service.set_nonblocking(true).unwrap();
    let early = service.read(&mut [0]);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    service.set_nonblocking(false).unwrap();
    clock.pass(MOMENT);
    read_until(&mut service, "body");
    service.write_all(OK).unwrap();
    assert!(read_until(&mut app, "ok").starts_with("HTTP/1.1 200 OK\r\n"));
    at_rest(&proxy);
    let counted = proxy.metrics();
    assert!(counted.contains("proxy_request_duration_seconds_sum 1\n"), "by this clock: {counted}");
}

#[test]
fn an_app_that_leaves_takes_the_service_along_within_a_second() {
    assert!(LINGER < Duration::from_secs(1));
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
    for body in ["\r\n", "Content-Length: 4\r\n\r\nbody"] {
        let mut app = app(&proxy);
        write!(app, "PUT / HTTP/1.1\r\nHost: hello\r\n{body}").unwrap();
        let mut service = accepted(&listener);
        read_until(&mut service, if body.ends_with("body") { body } else { HEAD_END });
        drop(app);
        // It may have ended its own direction alone; so nothing happens yet.
        clock.await_sleepers(1, LINGER);
        clock.pass(LINGER);
        assert_eq!(read_until(&mut service, ""), "", "{body:?}");
    }
}

#[test]
fn an_app_that_breaks_off_or_leaves_in_its_body_is_noticed_at_once() {
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock, listener.local_addr().unwrap(), false);
    let part = "PUT / HTTP/1.1\r\nHost: hello\r\nContent-Length: 9\r\n\r\nbody";
    // The clock stands still: no timer has a part in this.
    for (head, resets) in [(GET, true), (part, false)] {
        let mut app = app(&proxy);
        app.write_all(head.as_bytes()).unwrap();
        let mut service = accepted(&listener);
        read_until(&mut service, if resets { HEAD_END } else { "body" });
        if resets {
            // To leave with something unread is to reset.
            service.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap();
            app.peek(&mut [0]).unwrap();
        }
        drop(app);
        assert_eq!(read_until(&mut service, ""), "", "{head:?}");
    }
}

#[test]
fn an_app_that_leaves_behind_a_stalled_body_is_noticed_within_a_second() {
    assert!(LOOK + LINGER <= Duration::from_secs(1));
    const LARGE: usize = 64 * 1024 * 1024;
    for (length, lingers) in [(Some(2 * LARGE), false), (None, true)] {
        let (clock, listener) = (Hand::new(), listener());
        let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
        let mut app = app(&proxy);
        let framing = match length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".to_owned(),
        };
        write!(app, "PUT / HTTP/1.1\r\nHost: hello\r\n{framing}\r\n\r\n").unwrap();
        let mut service = accepted(&listener);
        read_until(&mut service, HEAD_END);
        // As much as the proxy takes, and no more: what an app has not got rid of
        // stands before its end, and nobody can see that.
        let piece = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
        let mut sent = 0;
        while clock.sleepers(LOOK) == 0 {
            assert!(sent < LARGE, "nothing has held the app up");
            app.write_all(&piece).unwrap();
            sent += piece.len();
            at_rest(&proxy);
        }
        clock.pass(LOOK);
        at_rest(&proxy);
        // But for the connection that has just ended, nobody lingers.
        clock.await_sleepers(0, LINGER);
        assert_eq!(clock.sleepers(LOOK), 1, "it is still there");
        drop(app);
        clock.pass(LOOK);
        if lingers {
            // All of a body of unknown length may stand behind.
            clock.await_sleepers(1, LINGER);
            clock.pass(LINGER);
        } else {
            at_rest(&proxy);
            clock.await_sleepers(0, LINGER);
        }
        let mut rest = Vec::new();
        service.read_to_end(&mut rest).unwrap();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "a body that was cut must not end well");
    }
}

#[test]
fn requests_sent_ahead_of_an_end_are_answered() {
    let (address, service) = service(vec![vec![(HEAD_END, OK), (HEAD_END, OK)]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all([GET, GET].concat().as_bytes()).unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_until(&mut app, "").matches("HTTP/1.1 200 OK").count(), 2);
    service.join().unwrap();
}

#[test]
fn a_service_cannot_change_protocols_in_the_middle_of_a_request() {
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let (address, _service) = service(vec![vec![(HEAD_END, answer)]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(
        b"POST / HTTP/1.1\r\nHost: hello\r\nConnection: upgrade\r\nUpgrade: x\r\n\
          Content-Length: 9\r\n\r\npart",
    )
    .unwrap();
    assert!(read_until(&mut app, "").starts_with("HTTP/1.1 502 "));
}

/// The proxy has done all it could when it has answered one more, for it has one
/// thread.
fn at_rest(proxy: &Running) {
    let mut app = app(proxy);
    app.write_all(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n").unwrap();
    assert!(read_until(&mut app, "").starts_with("HTTP/1.1 421 "));
}

/// An upgraded connection: the app's end and the service's.
fn tunnel(app: &mut TcpStream, listener: &TcpListener) -> TcpStream {
    app.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    let mut service = accepted(listener);
    read_until(&mut service, HEAD_END);
    service
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .unwrap();
    read_until(app, HEAD_END);
    service
}

#[test]
fn a_half_closed_tunnel_may_be_silent_for_a_minute() {
    assert_eq!(TUNNEL_LINGER, Duration::from_secs(60));
    for services_end in [true, false] {
        let (clock, listener) = (Hand::new(), listener());
        let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
        let mut app = app(&proxy);
        let mut service = tunnel(&mut app, &listener);
        let (ended, open) =
            if services_end { (&mut service, &mut app) } else { (&mut app, &mut service) };
        ended.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_until(open, ""), "", "one direction has ended, in order");
        at_rest(&proxy);
        assert_eq!(clock.sleepers(TUNNEL_LINGER), 1);
        clock.pass(TUNNEL_LINGER - MOMENT);
        // What moves in the other direction begins the minute anew.
        open.write_all(b"still here").unwrap();
        read_until(ended, "still here");
        at_rest(&proxy);
        assert_eq!(clock.sleepers(TUNNEL_LINGER), 1);
        clock.pass(TUNNEL_LINGER - MOMENT);
        open.write_all(b"and here").unwrap();
        read_until(ended, "and here");
        at_rest(&proxy);
        assert_eq!(clock.sleepers(TUNNEL_LINGER), 1);
        clock.pass(TUNNEL_LINGER);
        let cut = ended.read(&mut [0]);
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::ConnectionReset, "no end in order");
    }
}

#[test]
fn an_open_tunnel_may_be_silent_for_ever() {
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    let mut service = tunnel(&mut app, &listener);
    assert_eq!(clock.sleepers(TUNNEL_LINGER), 0);
    clock.pass(Duration::from_secs(24 * 3600));
    service.write_all(b"a day later").unwrap();
    read_until(&mut app, "a day later");
}

#[test]
fn no_timer_ends_an_exchange_that_takes_long() {
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    app.write_all(GET.as_bytes()).unwrap();
    let mut service = accepted(&listener);
    read_until(&mut service, HEAD_END);
    for part in [&b"HTTP/1.1 200 OK\r\nTransfer-Enc"[..], b"oding: chunked\r\n\r\n", b"2\r\nok\r\n"]
    {
        clock.pass(Duration::from_secs(3600));
        service.write_all(part).unwrap();
    }
    read_until(&mut app, "ok\r\n");
    clock.pass(Duration::from_secs(24 * 3600));
    service.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut app, "0\r\n\r\n");
}

#[test]
fn a_connection_that_is_too_old_by_the_wall_clock_is_not_used_again() {
    assert_eq!(IDLE, Duration::from_secs(90));
    let (clock, listener) = (Hand::new(), listener());
    let proxy = proxy_by(clock.clone(), listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    let mut ask = |service: Option<TcpStream>| {
        app.write_all(GET.as_bytes()).unwrap();
        let mut service = service.unwrap_or_else(|| accepted(&listener));
        read_until(&mut service, HEAD_END);
        service.write_all(OK).unwrap();
        read_until(&mut app, "ok");
        at_rest(&proxy);
        service
    };
    let mut service = ask(None);
    // The process has not run meanwhile: its own clock stands still.
    clock.pass_on_the_wall(IDLE - MOMENT);
    service = ask(Some(service));
    clock.pass_on_the_wall(IDLE);
    let next = ask(None);
    assert_eq!(read_until(&mut service, ""), "", "the old one is closed");
    // A clock that was set back says nothing of an age.
    clock.set_back(MOMENT);
    ask(None);
    drop(next);
}
