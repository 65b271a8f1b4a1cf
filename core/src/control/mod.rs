//! The control plane: an HTTP client, surf over async-h1 on our own dialer, and
//! the admin endpoint.
//!
//! It owns calls whose rate is low and whose meaning is an API's: metadata,
//! token exchange. It must not know which APIs; `cloudrun` does. Neither crate
//! gets a runtime of its own: the stream is ours, and so is the time limit.

mod admin;
mod date;
mod head;

pub use admin::{Action, Admin, Deed, Page};

use crate::net::{Alpn, BoxFuture, Dialer, Secure, deadline};
use async_h1::client::{Encoder, decode};
use futures_lite::AsyncReadExt;
use futures_lite::io::{self, Cursor};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use surf::http::{Method, Request, Response, Url};

/// No API that runsd calls answers with more, in bytes.
const REPLY_LIMIT: u64 = 1 << 20;

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(surf::Client);

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body, as text; bytes that are not UTF-8 are replaced.
    pub body: String,
    headers: Vec<(String, String)>,
}

impl Reply {
    /// A reply as a test needs it.
    #[cfg(test)]
    pub fn new(status: u16, body: String) -> Reply {
        Reply { status, body, headers: Vec::new() }
    }

    /// When it was sent by the server's clock, in whole seconds, if it says so.
    pub fn date(&self) -> Option<SystemTime> {
        date::read(self.header("date")?)
    }

    /// The value of a header field; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The URL is not one.
    Url(String),
    /// No connection, a broken one, or an answer that is not HTTP.
    Failed(String),
    /// No answer in time.
    Timeout(Duration),
    /// An answer in HTTP/2, which this client does not speak.
    OnlyHttp2,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Url(url) => write!(f, "{url:?} is not a URL"),
            CallError::Failed(cause) => f.write_str(cause),
            CallError::Timeout(time) => write!(f, "no answer within {} s", time.as_secs_f32()),
            CallError::OnlyHttp2 => head::OnlyHttp2.fmt(f),
        }
    }
}

impl Client {
    /// A client that connects with `dialer`.
    pub fn new(dialer: Arc<Dialer>) -> Client {
        Client(surf::Client::with_http_client(Transport(dialer)))
    }

    /// A GET with these header fields, connection and body included within `limit`.
    ///
    /// # Errors
    /// Every [`CallError`]; a status of any kind is an answer.
    pub fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> BoxFuture<'_, Result<Reply, CallError>> {
        self.call(request(Method::Get, url, headers), limit)
    }

    /// A POST of `body`, whose media type stands first; else as [`Client::get`].
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        (media, body): (&str, String),
        limit: Duration,
    ) -> BoxFuture<'_, Result<Reply, CallError>> {
        let request = request(Method::Post, url, headers).map(|mut request| {
            request.set_body(body);
            request.set_header("Content-Type", media);
            request
        });
        self.call(request, limit)
    }

    /// In a box: calls are rare, and every caller would be built around a copy.
    fn call(
        &self,
        request: Result<surf::Request, CallError>,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            match deadline(limit, self.exchange(request?)).await {
                Ok(reply) => reply.map_err(|error| match error.downcast_ref::<io::Error>() {
                    Some(cause) if is_only_http2(cause) => CallError::OnlyHttp2,
                    _ => CallError::Failed(error.to_string()),
                }),
                Err(_) => Err(CallError::Timeout(limit)),
            }
        })
    }

    async fn exchange(&self, request: surf::Request) -> surf::Result<Reply> {
        let mut response = self.0.send(request).await?;
        let headers = response
            .iter()
            .map(|(name, values)| (name.as_str().to_ascii_lowercase(), values.as_str().to_owned()))
            .collect();
        let mut body = Vec::new();
        let read = (&mut response).take(REPLY_LIMIT + 1).read_to_end(&mut body).await?;
        if read as u64 > REPLY_LIMIT {
            return Err(surf::Error::from_str(502, "the answer is over 1 MiB"));
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let nameless = response.ext::<Nameless>().map(|status| status.0);
        let status = nameless.unwrap_or_else(|| response.status().into());
        Ok(Reply { status, body, headers })
    }
}

fn is_only_http2(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<head::OnlyHttp2>())
}

/// A request without a body.
fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
) -> Result<surf::Request, CallError> {
    let parsed = Url::parse(url).map_err(|_| CallError::Url(url.to_owned()))?;
    let mut request = surf::Request::new(method, parsed);
    for (name, value) in headers {
        request.set_header(*name, *value);
    }
    Ok(request)
}

/// A status that the library has no name for.
struct Nameless(u16);

/// One connection per call: control calls are too rare to keep any open.
struct Transport(Arc<Dialer>);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response, surf::Error>> + Send + 'a>>;

impl surf::HttpClient for Transport {
    fn send<'life, 'sent>(&'life self, request: Request) -> Sending<'sent>
    where
        'life: 'sent,
        Self: 'sent,
    {
        Box::pin(async move {
            let url = request.url();
            let failed = |text: String| surf::Error::from_str(502, text);
            let host = url.host_str().ok_or_else(|| failed("the URL has no host".to_owned()))?;
            let port = url.port_or_known_default().unwrap_or(80);
            let secure =
                if url.scheme() == "https" { Secure::Tls(Alpn::Http1) } else { Secure::No };
            let dialled = self.0.dial(host, port, secure).await;
            let connected = dialled.map_err(|error| failed(error.to_string()))?;
            let mut stream = connected.stream;
            io::copy(Encoder::new(request), &mut stream).await?;
            let begun = head::read(&mut stream, REPLY_LIMIT).await?;
            let mut response = decode(Cursor::new(begun.bytes).chain(stream)).await?;
            if !begun.dated {
                // The library puts our own time there.
                response.remove_header("date");
            }
            if let Some(status) = begun.status {
                response.ext_mut().insert(Nameless(status));
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{OwnAddresses, Resolve, Roots, Tls, block_on};
    use crate::telemetry::Log;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn client() -> Client {
        let resolve: Resolve = Arc::new(|_| Box::pin(async { Err("no DNS here".to_owned()) }));
        let tls = Tls::new(Roots::default(), Log::discard());
        Client::new(Arc::new(Dialer::new(resolve, Vec::new(), tls, OwnAddresses::default())))
    }

    /// A server that answers one request with `answer` and tells what it got: the
    /// head, and of a body as much as its length says.
    fn server(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/path?q=1", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let mut text = String::from_utf8(head).unwrap();
            let lower = text.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(answer).unwrap();
            text.push_str(&String::from_utf8(body).unwrap());
            text
        });
        (url, thread)
    }

    #[test]
    fn a_call_carries_its_headers_and_yields_status_headers_and_body() {
        let (url, server) =
            server(b"HTTP/1.1 403 Forbidden\r\nX-Kind: a\r\ncontent-length: 4\r\n\r\nnope");
        let call = client();
        let reply =
            block_on(call.get(&url, &[("X-Asked", "yes")], Duration::from_secs(30))).unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (403, "nope"));
        assert_eq!(reply.header("x-kind"), Some("a"));
        let head = server.join().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /path?q=1 http/1.1\r\n"), "{head}");
        assert!(head.contains("x-asked: yes\r\n"), "{head}");
    }

    #[test]
    fn a_body_is_posted_with_its_type_and_length() {
        let (url, server) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let body = ("application/x-www-form-urlencoded", "a=b&c=d".to_owned());
        let call = client();
        let reply = block_on(call.post(&url, &[("X-Asked", "yes")], body, Duration::from_secs(30)))
            .unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /path?q=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\na=b&c=d"), "{request}");
        let lower = request.to_ascii_lowercase();
        assert!(lower.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
        assert!(lower.contains("content-length: 7\r\n"), "{request}");
    }

    #[test]
    fn a_call_starts_no_threads() {
        let (url, _server) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let call = client();
        block_on(call.get(&url, &[], Duration::from_secs(30))).unwrap();
        let names: Vec<String> = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .collect();
        for name in &names {
            assert!(!name.starts_with("async-std") && !name.starts_with("blocking"), "{names:?}");
        }
    }

    #[test]
    fn what_the_library_does_not_take_is_taken_all_the_same() {
        let get = |answer: &'static [u8]| {
            let (url, _server) = server(answer);
            block_on(client().get(&url, &[], Duration::from_secs(5)))
        };
        let reply = get(b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\nthe token").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, "the token"));
        assert_eq!(reply.date(), None, "our own time is not the server's");
        let dated = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
        assert_eq!(get(dated).unwrap().date(), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(get(b"HTTP/1.1 464 Unknown\r\n\r\n").unwrap().status, 464);
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
        assert_eq!(get(settings).unwrap_err(), CallError::OnlyHttp2);
    }

    #[test]
    fn silence_and_refusal_are_told_apart() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let limit = Duration::from_millis(20);
        let error = block_on(client().get(&url, &[], limit)).unwrap_err();
        assert_eq!(error, CallError::Timeout(limit));
        drop(silent);
        let error = block_on(client().get(&url, &[], Duration::from_secs(30))).unwrap_err();
        assert!(matches!(&error, CallError::Failed(text) if text.contains("refused")), "{error}");
    }
}
