//! Engines.

use crate::errors::exception;
use crate::logs::{self, Logs};
use crate::waiting::wait;
use pyo3::prelude::*;
use runsd::State;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An engine.
#[pyclass(frozen, name = "Engine", module = "runsd._runsd")]
pub(crate) struct Engine(runsd::Engine);

/// Starts an engine from settings by their keys; with it come its log records.
#[pyfunction]
pub(crate) fn start(py: Python<'_>, settings: Vec<(String, String)>) -> PyResult<(Engine, Logs)> {
    let (feed, logs) = logs::queue();
    let builder = runsd::Engine::builder().log(move |record| feed.push(record));
    let builder = settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value));
    match wait(py, builder.start_async(), None)? {
        Some(Ok(engine)) => Ok((Engine(engine), logs)),
        Some(Err(error)) => Err(exception(py, &error)),
        None => Err(pyo3::exceptions::PyRuntimeError::new_err("the start was given up")),
    }
}

fn pairs(addresses: &[SocketAddr]) -> Vec<(String, u16)> {
    addresses.iter().map(|address| (address.ip().to_string(), address.port())).collect()
}

/// As long as Python's number of seconds says; for ever if no clock counts so far.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[pymethods]
impl Engine {
    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state() {
            State::Running => "running",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Forked => "forked",
            _ => "failed",
        }
    }

    #[getter]
    fn mode(&self) -> String {
        self.0.mode().to_string()
    }

    #[getter]
    fn proxy_addrs(&self) -> Vec<(String, u16)> {
        pairs(self.0.proxy_addrs())
    }

    #[getter]
    fn dns_addrs(&self) -> Vec<(String, u16)> {
        pairs(self.0.dns_addrs())
    }

    #[getter]
    fn admin_addr(&self) -> Option<(String, u16)> {
        self.0.admin_addr().map(|address| (address.ip().to_string(), address.port()))
    }

    fn env(&self) -> Vec<(String, String)> {
        self.0.env().to_vec()
    }

    /// The counts, in the order of the class `Stats`.
    fn stats(&self) -> [u64; 11] {
        let now = self.0.stats();
        [
            now.dns_queries,
            now.dns_forwarded,
            now.dns_failed,
            now.proxy_connections,
            now.proxy_requests,
            now.proxy_errors,
            now.upstream_connections,
            now.upstream_reused,
            now.token_fetches,
            now.token_failures,
            now.panics,
        ]
    }

    /// Stops; how many exchanges were cut.
    fn stop(&self, py: Python<'_>, drain: f64) -> PyResult<usize> {
        match wait(py, self.0.stop_async(duration(drain)), None)? {
            Some(Err(error)) => Err(exception(py, &error)),
            Some(Ok(report)) => Ok(report.aborted),
            None => Ok(0),
        }
    }

    /// Waits for the end; whether it came in time.
    #[pyo3(signature = (timeout))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let until = timeout.and_then(|seconds| Instant::now().checked_add(duration(seconds)));
        match wait(py, self.0.wait_async(), until)? {
            Some(Err(error)) => Err(exception(py, &error)),
            Some(Ok(())) => Ok(true),
            None => Ok(false),
        }
    }
}
