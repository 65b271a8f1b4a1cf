//! One exchange: from an app's stream to a service and back, with the attempts
//! it takes.

use super::intake::{Broken, Intake, reason_of};
use super::{answer, fields, over_h1, over_h2};
use crate::auth::IdToken;
use crate::http1::check_authority;
use crate::names::Target;
use crate::proxy::Shared;
use crate::proxy::browser;
use crate::proxy::error::ProxyError;
use crate::proxy::policy::{self, Carry};
use crate::proxy::pool::{H2Pool, Lease, Way};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

/// How an exchange ends other than well.
#[derive(Debug)]
pub(super) enum Failure {
    /// With an answer of ours, if the service's has not begun.
    Answer(ProxyError),
    /// With a reset.
    Reset(Reason),
    /// The app has reset it, or gone.
    Gone,
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Failure {
        Failure::Answer(error)
    }
}

/// Why an attempt brought no response.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) failure: Failure,
    pub(super) again: Again,
}

/// Whether another attempt may follow.
#[derive(Debug)]
pub(super) enum Again {
    /// The service may have acted on it.
    No,
    /// Nothing had been sent: a pooled connection turned out to be over.
    Unsent,
    /// The service has certainly not acted on it, or it does no harm twice.
    Once,
    /// The same, on another connection than this one.
    Elsewhere(Lease),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop { failure, again: Again::No }
    }
}

/// What is asked of a service: the same for every attempt but for the token.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) target: Arc<Target>,
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    fields: HeaderMap,
    carry: Carry,
    token: Option<Arc<IdToken>>,
}

/// The app's end of an exchange.
#[derive(Debug)]
pub(super) struct Reply {
    respond: SendResponse<Bytes>,
    /// There once the response has begun.
    stream: Option<SendStream<Bytes>>,
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
    let (head, body) = request.into_parts();
    let (grpc, method) = (fields::is_grpc(&head.headers), head.method.clone());
    let mut reply = Reply { respond, stream: None };
    let ended = {
        let exchange = pin!(exchange(shared, head, body, &mut reply));
        shared.tasks.guard("HTTP/2 exchange", exchange).await
    };
    let failure = match ended {
        Ok(Ok(())) | Ok(Err(Failure::Gone)) => return,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Answer(ProxyError::Internal),
    };
    match (failure, &reply.stream) {
        (Failure::Answer(error), None) => {
            shared.tasks.counters().proxy_errors.add();
            shared.tasks.log().debug("proxy", format_args!("answered with an error: {error}"));
            answer::send(&mut reply.respond, &error, grpc, &method);
        }
        (Failure::Reset(reason), _) => reply.respond.send_reset(reason),
        (_, Some(_)) => reply.respond.send_reset(Reason::INTERNAL_ERROR),
        (Failure::Gone, None) => {}
    }
}

async fn exchange(
    shared: &Arc<Shared>,
    head: Parts,
    body: RecvStream,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let host = host(&head)?;
    let tells = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        browser::tells_of_a_page(name.as_str().as_bytes(), value.as_bytes())
    };
    if shared.config.refuse_pages && head.headers.iter().any(tells) {
        return Err(ProxyError::Page.into());
    }
    let target = reply.unless_gone(shared.target(&host)).await??;
    let mut call = Call::new(shared, target, head);
    if call.carry != Carry::Nothing {
        call.token = reply.unless_gone(shared.token(&call.target)).await??;
    }
    let mut upload = Intake::keeping(body);
    let (mut retried, mut renewed) = (false, false);
    let mut avoid = None;
    loop {
        let way = H2Pool::way(shared, &call.target, avoid.take());
        let way = reply.unless_gone(way).await??;
        let begun = match way {
            Way::Http2(lease) => {
                over_h2::begin(&call, lease, &mut upload, reply).await.map(Begun::Http2)
            }
            Way::Http1(connection) => {
                let begun = over_h1::begin(&call, connection, &mut upload, reply).await;
                begun.map(|begun| Begun::Http1(Box::new(begun)))
            }
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(Stop { failure, again }) => {
                match again {
                    _ if !upload.can_rewind() => return Err(failure),
                    // Each time, one connection has left the pool.
                    Again::Unsent => {}
                    Again::Once | Again::Elsewhere(_) if retried => return Err(failure),
                    Again::No => return Err(failure),
                    Again::Once => retried = true,
                    Again::Elsewhere(lease) => (retried, avoid) = (true, Some(lease)),
                }
                upload.rewind();
                continue;
            }
        };
        if !renewed && upload.can_rewind() && reply.unless_gone(call.renew(begun.head())).await? {
            renewed = true;
            upload.rewind();
            continue;
        }
        call.explain(begun.head());
        upload.forget();
        return match begun {
            Begun::Http2(begun) => begun.finish(&call, &mut upload, reply).await,
            Begun::Http1(begun) => begun.finish(&call, &mut upload, reply).await,
        };
    }
}

/// The host that a request names, without its port.
fn host(head: &Parts) -> Result<String, Failure> {
    // RFC 9113 §8.1.1: a malformed request is reset, not answered.
    let malformed = || Failure::Reset(Reason::PROTOCOL_ERROR);
    if head.method == Method::CONNECT {
        // Extended CONNECT (RFC 8441 §3) is for peers that have been told that
        // they may; we tell nobody.
        let extended = head.extensions.get::<h2::ext::Protocol>().is_some();
        return Err(if extended { malformed() } else { ProxyError::Connect.into() });
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let host = host.map(|host| Authority::try_from(host.as_bytes())).transpose();
    let host = host.map_err(|_| malformed())?;
    let authority = match (head.uri.authority(), host) {
        _ if more.is_some() => return Err(malformed()),
        (Some(authority), Some(host)) if *authority != host => return Err(malformed()),
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => host,
        (None, None) => return Err(malformed()),
    };
    check_authority(authority.as_str()).map_err(|_| malformed())?;
    Ok(authority.host().to_owned())
}

impl<'a> Call<'a> {
    fn new(shared: &'a Arc<Shared>, target: Arc<Target>, head: Parts) -> Call<'a> {
        let mut fields = head.headers;
        fields::clean(&mut fields);
        fields.remove(header::HOST);
        let serverless = fields.get(fields::SERVERLESS).map(|value| value.as_bytes());
        let own = fields.contains_key(header::AUTHORIZATION);
        let carry = policy::carry(own, serverless, SystemTime::now);
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Call { shared, target, method: head.method, path, fields, carry, token: None }
    }

    /// The fields to send, the token among them.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut fields = self.fields.clone();
        if let Some(token) = &self.token {
            fields::put_token(&mut fields, self.carry, token.bearer());
        }
        fields
    }

    /// The request as HTTP/2 sends it.
    ///
    /// # Errors
    /// If the target has an authority that is none.
    pub(super) fn request(&self) -> Result<Request<()>, ProxyError> {
        let scheme = if self.target.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = self.target.authority.as_str();
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(self.path.clone())
            .build()
            .map_err(|error| self.upstream(format!("{authority:?} is no authority: {error}")))?;
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.fields();
        Ok(request)
    }

    /// The service failed.
    pub(super) fn upstream(&self, cause: impl ToString) -> ProxyError {
        ProxyError::Upstream {
            name: self.target.name.clone(),
            host: self.target.host.clone(),
            cause: cause.to_string(),
        }
    }

    /// Whether `head` refuses our token and there is another one now.
    async fn renew(&mut self, head: &Response<()>) -> bool {
        let Some(stale) = self.token.as_deref() else { return false };
        let refused =
            head.status() == StatusCode::UNAUTHORIZED && fields::says_invalid_token(head.headers());
        let Some(audience) = self.target.audience.as_deref().filter(|_| refused) else {
            return false;
        };
        let Some(token) = self.shared.tokens.renewed(audience, stale).await else { return false };
        self.token = Some(token);
        true
    }

    fn explain(&self, head: &Response<()>) {
        if let (StatusCode::FORBIDDEN, Some(token)) = (head.status(), &self.token) {
            self.shared.forbidden(&self.target, token);
        }
    }
}

impl Begun {
    fn head(&self) -> &Response<()> {
        match self {
            Begun::Http2(begun) => &begun.head,
            Begun::Http1(begun) => &begun.head,
        }
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
        reset.map(|reset| reset.unwrap_or(Reason::CANCEL))
    }

    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            self.poll_gone(context).map(|_| Err(Failure::Gone))
        })
        .await
    }

    /// Passes an interim response on (RFC 9110 §15.2).
    pub(super) fn inform(&mut self, mut head: Response<()>) {
        fields::clean(head.headers_mut());
        // An app that has gone is noticed elsewhere.
        let _ = self.respond.send_informational(head);
    }

    /// Begins the response; `ended` if there is nothing but its head.
    ///
    /// # Errors
    /// [`Failure::Gone`]
    pub(super) fn begin(
        &mut self,
        mut head: Response<()>,
        target: &Target,
        ended: bool,
    ) -> Result<(), Failure> {
        fields::clean(head.headers_mut());
        fields::rewrite_location(head.headers_mut(), target);
        let stream = self.respond.send_response(head, ended).map_err(|_| Failure::Gone)?;
        self.stream = Some(stream);
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

/// What a broken download means for the app.
pub(super) fn download_failure(broken: &Broken) -> Failure {
    match broken {
        Broken::Source(error) => Failure::Reset(reason_of(error)),
        Broken::Sink => Failure::Gone,
    }
}
