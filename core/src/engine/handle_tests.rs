//! The handle: states, failures, logs and forks, as an embedding program sees them.

use super::*;
use crate::telemetry::Record;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

fn engine(log: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Engine {
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    builder.set("log_level", "debug").log(log).start().unwrap()
}

#[test]
fn callers_at_once_get_one_report() {
    let engine = engine(|_| {});
    let stopping = || {
        thread::spawn({
            let engine = engine.clone();
            move || engine.stop(Duration::ZERO).unwrap()
        })
    };
    let callers: Vec<_> = (0..8).map(|_| stopping()).collect();
    let reports: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert_eq!(reports, [StopReport::default(); 8]);
    assert_eq!(engine.state(), State::Stopped);
    engine.wait(None).unwrap();
}

/// An engine, an app that has sent this request through it, and its service,
/// which has the request.
fn under_way(request: &[u8]) -> (Engine, TcpStream, TcpStream) {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", service.local_addr().unwrap());
    let routes = format!(r#"[{{"name": "slow", "url": "{url}"}}]"#);
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    let engine = builder.set("routes", &routes).start().unwrap();
    let mut app = TcpStream::connect(engine.proxy_addrs()[0]).unwrap();
    app.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    app.write_all(request).unwrap();
    let (mut at_service, _) = service.accept().unwrap();
    assert_ne!(at_service.read(&mut [0; 4096]).unwrap(), 0);
    (engine, app, at_service)
}

#[test]
fn a_second_caller_with_less_time_shortens_the_wait_of_both() {
    let (engine, _app, _service) = under_way(b"GET http://slow/ HTTP/1.1\r\nHost: slow\r\n\r\n");
    let hour = Duration::from_secs(3600);
    let patient = thread::spawn({
        let engine = engine.clone();
        move || engine.stop(hour).unwrap()
    });
    while engine.state() == State::Running {
        thread::yield_now();
    }
    let begun = Instant::now();
    let hurried = engine.stop(Duration::ZERO).unwrap();
    assert_eq!((hurried.aborted, hurried), (1, patient.join().unwrap()));
    assert!(begun.elapsed() < hour / 60);
}

#[test]
fn what_a_stop_cuts_is_reset_and_looks_like_no_end() {
    // To this app an end of the connection would be the end of the body.
    let (engine, mut app, mut service) =
        under_way(b"GET http://slow/ HTTP/1.0\r\nHost: slow\r\n\r\n");
    service.write_all(b"HTTP/1.1 200 OK\r\n\r\npart").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"part") {
        let mut byte = [0];
        app.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    assert_eq!(engine.stop(Duration::ZERO).unwrap().aborted, 1);
    let cut = app.read(&mut [0]).unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_log_callback_is_told_that_it_cannot_wait_for_itself() {
    let (hand_over, handed) = mpsc::channel::<Engine>();
    let (tell, told) = mpsc::channel();
    let handed = Mutex::new(handed);
    let engine = engine(move |_| {
        if let Ok(engine) = handed.lock().unwrap().recv() {
            let stopped = engine.stop(Duration::ZERO).map(|_| ());
            let waited = engine.wait(Some(Duration::ZERO));
            let kinds = [stopped, waited].map(|result| result.unwrap_err().kind());
            let _ = tell.send((kinds, engine.state()));
        }
    });
    hand_over.send(engine.clone()).unwrap();
    let (kinds, state) = told.recv().unwrap();
    assert_eq!((kinds, state), ([ErrorKind::Busy; 2], State::Running));
    drop(hand_over);
    engine.stop(Duration::ZERO).unwrap();
    assert!(told.recv().is_err(), "the callback is dropped by the time stop returns");
}

#[test]
fn the_last_handle_may_go_in_a_log_callback() {
    let (hand_over, handed) = mpsc::channel::<Engine>();
    let (held, gone) = async_channel::bounded::<()>(1);
    let handed = Mutex::new(handed);
    let engine = engine(move |_| {
        let _held = &held;
        drop(handed.lock().unwrap().recv());
    });
    hand_over.send(engine).unwrap();
    drop(hand_over);
    // Closed when the callback is dropped, which is when the engine has stopped.
    assert!(gone.recv_blocking().is_err());
}

#[test]
fn any_runtime_can_wait_for_the_start_and_the_end() {
    crate::net::block_on(async {
        let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
        let engine = builder.start_async().await.unwrap();
        let waiting = engine.wait_async();
        let stopping = engine.stop_async(Duration::ZERO);
        let (waited, stopped) = futures_lite::future::zip(waiting, stopping).await;
        waited.unwrap();
        assert_eq!(stopped.unwrap(), StopReport::default());
    });
}

#[test]
fn ports_are_free_when_stop_returns() {
    let start = |address: &str| {
        let builder = Engine::builder().environment(|_| None).set("mode", "full");
        let builder = builder.set("resolv_conf_mode", "leave").set("dns_addr", address);
        builder.set("proxy_addr", "127.0.0.1:0").start().unwrap()
    };
    let first = start("127.0.0.1:0");
    let address = first.dns_addrs()[0].to_string();
    first.stop(Duration::ZERO).unwrap();
    let second = start(&address);
    assert_eq!(second.dns_addrs()[0].to_string(), address);
}

#[test]
fn the_access_log_reaches_a_callback_whole() {
    use std::io::{Read, Write};
    let (tell, told) = mpsc::channel();
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    let log = move |record: &Record<'_>| {
        let _ = tell.send(record.json());
    };
    let engine = builder.set("access_log", "true").log(log).start().unwrap();
    let mut app = std::net::TcpStream::connect(engine.proxy_addrs()[0]).unwrap();
    app.write_all(b"GET /?key=sekret HTTP/1.1\r\nHost: hello\r\n\r\n").unwrap();
    app.read_to_string(&mut String::new()).unwrap();
    engine.stop(Duration::ZERO).unwrap();
    let records: Vec<serde_json::Value> =
        told.iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
    let access: Vec<_> = records.iter().filter(|one| one["logger"] == "runsd.access").collect();
    assert_eq!(access.len(), 1, "{records:?}");
    assert_eq!(access[0]["httpRequest"]["requestUrl"], "http://hello/?key=*");
    assert_eq!(access[0]["httpRequest"]["status"], 421);
}
