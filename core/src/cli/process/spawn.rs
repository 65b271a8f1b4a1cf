//! How COMMAND begins: found as a shell would find it, with our environment and
//! all that we inherited; and what to tell the user when it does not.

use super::environment::{self, Search};
use super::exit::Code;
use super::terminal::{self, Standing, Terminal};
use super::user::Identity;
use crate::sys::{self, Fault, Pid, Program, Step};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What is to be started.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Plan<'a> {
    /// The program and its arguments.
    pub(in crate::cli) argv: &'a [OsString],
    /// Variables to set, beside what this process inherited.
    pub(in crate::cli) env: &'a [(String, String)],
    /// Whom it acts as, if not as this process.
    pub(in crate::cli) user: Option<&'a Identity>,
    /// Whether signals go to its whole process group, which it then leads.
    pub(in crate::cli) whole_group: bool,
}

/// A running child.
#[derive(Debug)]
pub(in crate::cli) struct Child {
    pub(super) pid: Pid,
    /// Whether it leads a process group.
    pub(super) own_group: bool,
    /// Whether signals go to all of that group.
    pub(super) whole_group: bool,
    pub(super) terminal: Option<Terminal>,
}

/// Why COMMAND did not begin.
#[derive(Debug)]
pub(in crate::cli) enum SpawnError {
    /// An argument holds a NUL byte, which no program can be given.
    Nul(OsString),
    /// There is no process to be had.
    Fork(io::Error),
    /// It was not found.
    NotFound {
        /// The program's name, as typed.
        program: OsString,
        /// The PATH that was searched; none if the name is a path.
        path: Option<OsString>,
        /// There is such a file, but not what its first line, or its header, names.
        interpreter_missing: bool,
    },
    /// It was found, and cannot be executed.
    NotExecutable {
        /// The program's name, as typed.
        program: OsString,
        /// The file that was found.
        file: OsString,
        /// What the system said.
        cause: io::Error,
    },
    /// What comes before it failed.
    Step(Step, io::Error),
}

impl SpawnError {
    /// Whether there is no process to be had, and this one could be used.
    pub(in crate::cli) fn is_shortage(&self) -> bool {
        matches!(self, SpawnError::Fork(_))
    }

    /// With what runsd exits.
    pub(in crate::cli) fn code(&self) -> Code {
        match self {
            SpawnError::NotFound { .. } => Code::NOT_FOUND,
            SpawnError::NotExecutable { .. } | SpawnError::Nul(_) => Code::NOT_EXECUTABLE,
            SpawnError::Fork(_) | SpawnError::Step(..) => Code::INTERNAL,
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Nul(argument) => write!(f, "the argument {argument:?} holds a NUL byte"),
            SpawnError::Fork(cause) => write!(f, "cannot start a process: {cause}"),
            SpawnError::NotFound { program, interpreter_missing: true, .. } => write!(
                f,
                "cannot run {program:?}: the file is there, but the interpreter or dynamic \
                 loader it names is not in this image"
            ),
            SpawnError::NotFound { program, path: Some(path), .. } => {
                write!(f, "cannot run {program:?}: not found in PATH ({})", path.display())
            }
            SpawnError::NotFound { program, path: None, .. } => {
                write!(f, "cannot run {program:?}: no such file")
            }
            SpawnError::NotExecutable { program, file, cause } => {
                write!(f, "cannot run {program:?}: ")?;
                if file != program {
                    write!(f, "{}: ", file.display())?;
                }
                match cause.raw_os_error() {
                    Some(libc::ENOEXEC) => f.write_str(
                        "neither a program for this machine nor a script that begins with #!",
                    ),
                    Some(libc::EACCES) if Path::new(file).is_dir() => f.write_str("a directory"),
                    Some(libc::EACCES) => f.write_str(
                        "permission denied; it needs the execute bit, and its directories must \
                         be open to the user",
                    ),
                    _ => write!(f, "{cause}"),
                }
            }
            SpawnError::Step(step, cause) => {
                let what = match step {
                    Step::Group => "give it a process group and the terminal",
                    Step::Groups => "set the groups of --user",
                    Step::GroupId => "become the group of --user",
                    Step::UserId => "become the user of --user",
                    Step::Exec => "execute it",
                };
                write!(f, "cannot start the command: cannot {what}: {cause}")?;
                let refused = cause.raw_os_error() == Some(libc::EPERM);
                match step {
                    Step::Groups | Step::GroupId | Step::UserId if refused => {
                        f.write_str("; only root may use --user")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Child {
    /// Starts it, and returns when it runs. Must be called on the main thread.
    ///
    /// # Errors
    /// Nothing is left behind: no process, and the terminal is ours.
    pub(in crate::cli) fn spawn(plan: &Plan<'_>) -> Result<Child, SpawnError> {
        let (mut program, search) = prepare(plan)?;
        // Before there is a child, which may leave an orphan at once.
        let adopted = adopt_orphans();
        let standing = terminal::standing();
        program.own_group = plan.whole_group || standing != Standing::None;
        program.takes_terminal = standing == Standing::Foreground;
        let spawned = program.spawn().map_err(|cause| {
            // COMMAND may take this process's place, and its orphans are its own.
            if let Some(before) = adopted {
                let _ = sys::adopt_orphans(before);
            }
            SpawnError::Fork(cause)
        });
        match spawned? {
            Ok(pid) => {
                let terminal = Terminal::of(pid, standing);
                let own_group = program.own_group;
                Ok(Child { pid, own_group, whole_group: plan.whole_group, terminal })
            }
            Err(fault) => {
                if program.takes_terminal {
                    // It fails if the terminal is gone, and then nobody needs it.
                    let _ = sys::set_foreground(sys::own_group());
                }
                Err(explain(plan, search, fault))
            }
        }
    }
}

/// Says whether they were adopted before, where it is not PID 1's duty anyway.
fn adopt_orphans() -> Option<bool> {
    if sys::own_pid() == 1 {
        return None;
    }
    // Kernels older than 3.4 leave orphans to PID 1; nothing is lost then.
    sys::adopt_orphans(true).ok()
}

/// Turns this process into COMMAND: no child, nothing in between. Returns only
/// if that fails.
pub(in crate::cli) fn replace_this_process(plan: &Plan<'_>) -> SpawnError {
    match prepare(plan) {
        Ok((program, search)) => explain(plan, search, program.replace_this_process()),
        Err(error) => error,
    }
}

fn prepare(plan: &Plan<'_>) -> Result<(Program, Search), SpawnError> {
    let mut entries = sys::environment();
    for (name, value) in plan.env {
        environment::set(&mut entries, name, OsStr::new(value));
    }
    if let Some(user) = plan.user
        && environment::value(&entries, "HOME").is_none()
    {
        environment::set(&mut entries, "HOME", &user.home);
    }
    let search = environment::search(name(plan), &entries);
    let paths = search.files.iter().map(|file| c_string(file)).collect::<Result<_, _>>()?;
    let argv = plan.argv.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?;
    let ids = plan.user.and_then(|user| user.to_become(sys::effective_ids()));
    Ok((Program::new(paths, argv, entries, ids.cloned()), search))
}

fn name<'a>(plan: &Plan<'a>) -> &'a OsStr {
    plan.argv.first().map_or(OsStr::new(""), OsString::as_os_str)
}

fn c_string(text: &OsStr) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes())
        .map_err(|error| SpawnError::Nul(OsString::from_vec(error.into_vec())))
}

fn explain(plan: &Plan<'_>, search: Search, fault: Fault) -> SpawnError {
    let cause = io::Error::from_raw_os_error(fault.errno);
    let program = name(plan).to_owned();
    match (fault.step, fault.errno) {
        (Step::Exec, libc::ENOENT | libc::ENOTDIR) => {
            let interpreter_missing = search.files.iter().any(|file| Path::new(file).is_file());
            SpawnError::NotFound { program, path: search.path, interpreter_missing }
        }
        (Step::Exec, _) => {
            let file = search.files.into_iter().nth(fault.path).unwrap_or_default();
            SpawnError::NotExecutable { program, file, cause }
        }
        (step, _) => SpawnError::Step(step, cause),
    }
}
