//! What `cloudrun-sim` prints and writes.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::{fmt::Write as _, fs, path::Path};

use cloudrun_sim::{Observer, Seen, Sim};
use serde_json::{Value, json};

/// Prints each request on standard error as its status is decided.
pub(crate) fn log() -> Observer {
    Arc::new(|seen: &Seen| {
        let name = if seen.service.is_empty() { "-" } else { &seen.service };
        let url = url(seen);
        eprintln!("-> {name}  {} {url}  {}  {}", seen.method, seen.status, seen.verdict);
    })
}

/// The URL that a request asked for.
pub(crate) fn url(seen: &Seen) -> String {
    format!("{}://{}{}", seen.scheme, seen.host, seen.target)
}

/// The endpoints of a simulation without a command, and how to get in.
pub(crate) fn endpoints(sim: &Sim) -> io::Result<()> {
    let at = sim.endpoints();
    let mut text = format!(
        "metadata server  http://{}\nnameserver       {} (UDP and TCP)\n\
         front end        {} (TLS), {} (redirects)\n",
        at.metadata, at.dns, at.front, at.plain
    );
    let told = match sim.namespace_files() {
        Some((net, mnt)) => {
            if !sim.is_apart() {
                text.push_str("no veth here     inside, 0.0.0.0 with 53, 80 or 443 is taken\n");
            }
            writeln!(
                text,
                "get in           nsenter --net={} --mount={}",
                net.display(),
                mnt.display()
            )
        }
        None => sim
            .environment()
            .iter()
            .filter(|(name, _)| name.starts_with("RUNSD_") || name.starts_with("GCE_"))
            .try_for_each(|(name, value)| writeln!(text, "export {name}={value}")),
    };
    told.map_err(io::Error::other)?;
    text.push_str("Serving until SIGINT or SIGTERM.\n");
    io::stdout().write_all(text.as_bytes())
}

/// Writes what the front end saw, oldest first.
pub(crate) fn requests(sim: &Sim, path: &Path) -> io::Result<()> {
    let requests: Vec<Value> = sim.front().requests().iter().map(request).collect();
    let external: Vec<Value> = sim.front().external().iter().map(request).collect();
    let all = json!({"requests": requests, "external": external});
    fs::write(path, format!("{all:#}\n"))
}

fn request(seen: &Seen) -> Value {
    let fields: Vec<Value> = seen
        .headers
        .iter()
        .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
        .collect();
    json!({
        "url": url(seen), "method": seen.method, "protocol": seen.protocol,
        "service": seen.service, "tag": seen.tag, "region": seen.region,
        "project": seen.project, "headers": fields, "bodyBytes": seen.body_len,
        "status": seen.status, "check": seen.verdict, "audience": seen.audience,
    })
}

/// A table with as much room in each column as it needs.
pub(crate) fn table(rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let gap = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    io::stdout().write_all(out.as_bytes())
}
