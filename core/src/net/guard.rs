//! The wrapper itself: a future whose panics end it alone, whether it panics
//! when it is polled, when it is dropped at its end or when it is given up.

use super::tasks::{Panicked, Tasks};
use pin_project_lite::pin_project;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Runs a future to its end, or to its panic, which it counts and logs.
    ///
    /// The future is dropped in here: the executor takes a panic at the end of
    /// a task for its outcome, which nobody asks for, and one while a task is
    /// given up ends the whole process.
    pub struct Guarded<'a, F> {
        tasks: &'a Tasks,
        what: &'static str,
        // None once it has ended.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Guarded<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            // Nobody hears of what a future that was given up has come to.
            let _ = this.give_up();
        }
    }
}

impl<'a, F> Guarded<'a, F> {
    pub(super) fn new(tasks: &'a Tasks, what: &'static str, future: F) -> Guarded<'a, F> {
        Guarded { tasks, what, future: Some(future) }
    }

    /// Drops the future where it is.
    fn give_up(self: Pin<&mut Self>) -> Result<(), Panicked> {
        let mut this = self.project();
        catch_unwind(AssertUnwindSafe(|| this.future.set(None)))
            .map_err(|cause| this.tasks.panicked(this.what, &*cause))
    }
}

impl<F: Future> Future for Guarded<'_, F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
        let ended = match polled {
            Ok(polled) => Ok(ready!(polled)),
            Err(cause) => Err(this.tasks.panicked(this.what, &*cause)),
        };
        let dropped = self.give_up();
        Poll::Ready(ended.and_then(|output| dropped.map(|()| output)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Executing;
    use crate::telemetry::{Level, Log, Record, Sink};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    /// Ends at once with this, or never; and panics when it is dropped.
    struct Trap<T>(Option<T>);

    impl<T: Unpin> Future for Trap<T> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
            self.0.take().map_or(Poll::Pending, Poll::Ready)
        }
    }

    impl<T> Drop for Trap<T> {
        fn drop(&mut self) {
            panic!("sprung on purpose");
        }
    }

    /// An executor, why it failed, and what its log says.
    fn executing() -> (Executing, async_channel::Receiver<String>, Arc<Mutex<Vec<String>>>) {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let (failed, heard) = async_channel::bounded(1);
        let telling = told.clone();
        let say = move |record: &Record<'_>| telling.lock().unwrap().push(record.message.into());
        let log = Log::new(Level::Error, Sink::Callback(Box::new(say)), Instant::now);
        (Executing::new(log, Arc::default(), failed).unwrap(), heard, told)
    }

    #[track_caller]
    fn told_once(told: &Mutex<Vec<String>>, what: &str) {
        let told = told.lock().unwrap();
        let expected = format!("internal error in {what}: sprung on purpose; please report it");
        assert_eq!(*told, [expected]);
    }

    #[test]
    fn a_panic_at_the_end_of_a_task_is_told_and_others_go_on() {
        let (executing, heard, told) = executing();
        let tasks = executing.tasks();
        let (send, receive) = async_channel::bounded::<u8>(1);
        tasks.spawn("the one that panics", Trap(Some(())));
        tasks.spawn("the one that goes on", async move {
            let _ = send.send(7).await;
        });
        assert_eq!(executing.run(receive.recv()), Ok(7));
        assert_eq!(tasks.counters().panics.get(), 1);
        told_once(&told, "the one that panics");
        assert!(heard.is_empty(), "no part that is needed");
    }

    #[test]
    fn a_panic_of_a_task_that_is_given_up_does_not_end_the_process() {
        let (executing, _heard, told) = executing();
        let tasks = executing.tasks();
        tasks.spawn("one that waits for ever", Trap(None));
        executing.run(futures_lite::future::yield_now());
        drop(executing);
        assert_eq!(tasks.counters().panics.get(), 1);
        told_once(&told, "one that waits for ever");
    }

    #[test]
    fn a_vital_task_that_panics_at_its_end_is_told() {
        let (executing, heard, told) = executing();
        executing.tasks().spawn_vital("the listener", Trap(Some("unheard".to_owned())));
        let cause = "the listener ended: an internal error, which has been logged";
        assert_eq!(executing.run(heard.recv()).unwrap(), cause);
        told_once(&told, "the listener");
    }

    #[test]
    fn an_exchange_that_panics_at_its_end_leaves_its_task_alone() {
        let (executing, _heard, told) = executing();
        let tasks = executing.tasks();
        let ended = executing.run(tasks.guard("the exchange", Trap(Some(()))));
        assert_eq!(ended, Err(Panicked));
        assert_eq!(tasks.counters().panics.get(), 1);
        told_once(&told, "the exchange");
    }
}
