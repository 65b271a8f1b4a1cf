//! Floods over HTTP/2 from an app that reads nothing: each is ended or held up,
//! and costs the proxy no more memory than its work does.

use crate::sidecar::{Raw, Sidecar};
use std::io::{ErrorKind, Write};
use std::time::Duration;

/// What a flood may cost, in KiB: a header list and the windows of a connection.
const ROOM: u64 = 4 * 1024;
/// Long enough for a busy machine to take what it wants to take.
const HELD: Duration = Duration::from_secs(3);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The proxy ended the connection.
    Ended,
    /// The proxy reads no more of it until its own answers are read.
    HeldUp,
    /// All of it was taken.
    Taken,
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's payload");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request's field block, of literals that no table keeps (RFC 7541 §6.2.2).
fn fields(method: &str, service: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in
        [(":method", method), (":scheme", "http"), (":authority", service), (":path", "/")]
    {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    block
}

fn stream(number: usize) -> u32 {
    u32::try_from(2 * number + 1).expect("a stream's number")
}

/// Sends a beginning, and then `count` pieces for as long as they are taken.
fn flood(raw: &mut Raw, begin: &[u8], count: usize, piece: impl Fn(usize) -> Vec<u8>) -> Verdict {
    raw.tcp.set_write_timeout(Some(HELD)).expect("a timeout");
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..], begin];
    raw.send(&preface.concat());
    // Many frames to a write: a flood is fast.
    const TOGETHER: usize = 200;
    for first in (0..count).step_by(TOGETHER) {
        let last = count.min(first + TOGETHER);
        let bytes: Vec<u8> = (first..last).flat_map(&piece).collect();
        if let Err(error) = raw.tcp.write_all(&bytes) {
            let held = [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
            return if held { Verdict::HeldUp } else { Verdict::Ended };
        }
    }
    Verdict::Taken
}

fn is_bounded(
    what: &str,
    allowed: &[Verdict],
    begin: &[u8],
    count: usize,
    piece: impl Fn(usize) -> Vec<u8>,
) {
    let sidecar = Sidecar::default();
    sidecar.still_works();
    let idle = sidecar.kilobytes("VmRSS:");
    sidecar.forget_peak();
    let mut raw = sidecar.connect();
    let verdict = flood(&mut raw, begin, count, piece);
    // Another app is served all the while.
    sidecar.still_works();
    let most = sidecar.kilobytes("VmHWM:").saturating_sub(idle);
    assert!(allowed.contains(&verdict), "{what}: {verdict:?}, {most} KiB");
    assert!(most < ROOM, "{what}: {verdict:?}, {most} KiB");
}

/// COVERAGE.md 21: a head that never ends, in large pieces and in empty ones.
#[test]
fn a_head_without_end_ends_the_connection() {
    let begin = frame(HEADERS, END_STREAM, 1, &fields("GET", "hello"));
    // A literal field of 1,000 bytes, of which many make a list of megabytes.
    let field = [&[0, 1, b'a', 0x7F, 0xE9, 0x06][..], &[b'x'; 1000]].concat();
    is_bounded("large", &[Verdict::Ended], &begin, 20_000, |_| frame(CONTINUATION, 0, 1, &field));
    is_bounded("empty", &[Verdict::Ended], &begin, 1_000_000, |_| frame(CONTINUATION, 0, 1, &[]));
}

/// COVERAGE.md 21: heads that are small on the wire and large when they are
/// unpacked: one entry of the table, referred to again and again.
#[test]
fn header_bombs_do_not_unpack() {
    let mut block = fields("GET", "hello");
    // Literal with indexing, then a thousand references to it (RFC 7541 §6.1).
    block.extend([0x40, 1, b'a', 0x7F, 0xA1, 0x1E]);
    block.extend([b'x'; 4000]);
    block.extend([0x80 | 62; 10_000]);
    let all = [Verdict::Ended, Verdict::HeldUp, Verdict::Taken];
    is_bounded("bombs", &all, &[], 500, |number| {
        frame(HEADERS, END_STREAM | END_HEADERS, stream(number), &block)
    });
}

/// COVERAGE.md 21: frames that ask for an answer each are held up by answers that
/// nobody reads.
#[test]
fn pings_and_settings_are_not_answered_without_end() {
    let bounded = [Verdict::Ended, Verdict::HeldUp];
    is_bounded("pings", &bounded, &[], 5_000_000, |_| frame(PING, 0, 0, &[7; 8]));
    is_bounded("settings", &bounded, &[], 5_000_000, |_| {
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])
    });
}

/// COVERAGE.md 21: frames that carry nothing are dropped as they come.
#[test]
fn empty_frames_take_no_room() {
    let begin = frame(HEADERS, END_HEADERS, 1, &fields("POST", "upload"));
    let all = [Verdict::Ended, Verdict::HeldUp, Verdict::Taken];
    is_bounded("data", &all, &begin, 1_000_000, |_| frame(DATA, 0, 1, &[]));
    is_bounded("windows", &all, &begin, 1_000_000, |_| {
        frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())
    });
}

/// COVERAGE.md 21: requests that are cancelled as they are made.
#[test]
fn rapid_resets_end_the_connection() {
    is_bounded("resets", &[Verdict::Ended], &[], 100_000, |number| {
        let cancel = 8_u32.to_be_bytes();
        let head =
            frame(HEADERS, END_STREAM | END_HEADERS, stream(number), &fields("GET", "hello"));
        [head, frame(RST_STREAM, 0, stream(number), &cancel)].concat()
    });
}
