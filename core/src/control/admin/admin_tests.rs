//! The endpoint over real sockets: what it answers, whom it refuses, and that
//! nothing a client sends or leaves out does any harm.

use super::*;
use crate::net::Executing;
use crate::telemetry::{Counters, Log};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Longer than a loaded machine takes for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    address: SocketAddr,
    counters: Arc<Counters>,
    done: mpsc::Receiver<&'static str>,
    leave: async_channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    fn new() -> World {
        World::limited(Limits::default())
    }

    fn limited(limits: Limits) -> World {
        let (failed, _heard) = async_channel::bounded(1);
        let counters = Arc::<Counters>::default();
        let executing = Executing::new(Log::discard(), counters.clone(), failed).unwrap();
        let (tell, done) = mpsc::channel();
        let page = |path, text: fn() -> Result<String, String>| Page {
            path,
            help: "a page",
            media: "text/plain",
            text: Box::new(text),
        };
        let pages = vec![
            page("/good", || Ok("good\n".to_owned())),
            page("/bad", || Err("not now".to_owned())),
        ];
        let act = move || -> Result<Deed, String> {
            let tell = tell.clone();
            Ok(Box::new(move || {
                let _ = tell.send("it happened");
            }))
        };
        let actions = vec![
            Action { path: "/act", help: "an action", ready: Box::new(act) },
            Action { path: "/no", help: "none", ready: Box::new(|| Err("never".to_owned())) },
        ];
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        Admin::limited(pages, actions, executing.tasks(), limits).serve(listener);
        let (leave, told) = async_channel::bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            let _ = executing.run(told.recv());
        });
        World { address, counters, done, leave, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that comes in answer to `bytes`.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be refused before all of it is sent.
        let _ = stream.write_all(bytes);
        read(stream)
    }

    fn ask(&self, line: &str, more: &str) -> String {
        self.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.leave.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

#[test]
fn pages_are_shown_and_head_has_no_body() {
    let world = World::new();
    let good = world.ask("GET /good?x=1", "");
    assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
    assert!(good.ends_with("\r\n\r\ngood\n"), "{good}");
    assert!(good.contains("connection: close\r\n"), "{good}");
    let head = world.ask("HEAD /good", "");
    assert_eq!(status(&head), "200");
    assert!(head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let bad = world.ask("GET /bad", "");
    assert_eq!((status(&bad), bad.ends_with("not now\n")), ("503", true), "{bad}");
    let list = world.ask("GET /", "");
    assert!(list.contains("GET  /good") && list.contains("POST /act"), "{list}");
    assert_eq!(status(&world.ask("GET /none", "")), "404");
}

#[test]
fn an_action_happens_once_it_is_posted_by_a_program_on_this_machine() {
    let world = World::new();
    let get = world.ask("GET /act", "");
    assert_eq!((status(&get), get.contains("allow: POST\r\n")), ("405", true), "{get}");
    let post = world.ask("POST /good", "");
    assert_eq!((status(&post), post.contains("allow: GET, HEAD\r\n")), ("405", true), "{post}");
    assert_eq!(status(&world.ask("POST /act", "Origin: http://localhost\r\n")), "403");
    let rebound = b"POST /act HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(status(&world.send(rebound)), "403");
    assert_eq!(status(&world.ask("POST http://evil.example/act", "")), "403");
    assert!(world.done.try_recv().is_err());
    let body = "Content-Length: 5\r\n";
    assert_eq!(
        status(&world.ask("POST /act", body)),
        "200",
        "a body that never comes is not needed"
    );
    assert_eq!(world.done.recv_timeout(PATIENCE), Ok("it happened"));
    let refused = world.ask("POST /no", "");
    assert_eq!((status(&refused), refused.ends_with("never\n")), ("409", true), "{refused}");
}

#[test]
fn garbage_does_no_harm() {
    let world = World::new();
    let host = "Host: localhost\r\n";
    for (bytes, expected) in [
        ("GET /good HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET /good HTTP/1.1\r\n{host}{host}\r\n"), "400"),
        (format!("GET /good HTTP/1.0\r\n{host}\r\n"), "400"),
        (format!("GET good HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("BREW /good HTTP/1.1\r\n{host}\r\n"), "400"),
        (format!("GET /good HTTP/1.1\r\n{host}X: \u{e9}\r\n\r\n"), "400"),
        (format!("GET /good HTTP/1.1\r\n{host}X: \u{1}\r\n\r\n"), "400"),
        (format!("GET /good HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), "400"),
        (format!("GET /good HTTP/1.1\r\n{host}Expect: 100-continue\r\n\r\n"), "417"),
        (format!("GET /good HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(200)), "400"),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(20_000)), "431"),
        ("\0".repeat(10_000), "431"),
        ("\r\n\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1}".to_owned(), ""),
    ] {
        let answer = if expected.is_empty() {
            // A client that leaves in the middle gets no answer.
            let mut stream = world.connect();
            stream.write_all(bytes.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            read(stream)
        } else {
            world.send(bytes.as_bytes())
        };
        assert_eq!(status(&answer), expected, "{bytes:.80?}: {answer}");
    }
    assert_eq!(status(&world.ask("GET /good", "")), "200");
    // Values that the decoder's types do not take would be panics, caught.
    assert_eq!(world.counters.panics.get(), 0);
}

/// Heads made of the decoder's own vocabulary and of noise, the same each time.
#[test]
fn noise_does_no_harm() {
    const PIECES: [&[u8]; 24] = [
        b"GET ",
        b"POST ",
        b"/good",
        b"/act",
        b"//",
        b"http://",
        b"[::1",
        b"%zz",
        b" HTTP/1.1",
        b"\r\n",
        b"\n",
        b"Host: ",
        b"localhost",
        b":99999999999",
        b"Expect: 100-continue\r\n",
        b"\xe9\xff",
        b"\0",
        b"Content-Length: ",
        b"18446744073709551616",
        b"Transfer-Encoding: chunked\r\n",
        b"#?@",
        b"Cookie: a=\x7f\r\n",
        b"\t: \t",
        b"HTTP/9.9",
    ];
    let world = World::new();
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..300 {
        let mut head = b"GET /good HTTP/1.1\r\nHost: localhost\r\n".to_vec();
        for _ in 0..12 {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state >> 32).unwrap() % (head.len() + 1);
            let piece = PIECES[usize::try_from(state % 24).unwrap()];
            head.splice(at..at, piece.iter().copied());
        }
        head.extend_from_slice(b"\r\n\r\n");
        let answer = world.send(&head);
        let sane = ["200", "400", "403", "404", "405", "417"].contains(&status(&answer));
        assert!(sane, "{:?}: {answer}", String::from_utf8_lossy(&head));
    }
    assert_eq!(status(&world.ask("GET /good", "")), "200");
}

#[test]
fn more_connections_than_there_is_room_for_are_closed() {
    let limits = Limits { head: PATIENCE * 10, total: PATIENCE * 10, connections: 4 };
    let world = World::limited(limits);
    // None of these says anything; the first beyond the bound is closed.
    let mut silent: Vec<TcpStream> = (0..limits.connections).map(|_| world.connect()).collect();
    assert_eq!(read(world.connect()), "");
    // One goes, and another has its place.
    drop(silent.pop());
    let begun = std::time::Instant::now();
    while status(&world.ask("GET /good", "")) != "200" {
        assert!(begun.elapsed() < PATIENCE, "the place was never given back");
    }
}

#[test]
fn the_slow_are_closed() {
    let moment = Duration::from_millis(20);
    for (head, total) in [(moment, PATIENCE * 10), (PATIENCE * 10, moment)] {
        let world = World::limited(Limits { head, total, ..Limits::default() });
        let mut dripping = world.connect();
        dripping.write_all(b"GET /good HTTP/1.1\r\n").unwrap();
        assert_eq!(read(dripping), "");
    }
}
