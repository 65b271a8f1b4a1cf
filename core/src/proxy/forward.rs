//! The forward proxy, for apps that are told of it by `http_proxy`: what leads
//! to a service is authorised as ever, everything else is relayed blindly and
//! without a token, so that the rest of the app's world goes on working.

use super::Shared;
use super::error::ProxyError;
use crate::http1::{TargetForm, split_authority};
use crate::names::{Refusal, Target};
use crate::net::{Moment, Secure, Stream};
use std::sync::Arc;

/// What becomes of a request.
pub(super) enum Way {
    /// It goes on to this service.
    Service(Arc<Target>),
    /// It is relayed to a host that is no service.
    Elsewhere(Arc<Target>),
    /// CONNECT to a service: the connection begins again, drawn through.
    Draw,
    /// CONNECT to elsewhere.
    Tunnel(Stream),
}

/// Finds the way for a request by the form of its target and its authority;
/// `page`: whether a web page is behind it, which gets no identity of ours; `at`:
/// as in [`Shared::target`].
pub(super) async fn way(
    shared: &Arc<Shared>,
    form: TargetForm,
    authority: &str,
    page: bool,
    at: &mut Moment,
) -> Result<Way, Box<ProxyError>> {
    let (host, port) = split_authority(authority);
    match form {
        TargetForm::Authority if !shared.config.forward => Err(Box::new(ProxyError::Connect)),
        TargetForm::Authority if is_ours(shared, host, port) => {
            shared.target(host, at).await.map(|_| Way::Draw)
        }
        TargetForm::Authority => {
            let dial = shared.dialer.dial(host, port.unwrap_or(443), Secure::No);
            let dialled = Box::pin(dial).await;
            let failed = |cause| ProxyError::Dial { name: authority.to_owned(), cause };
            let failed = |cause| Box::new(elsewhere_failed(shared, authority, failed(cause)));
            dialled.map(|connected| Way::Tunnel(connected.stream)).map_err(failed)
        }
        TargetForm::Absolute if shared.config.forward && !is_ours(shared, host, port) => {
            Ok(Way::Elsewhere(Arc::new(elsewhere(authority, host, port))))
        }
        _ if page => Err(Box::new(ProxyError::Page)),
        TargetForm::Absolute | TargetForm::Origin | TargetForm::Asterisk => {
            shared.target(host, at).await.map(Way::Service)
        }
    }
}

/// Names of services on the port of `http://`; a name that is refused for what
/// it is, and not for where it leads, belongs to somebody else.
fn is_ours(shared: &Shared, host: &str, port: Option<u16>) -> bool {
    port.unwrap_or(80) == 80 && names_a_service(shared, host)
}

fn names_a_service(shared: &Shared, host: &str) -> bool {
    let found = shared.directory.target(host);
    !matches!(found, Err(Refusal::Name { .. } | Refusal::Reserved { .. }))
}

/// What `error` is where `authority` is no service.
pub(super) fn elsewhere_failed(shared: &Shared, authority: &str, error: ProxyError) -> ProxyError {
    let (host, _) = split_authority(authority);
    error.elsewhere(names_a_service(shared, host))
}

/// A host that is no service: in the clear, as the app asked, with no token.
fn elsewhere(authority: &str, host: &str, port: Option<u16>) -> Target {
    Target {
        name: authority.to_owned(),
        host: host.to_owned(),
        port: port.unwrap_or(80),
        tls: false,
        authority: authority.to_owned(),
        audience: None,
    }
}

/// The answer to a CONNECT that succeeded (RFC 9110 §9.3.6).
pub(super) fn accept_connect(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n\r\n");
}
