//! The authenticating reverse proxy: accept, detect, authorize, forward.
//!
//! It owns app connections, service connections and everything that happens
//! between them. It must not know how names map to URLs, where tokens come from
//! or how DNS is answered: a directory, a token cache and a dialer are handed
//! to it by the engine.

mod authorize;
mod browser;
mod error;
mod explain;
mod forward;
mod h1;
mod h2;
mod limits;
mod note;
mod policy;
mod pool;
mod remedy;
#[cfg(test)]
mod testing;
mod timers;
mod verdict;

use crate::auth::Tokens;
use crate::cloudrun::Traces;
use crate::names::{Directory, Target};
use crate::net::{BoxFuture, Buffer, Clock, Dialer, Tasks, Tcp, TcpListener, Watch};
use std::pin::pin;
use std::sync::Arc;

/// The HTTP version for services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// The one that the app speaks, where the service agrees.
    Same,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How the proxy is to behave.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The HTTP version for services.
    pub upstream: Upstream,
    /// Whether it is a forward proxy too: absolute targets and CONNECT to
    /// hosts that are not services are relayed without a token.
    pub forward: bool,
    /// Whether requests for services are refused where a web page in a browser
    /// is behind them.
    pub refuse_pages: bool,
    /// Whether a service's redirects to itself get the name that the app used.
    pub rewrite_redirects: bool,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// The proxy; cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Shared>);

/// What every connection needs.
struct Shared {
    config: Config,
    tasks: Tasks,
    directory: Arc<dyn Directory>,
    tokens: Arc<dyn Tokens>,
    dialer: Arc<Dialer>,
    h1: pool::H1Pool,
    h2: pool::H2Pool,
    drain: Watch,
    timers: timers::Timers,
    traces: Arc<Traces>,
    refusals: explain::Refusals,
}

impl Proxy {
    /// A proxy that serves nothing yet.
    pub fn new(
        config: Config,
        tasks: Tasks,
        directory: Arc<dyn Directory>,
        tokens: Arc<dyn Tokens>,
        dialer: Arc<Dialer>,
        (drain, traces): (Watch, Arc<Traces>),
        clock: Arc<dyn Clock>,
    ) -> Proxy {
        let timers = timers::Timers::new(clock);
        Proxy(Arc::new(Shared {
            config,
            tasks,
            directory,
            tokens,
            dialer,
            h1: pool::H1Pool::new(timers.clone()),
            h2: pool::H2Pool::new(timers.clone()),
            drain,
            timers,
            traces,
            refusals: explain::Refusals::default(),
        }))
    }

    /// How many connections to services are kept: idle ones of HTTP/1.1, and
    /// those of HTTP/2.
    pub fn kept(&self) -> (usize, usize) {
        (self.0.h1.kept(), self.0.h2.kept())
    }

    /// Serves these listeners until the drain begins. To lose one is fatal.
    pub fn serve(&self, listeners: Vec<TcpListener>) {
        for listener in listeners {
            let this = self.clone();
            self.0.tasks.spawn_vital("proxy listener", async move { this.accept(listener).await });
        }
        let (shared, timers) = (Arc::downgrade(&self.0), self.0.timers.clone());
        self.0.tasks.spawn("connection sweep", async move {
            loop {
                timers.clock().sleep(limits::IDLE / 3).await;
                let Some(shared) = shared.upgrade() else { return };
                shared.h1.sweep();
                shared.h2.sweep();
            }
        });
    }

    async fn accept(&self, listener: TcpListener) -> String {
        let shared = &self.0;
        let handle = |(stream, _)| {
            let shared = shared.clone();
            shared.tasks.counters().proxy_connections.add();
            let tasks = shared.tasks.clone();
            tasks.spawn("proxy connection", async move {
                let _working = shared.drain.token();
                let cut = Tcp::clone(&stream);
                let serving = pin!(detect(&shared, stream));
                let aborting = async {
                    shared.drain.aborting().await;
                    // What is cut must not look like an end.
                    cut.reset_on_close();
                };
                futures_lite::future::or(serving, aborting).await;
            });
        };
        let accepting = shared.tasks.accept_loop(|| listener.accept(), handle);
        let drained = async {
            shared.drain.draining().await;
            None
        };
        let lost = futures_lite::future::or(async { Some(accepting.await) }, drained).await;
        if let Some(cause) = lost {
            return cause;
        }
        drop(listener);
        shared.h1.clear();
        shared.h2.clear();
        // Drained on purpose: the engine is leaving and must not hear of it.
        std::future::pending().await
    }

    /// Prepares for a request that a DNS query has announced: its token, and
    /// one connection.
    pub fn warm(&self, name: &str) {
        let Ok(target) = self.0.directory.target(name) else { return };
        if let Some(audience) = target.audience.as_deref() {
            self.0.tokens.warm(audience);
        }
        if self.0.config.upstream == Upstream::Http2 {
            return self.warm_h2(target);
        }
        let Some(warming) = self.0.h1.begin_warming(&target) else { return };
        let shared = self.0.clone();
        self.0.tasks.spawn("connection warm-up", async move {
            // Whatever becomes of it, its place among those on their way must not stay.
            let opening = pool::connect_h1(&shared, &target);
            let opened = shared.tasks.guard("connection warm-up", opening).await;
            let opened = opened.unwrap_or(Err(error::ProxyError::Internal));
            shared.h1.end_warming(&target, warming, opened);
        });
    }

    fn warm_h2(&self, target: Arc<Target>) {
        if self.0.h2.has(&target) {
            return;
        }
        let shared = self.0.clone();
        self.0.tasks.spawn("connection warm-up", async move {
            if let Ok(pool::Way::Http1(connection)) =
                pool::H2Pool::way(&shared, &target, None).await
            {
                shared.h1.put(&target, connection);
            }
        });
    }
}

/// Tells HTTP/2 with prior knowledge (RFC 9113 §3.4) from HTTP/1 by the first
/// bytes, and serves the connection; once more where CONNECT begins it anew.
async fn detect(shared: &Arc<Shared>, tcp: Tcp) {
    let mut begun = Some((tcp, Buffer::default()));
    while let Some((mut tcp, mut buffer)) = begun.take() {
        let mut late = None;
        match preface(shared, &mut tcp, &mut buffer, &mut late).await {
            // Boxed, so that the many connections of HTTP/1 are small.
            Some(true) => Box::pin(h2::serve(shared, tcp, buffer)).await,
            Some(false) => begun = h1::serve(shared, tcp, buffer, late).await,
            None => {}
        }
    }
}

/// Whether the connection begins as HTTP/2 does; `None` if it ends before that
/// is clear. No request of HTTP/1 can look so (RFC 9113 §3.4). `late` ends when
/// the head takes too long, where its first bytes did not come together.
async fn preface(
    shared: &Arc<Shared>,
    tcp: &mut Tcp,
    buffer: &mut Buffer,
    late: &mut Option<BoxFuture<'static, ()>>,
) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if buffer.is_empty() {
        let drained = async {
            shared.drain.draining().await;
            None
        };
        futures_lite::future::or(fill(tcp, buffer), drained).await?;
    }
    loop {
        let begun = buffer.readable();
        let compared = begun.len().min(PREFACE.len());
        if begun.get(..compared) != PREFACE.get(..compared) {
            return Some(false);
        }
        if compared == PREFACE.len() {
            return Some(true);
        }
        let timer = late.get_or_insert_with(|| shared.timers.patience(limits::HEAD_TIME));
        let filled = async { Some(fill(tcp, buffer).await) };
        let waited = async {
            timer.await;
            None
        };
        let Some(filled) = futures_lite::future::or(filled, waited).await else {
            // Whatever it was to become: the one answer that its sender may read.
            *late = Some(Box::pin(async {}));
            return Some(false);
        };
        filled?;
    }
}

/// Reads once; `None` at the end.
async fn fill(tcp: &mut Tcp, buffer: &mut Buffer) -> Option<()> {
    let most = limits::HEAD_ROOM;
    let read = futures_lite::future::poll_fn(|context| buffer.poll_fill(context, tcp, most)).await;
    read.ok().filter(|count| *count > 0).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl FnOnce(&'static Arc<Shared>, Tcp) -> F) -> usize {
        size_of::<F>()
    }

    /// A thousand WebSockets are a thousand of these.
    #[test]
    fn an_idle_connection_is_small() {
        let size = size_of_future(detect);
        assert!(size <= 4096, "{size} bytes: box what is seldom, pin what is passed on");
    }
}
