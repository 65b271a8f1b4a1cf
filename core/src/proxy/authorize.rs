//! From a host that an app named to a target and the token for it. Usually two
//! map reads; only the first request of a name waits.

use super::Shared;
use super::error::ProxyError;
use super::limits::SETTLE;
use crate::auth::IdToken;
use crate::names::{Refusal, Target};
use std::sync::Arc;

impl Shared {
    /// Where `host` leads; waits for a while if we do not know yet where we are.
    pub(super) async fn target(&self, host: &str) -> Result<Arc<Target>, ProxyError> {
        match self.directory.target(host) {
            Err(Refusal::Unsettled { .. }) => {
                let _ = self.timers.deadline(SETTLE, self.directory.settled()).await;
                self.directory.target(host).map_err(ProxyError::Refused)
            }
            found => found.map_err(ProxyError::Refused),
        }
    }

    /// The token to send to `target`; `None` where none is sent. One never goes
    /// out in the clear.
    pub(super) async fn token(&self, target: &Target) -> Result<Option<Arc<IdToken>>, ProxyError> {
        let Some(audience) = target.audience.as_deref().filter(|_| target.tls) else {
            return Ok(None);
        };
        if let Some(token) = self.tokens.ready(audience) {
            return Ok(Some(token));
        }
        let fetched = self.tokens.token(audience).await;
        fetched.map(Some).map_err(|cause| ProxyError::Token { host: target.host.clone(), cause })
    }
}
