//! What an app asks of a service, as HTTP/2 puts it, and how that may fail.

use super::fields;
use super::intake::{Broken, excess, in_words, reason_of};
use super::spare::Spare;
use crate::auth::IdToken;
use crate::http1::Known;
use crate::names::Target;
use crate::proxy::Shared;
use crate::proxy::error::{Fault, ProxyError};
use crate::proxy::explain::may_be_refusal_h2;
use crate::proxy::policy::{self, Carry};
use crate::proxy::pool::Lease;
use h2::Reason;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use std::sync::Arc;

/// How an exchange ends other than well.
#[derive(Debug)]
pub(in crate::proxy) enum Failure {
    /// With an answer of ours, if the service's has not begun.
    Answer(ProxyError),
    /// With a reset.
    Reset(Reason),
    /// The app has reset it, or gone.
    Gone,
}

impl From<Box<ProxyError>> for Failure {
    fn from(error: Box<ProxyError>) -> Failure {
        Failure::Answer(*error)
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Failure {
        Failure::Answer(error)
    }
}

/// What is asked of a service: the same for every attempt but for the token.
pub(in crate::proxy) struct Call<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(in crate::proxy) target: Arc<Target>,
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// For the first attempt.
    fields: Option<HeaderMap>,
    /// For the others, once there was one.
    spare: Spare,
    pub(super) carry: Carry,
    pub(in crate::proxy) token: Option<Arc<IdToken>>,
}

impl<'a> Call<'a> {
    /// What `head` asks of `target`, without a token yet.
    pub(in crate::proxy) fn new(
        shared: &'a Arc<Shared>,
        target: Arc<Target>,
        head: Parts,
    ) -> Call<'a> {
        let mut fields = head.headers;
        let present = fields::clean(&mut fields);
        if present.had(Known::Host) {
            fields.remove(header::HOST);
        }
        let serverless = Some(&fields).filter(|_| present.had(Known::ServerlessAuthorization));
        let serverless = serverless.and_then(|fields| fields.get(fields::SERVERLESS));
        let serverless = serverless.map(HeaderValue::as_bytes);
        let own = present.had(Known::Authorization) && fields.contains_key(header::AUTHORIZATION);
        let carry = policy::carry(own, serverless, || shared.timers.wall());
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Call {
            shared,
            target,
            method: head.method,
            path,
            fields: Some(fields),
            spare: Spare::default(),
            carry,
            token: None,
        }
    }

    /// The fields to send, the token among them.
    pub(super) fn fields(&mut self) -> HeaderMap {
        let mut fields = match self.fields.take() {
            Some(fields) => {
                self.spare = Spare::of(&fields);
                fields
            }
            None => self.spare.fields(),
        };
        if let Some(value) = self.token.as_deref().and_then(IdToken::value) {
            fields::put_token(&mut fields, self.carry, value);
        }
        fields
    }

    /// The request as HTTP/2 sends it on the connection of `lease`.
    pub(super) fn request(&mut self, lease: &Lease) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = lease.uri(self.path.clone());
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.fields();
        request
    }

    /// The service broke off.
    pub(in crate::proxy) fn broke_off(&self, cause: impl ToString) -> ProxyError {
        ProxyError::upstream(&self.target, Fault::BrokeOff, cause)
    }

    /// The service has sent what cannot be passed on.
    pub(super) fn garbled(&self, cause: impl ToString) -> ProxyError {
        ProxyError::upstream(&self.target, Fault::Response, cause)
    }

    /// A stream to the service has ended so.
    pub(super) fn broken(&self, error: &h2::Error) -> ProxyError {
        if let Some(what) = excess(error) {
            return self.limit(what);
        }
        // A reason of our own is for what the service has said. In the clear it has
        // not been asked for its version: one that speaks another fails as a whole, not
        // with a stream.
        let fault = match error.reason() {
            Some(_) if error.is_remote() => Fault::BrokeOff,
            Some(_) if self.target.tls || !error.is_go_away() => Fault::Response,
            Some(_) => Fault::Version,
            None => Fault::BrokeOff,
        };
        ProxyError::upstream(&self.target, fault, in_words(error))
    }

    fn limit(&self, what: &'static str) -> ProxyError {
        let (name, host) = (self.target.name.clone(), self.target.host.clone());
        ProxyError::Limit { name, host, what }
    }

    /// Tells the log that we have cut a response for what there was too much of:
    /// neither the app nor the access log sees more than that it is cut.
    pub(super) fn cut(&self, what: &'static str) {
        let told = self.limit(what).told(&self.shared.about(Some(&*self.target)));
        self.shared.tasks.log().warn_of("proxy", "limits", format_args!("{told}"));
    }

    /// Takes from a final response's head what ends here, and puts the app's own
    /// name into a redirect to the service itself.
    pub(super) fn settle(&self, head: &mut Response<()>) {
        let present = fields::clean(head.headers_mut());
        if present.had(Known::Location) && self.shared.config.rewrite_redirects {
            fields::rewrite_location(head.headers_mut(), &self.target);
        }
    }

    /// Whether `head` refuses our token and there is another one now.
    pub(super) async fn renew(&mut self, head: &Response<()>) -> bool {
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

    /// Tells the log of a refusal that the service's access policy may explain.
    pub(in crate::proxy) fn explain(&self, head: &Response<()>) {
        if self.token.is_some() && may_be_refusal_h2(head.status(), head.headers()) {
            self.shared.refused(&self.target, head.status().as_u16());
        }
    }
}

/// What a broken download means for the app.
pub(super) fn download_failure(broken: &Broken) -> Failure {
    match broken {
        Broken::Source(error) => Failure::Reset(reason_of(error)),
        Broken::Sink => Failure::Gone,
    }
}
