//! The proxy over real sockets, between a client and a service that say
//! exactly the bytes a test wants.

use super::timing_tests::accepted;
use crate::auth::{IdToken, TokenError, Tokens};
use crate::names::{Directory, Refusal, Target};
use crate::net::{
    BoxFuture, Clock, Dialer, Drain, Executing, Moment, OwnAddresses, Resolve, Roots, SystemClock,
    TcpListener, Tls,
};
use crate::proxy::testing::refusing;
use crate::proxy::{Config, Proxy, Upstream};
use crate::telemetry::{Counters, Exposition, Log};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// One name, `hello`; `panic` breaks the house.
struct One(SocketAddr);

impl Directory for One {
    fn target(&self, host: &str) -> Result<Arc<Target>, Refusal> {
        let name = crate::names::normal(host);
        assert_ne!(name, "panic", "on purpose");
        if name != "hello" {
            return Err(Refusal::Name { host: name, rule: "it is not hello".into() });
        }
        Ok(Arc::new(Target {
            name,
            host: self.0.ip().to_string(),
            port: self.0.port(),
            tls: false,
            authority: "hello.example".into(),
            audience: None,
        }))
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

struct NoTokens;

impl Tokens for NoTokens {
    fn ready(&self, _: &str, _: Moment) -> Option<Arc<IdToken>> {
        None
    }

    fn token<'a>(&'a self, audience: &'a str) -> BoxFuture<'a, Result<Arc<IdToken>, TokenError>> {
        let audience = audience.to_owned();
        Box::pin(async { Err(TokenError { audience, cause: "none here".into(), permanent: true }) })
    }

    fn renewed<'a>(&'a self, _: &'a str, _: &'a IdToken) -> BoxFuture<'a, Option<Arc<IdToken>>> {
        Box::pin(async { None })
    }

    fn warm(&self, _: &str) {}
}

/// A proxy on a thread of its own; it leaves when this goes.
pub(super) struct Running {
    address: SocketAddr,
    counters: Arc<Counters>,
    leave: async_channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What is counted, as Prometheus reads it.
    pub(super) fn metrics(&self) -> String {
        let mut page = Exposition::default();
        self.counters.expose(&mut page);
        page.into_text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leave.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn proxy(service: SocketAddr, forward: bool) -> Running {
    proxy_by(Arc::new(SystemClock), service, forward)
}

/// The same, on a clock of the test's.
pub(super) fn proxy_by(clock: Arc<dyn Clock>, service: SocketAddr, forward: bool) -> Running {
    let counters = Arc::<Counters>::default();
    let (failed, _) = async_channel::bounded(1);
    let executing = Executing::new(Log::discard(), counters.clone(), failed).unwrap();
    let resolve: Resolve = Arc::new(|_| Box::pin(async { Err("no DNS here".to_owned()) }));
    let tls = Tls::new(Roots::default(), Log::discard());
    let dialer = Dialer::new(resolve, Vec::new(), tls, OwnAddresses::default());
    let (leave, told) = async_channel::bounded::<()>(1);
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let drain = Drain::default();
        let config = Config {
            upstream: Upstream::Same,
            forward,
            refuse_pages: forward,
            rewrite_redirects: true,
            access_log: false,
        };
        let (names, tokens) = (Arc::new(One(service)), Arc::new(NoTokens));
        let (tasks, dialer) = (executing.tasks(), Arc::new(dialer));
        let proxy = Proxy::new(
            config,
            tasks,
            names,
            tokens,
            dialer,
            (drain.watch(), Arc::default()),
            clock,
        );
        proxy.serve(vec![listener]);
        let _ = executing.run(told.recv());
    });
    Running { address, counters, leave, thread: Some(thread) }
}

/// A service that takes connections one after the other and runs `script`'s
/// steps on each: bytes to wait for, bytes to say.
pub(super) type Step = (&'static str, &'static [u8]);

pub(super) fn service(connections: Vec<Vec<Step>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for steps in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            for (until, say) in steps {
                heard.push(read_until(&mut stream, until));
                stream.write_all(say).unwrap();
            }
        }
        heard
    });
    (address, thread)
}

/// Reads until the text ends with `until`; an empty one reads to the end.
pub(super) fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while until.is_empty() || !text.ends_with(until.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            Ok(_) if until.is_empty() => break,
            end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).unwrap()
}

pub(super) fn app(proxy: &Running) -> TcpStream {
    let stream = TcpStream::connect(proxy.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

pub(super) const GET: &str = "GET /a HTTP/1.1\r\nHost: hello\r\n\r\n";
const PAY: &str = "POST /a HTTP/1.1\r\nHost: hello\r\nContent-Length: 3\r\n\r\npay";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(super) const HEAD_END: &str = "\r\n\r\n";

#[test]
fn requests_reuse_connections_on_both_sides_and_may_be_pipelined() {
    let (address, service) = service(vec![vec![(HEAD_END, OK), (HEAD_END, OK), (HEAD_END, OK)]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(GET.as_bytes()).unwrap();
    assert!(read_until(&mut app, "ok").ends_with("\r\n\r\nok"));
    app.write_all([GET, GET].concat().as_bytes()).unwrap();
    read_until(&mut app, "ok");
    read_until(&mut app, "ok");
    let heard = service.join().unwrap();
    assert_eq!(heard[0], "GET /a HTTP/1.1\r\nHost: hello.example\r\n\r\n");
    assert_eq!(proxy.counters.upstream_connections.get(), 1);
    assert_eq!(proxy.counters.proxy_requests.get(), 3);
}

#[test]
fn chunks_and_trailers_pass_both_ways_and_extensions_do_not() {
    let answer =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-T: 1\r\n\r\n";
    let (address, service) = service(vec![vec![("X-Up: 1\r\n\r\n", answer)]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(
        b"POST / HTTP/1.1\r\nHost: hello\r\nTransfer-Encoding: chunked\r\n\r\n\
          3;a=b\r\nabc\r\n0\r\nX-Up: 1\r\nContent-Length: 5\r\n\r\n",
    )
    .unwrap();
    let answer = read_until(&mut app, "X-T: 1\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"), "{answer}");
    let heard = service.join().unwrap().remove(0);
    assert!(heard.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 1\r\n\r\n"), "{heard}");
}

#[test]
fn a_dead_pooled_connection_is_retried_and_a_fresh_one_is_not() {
    let (address, service) = service(vec![
        vec![(HEAD_END, OK), (HEAD_END, b"")],
        vec![(HEAD_END, OK)],
        vec![(HEAD_END, b"")],
    ]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    for _ in 0..2 {
        app.write_all(GET.as_bytes()).unwrap();
        read_until(&mut app, "ok");
    }
    // The second connection closed after its answer, the third says nothing.
    app.write_all(GET.as_bytes()).unwrap();
    let refused = read_until(&mut app, "");
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert!(refused.contains("Proxy-Status: runsd; error="), "{refused}");
    assert!(refused.contains("application/problem+json"), "{refused}");
    service.join().unwrap();
}

#[test]
fn what_may_have_been_done_is_not_repeated() {
    let (address, _service) =
        service(vec![vec![(HEAD_END, OK), ("pay", b"")], vec![(HEAD_END, OK)]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(GET.as_bytes()).unwrap();
    read_until(&mut app, "ok");
    app.write_all(PAY.as_bytes()).unwrap();
    let refused = read_until(&mut app, "");
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert_eq!(proxy.counters.upstream_connections.get(), 1);
}

#[test]
fn a_connection_that_has_ended_is_not_taken_for_what_cannot_be_repeated() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    for (asked, until) in [(GET, HEAD_END), (PAY, "pay"), (PAY, "pay")] {
        app.write_all(asked.as_bytes()).unwrap();
        // The one before has ended, in order, once it had answered.
        let mut service = accepted(&listener);
        read_until(&mut service, until);
        service.write_all(OK).unwrap();
        drop(service);
        assert!(read_until(&mut app, "ok").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_body_that_is_cut_short_is_never_a_clean_end() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
    ] {
        let (address, _service) = service(vec![vec![(HEAD_END, answer)]]);
        let proxy = proxy(address, false);
        let mut app = app(&proxy);
        app.write_all(GET.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let end = app.read_to_end(&mut bytes);
        let chunked_end = bytes.ends_with(b"0\r\n\r\n");
        assert!(end.is_err() || !chunked_end, "{end:?}");
        // Neither a clean end nor a connection that only falls silent.
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn an_early_answer_reaches_the_app_while_it_still_sends() {
    let (address, service) = service(vec![vec![
        (HEAD_END, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nea"),
        ("rest", b"ly"),
    ]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(b"POST / HTTP/1.1\r\nHost: hello\r\nContent-Length: 8\r\n\r\n").unwrap();
    read_until(&mut app, "\r\n\r\nea");
    app.write_all(b"the rest").unwrap();
    read_until(&mut app, "ly");
    service.join().unwrap();
}

#[test]
fn interim_answers_pass_and_a_waiting_body_gets_its_word() {
    let (address, service) = service(vec![vec![
        (HEAD_END, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
        ("body", OK),
    ]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(
        b"POST / HTTP/1.1\r\nHost: hello\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    )
    .unwrap();
    let interim = read_until(&mut app, "100 Continue\r\n\r\n");
    assert!(interim.starts_with("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), "{interim}");
    app.write_all(b"body").unwrap();
    read_until(&mut app, "ok");
    service.join().unwrap();
}

#[test]
fn an_upgrade_is_a_tunnel_whose_directions_close_by_themselves() {
    let (address, service) = service(vec![vec![
        (
            HEAD_END,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi",
        ),
        ("", b"bye"),
    ]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    let head = read_until(&mut app, "\r\n\r\nhi");
    assert!(head.contains("Upgrade: echo\r\n"), "{head}");
    app.write_all(b"ping").unwrap();
    app.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_until(&mut app, ""), "bye");
    assert_eq!(service.join().unwrap()[1], "ping");
}

#[test]
fn an_app_that_leaves_takes_the_service_along() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy(listener.local_addr().unwrap(), false);
    let mut app = app(&proxy);
    app.write_all(GET.as_bytes()).unwrap();
    let (mut service, _) = listener.accept().unwrap();
    service.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    read_until(&mut service, HEAD_END);
    drop(app);
    assert_eq!(read_until(&mut service, ""), "");
}

#[test]
fn what_cannot_be_served_is_explained() {
    let (closed, _kept) = refusing();
    let proxy = proxy(closed, false);
    for (request, status, part) in [
        ("GET / HTTP/1.1\r\nHost: other\r\n\r\n", 421, "it is not hello"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
        ("GET / HTTP/1.0\r\n\r\n", 400, "no Host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "more than one Host"),
        ("CONNECT hello:80 HTTP/1.1\r\nHost: hello\r\n\r\n", 405, "forward proxy"),
        ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400, "userinfo"),
        ("GET http://hello/ HTTP/1.1\r\nHost: u@h\r\n\r\n", 400, "userinfo"),
        ("GET http://hello/ HTTP/1.1\r\n\r\n", 400, "no Host"),
        ("GET / HTTP/1.1\r\nHost: hello\r\n\r\n", 502, "hello"),
        ("GET / HTTP/1.1\r\nHost: panic\r\n\r\n", 502, "internal error"),
        ("nonsense\r\n\r\n", 400, "request line"),
        (
            "POST / HTTP/1.1\r\nHost: hello\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "both",
        ),
    ] {
        let mut app = app(&proxy);
        app.write_all(request.as_bytes()).unwrap();
        let answer = read_until(&mut app, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains(part), "{request}: {answer}");
    }
    assert_eq!(proxy.counters.panics.get(), 1);
}

#[test]
fn a_grpc_call_is_refused_in_its_own_form_and_head_has_no_body() {
    let (closed, _kept) = refusing();
    let proxy = proxy(closed, false);
    let mut grpc = app(&proxy);
    grpc.write_all(
        b"POST /x HTTP/1.1\r\nHost: hello\r\nContent-Type: application/grpc-web\r\n\
          Content-Length: 0\r\n\r\n",
    )
    .unwrap();
    let answer = read_until(&mut grpc, "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Grpc-Status: 14\r\n"), "{answer}");
    let answers = ["GET", "HEAD"].map(|method| {
        let mut app = app(&proxy);
        app.write_all(format!("{method} / HTTP/1.1\r\nHost: hello\r\n\r\n").as_bytes()).unwrap();
        read_until(&mut app, "")
    });
    // RFC 9110 §9.3.2: the fields are those of a GET.
    assert_eq!(answers[0].split_inclusive(HEAD_END).next().unwrap(), answers[1]);
}

#[test]
fn an_app_that_has_said_all_still_gets_a_long_answer() {
    let (address, service) =
        service(vec![vec![(HEAD_END, b"HTTP/1.0 200 OK\r\n\r\nbegin"), ("", b"")]]);
    let proxy = proxy(address, false);
    let mut app = app(&proxy);
    app.write_all(b"GET / HTTP/1.0\r\nHost: hello\r\n\r\n").unwrap();
    read_until(&mut app, "begin");
    app.shutdown(Shutdown::Write).unwrap();
    // The service says nothing more and does not end: what the app has got
    // must not look like the whole answer.
    let mut rest = Vec::new();
    assert!(app.read_to_end(&mut rest).is_err(), "a clean end after {rest:?}");
    service.join().unwrap();
}
