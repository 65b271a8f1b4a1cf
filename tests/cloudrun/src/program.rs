//! Running a command inside, or serving without one.

use std::error::Error;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use cloudrun_sim::Sim;
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::{Place, Run};
use crate::report;

/// As long as Cloud Run waits between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const NOT_STARTED: u8 = 126;

/// The signals that end the simulation.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one's kind.
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}

/// Runs the command, or serves; returns the exit code.
pub(crate) fn run(place: &Place, run: &Run) -> Result<u8, Box<dyn Error>> {
    // Before the runtime: a process may make a user namespace only while it has
    // one thread.
    let sim = Sim::start(place.options())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let mut ends = Ends::new()?;
        match run.command.split_first() {
            None => {
                report::endpoints(&sim)?;
                ends.next().await;
                Ok(0)
            }
            Some((program, arguments)) => {
                let mut command = sim.command(program);
                command.args(arguments).envs(run.set_env.iter().cloned());
                match tokio::process::Command::from(command).spawn() {
                    Ok(child) => wait(child, &mut ends).await.map(code),
                    Err(error) => {
                        eprintln!("cloudrun-sim: {}: {error}", program.to_string_lossy());
                        Ok(NOT_STARTED)
                    }
                }
            }
        }
    });
    if let Some(path) = &run.requests_json {
        report::requests(&sim, path)?;
    }
    code.map_err(|error: io::Error| error.into())
}

/// Waits for the command, and treats it as the platform does when told to end.
async fn wait(mut child: Child, ends: &mut Ends) -> io::Result<ExitStatus> {
    let kind = tokio::select! {
        status = child.wait() => return status,
        kind = ends.next() => kind,
    };
    if let Some(process) = child.id() {
        cloudrun_sim::signal(process, kind.as_raw_value())?;
    }
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status;
    }
    child.start_kill()?;
    child.wait().await
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
