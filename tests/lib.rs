//! What the tests of the whole program share: where things are, and running an
//! app under runsd in a simulated Cloud Run.
//!
//! It owns the bounds on waiting and the readable failure; it must not know
//! what any test is about.

use cloudrun_sim::{Options, Sim};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// No run of an app takes this long, whatever else the machine does; one that
/// does hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The command that is tested, `runsd` of the same build; another one if the
/// variable `RUNSD` names it.
///
/// # Panics
/// If it has not been built.
pub fn runsd() -> PathBuf {
    if let Some(named) = std::env::var_os("RUNSD") {
        return named.into();
    }
    let here = std::env::current_exe().expect("a running test has a file");
    let built = here.ancestors().nth(2).expect("tests are in target/PROFILE/deps").join("runsd");
    assert!(built.exists(), "build it first: cargo build --package runsd ({})", built.display());
    built
}

/// Does `work` until each of its steps has taken less than `most`, at most five
/// times: a busy machine delays one step or another, a fault the same one every
/// time. `work` says how long each step took, and makes what it measures anew each
/// time: in one that was used before, a fault of first requests no longer shows.
///
/// # Panics
/// If one of the steps takes longer five times, or there is none.
pub fn in_time<Took: AsRef<[Duration]>>(most: Duration, mut work: impl FnMut() -> Took) {
    let mut least = work().as_ref().to_vec();
    assert!(!least.is_empty(), "nothing was measured");
    for _ in 1..5 {
        if least.iter().all(|took| *took < most) {
            break;
        }
        let took = work();
        assert_eq!(took.as_ref().len(), least.len(), "the steps of every try are the same");
        for (least, took) in least.iter_mut().zip(took.as_ref()) {
            *least = (*least).min(*took);
        }
    }
    assert!(least.iter().all(|took| *took < most), "never in less than {most:?}: {least:?}");
}

/// Copies a program to where it is to be run. Another process does it: a child
/// that a neighbour test forks meanwhile would hold a file of ours open for
/// writing, and the kernel runs no such program.
///
/// # Panics
/// If that fails.
pub fn copy_program(from: &Path, to: &Path) {
    start(Command::new("cp").arg(from).arg(to)).wait().ok();
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Everything it wrote on standard output.
    pub out: String,
    /// Everything it wrote on standard error.
    pub err: String,
}

impl Ran {
    /// Standard output of a run that must have succeeded.
    ///
    /// # Panics
    /// If it failed, with everything it said.
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:#?}");
        &self.out
    }
}

/// Runs a tool that works for the tests, such as a compiler or a judge, to its end:
/// it computes for seconds, and on a busy machine for as long as that takes.
///
/// # Panics
/// If it cannot be started.
pub fn finish(command: &mut Command) -> Ran {
    let ended = command.stdin(Stdio::null()).output();
    let output = ended.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Ran { code: output.status.code(), signal: output.status.signal(), out, err }
}

/// Starts `command`, which must end within three minutes, with its outputs collected.
///
/// # Panics
/// If it cannot be started.
pub fn start(command: &mut Command) -> Running {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    Running { child, out, err, what: format!("{command:?}") }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    let mut pipe = pipe.expect("the pipe was asked for");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

/// A program that runs; killed if a test gives it up.
pub struct Running {
    child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
    what: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If that is not permitted.
    pub fn signal(&self, number: i32) {
        cloudrun_sim::signal(self.child.id(), number).expect("signalling our own child");
    }

    /// Waits for its end and its outputs' end.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(mut self) -> Ran {
        let hangs = |what: &str| format!("{what} does not end: {}", self.what);
        let out = self.out.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{}", hangs("stdout of")));
        let err = self.err.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{}", hangs("stderr of")));
        // Its outputs have ended, so it is ending itself.
        let status = self.child.wait().expect("a child can be waited for");
        Ran { code: status.code(), signal: status.signal(), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A simulated Cloud Run with the means to run apps in it.
pub struct World {
    /// The simulation.
    pub sim: Sim,
}

impl Default for World {
    fn default() -> World {
        World::new(Options::default())
    }
}

impl World {
    /// A simulation of this kind.
    ///
    /// # Panics
    /// If it cannot be made; the message says what is missing.
    pub fn new(options: Options) -> World {
        let sim = Sim::start(options).unwrap_or_else(|error| panic!("no simulation: {error}"));
        World { sim }
    }

    /// Runs `runsd OPTIONS -- APP` to its end.
    pub fn run(&self, options: &[&str], app: &[&str]) -> Ran {
        start(&mut self.command(options, app)).wait()
    }

    /// Runs `runsd ARGUMENTS` to its end.
    pub fn run_plain(&self, arguments: &[&str]) -> Ran {
        start(&mut self.command(arguments, &[])).wait()
    }

    /// The command `runsd OPTIONS -- APP`.
    pub fn command(&self, options: &[&str], app: &[&str]) -> Command {
        let mut command = self.sim.command(runsd());
        command.args(options);
        if !app.is_empty() {
            command.arg("--").args(app);
        }
        command
    }

    /// Runs curl for `url` under runsd: the body, a space and the status.
    pub fn curl(&self, arguments: &[&str]) -> Ran {
        let mut app = vec!["curl", "-sS", "-m", "30", "-w", " %{http_code}"];
        app.extend(arguments);
        self.run(&[], &app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// How often it took steps of these milliseconds, and whether they were in time.
    fn tried(tries: &[[u64; 2]]) -> (usize, bool) {
        let mut done = 0;
        let passed = catch_unwind(AssertUnwindSafe(|| {
            in_time(Duration::from_millis(10), || {
                done += 1;
                tries[(done - 1).min(tries.len() - 1)].map(Duration::from_millis)
            });
        }));
        (done, passed.is_ok())
    }

    #[test]
    fn one_step_that_is_late_in_every_try_is_found_and_now_and_then_is_forgiven() {
        assert_eq!(tried(&[[1, 1]]), (1, true));
        assert_eq!(tried(&[[20, 1], [1, 20]]), (2, true));
        assert_eq!(tried(&[[20, 1], [20, 1], [20, 1], [20, 1], [9, 1]]), (5, true));
        // As of first requests, in whose stead later ones were in time.
        assert_eq!(tried(&[[20, 1]]), (5, false));
        assert_eq!(tried(&[[1, 10]]), (5, false));
    }
}
