//! The border: what every export does before and after its own work.

use crate::error::{Failure, runsd_error};
use crate::status::{self, Status};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs an export that can fail; a failure goes to `error`, if that is given.
///
/// # Safety
/// `error` is NULL or points to writable memory for one pointer.
pub(crate) unsafe fn fallible(
    error: *mut *mut runsd_error,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Status {
    let done = catch_unwind(AssertUnwindSafe(work));
    let failure = match done {
        Ok(Ok(())) => return status::RUNSD_OK,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::panic(),
    };
    let code = failure.code();
    if !error.is_null() {
        // SAFETY: not NULL, so writable by this function's contract; the old
        // value is the caller's and is not read.
        unsafe { error.write(Box::into_raw(Box::new(runsd_error::from(failure)))) };
    }
    code
}

/// Runs an export that cannot fail; `otherwise` stands for a panic.
pub(crate) fn infallible<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

/// Borrows what a caller's pointer points to.
///
/// # Errors
/// `RUNSD_E_NULL` that names `what`.
///
/// # Safety
/// `pointer` is NULL or valid for `'a`.
pub(crate) unsafe fn borrow<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: NULL or valid by this function's contract.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(what))
}

/// Copies a caller's string.
///
/// # Errors
/// `RUNSD_E_NULL` or `RUNSD_E_UTF8` that names `what`.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated string.
pub(crate) unsafe fn text(pointer: *const c_char, what: &str) -> Result<String, Failure> {
    if pointer.is_null() {
        return Err(Failure::null(what));
    }
    // SAFETY: not NULL, and NUL-terminated by this function's contract.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map(str::to_owned).map_err(|_| Failure::utf8(what))
}

/// The part of a structure that a caller was compiled with: as much of `value`
/// as `size` says, so that a program that knows fewer fields gets those.
///
/// # Safety
/// `out` is NULL or has `size` writable bytes, and begins with that `size`.
pub(crate) unsafe fn fill<T: Copy>(out: *mut T, size: usize, value: &T) {
    let bytes = size.min(size_of::<T>());
    let skip = size_of::<usize>();
    if let Some(length) = bytes.checked_sub(skip)
        && !out.is_null()
    {
        let from = std::ptr::from_ref(value).cast::<u8>();
        // SAFETY: both have `bytes` bytes, by this function's contract and by
        // the minimum above; the size itself stays the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from.add(skip), out.cast::<u8>().add(skip), length) }
    }
}

/// Takes back what [`Box::into_raw`] gave to a caller, and drops it.
///
/// # Safety
/// `pointer` is NULL or came from `Box::into_raw` and is not used again.
pub(crate) unsafe fn free<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: from `Box::into_raw`, and given up, by this function's contract.
        let owned = unsafe { Box::from_raw(pointer) };
        infallible((), move || drop(owned));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{runsd_error_code, runsd_error_free};

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_becomes_a_status_and_an_error() {
        let mut error = std::ptr::null_mut();
        // SAFETY: one writable pointer, and then NULL.
        let codes = unsafe {
            let work = || -> Result<(), Failure> { panic!("on purpose") };
            [fallible(&raw mut error, work), fallible(std::ptr::null_mut(), work)]
        };
        assert_eq!(codes, [status::RUNSD_E_PANIC; 2]);
        // SAFETY: the error that was just written, freed once.
        unsafe {
            assert_eq!(runsd_error_code(error), status::RUNSD_E_PANIC);
            runsd_error_free(error);
        }
    }

    #[test]
    fn a_panic_where_nothing_can_fail_ends_there() {
        assert_eq!(infallible(7, || panic!("on purpose")), 7);
        let owned = Box::into_raw(Box::new(PanicsWhenDropped));
        // SAFETY: from `Box::into_raw`, and given up.
        unsafe { free(owned) };
    }

    #[test]
    fn a_structure_is_filled_as_far_as_its_caller_knows_it() {
        #[derive(Clone, Copy)]
        #[repr(C)]
        struct Counts {
            size: usize,
            first: u64,
            second: u64,
        }
        let value = Counts { size: 0, first: 1, second: 2 };
        for (size, expected) in [(0, (7, 7)), (8, (7, 7)), (16, (1, 7)), (24, (1, 2)), (99, (1, 2))]
        {
            let mut out = Counts { size, first: 7, second: 7 };
            // SAFETY: writable, and never further than it goes.
            unsafe { fill(&raw mut out, size, &value) };
            assert_eq!((out.size, (out.first, out.second)), (size, expected));
        }
    }
}
