//! When a request that failed is sent once more, and when its failure stands.

use super::app::{AppSide, unless_gone};
use super::call::{Call, Failure};
use crate::proxy::pool::Lease;
use http::Response;

/// Why an attempt brought no response.
#[derive(Debug)]
pub(in crate::proxy) struct NoResponse {
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

impl From<Failure> for NoResponse {
    fn from(failure: Failure) -> NoResponse {
        NoResponse { failure, again: Again::No }
    }
}

/// What the attempts at one request have used up.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Attempts {
    retried: bool,
    renewed: bool,
    avoid: Option<Lease>,
}

impl Attempts {
    /// The connection that the next attempt must not take.
    pub(in crate::proxy) fn avoid(&mut self) -> Option<Lease> {
        self.avoid.take()
    }

    /// Prepares another attempt.
    ///
    /// # Errors
    /// The [`Failure`], where there must be none.
    pub(in crate::proxy) fn another(
        &mut self,
        none: NoResponse,
        app: &mut impl AppSide,
    ) -> Result<(), Failure> {
        let NoResponse { failure, again } = none;
        match again {
            _ if !app.can_rewind() => return Err(failure),
            // Each time, one connection has left the pool.
            Again::Unsent => {}
            Again::Once | Again::Elsewhere(_) if self.retried => return Err(failure),
            Again::No => return Err(failure),
            Again::Once => self.retried = true,
            Again::Elsewhere(lease) => (self.retried, self.avoid) = (true, Some(lease)),
        }
        app.rewind();
        Ok(())
    }

    /// Whether `head` refuses our token and another attempt with a new one is
    /// prepared.
    ///
    /// # Errors
    /// [`Failure::Gone`]
    pub(in crate::proxy) async fn renews(
        &mut self,
        call: &mut Call<'_>,
        head: &Response<()>,
        app: &mut impl AppSide,
    ) -> Result<bool, Failure> {
        if self.renewed || !app.can_rewind() || !unless_gone(app, call.renew(head)).await? {
            return Ok(false);
        }
        self.renewed = true;
        app.rewind();
        Ok(true)
    }
}
