//! The care of COMMAND: that it begins as if it had been started directly, gets
//! every signal, keeps its terminal, and leaves its own exit code and no zombies.
//!
//! It owns the child process and this process' signals; it must not know what
//! runs beside the child, of which it learns through an [`Alarm`] alone.
//! `cli::run` calls it, on the main thread: the kernel ties a child's life to
//! the thread that forked it.

mod environment;
mod exit;
mod spawn;
mod supervise;
mod terminal;
mod user;

pub(super) use crate::sys::{give_signals_back, raise_open_files, take_over_signals};
pub(super) use exit::Code;
pub(super) use spawn::{Child, Plan, replace_this_process};
pub(super) use supervise::{Alarm, supervise, wait_until_told};
pub(super) use user::Identity;
