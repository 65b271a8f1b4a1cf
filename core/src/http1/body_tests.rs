//! Bodies: whole, in pieces, cut short and malformed.

use super::*;
use crate::http1::RequestHead;

/// Decodes `input` in pieces of `size` bytes.
fn decoded(framing: Framing, input: &[u8], size: usize) -> Result<(Vec<u8>, usize), BodyError> {
    let mut body = Body::new(framing, Nominated::default());
    let (mut held, mut payload, mut left) = (Vec::new(), Vec::new(), input);
    while !body.is_done() {
        let step = body.step(&held)?;
        payload.extend_from_slice(&held[step.skip..step.skip + step.take]);
        held.drain(..step.skip + step.take);
        if step.skip + step.take > 0 {
            continue;
        }
        if left.is_empty() {
            body.end()?;
            continue;
        }
        let (piece, rest) = left.split_at(size.min(left.len()));
        held.extend_from_slice(piece);
        left = rest;
    }
    Ok((payload, held.len() + left.len()))
}

#[test]
fn a_body_in_pieces_is_the_body() {
    let chunked = b"5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\nGrpc-Status: 0\r\n\r\nnext";
    for size in 1..=chunked.len() {
        let (payload, left) = decoded(Framing::Chunked, chunked, size).unwrap();
        assert_eq!(payload, b"hello, world...", "{size}");
        assert_eq!(left, 4, "{size}");
        let (payload, left) = decoded(Framing::Length(5), b"hellonext", size).unwrap();
        assert_eq!((payload.as_slice(), left), (&b"hello"[..], 4));
        let (payload, _) = decoded(Framing::UntilClose, b"all of it", size).unwrap();
        assert_eq!(payload, b"all of it");
    }
    assert!(Body::new(Framing::Length(0), Nominated::default()).is_done());
}

#[test]
fn a_body_cut_short_never_ends_well() {
    let chunked = b"5\r\nhello\r\n0\r\n\r\n";
    for cut in 0..chunked.len() {
        let error = decoded(Framing::Chunked, &chunked[..cut], 3).unwrap_err();
        assert_eq!(error, BodyError::Truncated, "{cut}");
    }
    assert_eq!(decoded(Framing::Length(5), b"hell", 9).unwrap_err(), BodyError::Truncated);
}

#[test]
fn chunks_that_two_parsers_could_read_differently_are_refused() {
    for bad in [
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "\r\n",
        "g\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\n\r\n",
    ] {
        let error = decoded(Framing::Chunked, bad.as_bytes(), 64).unwrap_err();
        assert_ne!(error, BodyError::Truncated, "{bad:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    assert!(decoded(Framing::Chunked, long.as_bytes(), 64).is_err());
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100));
    assert!(decoded(Framing::Chunked, many.as_bytes(), 64).is_err());
}

#[test]
fn what_connection_nominates_ends_here_among_the_trailers_too() {
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: X-Hop, close\r\nConnection: x-two\r\n\
                 Transfer-Encoding: chunked\r\n\r\n";
    let mut request = RequestHead::default();
    request.parse(head, Limits::default()).unwrap().unwrap();
    let mut body = Body::new(request.framing, request.nominated(head));
    let input = b"0\r\nx-hop: 1\r\nX-Sum: 2\r\nX-TWO: 3\r\nx-hope: 4\r\n\r\n";
    let step = body.step(input).unwrap();
    let names: Vec<&[u8]> = step
        .trailers
        .iter()
        .map(|field| field.name.in_buffer(&input[step.trailers_at..]))
        .collect();
    assert_eq!(names, [&b"X-Sum"[..], b"x-hope"]);
    assert!(body.is_done());
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let mut out = Vec::new();
    write_chunk(&mut out, b"hello");
    write_chunk(&mut out, b"");
    write_chunk(&mut out, &[7; 300]);
    write_last_chunk(&mut out, b"A: b\r\n");
    assert!(out.ends_with(b"0\r\nA: b\r\n\r\n"));
    let (payload, left) = decoded(Framing::Chunked, &out, 7).unwrap();
    assert_eq!((payload.len(), left), (305, 0));
}

/// A small generator (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// Mutations of sound input: no panic, and whatever is accepted encodes to a
/// body that decodes to the same payload.
#[test]
fn mutated_bodies_neither_panic_nor_change_in_passing() {
    let sound = b"5;a=b\r\nhello\r\n1f\r\nabcdefghijklmnopqrstuvwxyz01234\r\n0\r\nA: b\r\n\r\n";
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let mut input = sound.to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(input.len());
            match random.below(3) {
                0 => input[at] = b"\r\n;:0 1aF\0\xff"[random.below(11)],
                1 => drop(input.remove(at)),
                _ => input.insert(at, b"\r\n;:0 1aF\0\xff"[random.below(11)]),
            }
        }
        let size = 1 + random.below(9);
        if let Ok((payload, _)) = decoded(Framing::Chunked, &input, size) {
            let mut out = Vec::new();
            write_chunk(&mut out, &payload);
            write_last_chunk(&mut out, b"");
            let (again, left) = decoded(Framing::Chunked, &out, 64).unwrap();
            assert_eq!((again, left), (payload, 0));
        }
    }
}
