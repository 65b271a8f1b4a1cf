//! Where the last panic of a thread was: the hook knows it, and the wrapper
//! around tasks, which says what the panic ended, does not.

use std::cell::RefCell;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether panics of this thread are told by the wrapper around its tasks.
#[cfg(feature = "cli")]
pub(crate) fn is_engine_thread() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("runsd-"))
}

/// Notes where a panic has just been.
#[cfg(feature = "cli")]
pub(crate) fn note_panic(place: Option<&std::panic::Location<'_>>) {
    PLACE.with_borrow_mut(|noted| *noted = place.map(ToString::to_string));
}

/// Where the last panic of this thread was, if a hook has noted it: ` at FILE:LINE`.
pub(crate) fn last_panic() -> String {
    let place = PLACE.with_borrow_mut(Option::take);
    place.map(|place| format!(" at {place}")).unwrap_or_default()
}
