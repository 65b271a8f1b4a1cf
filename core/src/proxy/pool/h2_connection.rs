//! One HTTP/2 connection to a service: its settings, the task that drives it,
//! and the leases of its streams.

use crate::net::{Clock, Stream, Tasks, Tcp, TokioIo};
use crate::proxy::limits::IDLE;
use crate::proxy::timers::Timers;
use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_lite::Stream as _;
use futures_lite::future::poll_fn;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Request, Uri};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

/// What a service may send on one stream before its app has read it, which is
/// the memory that a stalled app costs. Most responses fit.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same once a stream has carried [`BULK`]: at 20 ms of round trip, 25 MB/s
/// on each stream. For the rest of the connection's life, because windows that
/// shrink are a corner where peers differ.
const WIDE_WINDOW: u32 = 512 * 1024;
/// From here on a body is large enough to need the wide window, in bytes.
pub(in crate::proxy) const BULK: u64 = 256 * 1024;
/// As many wide windows as Cloud Run allows streams, so that stalled streams can
/// never starve the others.
const CONNECTION_WINDOW: u32 = 100 * WIDE_WINDOW;
/// The memory that the bookkeeping of small DATA frames may take before the
/// library gives up the connection, in bytes; a frame costs up to 256. The
/// library's own figure kills a connection whose messages are tiny, and it
/// never gives back what came for a stream that had just been cancelled. Ours
/// ends a flood, and a million such frames beside none of ordinary size.
pub(in crate::proxy) const SMALL_FRAMES: usize = 256 * 1024 * 1024;
/// The largest frame we take: fewer frames for large bodies, within what a TLS
/// record makes of them.
const FRAME: u32 = 64 * 1024;
/// The largest header list we take, trailers included: gRPC puts the details of
/// an error there.
const HEADER_LIST: u32 = 256 * 1024;
/// What one stream may have waiting to be written.
const SEND_BUFFER: usize = 128 * 1024;
/// What a peer is taken to allow until its settings come (RFC 9113 §6.5.2
/// recommends no less); Cloud Run allows the same.
pub(super) const STREAMS: usize = 100;
/// Between pings while streams are open: middleboxes forget a silent
/// connection after minutes, and its streams would hang for ever.
const PING: Duration = Duration::from_secs(30);
/// For the answer to a ping.
const PONG: Duration = Duration::from_secs(20);
/// A timer that fires later than this was not ours to run: the instance was
/// throttled, and the peer's answer may be waiting in the socket.
const LATE: Duration = Duration::from_secs(5);
/// After this long without a stream, a connection is looked at before use.
const QUIET: Duration = Duration::from_secs(1);

/// A connection that is shared by streams.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    /// What every request on it is for.
    origin: (Scheme, Authority),
    tcp: Tcp,
    status: Arc<Status>,
    used: AtomicBool,
    /// Full once the driver has been asked for wide windows.
    widen: Sender<()>,
}

/// What its driver shares with it. The driver must not hold the connection
/// itself: that it is no longer held anywhere is what ends it.
#[derive(Debug)]
struct Status {
    closed: AtomicBool,
    streams: Arc<AtomicUsize>,
    idle_since: Mutex<SystemTime>,
    timers: Timers,
}

/// The right to one stream; dropping it gives the place back.
#[derive(Debug)]
pub(in crate::proxy) struct Lease(Arc<Connection>);

impl Status {
    fn touch(&self) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = self.timers.wall();
    }

    /// By the wall clock; a clock that was set back makes it old.
    fn idle(&self) -> Duration {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.timers.wall().duration_since(since).unwrap_or(Duration::MAX)
    }
}

impl Connection {
    /// Speaks the preface on `stream`, which leads to `origin`, and starts the
    /// task that drives it.
    ///
    /// # Errors
    /// What the library says.
    pub(super) async fn open(
        stream: Stream,
        origin: (Scheme, Authority),
        tasks: &Tasks,
        timers: &Timers,
    ) -> Result<Arc<Connection>, h2::Error> {
        let (tcp, streams) = (stream.tcp().clone(), Arc::<AtomicUsize>::default());
        let (sender, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_header_list_size(HEADER_LIST)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS)
            .data_frame_budget(SMALL_FRAMES)
            .handshake::<_, Bytes>(TokioIo::new(stream).used_by(streams.clone()))
            .await?;
        let status = Arc::new(Status {
            closed: AtomicBool::new(false),
            streams,
            idle_since: Mutex::new(timers.wall()),
            timers: timers.clone(),
        });
        let pings = connection.ping_pong();
        let driven = status.clone();
        let (widen, wanted) = async_channel::bounded(1);
        tasks.spawn("HTTP/2 connection to a service", async move {
            // However it ends, nobody may take a new stream of it.
            let _closing = Closing(driven.clone());
            let driving = drive(connection, wanted);
            futures_lite::future::or(driving, keep_alive(pings, &driven, driven.timers.clock()))
                .await;
        });
        Ok(Arc::new(Connection {
            sender,
            origin,
            tcp,
            status,
            used: AtomicBool::new(false),
            widen,
        }))
    }

    /// The right to a stream, if the peer allows one more.
    pub(super) fn lease(self: &Arc<Connection>) -> Option<Lease> {
        let most = self.most_streams();
        let free = |streams| if streams < most { Some(streams + 1) } else { None };
        let streams = &self.status.streams;
        let before = streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        let lease = Lease(self.clone());
        let stale = || self.status.idle() > QUIET && self.tcp.has_unread();
        if before == 0 && stale() {
            // The end, or a GOAWAY, that the driver has not had time to read.
            self.status.closed.store(true, Ordering::Relaxed);
            return None;
        }
        Some(lease)
    }

    /// How many streams the peer allows, as far as is known.
    pub(super) fn most_streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Whether it may be used on: neither ended nor idle for too long.
    pub(super) fn is_good(&self) -> bool {
        let busy = self.status.streams.load(Ordering::Relaxed) > 0;
        !self.status.closed.load(Ordering::Relaxed) && (busy || self.status.idle() <= IDLE)
    }
}

impl Lease {
    /// Opens the stream: its response, and what its body goes to.
    ///
    /// # Errors
    /// If the connection takes no more streams; nothing has been sent then.
    pub(in crate::proxy) fn send(
        &self,
        request: Request<()>,
        end_of_stream: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        // A copy that has opened no stream yet never has to wait for one.
        let opened = self.0.sender.clone().send_request(request, end_of_stream);
        if opened.is_err() {
            self.retire();
        }
        opened
    }

    /// `path` at the connection's origin.
    pub(in crate::proxy) fn uri(&self, path: PathAndQuery) -> Uri {
        let (scheme, authority) = self.0.origin.clone();
        let mut parts = Parts::default();
        (parts.scheme, parts.authority) = (Some(scheme), Some(authority));
        parts.path_and_query = Some(path);
        // All three are there, which is what can be wrong with parts.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Whether the connection had been used before; it has been from now on.
    pub(in crate::proxy) fn reused(&self) -> bool {
        self.0.used.swap(true, Ordering::Relaxed)
    }

    /// A body on it is large: from now on its streams may have more under way.
    pub(in crate::proxy) fn widen(&self) {
        // Full: somebody has asked already.
        let _ = self.0.widen.try_send(());
    }

    /// Whether it is a place on `connection`.
    pub(super) fn is_on(&self, connection: &Arc<Connection>) -> bool {
        Arc::ptr_eq(&self.0, connection)
    }

    /// The connection is to get no more streams.
    pub(in crate::proxy) fn retire(&self) {
        self.0.status.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.status.touch();
        self.0.status.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drives the connection to its end, and widens its windows when that is wanted.
async fn drive(
    mut connection: h2::client::Connection<TokioIo<Stream>, Bytes>,
    wanted: Receiver<()>,
) {
    let mut wanted = pin!(wanted);
    let (mut asked, mut wide) = (false, false);
    poll_fn(|context| {
        loop {
            if Pin::new(&mut connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
            asked |= matches!(wanted.as_mut().poll_next(context), Poll::Ready(Some(())));
            // Refused while the peer has other settings to acknowledge; when it
            // has, this is polled again.
            if wide || !asked || connection.set_initial_window_size(WIDE_WINDOW).is_err() {
                return Poll::Pending;
            }
            wide = true;
        }
    })
    .await;
}

struct Closing(Arc<Status>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

/// Ends when the peer answers no more; pings it while streams are open.
async fn keep_alive(pings: Option<PingPong>, status: &Status, clock: &dyn Clock) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        clock.sleep(PING).await;
        if status.streams.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let pong = async { pings.ping(Ping::opaque()).await.is_ok() };
        if !answered(pong, clock).await {
            return;
        }
    }
}

/// Whether the answer comes in time, and is one. A timer that fires far too
/// late has measured our own absence, and is started again.
async fn answered(pong: impl Future<Output = bool>, clock: &dyn Clock) -> bool {
    let mut pong = pin!(pong);
    loop {
        let asked = clock.now();
        let in_time = async { Some(pong.as_mut().await) };
        let too_late = async {
            clock.sleep(PONG).await;
            None
        };
        match futures_lite::future::or(in_time, too_late).await {
            Some(answer) => return answer,
            None if clock.now().duration_since(asked) > PONG + LATE => {}
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::BoxFuture;
    use futures_lite::future::block_on;
    use std::time::Instant;

    /// A clock whose timers all fire at once, each as late as it was told.
    struct Late {
        start: Instant,
        passed: Mutex<Duration>,
        lateness: Mutex<Vec<Duration>>,
    }

    impl Clock for Late {
        fn now(&self) -> Instant {
            self.start + *self.passed.lock().unwrap()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::now()
        }

        fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
            let late = self.lateness.lock().unwrap().pop().unwrap_or_default();
            *self.passed.lock().unwrap() += time + late;
            Box::pin(async {})
        }
    }

    /// Whether an answer is waited for that is there when asked for the `nth` time.
    fn waits_for(nth: usize, lateness: &[u64]) -> bool {
        let lateness = lateness.iter().map(|seconds| Duration::from_secs(*seconds)).collect();
        let (passed, lateness) = (Mutex::default(), Mutex::new(lateness));
        let clock = Late { start: Instant::now(), passed, lateness };
        let mut asked = 0;
        let pong = poll_fn(|_| {
            asked += 1;
            if asked >= nth { Poll::Ready(true) } else { Poll::Pending }
        });
        block_on(answered(pong, &clock))
    }

    #[test]
    fn a_timer_that_fires_late_restarts_its_measurement() {
        assert!(waits_for(1, &[]));
        assert!(!waits_for(2, &[]));
        assert!(!waits_for(2, &[4]));
        assert!(waits_for(2, &[600]));
        assert!(waits_for(3, &[6, 600]));
        assert!(!waits_for(3, &[0, 600]));
    }
}
