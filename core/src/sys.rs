//! The system calls that the standard library does not offer, each behind a
//! safe and typed function; the only file of this package with `unsafe`.
//!
//! It owns the translation to and from the kernel's types, and what the process
//! inherited before `main`; it must not know any other room, and decides
//! nothing. The engine calls it to spawn threads, `cli::process` for the rest.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;

/// Runs `f` with every asynchronous signal blocked in this thread, so that the
/// threads which `f` spawns never take a signal that is meant for the program.
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set was filled in by pthread_sigmask below.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
        }
    }
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the first set, and pthread_sigmask, which
    // cannot fail with these arguments, the second. libc's own signals stay
    // open, which a set*id call of the embedding program depends on.
    let _restore = unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in signals::SYNCHRONOUS {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
        Restore(before.assume_init())
    };
    f()
}

mod datagrams;
mod fork;
#[cfg(feature = "cli")]
mod inherited;
mod panics;
#[cfg(feature = "cli")]
mod report;
mod signals;
mod socket;

pub(crate) use datagrams::{
    MOST as MOST_DATAGRAMS, Slot, force_receive_buffer, receive_many, send_many,
};
#[cfg(feature = "cli")]
pub(crate) use fork::Pid;
pub(crate) use fork::{claim_process, forget, forked_from, remember};
pub(crate) use panics::last_panic;
#[cfg(feature = "cli")]
pub(crate) use panics::{is_engine_thread, note_panic};
pub(crate) use socket::{HungUp, hung_up, most_descriptors};

#[cfg(feature = "cli")]
pub(crate) use {
    process::*,
    report::{Change, Fault, Step},
    signals::Signal,
};

/// What only a program of its own may do: its process, its children, its terminal.
#[cfg(feature = "cli")]
mod process {
    use super::report::{Change, Fault, Step};
    use super::signals::{ASYNCHRONOUS, Signal, SignalSet};
    use super::{Pid, inherited};
    use libc::{c_char, c_int, c_long, c_ulong};
    use std::ffi::{CStr, CString};
    use std::io::{self, Read};
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;
    use std::ptr;
    use std::time::Duration;

    fn checked(result: c_long) -> io::Result<c_long> {
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// Blocks every asynchronous signal in this thread and in the threads it
    /// spawns from now on; [`next_signal`] takes them. A parent that ignored
    /// SIGCHLD is overruled, since it would lose the exit codes of children.
    pub(crate) fn take_over_signals() {
        inherited::set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        set_mask(libc::SIG_BLOCK, ASYNCHRONOUS);
    }

    /// Takes [`take_over_signals`] back for this thread.
    pub(crate) fn give_signals_back() {
        inherited::restore_mask();
    }

    pub(super) fn set_mask(how: c_int, set: SignalSet) -> SignalSet {
        let mut before: SignalSet = 0;
        // SAFETY: both pointers are to sets of the size that is given.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                how,
                &raw const set,
                &raw mut before,
                size_of::<SignalSet>(),
            )
        };
        before
    }

    /// Waits for a signal that [`take_over_signals`] blocked. `None` after
    /// `timeout`, or earlier when this process was stopped and continued.
    pub(crate) fn next_signal(timeout: Option<Duration>) -> Option<Signal> {
        let set = ASYNCHRONOUS;
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: c_long::from(timeout.subsec_nanos()),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the set has the size that is given, the limit is null or
        // outlives the call, and the kernel fills in the info.
        let number = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const set,
                info.as_mut_ptr(),
                limit,
                size_of::<SignalSet>(),
            )
        };
        let number = c_int::try_from(number).ok().filter(|number| *number > 0)?;
        // SAFETY: zeroed, then filled in; every bit pattern is a valid siginfo_t.
        let info = unsafe { info.assume_init() };
        let sent = info.si_code <= libc::SI_USER;
        // SAFETY: a signal that was sent carries its sender's id.
        let by_ourselves = sent && unsafe { info.si_pid() } == own_pid();
        Some(Signal { number, by_kernel: info.si_code == libc::SI_KERNEL, by_ourselves })
    }

    /// The id of this process.
    pub(crate) fn own_pid() -> Pid {
        // SAFETY: no arguments, cannot fail.
        unsafe { libc::getpid() }
    }

    /// The process group of this process.
    pub(crate) fn own_group() -> Pid {
        // SAFETY: no arguments, cannot fail.
        unsafe { libc::getpgrp() }
    }

    /// Whether this process leads its session, so that no shell controls its jobs.
    pub(crate) fn leads_session() -> bool {
        // SAFETY: no memory is passed.
        unsafe { libc::getsid(0) == libc::getpid() }
    }

    /// The user and the group that this process acts as.
    pub(crate) fn effective_ids() -> (u32, u32) {
        // SAFETY: no arguments, cannot fail.
        unsafe { (libc::geteuid(), libc::getegid()) }
    }

    /// Sends a signal to a process, to a group as a negative id, or to one's
    /// own group as 0.
    pub(crate) fn send(to: Pid, signal: c_int) -> io::Result<()> {
        // SAFETY: no memory is passed.
        checked(c_long::from(unsafe { libc::kill(to, signal) })).map(drop)
    }

    /// Whether the orphans among this process's descendants become its
    /// children; says what held before. Outlives exec.
    pub(crate) fn adopt_orphans(adopt: bool) -> io::Result<bool> {
        let mut before: c_int = 0;
        // SAFETY: this option writes one int where it is pointed to.
        let result = unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut before) };
        checked(c_long::from(result))?;
        // SAFETY: this option takes one number.
        let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, c_ulong::from(adopt)) };
        checked(c_long::from(result))?;
        Ok(before != 0)
    }

    /// Raises the limit of open files as far as the kernel permits without
    /// privileges. Children get the inherited limit again.
    pub(crate) fn raise_open_files() {
        let (soft, hard) = inherited::open_files();
        if soft < hard {
            set_open_files((hard, hard));
        }
    }

    pub(super) fn set_open_files((soft, hard): (libc::rlim_t, libc::rlim_t)) -> bool {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the limit outlives the call.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
    }

    /// The next child with news, ours or adopted; `None` if there is no news.
    /// A child that ended is reaped by this. Does not block.
    pub(crate) fn next_change() -> Option<(Pid, Change)> {
        loop {
            let mut status = 0;
            // SAFETY: the status outlives the call.
            let pid =
                unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
            if pid <= 0 {
                return None;
            }
            if let Some(change) = Change::of(status) {
                return Some((pid, change));
            }
        }
    }

    /// The group in the foreground of the terminal on standard input; `None`
    /// if that is not the terminal which controls this process.
    pub(crate) fn foreground() -> Option<Pid> {
        // SAFETY: no memory is passed.
        Some(unsafe { libc::tcgetpgrp(0) }).filter(|group| *group != -1)
    }

    /// Puts a group into the foreground of the terminal on standard input.
    /// SIGTTOU must be blocked if this process is in the background.
    pub(crate) fn set_foreground(group: Pid) -> io::Result<()> {
        // SAFETY: no memory is passed.
        checked(c_long::from(unsafe { libc::tcsetpgrp(0, group) })).map(drop)
    }

    /// The environment as it is in memory: entries without `=` and repeated
    /// ones too. Only the main thread may call it, while no other thread
    /// changes the environment.
    pub(crate) fn environment() -> Vec<CString> {
        unsafe extern "C" {
            static environ: *const *const c_char;
        }
        let mut entries = Vec::new();
        // SAFETY: environ is null or an array of C strings with a null at its
        // end, and nothing in this program ever changes it.
        unsafe {
            let mut next = environ;
            while !next.is_null() && !(*next).is_null() {
                entries.push(CStr::from_ptr(*next).to_owned());
                next = next.add(1);
            }
        }
        entries
    }

    /// C strings and the null-terminated array of pointers to them.
    struct Strings {
        pointers: Vec<*const c_char>,
        _owned: Vec<CString>,
    }

    impl Strings {
        fn new(owned: Vec<CString>) -> Strings {
            let pointers =
                owned.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
            Strings { pointers, _owned: owned }
        }
    }

    /// Whom a process is to act as.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Ids {
        /// The user.
        pub(crate) user: u32,
        /// The group.
        pub(crate) group: u32,
        /// Every other group.
        pub(crate) others: Vec<u32>,
    }

    /// A program and how it is to begin: everything that needs memory, since
    /// the child of a process with threads must not allocate.
    pub(crate) struct Program {
        /// The files to try, in order.
        pub(crate) paths: Vec<CString>,
        arguments: Strings,
        environment: Strings,
        ids: Option<Ids>,
        /// Whether it leads a process group of its own.
        pub(crate) own_group: bool,
        /// Whether that group gets the terminal.
        pub(crate) takes_terminal: bool,
    }

    /// The last call of `step` failed.
    fn fault(step: Step) -> Fault {
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or_default();
        Fault { step, errno, path: 0 }
    }

    impl Program {
        /// A program that would begin in the group and as the user of this process.
        pub(crate) fn new(
            paths: Vec<CString>,
            arguments: Vec<CString>,
            environment: Vec<CString>,
            ids: Option<Ids>,
        ) -> Program {
            let (arguments, environment) = (Strings::new(arguments), Strings::new(environment));
            let (own_group, takes_terminal) = (false, false);
            Program { paths, arguments, environment, ids, own_group, takes_terminal }
        }

        /// Starts the program as a child that does not outlive the calling
        /// thread, which must be the main thread. Blocks until it has begun.
        pub(crate) fn spawn(&self) -> io::Result<Result<Pid, Fault>> {
            let (mut told, tell) = io::pipe()?;
            let parent = own_pid();
            // SAFETY: the child calls nothing but async-signal-safe functions
            // and allocates nothing: see `enter`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let report = self.enter(Some(parent)).bytes();
                // SAFETY: the bytes outlive the call. _exit runs no destructors,
                // which belong to the parent.
                unsafe {
                    libc::write(tell.as_raw_fd(), report.as_ptr().cast(), report.len());
                    libc::_exit(127)
                }
            }
            checked(c_long::from(pid))?;
            drop(tell);
            let mut report = [0; 9];
            if told.read_exact(&mut report).is_err() {
                // Closed by exec: it has begun.
                return Ok(Ok(pid));
            }
            // SAFETY: the status is not asked for; nothing else reaps this child.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Ok(Err(Fault::from_bytes(report)))
        }

        /// Turns this process into the program. Returns only if that fails, and
        /// then this process can do little but say so and exit.
        pub(crate) fn replace_this_process(&self) -> Fault {
            self.enter(None)
        }

        /// The last steps before exec, in the one order that works: a change of
        /// user clears the request to end with the parent, and the mask comes
        /// last because a signal may end the process from then on.
        fn enter(&self, parent: Option<Pid>) -> Fault {
            // SAFETY: async-signal-safe calls alone, over memory that was made
            // before the fork; raw set*id calls, because libc's would wait for
            // threads that a child does not have.
            unsafe {
                if self.own_group && libc::setpgid(0, 0) == -1 {
                    return fault(Step::Group);
                }
                if self.takes_terminal && libc::tcsetpgrp(0, libc::getpid()) == -1 {
                    return fault(Step::Group);
                }
                inherited::restore_but_mask();
                if let Some(fault) = self.ids.as_ref().and_then(become_user) {
                    return fault;
                }
                if let Some(parent) = parent {
                    // A sandbox that does not know it must not keep the program
                    // from beginning.
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
                    if libc::getppid() != parent {
                        // It was killed before it could be followed.
                        libc::_exit(127);
                    }
                }
                inherited::restore_mask();
                self.exec()
            }
        }

        /// Tries every path, as execvp(3) does: a file that is missing gives way
        /// to the next, one that may not be executed is remembered.
        /// Async-signal-safe.
        fn exec(&self) -> Fault {
            let mut worst = Fault { step: Step::Exec, errno: libc::ENOENT, path: 0 };
            for (index, path) in self.paths.iter().enumerate() {
                // SAFETY: C strings, and arrays that end with a null.
                unsafe {
                    libc::execve(
                        path.as_ptr(),
                        self.arguments.pointers.as_ptr(),
                        self.environment.pointers.as_ptr(),
                    )
                };
                let this = Fault { path: index, ..fault(Step::Exec) };
                match this.errno {
                    libc::ENOENT
                    | libc::ENOTDIR
                    | libc::ESTALE
                    | libc::ENODEV
                    | libc::ETIMEDOUT => {}
                    libc::EACCES => worst = this,
                    _ => return this,
                }
            }
            worst
        }
    }

    /// In a process with other threads only this thread changes, so it is for
    /// use right before exec. Async-signal-safe.
    fn become_user(ids: &Ids) -> Option<Fault> {
        let (user, group) = (ids.user, ids.group);
        // SAFETY: the list of groups has the length that is given.
        unsafe {
            if libc::syscall(libc::SYS_setgroups, ids.others.len(), ids.others.as_ptr()) == -1 {
                return Some(fault(Step::Groups));
            }
            if libc::syscall(libc::SYS_setresgid, group, group, group) == -1 {
                return Some(fault(Step::GroupId));
            }
            if libc::syscall(libc::SYS_setresuid, user, user, user) == -1 {
                return Some(fault(Step::UserId));
            }
        }
        None
    }
}
