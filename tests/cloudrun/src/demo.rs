//! `cloudrun-sim demo`: what becomes of the names that an app types.
//!
//! Owns the list of names and the table; learns what arrived from the front
//! end, never from runsd itself.

use std::error::Error;
use std::path::Path;
use std::process::Output;

use cloudrun_sim::{Seen, Sim};

use crate::arguments::{Demo, Place};
use crate::report;

/// What an app may type, and why it is shown.
const TYPED: [&str; 8] = [
    "http://hello/",
    "http://hello.us-east1/",
    "http://green---hello/",
    "http://hello.us-east1.run.internal/",
    "http://public/",
    "http://example.com/",
    "http://nobody/",
    "http://bad_name.run.internal/",
];

/// Runs the demonstration; the exit code is 1 where the first name failed.
pub(crate) fn run(place: &Place, demo: &Demo) -> Result<u8, Box<dyn Error>> {
    let sim = Sim::start(place.options())?;
    let title = ["THE APP TYPED", "WHAT ARRIVED", "STATUS", "TOKEN FOR"];
    let mut rows = vec![title.map(str::to_owned).to_vec()];
    let mut worked = false;
    for (number, typed) in TYPED.into_iter().enumerate() {
        sim.front().clear();
        let output = call(&sim, &demo.runsd, typed)?;
        let arrived = [sim.front().requests(), sim.front().external()].concat();
        worked |= number == 0 && arrived.iter().any(|seen| seen.status == 200);
        rows.extend(lines(typed, &output, &arrived));
    }
    report::table(&rows)?;
    Ok(u8::from(!worked))
}

/// `runsd -- curl URL`, as a container would do it.
fn call(sim: &Sim, runsd: &Path, url: &str) -> std::io::Result<Output> {
    sim.command(runsd)
        .args(["--", "curl", "-sS", "--max-time", "10", "-o", "/dev/null"])
        .args(["-w", "%{http_code}", url])
        .output()
}

fn lines(typed: &str, output: &Output, arrived: &[Seen]) -> Vec<Vec<String>> {
    let status = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if arrived.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = errors.lines().last().unwrap_or_default().to_owned();
        // Refused before anything left the instance: by runsd (a status), or by the
        // resolver (curl's own words).
        let (status, why) = if status.is_empty() || status == "000" {
            (
                "-".to_owned(),
                format!(
                    "nothing: {}",
                    last.rsplit_once(':').map_or(last.as_str(), |(what, _)| what)
                ),
            )
        } else {
            (status, "nothing: refused by runsd".to_owned())
        };
        return vec![vec![typed.to_owned(), why, status, "none".to_owned()]];
    }
    let row = |(number, seen): (usize, &Seen)| {
        let first = if number == 0 { typed } else { "" };
        vec![first.to_owned(), report::url(seen), seen.status.to_string(), audience(seen)]
    };
    arrived.iter().enumerate().map(row).collect()
}

/// For what the token is that came along, in words where it is as it should be.
fn audience(seen: &Seen) -> String {
    let Some(audience) = &seen.audience else { return "none".to_owned() };
    let host = audience.strip_prefix("https://").unwrap_or(audience);
    let untagged = seen.tag.as_ref().and_then(|tag| seen.host.strip_prefix(&format!("{tag}---")));
    match untagged {
        None if host == seen.host => "its own URL".to_owned(),
        Some(untagged) if host == untagged => "its URL without the tag".to_owned(),
        _ => audience.clone(),
    }
}
