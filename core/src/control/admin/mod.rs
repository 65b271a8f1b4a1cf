//! The admin endpoint: health, metrics and settings for this machine.
//!
//! It owns connections, their limits and the rules about who may ask; what the
//! pages say is handed to it by the engine. Requests are decoded and answers
//! encoded by async-h1, which is shown bytes and never a socket: its decoder
//! reads for as long as a client pleases, panics on some values, and starts a
//! thread of a runtime of its own for `Expect`.

mod rules;

use crate::net::{Buffer, Tasks, Tcp, TcpListener, deadline};
use async_h1::server::{Encoder, decode};
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use rules::{Asked, Verdict};
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use surf::http::{Body, Method, Request, Response, StatusCode, headers};

/// How long a client may take to close after its answer.
const LINGER: Duration = Duration::from_secs(1);
/// The largest head, in bytes; async-h1 takes no more either.
const HEAD: usize = 8 * 1024;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How long a head may take.
    head: Duration,
    /// How long the whole exchange may: a reader that stalls gives its place back.
    total: Duration,
    /// How many may be open; beyond it the next is closed at once.
    connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let (head, total) = (Duration::from_secs(5), Duration::from_secs(15));
        Limits { head, total, connections: 32 }
    }
}

/// One page that can be asked for.
pub struct Page {
    /// The path, such as `/metrics`.
    pub path: &'static str,
    /// One sentence, for the list at `/`.
    pub help: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// What it says; `Err` is what is said with 503.
    pub text: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

/// What can be asked to happen.
pub struct Action {
    /// The path, such as `/quitquitquit`.
    pub path: &'static str,
    /// One sentence, for the list at `/`.
    pub help: &'static str,
    /// What to do once the answer has been sent; `Err` is why not, said with 409.
    pub ready: Box<dyn Fn() -> Result<Deed, String> + Send + Sync>,
}

/// What is done once the answer has been sent.
pub type Deed = Box<dyn FnOnce() + Send>;

/// The endpoint; cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    pages: Vec<Page>,
    actions: Vec<Action>,
    tasks: Tasks,
    limits: Limits,
    open: AtomicUsize,
}

/// A place among the connections, given back when it goes.
struct Place(Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admin {
    /// An endpoint with these pages that serves nothing yet.
    pub fn new(pages: Vec<Page>, actions: Vec<Action>, tasks: Tasks) -> Admin {
        Admin::limited(pages, actions, tasks, Limits::default())
    }

    fn limited(pages: Vec<Page>, actions: Vec<Action>, tasks: Tasks, limits: Limits) -> Admin {
        Admin(Arc::new(Inner { pages, actions, tasks, limits, open: AtomicUsize::new(0) }))
    }

    /// Serves this listener for as long as the engine lives, its drain included.
    /// To lose it is fatal.
    pub fn serve(self, listener: TcpListener) {
        let tasks = self.0.tasks.clone();
        tasks.spawn_vital("admin listener", async move {
            let handle = |(stream, _)| self.begin(stream);
            self.0.tasks.accept_loop(|| listener.accept(), handle).await
        });
    }

    fn begin(&self, stream: Tcp) {
        if self.0.open.fetch_add(1, Ordering::Relaxed) >= self.0.limits.connections {
            self.0.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (this, place) = (self.clone(), Place(self.0.clone()));
        self.0.tasks.spawn("admin connection", async move {
            let _place = place;
            // Whatever ends a connection, the client sees it closed.
            let _ = deadline(this.0.limits.total, this.converse(stream)).await;
        });
    }

    /// One request, one answer.
    async fn converse(&self, mut stream: Tcp) -> io::Result<()> {
        let mut buffer = Buffer::default();
        let reading = read_head(&mut stream, &mut buffer);
        let (answer, method, deed) = match deadline(self.0.limits.head, reading).await {
            Err(_) | Ok(Err(Unfit::Gone)) => return Ok(()),
            Ok(Err(Unfit::Head(status, why))) => (refusal(status, why), Method::Get, None),
            Ok(Ok(head)) => self.ask(head).await,
        };
        let sent = send(&mut stream, answer, method).await;
        if let Some(deed) = deed {
            deed();
        }
        // Closing with unread bytes would reset the connection and destroy the
        // answer (RFC 9112 §9.6).
        let rest = async {
            loop {
                buffer.consume(HEAD);
                let filled = poll_fn(|context| buffer.poll_fill(context, &mut stream, HEAD));
                if filled.await.is_ok_and(|count| count > 0) {
                    continue;
                }
                return;
            }
        };
        let _ = deadline(LINGER, rest).await;
        sent
    }

    /// The answer to a request, for which method, and what to do after it.
    async fn ask(&self, head: Vec<u8>) -> (Response, Method, Option<Deed>) {
        let decoding = self.0.tasks.guard("admin request", decode(Shown(Cursor::new(head))));
        let request = match decoding.await {
            Ok(Ok(Some((request, _body)))) => request,
            Ok(Ok(None)) | Ok(Err(_)) | Err(_) => {
                let why = "this is not an HTTP/1.1 request that can be understood";
                return (refusal(StatusCode::BadRequest, why), Method::Get, None);
            }
        };
        let (answer, deed) = self.answer(&request);
        (answer, request.method(), deed)
    }

    fn answer(&self, request: &Request) -> (Response, Option<Deed>) {
        let inner = &self.0;
        let pages = inner.pages.iter().map(|page| page.path).chain(["/"]);
        let actions = inner.actions.iter().map(|action| action.path);
        let (path, asked) = match rules::judge(request, pages, actions) {
            Verdict::Refused(status, why) => return (refusal(status, why), None),
            Verdict::Method(allow) => {
                let mut answer = refusal(StatusCode::MethodNotAllowed, "another method is needed");
                answer.insert_header(headers::ALLOW, allow);
                return (answer, None);
            }
            Verdict::Fit(path, asked) => (path, asked),
        };
        match asked {
            Asked::Page => match inner.pages.iter().find(|page| page.path == path) {
                None => (text(StatusCode::Ok, "text/plain; charset=utf-8", inner.list()), None),
                Some(page) => (shown(page), None),
            },
            Asked::Action => {
                let action = inner.actions.iter().find(|action| action.path == path);
                match action.map(|action| (action.ready)()) {
                    Some(Ok(deed)) => {
                        let said = "as you wish\n".to_owned();
                        (text(StatusCode::Ok, "text/plain; charset=utf-8", said), Some(deed))
                    }
                    Some(Err(why)) => (refusal(StatusCode::Conflict, &why), None),
                    None => (refusal(StatusCode::NotFound, "there is no such page"), None),
                }
            }
        }
    }
}

impl Inner {
    /// What can be asked, for `/`.
    fn list(&self) -> String {
        let mut list = String::from("runsd\n\n");
        for (method, path, help) in (self.pages.iter())
            .map(|page| ("GET ", page.path, page.help))
            .chain(self.actions.iter().map(|action| ("POST", action.path, action.help)))
        {
            list.push_str(&format!("{method} {path:<15} {help}\n"));
        }
        list
    }
}

async fn send(stream: &mut Tcp, answer: Response, method: Method) -> io::Result<()> {
    let mut encoded = Vec::new();
    Encoder::new(answer, method).read_to_end(&mut encoded).await?;
    stream.write_all(&encoded).await?;
    stream.close().await
}

fn shown(page: &Page) -> Response {
    match (page.text)() {
        Ok(said) => text(StatusCode::Ok, page.media, said),
        Err(why) => refusal(StatusCode::ServiceUnavailable, &why),
    }
}

fn refusal(status: StatusCode, why: &str) -> Response {
    text(status, "text/plain; charset=utf-8", format!("{why}\n"))
}

fn text(status: StatusCode, media: &str, text: String) -> Response {
    let mut response = Response::new(status);
    response.set_body(Body::from_string(text));
    for (name, value) in [
        ("content-type", media),
        ("connection", "close"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        response.insert_header(name, value);
    }
    response
}

/// Why there is no head to decode.
#[derive(Debug)]
enum Unfit {
    /// There is nobody to tell.
    Gone,
    Head(StatusCode, &'static str),
}

/// Reads up to the end of a head, and takes only what async-h1 can be shown.
async fn read_head(stream: &mut Tcp, buffer: &mut Buffer) -> Result<Vec<u8>, Unfit> {
    loop {
        let begun = buffer.readable();
        if let Some(at) = memchr::memmem::find(begun, b"\r\n\r\n") {
            let head = begun.get(..at + 4).unwrap_or_default().to_vec();
            buffer.consume(at + 4);
            return check(head);
        }
        if buffer.is_full(HEAD) {
            let status = StatusCode::RequestHeaderFieldsTooLarge;
            return Err(Unfit::Head(status, "the head is too large"));
        }
        let filled = poll_fn(|context| buffer.poll_fill(context, stream, HEAD)).await;
        if !filled.is_ok_and(|count| count > 0) {
            return Err(Unfit::Gone);
        }
    }
}

fn check(head: Vec<u8>) -> Result<Vec<u8>, Unfit> {
    let text = std::str::from_utf8(&head).unwrap_or_default();
    if !text.is_ascii() || text.is_empty() {
        return Err(Unfit::Head(StatusCode::BadRequest, "the head is not ASCII"));
    }
    let begins = |line: &str, name: &str| {
        line.split_once(':').is_some_and(|(known, _)| known.trim().eq_ignore_ascii_case(name))
    };
    if text.lines().skip(1).any(|line| begins(line, "expect")) {
        return Err(Unfit::Head(StatusCode::ExpectationFailed, "no expectation is met here"));
    }
    if text.lines().skip(1).filter(|line| begins(line, "host")).count() != 1 {
        return Err(Unfit::Head(StatusCode::BadRequest, "there must be one Host"));
    }
    Ok(head)
}

/// The head, as async-h1 wants to see it: as a stream that ends with it, and
/// takes whatever is written to it.
#[derive(Clone)]
struct Shown(Cursor<Vec<u8>>);

impl AsyncRead for Shown {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(&mut self.0, into))
    }
}

impl AsyncWrite for Shown {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod admin_tests;
