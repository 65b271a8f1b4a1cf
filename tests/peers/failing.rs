//! Services that fail: the app hears it in time, with the right status, and
//! never takes a part of an answer for the whole.

use crate::sidecar::{End, Sidecar};
use runsd_tests::{Ran, in_time};
use std::fmt::Write;
use std::time::{Duration, Instant};

const HTTP1: &str = "--http1.1";
const HTTP2: &str = "--http2-prior-knowledge";
/// What curl says of an answer that was cut: a partial file, a failure in
/// receiving, a stream that was reset.
const CUT: [Option<i32>; 3] = [Some(18), Some(56), Some(92)];
/// Each failure but a hanging handshake is known at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

fn raw(answer: &str, then: &str) -> String {
    let mut hex = String::new();
    for byte in answer.bytes() {
        write!(hex, "{byte:02x}").expect("writing to a string");
    }
    format!("http://broken/?how=raw&hex={hex}&then={then}")
}

/// A sidecar, and how long the app waited for each failure.
struct Timed {
    sidecar: Sidecar,
    took: Vec<Duration>,
}

/// Does `steps` with a sidecar of these options: none may take long.
fn timely(options: &[&str], steps: impl Fn(&mut Timed)) {
    in_time(AT_ONCE, || {
        let mut timed = Timed { sidecar: Sidecar::new(options), took: Vec::new() };
        steps(&mut timed);
        timed.took
    });
}

impl Timed {
    /// curl's run, after which the next one must be served as ever.
    fn curl(&mut self, arguments: &[&str]) -> Ran {
        let begun = Instant::now();
        let ran = self.sidecar.curl(arguments);
        self.took.push(begun.elapsed());
        let next = self.sidecar.curl(&[arguments[0], "http://hello/next"]);
        assert!(next.ok().ends_with(" 200"), "after {arguments:?}: {next:?}");
        ran
    }

    fn answers_502(&mut self, version: &str, url: &str) {
        let ran = self.curl(&[version, "-i", url]);
        assert!(ran.ok().ends_with(" 502"), "{version} {url}: {ran:?}");
        let ours = ran.out.to_lowercase().contains("proxy-status: runsd");
        assert!(ours, "{version} {url}: {ran:?}");
        assert!(ran.out.contains("broken"), "it must name the service: {ran:?}");
    }

    fn is_cut(&mut self, version: &str, url: &str) {
        let ran = self.curl(&[version, url]);
        assert!(CUT.contains(&ran.code), "{version} {url}: {ran:?}");
    }
}

/// COVERAGE.md 5 and 26: no answer, half a head and no HTTP at all are a 502 that
/// names the service, from both versions of HTTP.
#[test]
fn no_answer_is_a_502() {
    timely(&["--upstream-http", "1"], |timed| {
        for version in [HTTP1, HTTP2] {
            for how in ["reset", "garbage", "close-after-accept", "half-head"] {
                timed.answers_502(version, &format!("http://broken/?how={how}"));
            }
            timed.answers_502(version, &raw("HTTP/1.1 200 OK\r\nA: ", "reset"));
            timed.answers_502(version, &raw("220 smtp.example ESMTP\r\n", "close"));
            timed.answers_502(version, &raw(&"x".repeat(30_000), "close"));
            timed.answers_502(version, "http://broken/?how=headers&bytes=200000");
        }
    });
}

/// COVERAGE.md 10 and 15: a body that breaks off is never a clean end, however it
/// was delimited and however it broke.
#[test]
fn a_cut_body_never_ends_well() {
    timely(&["--upstream-http", "1"], |timed| {
        for version in [HTTP1, HTTP2] {
            timed.is_cut(version, "http://broken/?how=truncate");
            timed.is_cut(version, "http://broken/?how=bad-chunk");
            let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
            let in_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf";
            let no_last_line = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
            let in_trailer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1";
            for answer in [length, chunked, in_chunk, no_last_line, in_trailer] {
                for then in ["close", "reset"] {
                    timed.is_cut(version, &raw(answer, then));
                }
            }
            // Delimited by the end, which a reset is not.
            timed.is_cut(version, &raw("HTTP/1.1 200 OK\r\n\r\nhalf", "reset"));
            let whole = timed.curl(&[version, &raw("HTTP/1.1 200 OK\r\n\r\nwhole", "close")]);
            assert_eq!(whole.ok(), "whole 200", "{version}");
        }
    });
}

/// COVERAGE.md 15 and 17: over HTTP/2 a stream that the service resets is a reset
/// stream for the app, and its connection goes on.
#[test]
fn a_reset_stream_is_a_reset_stream() {
    timely(&[], |timed| {
        for how in ["truncate", "reset", "garbage"] {
            let url = format!("http://broken/?how={how}");
            let ran = timed.curl(&[HTTP2, &url]);
            assert_eq!(ran.code, Some(92), "{how}: {ran:?}");
        }
    });
}

/// COVERAGE.md 15: a service whose machine dies in the middle of an answer.
#[test]
fn a_killed_service_cuts_its_answers() {
    for version in [HTTP1, HTTP2] {
        let sidecar = Sidecar::default();
        let name = format!("runsd-peers-killed-{}{version}", std::process::id());
        let body = std::env::temp_dir().join(name);
        let file = body.to_string_lossy();
        let urls = ["http://sse/?n=9&gate=never", "http://hello/next"];
        let running = sidecar.begin_curl(&[version, "-N", "-o", &file, urls[0], urls[1]]);
        let begun = Instant::now();
        while !std::fs::read_to_string(&body).is_ok_and(|body| body.contains("event 0")) {
            assert!(begun.elapsed() < PATIENCE, "no event came");
            std::thread::yield_now();
        }
        sidecar.world.sim.front().cut();
        let cut = running.wait();
        std::fs::remove_file(&body).expect("the body's file");
        assert!(cut.out.contains(" 200"), "{version}: {cut:?}");
        // curl reports the last URL's result, and the first one's on stderr.
        assert!(cut.out.ends_with("hello from hello (us-central1)\n 200"), "{version}: {cut:?}");
        assert!(cut.err.contains("curl: ("), "{version}: {cut:?}");
    }
}

/// COVERAGE.md 24 and 26: connections that come to nothing.
#[test]
fn no_connection_is_a_502() {
    for version in [HTTP1, HTTP2] {
        let sidecar = Sidecar::default();
        let front = sidecar.world.sim.front().clone();
        let refused = |what: &str, error: &str| {
            let ran = sidecar.curl(&[version, "-i", "http://hello/"]);
            assert!(ran.ok().ends_with(" 502"), "{what} {version}: {ran:?}");
            assert!(ran.out.contains(error), "{what} {version}: {ran:?}");
        };
        front.slam(true);
        refused("closed at once", "runsd; error=tls_protocol_error");
        front.slam(false);
        front.wrong_certificate(true);
        refused("a bad certificate", "runsd; error=tls_certificate_error");
        front.wrong_certificate(false);
        front.refuse(true);
        refused("a closed port", "runsd; error=connection_refused");
        front.refuse(false);
        assert_eq!(front.requests(), [], "nothing may be sent before there is a connection");
        sidecar.still_works();
    }
}

/// COVERAGE.md 24 and 26: a handshake that hangs is a 504 after its 10 s.
#[test]
fn a_silent_service_is_a_504() {
    in_time(Duration::from_secs(15), || {
        let sidecar = Sidecar::default();
        sidecar.world.sim.front().silent(true);
        let begun = Instant::now();
        let ran = sidecar.curl(&["http://hello/"]);
        let waited = begun.elapsed();
        assert!(ran.ok().ends_with(" 504"), "{ran:?}");
        assert!(waited.as_secs() >= 9, "{waited:?}");
        sidecar.world.sim.front().silent(false);
        sidecar.still_works();
        [waited]
    });
}

/// COVERAGE.md 22 and 23: connections that died in the pool cost the app nothing,
/// and no request arrives twice.
#[test]
fn a_dead_connection_in_the_pool_is_replaced() {
    for version in [HTTP1, HTTP2] {
        let sidecar = Sidecar::default();
        for round in 0..5 {
            // A service that reads the body before it answers: curl 7.88 fails when
            // it is answered while it still has some to send.
            let url = format!("http://upload/{round}");
            let body = if round % 2 == 0 { "x" } else { "" };
            let mut arguments = vec![version, &url];
            if !body.is_empty() {
                arguments.extend(["-d", body]);
            }
            let ran = sidecar.curl(&arguments);
            assert!(ran.ok().ends_with(" 200"), "{version} {round}: {ran:?}");
            sidecar.world.sim.front().cut();
        }
        assert_eq!(sidecar.targets(), ["/0", "/1", "/2", "/3", "/4"], "{version}");
    }
}

/// COVERAGE.md 24: an answer that comes byte by byte arrives whole.
#[test]
fn a_dripping_service_is_waited_for() {
    let sidecar = Sidecar::new(&["--upstream-http", "1"]);
    for version in [HTTP1, HTTP2] {
        let ran = sidecar.curl(&[version, "http://broken/?how=drip&ms=10"]);
        assert_eq!(ran.ok(), "one by one 200", "{version}");
    }
}

/// COVERAGE.md 23: a request that may have been done is not sent again.
#[test]
fn a_post_is_not_repeated() {
    let sidecar = Sidecar::default();
    assert!(sidecar.curl(&["http://broken/"]).ok().ends_with(" 400"), "it warms the pool");
    sidecar.targets();
    let ran = sidecar.curl(&["-d", "pay", "http://broken/?how=close-after-accept"]);
    assert!(ran.ok().ends_with(" 502"), "{ran:?}");
    assert_eq!(sidecar.targets().len(), 1);
}

/// COVERAGE.md 15: apps that leave end the services' work and leave nothing; that
/// it takes at most a second is shown on a clock that stands still, in the proxy.
#[test]
fn an_app_that_leaves_cancels_its_request() {
    let sidecar = Sidecar::default();
    let before = sidecar.descriptors();
    for _ in 0..20 {
        let mut raw = sidecar.connect();
        raw.send(b"GET /?how=hang HTTP/1.1\r\nHost: broken\r\n\r\n");
        let front = sidecar.world.sim.front();
        let begun = Instant::now();
        while front.requests().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no request came");
            std::thread::yield_now();
        }
        front.clear();
    }
    let begun = Instant::now();
    while sidecar.descriptors() > before + 1 {
        assert!(begun.elapsed() < PATIENCE, "{}", sidecar.descriptors());
        std::thread::yield_now();
    }
}

/// COVERAGE.md 10: an app of HTTP/1.0, whose bodies end with the connection, sees
/// a reset where the body was cut.
#[test]
fn an_old_app_sees_a_reset_where_the_body_was_cut() {
    let sidecar = Sidecar::default();
    let cut = sidecar.say(b"GET /?how=bad-chunk HTTP/1.0\r\nHost: broken\r\n\r\n");
    assert_eq!(cut.end, End::Reset, "{cut:?}");
    let whole = sidecar.say(b"GET /?n=3 HTTP/1.0\r\nHost: stream\r\n\r\n");
    assert_eq!((whole.status(), whole.end), (200, End::Closed), "{whole:?}");
    assert!(whole.is_complete(), "{whole:?}");
}
