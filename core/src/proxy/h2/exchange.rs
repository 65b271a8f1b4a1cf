//! One exchange: from an app's stream to a service and back, with the attempts
//! it takes.

use super::app::{AppSide, Halt, unless_gone};
use super::attempts::Attempts;
use super::call::{Call, Failure, download_failure};
use super::intake::{Broken, Intake, reason_of};
use super::{answer, fields, over_h1, over_h2};
use crate::http1::check_authority;
use crate::names::Target;
use crate::proxy::Shared;
use crate::proxy::browser;
use crate::proxy::error::ProxyError;
use crate::proxy::note::Note;
use crate::proxy::policy::Carry;
use crate::proxy::pool::{H2Pool, Way};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header;
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response};
use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An app's stream.
struct AppStream {
    reply: Reply,
    upload: Intake,
}

/// The end of it that the response goes to.
#[derive(Debug)]
pub(super) struct Reply {
    respond: SendResponse<Bytes>,
    /// There once the response has begun.
    stream: Option<SendStream<Bytes>>,
    /// The response is its head alone.
    bare: bool,
    /// What is noted of the request.
    pub(super) note: Note,
}

/// A response whose head is there.
enum Begun {
    Http2(over_h2::Begun),
    Http1(Box<over_h1::Begun>),
}

/// Serves one stream to its end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (mut head, body) = request.into_parts();
    fields::trim(&mut head.headers);
    let (grpc, method) = (fields::is_grpc(&head.headers), head.method.clone());
    let note = Note::of_h2(shared, &head);
    let reply = Reply { respond, stream: None, bare: false, note };
    let mut app = AppStream { reply, upload: Intake::keeping(body) };
    let ended = {
        let exchange = pin!(exchange(shared, head, &mut app));
        shared.tasks.guard("HTTP/2 exchange", exchange).await
    };
    app.reply.note.received(app.upload.passed());
    let failure = match ended {
        Ok(Ok(())) | Ok(Err(Failure::Gone)) => return,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Answer(ProxyError::Internal),
    };
    let reply = &mut app.reply;
    match (failure, &reply.stream) {
        (Failure::Answer(error), None) => {
            shared.tasks.counters().proxy_errors.add();
            let about = shared.about(reply.note.target().map(|target| &**target));
            shared.tell(&error, &about);
            let answer = error.answer(&about);
            reply.note.refused((&error, &about), answer.status, grpc.then_some(answer.grpc.0));
            reply.note.sent(answer::send(&mut reply.respond, answer, grpc, &method));
        }
        (Failure::Reset(reason), _) => reply.respond.send_reset(reason),
        (_, Some(_)) => reply.respond.send_reset(Reason::INTERNAL_ERROR),
        (Failure::Gone, None) => {}
    }
}

async fn exchange(shared: &Arc<Shared>, head: Parts, app: &mut AppStream) -> Result<(), Failure> {
    let host = host(&head)?;
    let tells = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        browser::tells_of_a_page(name.as_str().as_bytes(), value.as_bytes())
    };
    if shared.config.refuse_pages && head.headers.iter().any(tells) {
        return Err(ProxyError::Page.into());
    }
    let mut at = shared.timers.moment();
    let target = unless_gone(app, shared.target(&host, &mut at)).await??;
    app.reply.note.leads_to(&target);
    let mut call = Call::new(shared, target, head);
    if call.carry != Carry::Nothing {
        call.token = unless_gone(app, shared.token(&call.target, &mut at)).await??;
    }
    let mut attempts = Attempts::default();
    loop {
        let way = H2Pool::way(shared, &call.target, attempts.avoid());
        let begun = match unless_gone(app, way).await?? {
            Way::Http2(lease) => over_h2::begin(&mut call, lease, app).await.map(Begun::Http2),
            Way::Http1(connection) => {
                let AppStream { reply, upload } = &mut *app;
                let begun = over_h1::begin(&mut call, connection, upload, reply).await;
                begun.map(|begun| Begun::Http1(Box::new(begun)))
            }
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(none) => {
                attempts.another(none, app)?;
                continue;
            }
        };
        if attempts.renews(&mut call, begun.head(), app).await? {
            continue;
        }
        call.explain(begun.head());
        app.forget();
        return match begun {
            Begun::Http2(begun) => begun.finish(&call, app).await,
            Begun::Http1(begun) => begun.finish(&call, &mut app.upload, &mut app.reply).await,
        };
    }
}

/// The host that a request names, without its port.
fn host(head: &Parts) -> Result<Cow<'_, str>, Failure> {
    // RFC 9113 §8.1.1: a malformed request is reset, not answered.
    let malformed = || Failure::Reset(Reason::PROTOCOL_ERROR);
    if head.method == Method::CONNECT {
        // Extended CONNECT (RFC 8441 §3) is for peers that have been told that
        // they may; we tell nobody.
        let extended = head.extensions.get::<h2::ext::Protocol>().is_some();
        return Err(if extended { malformed() } else { ProxyError::Connect.into() });
    }
    // RFC 9113 §8.3.1: a path begins with a slash, where the library lets a query
    // stand alone, and the asterisk is the target of OPTIONS alone.
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    if !path.starts_with('/') && (path != "*" || head.method != Method::OPTIONS) {
        return Err(malformed());
    }
    // The library sees to their values, and lets the same one stand twice, which
    // a service of HTTP/1.1 could read in its own way.
    if head.headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(malformed());
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let host = host.map(|host| Authority::try_from(host.as_bytes())).transpose();
    let host = host.map_err(|_| malformed())?;
    let authority = match (head.uri.authority(), host) {
        _ if more.is_some() => return Err(malformed()),
        (Some(authority), Some(host)) if *authority != host => return Err(malformed()),
        (Some(authority), _) => Cow::Borrowed(authority),
        (None, Some(host)) => Cow::Owned(host),
        (None, None) => return Err(malformed()),
    };
    check_authority(authority.as_str()).map_err(|_| malformed())?;
    Ok(match authority {
        Cow::Borrowed(authority) => Cow::Borrowed(authority.host()),
        Cow::Owned(authority) => Cow::Owned(authority.host().to_owned()),
    })
}

impl Begun {
    fn head(&self) -> &Response<()> {
        match self {
            Begun::Http2(begun) => &begun.head,
            Begun::Http1(begun) => &begun.head,
        }
    }
}

impl AppSide for AppStream {
    fn is_bodiless(&self) -> bool {
        self.upload.is_empty()
    }

    fn poll_upload(
        &mut self,
        context: &mut Context<'_>,
        to: &mut SendStream<Bytes>,
    ) -> Poll<Result<(), Halt>> {
        let halted = |broken| match broken {
            Broken::Sink => Halt::Sink,
            Broken::Source(error) if error.is_reset() => {
                let reason = match error.reason() {
                    // It has left, as below.
                    Some(Reason::NO_ERROR) => Reason::CANCEL,
                    _ => reason_of(&error),
                };
                Halt::Source(reason, Failure::Gone)
            }
            // Its whole connection has gone: nobody waits any more.
            Broken::Source(_) => Halt::Source(Reason::CANCEL, Failure::Gone),
        };
        self.upload.poll_forward(context, to, |_| ()).map_err(halted)
    }

    fn can_rewind(&self) -> bool {
        self.upload.can_rewind()
    }

    fn rewind(&mut self) {
        self.upload.rewind();
    }

    fn forget(&mut self) {
        self.upload.forget();
    }

    fn inform(&mut self, head: Response<()>) {
        self.reply.inform(head);
    }

    fn begin(&mut self, head: Response<()>, _: &Target, ended: bool) -> Result<(), Failure> {
        self.reply.begin(head, ended)
    }

    fn poll_download(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Intake,
    ) -> Poll<Result<(), Failure>> {
        if self.reply.bare {
            return Poll::Ready(Ok(()));
        }
        let Reply { stream, note, .. } = &mut self.reply;
        let stream = stream.as_mut().ok_or(Failure::Gone)?;
        let forwarded = from.poll_forward(context, stream, |trailers| note.ended_with(trailers));
        if forwarded.is_ready() {
            note.sent(from.passed());
        }
        forwarded.map_err(|broken| download_failure(&broken))
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        self.reply.poll_gone(context)
    }
}

impl Reply {
    /// Ready when the app has reset the stream or gone, with what to tell the
    /// service. One that has all of the response may still be here.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let reset = match &mut self.stream {
            Some(stream) => stream.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        // Nobody else may be told that nothing is wrong.
        let reason = |reason: &Reason| *reason != Reason::NO_ERROR;
        reset.map(|reset| reset.ok().filter(reason).unwrap_or(Reason::CANCEL))
    }

    /// Passes an interim response on (RFC 9110 §15.2).
    pub(super) fn inform(&mut self, mut head: Response<()>) {
        fields::clean_interim(head.headers_mut());
        // An app that has gone is noticed elsewhere.
        let _ = self.respond.send_informational(head);
    }

    /// Begins the response; `ended` if there is nothing but its head.
    ///
    /// # Errors
    /// [`Failure::Gone`]
    pub(super) fn begin(&mut self, head: Response<()>, ended: bool) -> Result<(), Failure> {
        self.note.answered_with(head.status().as_u16(), head.headers());
        let stream = self.respond.send_response(head, ended).map_err(|_| Failure::Gone)?;
        (self.stream, self.bare) = (Some(stream), ended);
        Ok(())
    }

    /// The body's stream.
    ///
    /// # Errors
    /// [`Failure::Gone`] before the response has begun.
    pub(super) fn stream(&mut self) -> Result<&mut SendStream<Bytes>, Failure> {
        self.stream.as_mut().ok_or(Failure::Gone)
    }
}
