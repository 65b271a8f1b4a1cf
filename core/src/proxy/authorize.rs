//! From a host that an app named to a target and the token for it. Usually two
//! map reads; only the first request of a name waits.

use super::Shared;
use super::error::ProxyError;
use super::limits::SETTLE;
use crate::auth::IdToken;
use crate::names::{Refusal, Target};
use crate::net::Moment;
use std::sync::Arc;

impl Shared {
    /// Where `host` leads; waits for a while if we do not know yet where we are,
    /// and takes the moment `at` anew after that.
    pub(super) async fn target(
        &self,
        host: &str,
        at: &mut Moment,
    ) -> Result<Arc<Target>, Box<ProxyError>> {
        let refusal = match self.directory.target(host) {
            Ok(target) => return Ok(target),
            Err(refusal) => refusal,
        };
        if !matches!(refusal, Refusal::Unsettled { .. }) {
            return Err(Box::new(ProxyError::Refused(refusal)));
        }
        // Boxed: it is seldom, and every request would carry the room for it.
        let settled = Box::pin(self.timers.deadline(SETTLE, self.directory.settled()));
        let _ = settled.await;
        *at = self.timers.moment();
        self.directory.target(host).map_err(|refusal| Box::new(ProxyError::Refused(refusal)))
    }

    /// The token to send to `target`; `None` where none is sent. One never goes
    /// out in the clear. Waits as [`Shared::target`] does.
    pub(super) async fn token(
        &self,
        target: &Target,
        at: &mut Moment,
    ) -> Result<Option<Arc<IdToken>>, Box<ProxyError>> {
        let Some(audience) = target.audience.as_deref().filter(|_| target.tls) else {
            return Ok(None);
        };
        if let Some(token) = self.tokens.ready(audience, *at) {
            return Ok(Some(token));
        }
        let fetched = self.tokens.token(audience).await;
        *at = self.timers.moment();
        fetched.map(Some).map_err(|cause| {
            let host = target.host.clone();
            Box::new(ProxyError::Token { host, cause })
        })
    }
}
