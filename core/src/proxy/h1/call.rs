//! One request: where it goes, what proves who sends it, and over which
//! connection, with the one retry that each of these may need.

use super::connection::{Attention, Client, Left, unless_left};
use super::exchange::{Exchange, Outcome};
use super::over_h2::{self, Carried};
use super::request::{self, Asked, carrier};
use super::scratch::Scratch;
use super::upload::Upload;
use crate::auth::IdToken;
use crate::http1::{self, Framing, RequestHead, TargetForm};
use crate::names::Target;
use crate::net::{Buffer, Moment, Stream};
use crate::proxy::browser;
use crate::proxy::error::{Fault, ProxyError};
use crate::proxy::forward::{self, Way};
use crate::proxy::h2::Call;
use crate::proxy::policy::Carry;
use crate::proxy::pool::{self, H1};
use crate::proxy::{Shared, Upstream};
use futures_lite::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// What becomes of the app's connection.
#[derive(Debug)]
pub(super) enum Next {
    /// The next request.
    Again,
    /// Its end, in order.
    Close,
    /// Its end, so that nobody takes what was sent for complete.
    Reset,
    /// The app has ended it.
    Gone,
    /// CONNECT has drawn it through to a service: another beginning.
    Drawn,
    /// Bytes to and from another connection.
    Tunnel(Box<(Stream, Buffer)>),
}

/// What proves a request to its service.
struct Proof {
    token: Option<Arc<IdToken>>,
    /// Where in the kept bytes the token stands.
    token_at: Option<Range<usize>>,
}

/// How a request ends where no exchange over HTTP/1.1 answers it.
enum End {
    /// It has been answered, or is beyond that.
    Settled(Next),
    /// It is to be answered with this.
    Failed(Box<ProxyError>),
}

impl From<Left> for End {
    fn from(_: Left) -> End {
        End::Settled(Next::Gone)
    }
}

impl From<ProxyError> for End {
    fn from(error: ProxyError) -> End {
        End::Failed(Box::new(error))
    }
}

impl From<Box<ProxyError>> for End {
    fn from(error: Box<ProxyError>) -> End {
        End::Failed(error)
    }
}

/// Answers the request whose head takes the first `length` bytes of the
/// client's buffer.
pub(super) async fn call(
    shared: &Arc<Shared>,
    client: &mut Client,
    scratch: &mut Scratch,
    length: usize,
) -> Next {
    shared.tasks.counters().proxy_requests.add();
    let asked = Asked::of(&scratch.request, client.buffer.readable());
    let at = shared.timers.moment();
    client.note.begin_h1(shared, at.now, (&scratch.request, client.buffer.readable()));
    match attempt(shared, client, scratch, (&asked, length), at).await {
        Ok(next) | Err(End::Settled(next)) => next,
        Err(End::Failed(error)) => {
            client.refuse(shared, &error, Some(&asked)).await;
            if client.buffer.consumed() == 0 {
                client.buffer.consume(length);
            }
            Next::Close
        }
    }
}

async fn attempt(
    shared: &Arc<Shared>,
    client: &mut Client,
    scratch: &mut Scratch,
    (asked, length): (&Asked, usize),
    mut at: Moment,
) -> Result<Next, End> {
    let whole = match asked.framing {
        Framing::Length(body) => Some(body.saturating_add(length as u64)),
        _ => None,
    };
    // One for all that the request waits for: an app that has left is given one while.
    let attention = &mut Attention::default();
    let (head, lengths) = (&scratch.request, (length, whole));
    let (target, ours) = lead(shared, (client, attention), head, lengths, &mut at).await?;
    let buffer = client.buffer.readable();
    client.note.leads_to(&target);
    let carry = carrier(&scratch.request, buffer, || at.wall);
    let token = match carry {
        Carry::Nothing => None,
        _ => unless_left((client, attention), whole, shared.token(&target, &mut at)).await??,
    };
    // Another protocol begins on a connection of its own (RFC 9113 §8.6).
    let on_stream = shared.config.upstream == Upstream::Http2 && ours && !asked.upgrade;
    let parts = on_stream.then(|| over_h2::translate(&scratch.request, buffer)).flatten();
    let mut out = std::mem::take(&mut scratch.upload);
    out.clear();
    out.keep(true);
    let head = (&scratch.request, client.buffer.readable());
    let carried = token.as_deref().map(|token| (token, carry));
    let token_at = request::write_head(out.bytes(), head, &target, carried);
    let nominated = scratch.request.nominated(client.buffer.readable());
    client.buffer.consume(length);
    let mut upload = Upload::new(asked.framing, nominated, out);
    let mut proof = Proof { token, token_at };
    let whose = |error| whose(shared, error, (!ours).then_some(&*target));
    let service = match parts {
        None => {
            let service = checkout(shared, &target, at.wall);
            let service = unless_left((client, attention), upload.wanted(), service).await?;
            service.map_err(whose)?
        }
        Some(parts) => {
            let call = Call::new(shared, target.clone(), parts);
            let app = (&mut *client, &mut *attention, asked);
            match by_stream(shared, app, &mut upload, (&mut proof, call)).await {
                Ok(connection) => connection,
                Err(end) => {
                    scratch.upload = upload.out;
                    return Err(end);
                }
            }
        }
    };
    let (app, about) = ((client, attention), (asked, &*target));
    let next = converse(shared, app, &mut upload, scratch, about, (proof, service)).await;
    scratch.upload = upload.out;
    next.map_err(|end| match end {
        End::Failed(error) => End::Failed(whose(error)),
        End::Settled(_) => end,
    })
}

/// Where the request whose head is so long leads, and whether that is a service. The
/// app has to send `whole` bytes, if that is known.
///
/// # Errors
/// [`End`]; a CONNECT has been answered.
async fn lead(
    shared: &Arc<Shared>,
    (client, attention): (&mut Client, &mut Attention),
    head: &RequestHead,
    (length, whole): (usize, Option<u64>),
    at: &mut Moment,
) -> Result<(Arc<Target>, bool), End> {
    let buffer = client.buffer.readable();
    let (form, authority) = destination(head, buffer)?;
    let page = shared.config.refuse_pages && is_of_a_page(head, buffer);
    let way = forward::way(shared, form, authority, page, at);
    let next = match unless_left((client, attention), whole, way).await?? {
        Way::Service(target) => return Ok((target, true)),
        Way::Elsewhere(target) => return Ok((target, false)),
        Way::Draw => {
            accept_connect(client, length);
            if client.flush().await.is_ok() { Next::Drawn } else { Next::Gone }
        }
        Way::Tunnel(stream) => {
            accept_connect(client, length);
            Next::Tunnel(Box::new((stream, Buffer::default())))
        }
    };
    Err(End::Settled(next))
}

/// Sends the request as a stream; the connection on which it goes on, where the service
/// wants HTTP/1.1 after all.
///
/// # Errors
/// [`End`], to which it has come as a stream.
async fn by_stream(
    shared: &Arc<Shared>,
    (client, attention, asked): (&mut Client, &mut Attention, &Asked),
    upload: &mut Upload,
    (proof, mut call): (&mut Proof, Call<'_>),
) -> Result<Box<H1>, End> {
    call.token = proof.token.clone();
    // Boxed: connections to services of HTTP/1.1 would carry the room for it.
    let app = (client, attention);
    match Box::pin(over_h2::converse(app, upload, asked, (shared, call))).await? {
        Carried::Answered(next) => Err(End::Settled(next)),
        Carried::Http1(connection, token) => {
            if let Some(token) = token {
                proof.put(token, upload);
            }
            Ok(connection)
        }
    }
}

/// Answers a CONNECT, whose head is so long, that it has succeeded.
fn accept_connect(client: &mut Client, length: usize) {
    client.buffer.consume(length);
    client.begun = true;
    forward::accept_connect(client.out.bytes());
    client.note.answered(200);
}

/// Whether a web page is behind the request.
fn is_of_a_page(head: &RequestHead, buffer: &[u8]) -> bool {
    head.fields().iter().any(|field| {
        browser::tells_of_a_page(field.name.in_buffer(buffer), field.value.in_buffer(buffer))
    })
}

/// The form of the target and the authority that decides where it goes.
fn destination<'a>(
    head: &RequestHead,
    buffer: &'a [u8],
) -> Result<(TargetForm, &'a str), ProxyError> {
    let (method, target) = (head.method.in_buffer(buffer), head.target.in_buffer(buffer));
    let parsed = http1::Target::parse(method, target).map_err(ProxyError::Target)?;
    // RFC 9112 §3.2.2: an absolute target beats Host, which must be sound still.
    let host = head.host.map(|host| http1::host(host.in_buffer(buffer))).transpose();
    let authority = parsed.authority.or(host.map_err(ProxyError::Target)?);
    Ok((parsed.form, authority.ok_or(ProxyError::Target("no Host"))?))
}

/// Sends the request until it is answered: once more on a new connection where
/// the pooled one was dead, and once more with a new token.
async fn converse(
    shared: &Arc<Shared>,
    (client, attention): (&mut Client, &mut Attention),
    upload: &mut Upload,
    scratch: &mut Scratch,
    (asked, target): (&Asked, &Target),
    (mut proof, mut service): (Proof, Box<H1>),
) -> Result<Next, End> {
    let mut renewable = proof.token_at.is_some();
    loop {
        let keep_alive = asked.keep_alive && !shared.drain.is_draining();
        let about = (asked, Some(target).filter(|_| shared.config.rewrite_redirects));
        let (app, head) = ((&mut *client, &mut *attention), &mut scratch.response);
        let mut exchange =
            Exchange::new(app, &mut service, upload, about, head, (keep_alive, renewable));
        let outcome = poll_fn(|context| exchange.poll(context)).await;
        let refusal = exchange.refusal;
        match outcome {
            Outcome::Done { app, service: keeps } => {
                if refusal && proof.token.is_some() {
                    shared.refused(target, scratch.response.status);
                }
                if keeps {
                    shared.h1.put(target, service);
                }
                return Ok(if app { Next::Again } else { Next::Close });
            }
            Outcome::Switched => {
                return Ok(Next::Tunnel(Box::new((service.stream, service.buffer))));
            }
            Outcome::TokenRefused => {
                renewable = false;
                let wanted = upload.wanted();
                let another = async {
                    let renewed = renew(shared, target, &mut proof, upload).await;
                    if renewed { Some(pool::connect_h1(shared, target).await) } else { None }
                };
                if let Some(another) =
                    unless_left((client, attention), wanted, Box::pin(another)).await?
                {
                    service = another?;
                }
            }
            Outcome::NoResponse { heard: false, .. }
                if service.reused && may_repeat(asked, upload) =>
            {
                upload.out.rewind();
                let another = Box::pin(pool::connect_h1(shared, target));
                service = unless_left((client, attention), upload.wanted(), another).await??;
            }
            Outcome::NoResponse { how, .. } => {
                return Err(ProxyError::upstream(target, Fault::BrokeOff, how).into());
            }
            Outcome::Garbled(cause) => {
                return Err(ProxyError::upstream(target, Fault::Response, cause).into());
            }
            Outcome::Malformed(error) => return Err(ProxyError::Body(error).into()),
            Outcome::Cut(cause) => {
                let error = ProxyError::upstream(target, Fault::BrokeOff, cause);
                shared.tasks.log().debug("proxy", format_args!("{error}"));
                return Ok(Next::Reset);
            }
            Outcome::Gone => return Ok(Next::Gone),
        }
    }
}

/// A pooled connection may have died unnoticed; then sending again is safe if
/// the service saw nothing, or would not mind seeing it twice.
fn may_repeat(asked: &Asked, upload: &Upload) -> bool {
    upload.out.is_kept() && (asked.idempotent || upload.out.written() == 0)
}

/// Gets another token and puts it into the kept request, if there is one.
async fn renew(shared: &Shared, target: &Target, proof: &mut Proof, upload: &mut Upload) -> bool {
    let (Some(audience), Some(stale)) = (target.audience.as_deref(), &proof.token) else {
        return false;
    };
    let Some(token) = shared.tokens.renewed(audience, stale).await else { return false };
    let put = proof.put(token, upload);
    if put {
        upload.out.rewind();
    }
    put
}

impl Proof {
    /// Puts another token into the kept request; whether there is a place.
    fn put(&mut self, token: Arc<IdToken>, upload: &mut Upload) -> bool {
        let kept = upload.out.bytes();
        let Some(at) = self.token_at.take().filter(|at| kept.len() >= at.end) else { return false };
        kept.splice(at.clone(), token.bearer().iter().copied());
        self.token_at = Some(at.start..at.start + token.bearer().len());
        self.token = Some(token);
        true
    }
}

/// What `error` is, for a request that may lead to a host that is no service.
fn whose(shared: &Shared, error: Box<ProxyError>, elsewhere: Option<&Target>) -> Box<ProxyError> {
    match elsewhere {
        None => error,
        Some(target) => Box::new(forward::elsewhere_failed(shared, &target.authority, *error)),
    }
}

/// A connection for a request, by the wall clock.
async fn checkout(
    shared: &Arc<Shared>,
    target: &Target,
    wall: SystemTime,
) -> Result<Box<H1>, Box<ProxyError>> {
    if let Some(service) = shared.h1.take(target, wall) {
        shared.tasks.counters().upstream_reused.add();
        return Ok(service);
    }
    // Boxed: it is seldom, and every request would carry the room for it.
    Box::pin(opened(shared, target)).await
}

/// A connection for a request that has found none idle.
async fn opened(shared: &Arc<Shared>, target: &Target) -> Result<Box<H1>, Box<ProxyError>> {
    let coming = match shared.h1.wait(target).await {
        // It was opened for whatever name a resolver asked for.
        Some(coming) => coming.map_err(|error| error.calling(&target.name)),
        None => pool::connect_h1(shared, target).await,
    };
    coming.map_err(Box::new)
}
