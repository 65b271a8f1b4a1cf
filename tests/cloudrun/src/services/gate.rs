//! Gates: a service stops at one until somebody opens it.
//!
//! Owns how often each name was opened. `gate?id=NAME` opens one for a client
//! (an acknowledgement), [`crate::Front::open`] for a test; services wait at one
//! where their query says so.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::front::exchange::Exchange;

/// All gates of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Gates {
    fn at(&self, name: &str) -> Arc<Semaphore> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
    }

    /// Lets one waiter through, now or when it comes.
    pub(crate) fn open(&self, name: &str) {
        self.at(name).add_permits(1);
    }

    /// Waits for one opening.
    pub(crate) async fn pass(&self, name: &str) {
        // It is never closed.
        if let Ok(permit) = self.at(name).acquire().await {
            permit.forget();
        }
    }
}

/// `gate?id=NAME`: opens it once.
pub(super) async fn run(exchange: &mut Exchange<'_>) -> io::Result<()> {
    let name = exchange.call.parameter("id").unwrap_or_default();
    exchange.gates().open(&name);
    exchange.full(204, &[], b"").await
}
