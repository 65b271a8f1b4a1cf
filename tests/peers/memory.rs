//! Bounded memory: whatever the peers' pace, what runsd holds does not grow
//! with what passes.

#![allow(clippy::print_stdout, reason = "the figures, for whoever asks for them")]

use crate::apps;
use crate::sidecar::{PATIENCE, Raw, Sidecar};
use std::io::Read;
use std::time::Instant;

const MEGABYTE: u64 = 1 << 20;
/// The body of the tests, in bytes.
const LARGE: u64 = 256 * MEGABYTE;
/// What a large body may cost, in KiB.
const ROOM: u64 = 10 * 1024;
/// What 1,000 idle WebSockets may cost, in KiB.
const SOCKETS_ROOM: u64 = 20 * 1024;

/// The resident memory once a first request has been answered, in KiB.
fn idle(sidecar: &Sidecar) -> u64 {
    sidecar.still_works();
    sidecar.kilobytes("VmRSS:")
}

/// The most that `work` made it take beyond `idle`, in KiB.
fn grows_by(sidecar: &Sidecar, work: impl FnOnce()) -> u64 {
    let idle = idle(sidecar);
    sidecar.forget_peak();
    work();
    let most = sidecar.kilobytes("VmHWM:").saturating_sub(idle);
    println!("idle {idle} KiB, at most {most} KiB more");
    most
}

/// Waits until nothing moves any more: the peers' buffers and ours are full.
fn settled(count: impl Fn() -> u64) {
    let (mut last, mut same) = (u64::MAX, 0);
    while same < 10 {
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        // The kernel's own timers of a stalled connection are of this order.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Bytes that the kernel holds for an app's connection, as a sign of movement.
fn waiting(raw: &Raw) -> u64 {
    let mut bytes = vec![0; 8 << 20];
    raw.tcp.peek(&mut bytes).unwrap_or(0) as u64
}

fn read_to_end(raw: &mut Raw) -> u64 {
    let (mut bytes, mut sum) = (vec![0; 1 << 18], 0);
    loop {
        match raw.tcp.read(&mut bytes).expect("more, or the end") {
            0 => return sum,
            count => sum += count as u64,
        }
    }
}

/// COVERAGE.md 19 and 24: a reader that stalls holds the service up, not the
/// proxy's memory; then everything arrives.
#[test]
fn a_stalled_reader_costs_nothing() {
    let sidecar = Sidecar::default();
    for form in ["", "&chunked"] {
        let most = grows_by(&sidecar, || {
            let mut raw = sidecar.connect();
            raw.send(
                format!(
                    "GET /?bytes={LARGE}{form} HTTP/1.1\r\nHost: download\r\n\
                     Connection: close\r\n\r\n"
                )
                .as_bytes(),
            );
            settled(|| waiting(&raw));
            assert!(read_to_end(&mut raw) > LARGE);
        });
        assert!(most < ROOM, "{form}: {most} KiB");
    }
}

/// COVERAGE.md 19 and 24: a service that stalls holds the app up, not the proxy's
/// memory; then everything arrives.
#[test]
fn a_stalled_service_costs_nothing() {
    let sidecar = Sidecar::default();
    for chunked in [false, true] {
        let most = grows_by(&sidecar, || {
            let mut raw = sidecar.connect();
            let framing = if chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {LARGE}")
            };
            raw.send(
                format!(
                    "POST /?gate=up HTTP/1.1\r\nHost: upload\r\n{framing}\r\n\
                     Connection: close\r\n\r\n"
                )
                .as_bytes(),
            );
            let mut sender = Raw { tcp: raw.tcp.try_clone().expect("a second handle") };
            let sending = std::thread::spawn(move || {
                let piece = vec![0; MEGABYTE as usize];
                for _ in 0..LARGE / MEGABYTE {
                    if chunked {
                        sender.send(b"100000\r\n");
                    }
                    sender.send(&piece);
                    if chunked {
                        sender.send(b"\r\n");
                    }
                }
                if chunked {
                    sender.send(b"0\r\n\r\n");
                }
            });
            settled(|| sidecar.kilobytes("VmRSS:"));
            assert!(!sending.is_finished(), "nothing held the app up");
            sidecar.world.sim.front().open("up");
            sending.join().expect("everything was sent");
            let said = raw.rest();
            assert!(said.text().contains(&format!("\"bytes\":{LARGE}")), "{said:?}");
        });
        assert!(most < ROOM, "chunked {chunked}: {most} KiB");
    }
}

/// The same over HTTP/2 on both sides, in an app that counts windows itself; it
/// prints what it did.
fn over_http2(what: &str, room: u64) {
    let sidecar = Sidecar::default();
    let run = |what: &str, count: u64| {
        let mut command = apps::python("http2_app.py");
        command.extend([what.to_owned(), count.to_string()]);
        let mut app = sidecar.world.sim.command(&command[0]);
        let ran = runsd_tests::start(app.args(&command[1..])).wait();
        assert_eq!(ran.ok(), "done\n", "{what}");
    };
    run(what, 1);
    let descriptors = sidecar.descriptors();
    let count = if what == "cancelled" { 2000 } else { LARGE };
    let most = grows_by(&sidecar, || run(what, count));
    assert!(most < room, "{what}: {most} KiB");
    let begun = Instant::now();
    // Connections that are kept for the next request, one an origin, may stay.
    while sidecar.descriptors() > descriptors + 4 {
        assert!(begun.elapsed() < PATIENCE, "{what}: {} descriptors", sidecar.descriptors());
        std::thread::yield_now();
    }
}

/// COVERAGE.md 19: a stream whose reader stalls is held back by its window, and
/// its siblings go on.
#[test]
fn a_stalled_reader_of_a_stream_costs_nothing() {
    over_http2("stalled-reader", ROOM);
}

/// COVERAGE.md 19: a stream whose service stalls holds the app's window shut.
#[test]
fn a_stalled_service_of_a_stream_costs_nothing() {
    over_http2("stalled-service", ROOM);
}

/// COVERAGE.md 15 and 21: 2,000 streams that the app gives up leave nothing.
#[test]
fn cancelled_streams_leave_nothing() {
    over_http2("cancelled", ROOM / 2);
}

/// COVERAGE.md 19: a connection that an app keeps after bulk keeps no room for it.
#[test]
fn an_idle_connection_costs_no_more_after_bulk() {
    let sidecar = Sidecar::default();
    let mut command = apps::python("http2_app.py");
    command.extend(["idle".to_owned(), sidecar.pid().to_string()]);
    let mut app = sidecar.world.sim.command(&command[0]);
    let ran = runsd_tests::start(app.args(&command[1..])).wait();
    assert_eq!(ran.ok(), "done\n");
    println!("{}", ran.err);
}

/// The bar of tests/bench/README.md: 1,000 idle WebSockets take at most 20 MB; and they are
/// still alive afterwards.
#[test]
fn a_thousand_idle_websockets_are_cheap() {
    let sidecar = Sidecar::default();
    let before = idle(&sidecar);
    let descriptors = sidecar.descriptors();
    let mut sockets: Vec<Raw> = (0..1000)
        .map(|_| {
            let mut raw = sidecar.connect();
            raw.send(
                b"GET / HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
            assert!(raw.head().starts_with("HTTP/1.1 101 "));
            raw
        })
        .collect();
    let most = sidecar.kilobytes("VmRSS:").saturating_sub(before);
    println!("idle {before} KiB, {most} KiB more");
    assert!(most < SOCKETS_ROOM, "{most} KiB");
    for raw in &mut sockets {
        raw.send(b"\x81\x82\0\0\0\0hi");
        assert_eq!(raw.take(4), b"\x81\x02hi");
    }
    drop(sockets);
    let begun = Instant::now();
    while sidecar.descriptors() > descriptors + 2 {
        assert!(begun.elapsed() < PATIENCE, "{} descriptors", sidecar.descriptors());
        std::thread::yield_now();
    }
}
