//! The app's end of an exchange whose service speaks HTTP/2, whichever version
//! the app itself speaks: what the exchange over a stream needs of it.

use super::call::Failure;
use super::intake::Intake;
use crate::names::Target;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::Response;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

/// An app that waits for a response.
pub(in crate::proxy) trait AppSide {
    /// Whether the request is its head alone.
    fn is_bodiless(&self) -> bool;

    /// Passes the request's body on, its end and trailers included.
    fn poll_upload(
        &mut self,
        context: &mut Context<'_>,
        to: &mut SendStream<Bytes>,
    ) -> Poll<Result<(), Halt>>;

    /// Whether a second attempt can send the body from its beginning.
    fn can_rewind(&self) -> bool;

    /// Begins the body anew. Call only if it [can](AppSide::can_rewind).
    fn rewind(&mut self);

    /// There will be no second attempt.
    fn forget(&mut self);

    /// Passes an interim response on (RFC 9110 §15.2).
    fn inform(&mut self, head: Response<()>);

    /// Begins the response of `target`; `ended` if there is nothing but its head.
    ///
    /// # Errors
    /// [`Failure::Gone`], or what makes the head unfit for this app.
    fn begin(&mut self, head: Response<()>, target: &Target, ended: bool) -> Result<(), Failure>;

    /// Passes the response's body on until the app has all of it.
    fn poll_download(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Intake,
    ) -> Poll<Result<(), Failure>>;

    /// Ready when the app has gone, with what to tell the service.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Reason>;
}

/// Why a request's body did not arrive whole.
#[derive(Debug)]
pub(in crate::proxy) enum Halt {
    /// The service takes no more of it; its response or its reset tells why.
    Sink,
    /// The app has broken it off: what to tell the service, and what it means.
    Source(Reason, Failure),
}

/// Works for as long as the app is there.
///
/// # Errors
/// [`Failure::Gone`]
pub(in crate::proxy) async fn unless_gone<T>(
    app: &mut impl AppSide,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        app.poll_gone(context).map(|_| Err(Failure::Gone))
    })
    .await
}
