//! An attempt over HTTP/2: from an app of either version to a stream, with
//! END_STREAM where the app's request and the service's response end.

use super::app::{AppSide, Halt};
use super::attempts::{Again, NoResponse};
use super::call::{Call, Failure};
use super::fields;
use super::intake::{Intake, reason_of};
use crate::http1::{Framing, body_of_response};
use crate::proxy::limits::INTERIM;
use crate::proxy::pool::{BULK, Lease};
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response that has begun on a stream.
#[derive(Debug)]
pub(in crate::proxy) struct Begun {
    pub(in crate::proxy) head: Response<()>,
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
/// [`NoResponse`], after which the stream is reset.
pub(in crate::proxy) async fn begin(
    call: &mut Call<'_>,
    lease: Lease,
    app: &mut impl AppSide,
) -> Result<Begun, NoResponse> {
    let reused = lease.reused();
    if reused {
        call.shared.tasks.counters().upstream_reused.add();
    }
    let request = call.request(&lease);
    let ended = app.is_bodiless();
    let (mut response, send) = match lease.send(request, ended) {
        Ok(opened) => opened,
        Err(error) => {
            let again = if reused { Again::Unsent } else { Again::Once };
            return Err(NoResponse { failure: call.broken(&error).into(), again });
        }
    };
    let mut send = Some(send).filter(|_| !ended);
    let mut interim = 0;
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = poll_response(&mut response, app, &mut interim, context) {
            return Poll::Ready(outcome.map_err(Ended::Response));
        }
        if let Err(failure) = poll_upload(app, &mut send, context) {
            return Poll::Ready(Err(Ended::Otherwise(failure)));
        }
        // After the upload: an app of HTTP/1.1 is looked at when it has ended.
        app.poll_gone(context).map(|reason| {
            reset(&mut send, reason);
            Err(Ended::Otherwise(Failure::Gone))
        })
    });
    let (mut head, body) = match outcome.await {
        Ok(response) => response.into_parts(),
        Err(Ended::Otherwise(failure)) => return Err(failure.into()),
        Err(Ended::Response(error)) => {
            return Err(no_response(call, lease, (reused, interim > 0), &error));
        }
    };
    fields::trim(&mut head.headers);
    if head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        reset(&mut send, Reason::PROTOCOL_ERROR);
        return Err(
            Failure::Answer(call.garbled("its response has more than one Content-Length")).into()
        );
    }
    Ok(Begun { head: Response::from_parts(head, ()), body, send, lease })
}

fn poll_response(
    response: &mut ResponseFuture,
    app: &mut impl AppSide,
    interim: &mut usize,
    context: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    loop {
        match response.poll_informational(context) {
            Poll::Ready(Some(Ok(head))) => {
                *interim += 1;
                // RFC 9113 §8.6: there is no 101 on HTTP/2.
                if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Err(Reason::PROTOCOL_ERROR.into()));
                }
                if *interim > INTERIM {
                    return Poll::Ready(Err(Reason::ENHANCE_YOUR_CALM.into()));
                }
                app.inform(head);
            }
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
    app: &mut impl AppSide,
    send: &mut Option<SendStream<Bytes>>,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let Some(to) = send else { return Ok(()) };
    match app.poll_upload(context, to) {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(()) | Err(Halt::Sink)) => {
            *send = None;
            Ok(())
        }
        Poll::Ready(Err(Halt::Source(reason, failure))) => {
            reset(send, reason);
            Err(failure)
        }
    }
}

fn reset(send: &mut Option<SendStream<Bytes>>, reason: Reason) {
    if let Some(send) = send {
        send.send_reset(reason);
    }
}

/// What a stream that failed before its response means, whose connection had been
/// `used` before, and of which something was `heard`.
fn no_response(
    call: &Call<'_>,
    lease: Lease,
    (used, heard): (bool, bool),
    error: &h2::Error,
) -> NoResponse {
    let failure = Failure::from(call.broken(error));
    if error.is_reset() && error.is_remote() {
        return match error.reason() {
            Some(Reason::HTTP_1_1_REQUIRED) => {
                call.shared.h2.wants_http1(&call.target);
                NoResponse { failure, again: Again::Once }
            }
            // RFC 9113 §8.7: it was not processed. The connection is sound,
            // but full.
            Some(Reason::REFUSED_STREAM) => {
                let failure = Failure::Reset(Reason::REFUSED_STREAM);
                NoResponse { failure, again: Again::Elsewhere(lease) }
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
    let unprocessed = error.is_go_away() && error.is_remote() && !heard;
    // A reason is our own, for what the service has said on one of the streams: the
    // connection had not died unnoticed.
    let died = used && !heard && error.reason().is_none();
    let repeats = unprocessed || died && call.method.is_idempotent();
    let again = if repeats { Again::Once } else { Again::No };
    NoResponse { failure, again }
}

impl Begun {
    /// Passes the response on while the rest of the request goes up.
    ///
    /// # Errors
    /// [`Failure`]; the service's stream is reset then.
    pub(in crate::proxy) async fn finish(
        self,
        call: &Call<'_>,
        app: &mut impl AppSide,
    ) -> Result<(), Failure> {
        let Begun { mut head, body, mut send, lease } = self;
        call.settle(&mut head);
        let mut download = Intake::new(body);
        // Whatever the service still sends, some responses end with their head.
        let (status, to_head) = (head.status().as_u16(), call.method == Method::HEAD);
        let bodiless = body_of_response(Framing::UntilClose, status, to_head) == Framing::None;
        app.begin(head, &call.target, bodiless || download.is_empty())?;
        let (mut downloaded, mut widened) = (false, false);
        let outcome = poll_fn(|context| {
            poll_upload(app, &mut send, context)?;
            if !downloaded && let Poll::Ready(done) = app.poll_download(context, &mut download) {
                done?;
                downloaded = true;
            }
            if !widened && download.passed() > BULK {
                // Once: each word wakes the task of the connection.
                widened = true;
                lease.widen();
            }
            // After its response a service may still take the upload, or end
            // it (RFC 9113 §8.1).
            let ended = |send: &mut SendStream<Bytes>| send.poll_reset(context).is_ready();
            if downloaded && send.as_mut().is_none_or(ended) {
                return Poll::Ready(Ok(()));
            }
            app.poll_gone(context).map(|reason| {
                reset(&mut send, reason);
                Err(Failure::Gone)
            })
        });
        let outcome = outcome.await;
        drop(lease);
        download.excess().into_iter().for_each(|what| call.cut(what));
        outcome
    }
}
