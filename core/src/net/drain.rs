//! Leaving in order: everything at work holds a token, and the drain counts them.
//!
//! The two halves of a drain have duties: the [`Drain`] says first "take no new
//! work", then "leave at once"; a holder of a [`Token`] finishes its exchange
//! after the first and goes after the second. A [`Watch`] hears the same and is
//! not counted: listeners hold one, and get a token for each piece of work.

use super::time::deadline;
use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use futures_lite::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// The half that tells.
#[derive(Debug)]
pub struct Drain {
    draining: Sender<()>,
    aborting: Sender<()>,
    /// Closed when the last token has gone.
    gone: Receiver<()>,
    held: Arc<Held>,
    watch: Watch,
    hurry: Hurry,
    hurried: Receiver<Instant>,
}

/// Shortens a drain that is under way.
#[derive(Clone, Debug)]
pub struct Hurry(Sender<Instant>);

impl Hurry {
    /// The drain is to end after `time` from now, if that is sooner than it
    /// would. Does not block.
    pub fn within(&self, time: Duration) {
        if let Some(until) = Instant::now().checked_add(time) {
            // A drain that has ended has nothing left to shorten.
            let _ = self.0.try_send(until);
        }
    }
}

/// Hears what the drain says.
#[derive(Clone, Debug)]
pub struct Watch {
    draining: Receiver<()>,
    aborting: Receiver<()>,
    held: Weak<Held>,
}

/// One piece of work that is counted.
#[derive(Debug)]
pub struct Token(#[allow(dead_code, reason = "dropping it is what it is for")] Option<Arc<Held>>);

#[derive(Debug)]
struct Held(#[allow(dead_code, reason = "dropping it is what it is for")] Sender<()>);

impl Default for Drain {
    fn default() -> Drain {
        let (draining, is_draining) = async_channel::bounded(1);
        let (aborting, is_aborting) = async_channel::bounded(1);
        let (sender, gone) = async_channel::bounded(1);
        let held = Arc::new(Held(sender));
        let watch =
            Watch { draining: is_draining, aborting: is_aborting, held: Arc::downgrade(&held) };
        let (hurry, hurried) = async_channel::unbounded();
        Drain { draining, aborting, gone, held, watch, hurry: Hurry(hurry), hurried }
    }
}

impl Drain {
    /// A handle that hears what is said.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// The means to shorten it.
    pub fn hurry(&self) -> Hurry {
        self.hurry.clone()
    }

    /// How many tokens are held.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        Arc::strong_count(&self.held) - 1
    }

    /// Says "take no new work".
    #[cfg(test)]
    pub fn start(&self) {
        self.draining.close();
    }

    /// Waits at most `time` for the tokens to be given back, then says "leave
    /// at once", waits for that too, and reports how many had to be told.
    pub async fn finish(self, time: Duration) -> usize {
        let Drain { draining, aborting, gone, held, watch: _, hurry: _kept, hurried } = self;
        draining.close();
        let held = {
            let left = Arc::downgrade(&held);
            drop(held);
            left
        };
        let mut until = Instant::now().checked_add(time);
        let all_gone = async || gone.recv().await.ok().and(None);
        let shortened = async || hurried.recv().await.ok();
        loop {
            let left = until
                .map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match deadline(left, all_gone().or(shortened())).await {
                Ok(Some(sooner)) => {
                    until = until.map_or(Some(sooner), |until| Some(until.min(sooner)))
                }
                Ok(None) | Err(_) => break,
            }
        }
        let left = held.strong_count();
        aborting.close();
        let _ = gone.recv().await;
        left
    }
}

impl Watch {
    /// A token for one more piece of work.
    pub fn token(&self) -> Token {
        Token(self.held.upgrade())
    }

    /// Whether new work must be refused.
    pub fn is_draining(&self) -> bool {
        self.draining.is_closed()
    }

    /// Ends when new work must be refused.
    pub fn draining(&self) -> impl Future<Output = ()> {
        closed(&self.draining)
    }

    /// Ends when work under way must be left at once.
    pub fn aborting(&self) -> impl Future<Output = ()> {
        closed(&self.aborting)
    }
}

/// Ends when `said` has been closed; nothing is ever sent there. Each turn of
/// each connection asks, and a task that is going to be woken needs no more than
/// a look at the flag, which is set before anybody is woken.
async fn closed(said: &Receiver<()>) {
    let mut closing = pin!(said.recv());
    let mut known: Option<Waker> = None;
    poll_fn(|context| {
        let waker = context.waker();
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) && !said.is_closed() {
            return Poll::Pending;
        }
        known = Some(waker.clone());
        closing.as_mut().poll(context).map(drop)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::block_on;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::task::{Context, Wake};

    #[test]
    fn a_drain_waits_for_what_is_at_work_and_counts_what_stays() {
        let drain = Drain::default();
        let watch = drain.watch();
        let (quick, slow) = (watch.token(), watch.token());
        assert_eq!(drain.held(), 2);
        assert!(!watch.is_draining());
        let quick = async {
            watch.draining().await;
            drop(quick);
            usize::MAX
        };
        let slow = async {
            watch.aborting().await;
            drop(slow);
            usize::MAX
        };
        let work = futures_lite::future::zip(quick, slow);
        let (left, _) =
            block_on(futures_lite::future::zip(drain.finish(Duration::from_millis(5)), work));
        assert_eq!(left, 1);
    }

    #[test]
    fn a_drain_can_be_shortened_and_never_lengthened() {
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let drain = Drain::default();
        let (hurry, watch) = (drain.hurry(), drain.watch());
        let token = watch.token();
        hurry.within(second);
        hurry.within(hour);
        hurry.within(Duration::ZERO);
        let work = async {
            watch.aborting().await;
            drop(token);
        };
        let start = Instant::now();
        let left = async_io::block_on(futures_lite::future::zip(drain.finish(hour), work)).0;
        assert_eq!(left, 1);
        assert!(start.elapsed() < hour / 100);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn whoever_asked_last_is_woken_however_often_it_asked() {
        let drain = Drain::default();
        let watch = drain.watch();
        let mut waiting = pin!(watch.aborting());
        let (first, last) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let wakers = [&first, &last].map(|woken| Waker::from(woken.clone()));
        for waker in wakers.iter().flat_map(|waker| [waker, waker, waker]) {
            assert!(waiting.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        drain.aborting.close();
        assert_eq!((first.0.load(SeqCst), last.0.load(SeqCst)), (0, 1));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_ready());
    }

    #[test]
    fn a_drain_without_work_ends_at_once_whoever_watches() {
        let drain = Drain::default();
        let _watch = drain.watch();
        assert_eq!(block_on(drain.finish(Duration::from_secs(60))), 0);
    }
}
