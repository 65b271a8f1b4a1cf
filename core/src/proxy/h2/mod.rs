//! HTTP/2: from apps (h2c with prior knowledge, RFC 9113 §3.4), where every
//! stream is a task, and to services, for apps of either version.
//!
//! It owns app connections that speak HTTP/2 with their exchanges over either
//! version, and the exchange over a stream to a service, which `h1` uses too. It
//! must not know how connections to services are kept (the pool does) nor how names
//! and tokens are found (`authorize` does). The proxy calls it when it has seen the
//! preface.

mod answer;
mod app;
mod attempts;
mod call;
mod decode;
mod exchange;
pub(super) mod fields;
pub(super) mod head1;
mod intake;
mod over_h1;
mod over_h2;
mod pieces;
mod spare;

pub(super) use app::{AppSide, Halt, unless_gone};
pub(super) use attempts::Attempts;
pub(super) use call::{Call, Failure};
pub(super) use decode::{Decoding, Undecoded};
pub(super) use intake::{Intake, reason_of};
pub(super) use over_h2::begin;

use super::Shared;
use super::limits::HEAD_TIME;
use super::pool::SMALL_FRAMES;
use crate::net::{Buffer, Tcp, TokioIo};
use bytes::Bytes;
use h2::server::{Builder, Connection};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What an app may upload on one stream before its service has taken it. An app
/// is on the same machine, where a larger window gains nothing.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Concurrent streams for one app connection. gRPC clients keep one connection
/// per name and queue beyond this.
const STREAMS: u32 = 256;
/// As many stream windows as there are streams: stalled ones never starve others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;
/// The largest frame we take.
const FRAME: u32 = 64 * 1024;
/// The largest header list we take, trailers included.
const HEADER_LIST: u32 = 256 * 1024;
/// What one stream may have waiting to be written.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that were reset before we saw them, at one time: a rapid reset
/// attack has thousands, a client that cancels what it has just begun a few.
const UNSEEN_RESETS: usize = 64;
/// Streams that we reset because the peer broke a rule, in the life of a
/// connection.
const ERRORS: usize = 1024;
/// Streams whose late frames are still ignored after we reset them, and for
/// how long: a client that has data under way learns of it in a round trip.
const RESET: usize = 256;
const RESET_FOR: Duration = Duration::from_secs(1);

/// Serves an app's connection until it ends or the drain does; `buffer` holds
/// what has been read of it, the preface first.
pub(super) async fn serve(shared: &Arc<Shared>, tcp: Tcp, buffer: Buffer) {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(ERRORS))
        .max_concurrent_reset_streams(RESET)
        .reset_stream_duration(RESET_FOR)
        .data_frame_budget(SMALL_FRAMES);
    let streams = Arc::<AtomicUsize>::default();
    let io = TokioIo::with_prefix(tcp, buffer).used_by(streams.clone());
    let handshake = builder.handshake::<_, Bytes>(io);
    // A connection that never says its preface, or breaks it, has no stream
    // that could be told.
    let Ok(Ok(connection)) = shared.timers.deadline(HEAD_TIME, handshake).await else { return };
    let serving = accept(shared, connection, &streams);
    futures_lite::future::or(serving, shared.drain.aborting()).await;
}

async fn accept(
    shared: &Arc<Shared>,
    mut connection: Connection<TokioIo<Tcp>, Bytes>,
    streams: &Arc<AtomicUsize>,
) {
    let mut draining = pin!(shared.drain.draining());
    let mut leaving = false;
    loop {
        let accepted = poll_fn(|context| {
            if !leaving && draining.as_mut().poll(context).is_ready() {
                leaving = true;
                // Streams that are open finish; the app opens no others here.
                connection.graceful_shutdown();
            }
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok(accepted))) => Poll::Ready(Some(accepted)),
                // The library has told the app already.
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let Some((request, respond)) = accepted.await else { return };
        shared.tasks.counters().proxy_requests.add();
        let (shared, open) = (shared.clone(), Open::new(streams));
        let tasks = shared.tasks.clone();
        tasks.spawn("HTTP/2 exchange", async move {
            let _open = open;
            exchange::run(&shared, request, respond).await;
        });
    }
}

/// Counts a stream of an app while its exchange lasts.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(streams: &Arc<AtomicUsize>) -> Open {
        streams.fetch_add(1, Ordering::Relaxed);
        Open(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
