//! What a service sends too much of: whose limit it was, and what is told of it.

use super::http1_apps::{CLOSE, ask};
use super::world::{Heard, World, get};
use crate::net::Tcp;
use crate::proxy::Upstream;
use crate::telemetry::Level;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use h2::Reason;

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Its one byte is `:status: 200`.
const HEAD: &[u8] = &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];
const UNFINISHED_HEAD: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
const EMPTY_CONTINUATION: &[u8] = &[0, 0, 0, 9, 0, 0, 0, 0, 1];
const EMPTY_DATA: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Begins as a service, up to the end of the first request's head.
async fn begin(tcp: &mut Tcp) {
    tcp.write_all(SETTINGS).await.unwrap();
    let mut heard = vec![0; 24];
    tcp.read_exact(&mut heard).await.unwrap();
    while heard.get(3) != Some(&1) {
        let mut frame = [0; 9];
        tcp.read_exact(&mut frame).await.unwrap();
        let length = usize::from(frame[1]) << 8 | usize::from(frame[2]);
        tcp.read_exact(&mut vec![0; length]).await.unwrap();
        heard = frame.to_vec();
    }
}

/// A service that answers the first request of each connection with `head` and
/// then with `flood` again and again.
fn flooding(world: &World, head: &'static [u8], flood: &'static [u8]) {
    world.listen("hello", false, move |mut tcp: Tcp| async move {
        begin(&mut tcp).await;
        let answer = [head, &flood.repeat(1000)].concat();
        let _ = tcp.write_all(&answer).await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
}

/// The lines of the log that tell whose limit it was.
fn told(world: &World) -> Vec<String> {
    let mut said = world.said.lock().unwrap();
    let lines = said.drain(..).filter(|(level, _)| *level == Level::Warn).map(|(_, line)| line);
    lines.filter(|line| line.contains("could exhaust runsd")).collect()
}

#[test]
fn a_head_without_end_is_told_as_our_limit() {
    let world = World::new(Upstream::Http2);
    flooding(&world, UNFINISHED_HEAD, EMPTY_CONTINUATION);
    let new = world.run(world.ask(get("http://hello/"), None));
    let (status, new) = (new.status(), String::from_utf8(new.body).unwrap());
    let old = world.run(ask(&world, &format!("GET / HTTP/1.1\r\n{CLOSE}")));
    assert!(status == 502 && old.starts_with("HTTP/1.1 502 "), "{old}");
    for heard in [new, old] {
        let ours =
            "runsd gave up hello (localhost), which sent more header fields than runsd takes";
        assert!(heard.contains(ours) && heard.contains("must send fewer"), "{heard}");
        assert!(!heard.contains("failed") && !heard.contains("crashed"), "{heard}");
    }
    let told = told(&world);
    assert!(told.iter().all(|line| line.contains("more header fields than")), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_body_of_nothing_is_cut_by_us_and_told_as_our_limit() {
    let world = World::new(Upstream::Http2);
    flooding(&world, HEAD, EMPTY_DATA);
    let error = world.run(async {
        let mut app = world.app().await;
        Heard::all(app.send_request(get("http://hello/"), true).unwrap().0).await.unwrap_err()
    });
    // Not that the app should be calm.
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    let told = told(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["more empty and tiny DATA frames than", "--upstream-http 1"] {
        assert!(told[0].contains(part), "{told:?}");
    }
}

#[test]
fn what_else_the_library_resets_is_the_peers_fault_or_its_heads() {
    let world = World::new(Upstream::Http2);
    // A head without a status.
    flooding(&world, &[0, 0, 0, 1, 4, 0, 0, 0, 1], b"");
    let heard = world.run(world.ask(get("http://hello/"), None));
    let text = String::from_utf8(heard.body).unwrap();
    assert!(text.contains("broke a rule of HTTP/2, or sent a head of more than 256 KiB"), "{text}");
    assert!(text.contains("must send another") && !text.contains("--upstream-http"), "{text}");
    assert_eq!(told(&world), Vec::<String>::new());
}

#[test]
fn a_service_that_closes_under_a_request_is_said_to_have_closed() {
    let world = World::new(Upstream::Http2);
    world.listen("hello", false, |mut tcp: Tcp| async move {
        begin(&mut tcp).await;
        // All that was said must be read, or the end is a reset.
        tcp.close().await.unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let heard = world.run(world.ask(get("http://hello/"), None));
    assert_eq!(heard.status(), 502);
    let text = String::from_utf8(heard.body).unwrap();
    for part in ["failed: it closed the connection", "its instance may have crashed"] {
        assert!(text.contains(part), "{text}");
    }
}
