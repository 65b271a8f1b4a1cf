//! Leaving in order: everything at work holds a token, and the drain counts them.
//!
//! The two halves of a drain have duties: the [`Drain`] says first "take no new
//! work", then "leave at once"; a holder of a [`Token`] finishes its exchange
//! after the first and may be dropped anywhere after the second.

use super::time::deadline;
use async_channel::{Receiver, Sender};
use std::sync::Arc;
use std::time::Duration;

/// The half that tells.
#[derive(Debug)]
pub struct Drain {
    draining: Sender<()>,
    aborting: Sender<()>,
    /// Closed when the last token has gone.
    gone: Receiver<()>,
    token: Token,
}

/// The half that is told; whoever holds one is counted.
#[derive(Clone, Debug)]
pub struct Token {
    draining: Receiver<()>,
    aborting: Receiver<()>,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held(#[allow(dead_code, reason = "dropping it is what it is for")] Sender<()>);

impl Default for Drain {
    fn default() -> Drain {
        let (draining, is_draining) = async_channel::bounded(1);
        let (aborting, is_aborting) = async_channel::bounded(1);
        let (held, gone) = async_channel::bounded(1);
        let token =
            Token { draining: is_draining, aborting: is_aborting, held: Arc::new(Held(held)) };
        Drain { draining, aborting, gone, token }
    }
}

impl Drain {
    /// A token for one more piece of work.
    pub fn token(&self) -> Token {
        self.token.clone()
    }

    /// How many tokens are held.
    pub fn held(&self) -> usize {
        Arc::strong_count(&self.token.held) - 1
    }

    /// Says "take no new work".
    pub fn start(&self) {
        self.draining.close();
    }

    /// Waits at most `time` for the tokens to be given back, then says "leave
    /// at once", waits for that too, and reports how many had to be told.
    pub async fn finish(self, time: Duration) -> usize {
        let Drain { draining, aborting, gone, token } = self;
        draining.close();
        let held = Arc::downgrade(&token.held);
        drop(token);
        let _ = deadline(time, gone.recv()).await;
        let left = held.strong_count();
        aborting.close();
        let _ = gone.recv().await;
        left
    }
}

impl Token {
    /// Whether new work must be refused.
    pub fn is_draining(&self) -> bool {
        self.draining.is_closed()
    }

    /// Ends when new work must be refused.
    pub async fn draining(&self) {
        let _ = self.draining.recv().await;
    }

    /// Ends when the holder must leave at once.
    pub async fn aborting(&self) {
        let _ = self.aborting.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_waits_for_what_is_at_work_and_counts_what_stays() {
        let drain = Drain::default();
        let (quick, slow) = (drain.token(), drain.token());
        assert_eq!(drain.held(), 2);
        assert!(!quick.is_draining());
        let quick = async {
            quick.draining().await;
            drop(quick);
            usize::MAX
        };
        let slow = async {
            slow.aborting().await;
            drop(slow);
            usize::MAX
        };
        let work = futures_lite::future::zip(quick, slow);
        let (left, _) = async_io::block_on(futures_lite::future::zip(
            drain.finish(Duration::from_millis(5)),
            work,
        ));
        assert_eq!(left, 1);
    }

    #[test]
    fn a_drain_without_work_ends_at_once() {
        assert_eq!(async_io::block_on(Drain::default().finish(Duration::from_secs(60))), 0);
    }
}
