//! An attempt over HTTP/2: stream to stream, END_STREAM where it was.

use super::exchange::{Again, Call, Failure, Reply, Stop, download_failure};
use super::intake::{Broken, Intake, reason_of};
use crate::proxy::pool::Lease;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response that has begun on a stream.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) head: Response<()>,
    body: RecvStream,
    /// The upload's stream, until it has ended.
    send: Option<SendStream<Bytes>>,
    lease: Lease,
}

/// Why there is no response.
enum Ended {
    Response(h2::Error),
    Otherwise(Failure),
}

/// Sends the request and waits for the response, passing on what comes between.
///
/// # Errors
/// [`Stop`], after which the stream is reset.
pub(super) async fn begin(
    call: &Call<'_>,
    lease: Lease,
    upload: &mut Intake,
    reply: &mut Reply,
) -> Result<Begun, Stop> {
    let reused = lease.reused();
    if reused {
        call.shared.tasks.counters().upstream_reused.add();
    }
    let request = call.request().map_err(Failure::Answer)?;
    let ended = upload.is_empty();
    let (mut response, send) = match lease.send(request, ended).await {
        Ok(opened) => opened,
        Err(error) => {
            let again = if reused { Again::Unsent } else { Again::Once };
            return Err(Stop { failure: call.upstream(error).into(), again });
        }
    };
    let mut send = Some(send).filter(|_| !ended);
    let outcome = poll_fn(|context| {
        if let Poll::Ready(reason) = reply.poll_gone(context) {
            reset(&mut send, reason);
            return Poll::Ready(Err(Ended::Otherwise(Failure::Gone)));
        }
        if let Poll::Ready(outcome) = poll_response(&mut response, reply, context) {
            return Poll::Ready(outcome.map_err(Ended::Response));
        }
        match poll_upload(upload, &mut send, context) {
            Ok(()) => Poll::Pending,
            Err(failure) => Poll::Ready(Err(Ended::Otherwise(failure))),
        }
    });
    let (head, body) = match outcome.await {
        Ok(response) => response.into_parts(),
        Err(Ended::Otherwise(failure)) => return Err(failure.into()),
        Err(Ended::Response(error)) => return Err(stop(call, lease, reused, &error)),
    };
    Ok(Begun { head: Response::from_parts(head, ()), body, send, lease })
}

fn poll_response(
    response: &mut ResponseFuture,
    reply: &mut Reply,
    context: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    loop {
        match response.poll_informational(context) {
            Poll::Ready(Some(Ok(interim))) => reply.inform(interim),
            // The final response or an error is there.
            Poll::Ready(_) => return Pin::new(response).poll(context),
            // Not to be polled: it would drop an interim response that came
            // just now.
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Moves the upload on. A service that wants no more of it says so in its
/// response or its reset, not here.
fn poll_upload(
    upload: &mut Intake,
    send: &mut Option<SendStream<Bytes>>,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let Some(to) = send else { return Ok(()) };
    match upload.poll_forward(context, to) {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(()) | Err(Broken::Sink)) => {
            *send = None;
            Ok(())
        }
        Poll::Ready(Err(Broken::Source(error))) => {
            reset(send, reason_of(&error));
            Err(Failure::Gone)
        }
    }
}

fn reset(send: &mut Option<SendStream<Bytes>>, reason: Reason) {
    if let Some(send) = send {
        send.send_reset(reason);
    }
}

/// What a stream that failed before its response means.
fn stop(call: &Call<'_>, lease: Lease, reused: bool, error: &h2::Error) -> Stop {
    let failure = Failure::from(call.upstream(error));
    if error.is_reset() && error.is_remote() {
        return match error.reason() {
            Some(Reason::HTTP_1_1_REQUIRED) => {
                call.shared.h2.wants_http1(&call.target);
                Stop { failure, again: Again::Once }
            }
            // RFC 9113 §8.7: it was not processed. The connection is sound,
            // but full.
            Some(Reason::REFUSED_STREAM) => {
                let failure = Failure::Reset(Reason::REFUSED_STREAM);
                Stop { failure, again: Again::Elsewhere(lease) }
            }
            _ => Failure::Reset(reason_of(error)).into(),
        };
    }
    if error.is_reset() {
        // A malformed response; the connection is sound.
        return failure.into();
    }
    lease.retire();
    // RFC 9113 §6.8: a stream above the last one that GOAWAY names was not
    // processed either; the library reports GOAWAY for those alone.
    let unprocessed = error.is_go_away() && error.is_remote();
    let again =
        if unprocessed || reused && call.method.is_idempotent() { Again::Once } else { Again::No };
    Stop { failure, again }
}

impl Begun {
    /// Passes the response on while the rest of the request goes up.
    ///
    /// # Errors
    /// [`Failure`]; the service's stream is reset then.
    pub(super) async fn finish(
        self,
        call: &Call<'_>,
        upload: &mut Intake,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let Begun { head, body, mut send, lease } = self;
        let mut download = Intake::new(body);
        let mut downloaded = download.is_empty();
        reply.begin(head, &call.target, downloaded)?;
        let outcome = poll_fn(|context| {
            if let Poll::Ready(reason) = reply.poll_gone(context) {
                reset(&mut send, reason);
                return Poll::Ready(Err(Failure::Gone));
            }
            poll_upload(upload, &mut send, context)?;
            if !downloaded {
                match download.poll_forward(context, reply.stream()?) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => downloaded = true,
                    Poll::Ready(Err(broken)) => return Poll::Ready(Err(download_failure(&broken))),
                }
            }
            // After its response a service may still take the upload, or end
            // it (RFC 9113 §8.1).
            if send.as_mut().is_some_and(|send| send.poll_reset(context).is_pending()) {
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        });
        let outcome = outcome.await;
        drop(lease);
        outcome
    }
}
