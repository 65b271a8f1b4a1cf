//! The handles of engines: numbers in the dress of pointers, never used twice.
//!
//! Nobody follows them, so one that has been freed is recognised for what it
//! is, however long ago that was, and a free may race with any other call: each
//! call holds the engine itself for as long as it takes.

use crate::engine::runsd_engine;
use crate::error::Failure;
use runsd::Engine;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The engines that have not been freed, and the number of the next one.
struct Table {
    engines: BTreeMap<usize, Engine>,
    next: usize,
}

/// No number that a program makes up by mistake, such as NULL and an offset.
const FIRST: usize = 1 << 20;
/// Aligned, as what an allocator gives.
const STEP: usize = 16;

static TABLE: Mutex<Table> = Mutex::new(Table { engines: BTreeMap::new(), next: FIRST });

/// The table; `None` in a child that was forked while another thread had it.
fn table() -> Option<MutexGuard<'static, Table>> {
    if Engine::forked_from().is_none() {
        return Some(TABLE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    match TABLE.try_lock() {
        Ok(table) => Some(table),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Gives an engine a handle.
pub(crate) fn insert(engine: Engine) -> Result<*mut runsd_engine, Failure> {
    let mut table = table().ok_or_else(Failure::forked)?;
    let handle = table.next;
    table.next += STEP;
    table.engines.insert(handle, engine);
    Ok(std::ptr::without_provenance_mut(handle))
}

/// The engine of a handle.
///
/// # Errors
/// `RUNSD_E_NULL`, or `RUNSD_E_STATE` if it has been freed.
pub(crate) fn engine(handle: *const runsd_engine) -> Result<Engine, Failure> {
    if handle.is_null() {
        return Err(Failure::null("engine"));
    }
    let table = table().ok_or_else(Failure::forked)?;
    table.engines.get(&handle.addr()).cloned().ok_or_else(Failure::freed)
}

/// Stops the engine of a handle at once, and forgets the handle.
pub(crate) fn free(handle: *const runsd_engine) {
    // In a child all of it is the parent's.
    if Engine::forked_from().is_some() {
        return;
    }
    let engine = table().and_then(|mut table| table.engines.remove(&handle.addr()));
    if let Some(engine) = engine {
        engine.close();
    }
}
