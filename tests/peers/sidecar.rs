//! A runsd that serves while a test speaks to it to the byte.
//!
//! Owns the simulation, the process and the way to its port; knows no test.

use cloudrun_sim::Options;
use runsd_tests::{Ran, Running, World, runsd, start};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// As many descriptors as 1,000 connections in each direction need.
const DESCRIPTORS: &str = "--nofile=8192:8192";
const ADMIN: &str = "--admin-addr=127.0.0.1:9903";

/// A simulation and the `runsd serve` in it.
pub struct Sidecar {
    pub world: World,
    running: Running,
}

/// A connection of an app.
pub struct Raw {
    pub tcp: TcpStream,
}

impl Default for Sidecar {
    fn default() -> Sidecar {
        Sidecar::new(&[])
    }
}

impl Sidecar {
    /// Starts one with these options and waits until it says that it is ready. Its
    /// port is open before: a start that goes on then has still to prove itself, and
    /// to open more.
    pub fn new(options: &[&str]) -> Sidecar {
        let world = World::new(Options::default());
        let mut command = world.sim.command("prlimit");
        command.arg(DESCRIPTORS).arg(runsd()).args(["--resolv-conf-mode", "leave", ADMIN]);
        let running = start(command.args(options).arg("serve"));
        let sidecar = Sidecar { world, running };
        let begun = Instant::now();
        while !sidecar.is_ready() {
            assert!(begun.elapsed() < PATIENCE, "it never gets ready");
        }
        sidecar
    }

    /// Whether its admin endpoint, once that is open, says so.
    fn is_ready(&self) -> bool {
        let mut probe = self.connect_to(9903);
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        probe.rest().status() == 200
    }

    /// A new connection to the proxy.
    pub fn connect(&self) -> Raw {
        self.connect_to(80)
    }

    fn connect_to(&self, port: u16) -> Raw {
        let tcp = self.world.sim.enter(move || {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let begun = Instant::now();
            loop {
                match TcpStream::connect(address) {
                    Ok(tcp) => return tcp,
                    // It is still starting.
                    Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
                }
                std::thread::yield_now();
            }
        });
        tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        tcp.set_nodelay(true).expect("no delay");
        Raw { tcp }
    }

    /// What comes back for these bytes until the proxy closes.
    pub fn say(&self, bytes: &[u8]) -> Said {
        let mut raw = self.connect();
        raw.send(bytes);
        raw.rest()
    }

    /// Runs curl with every name leading to the proxy: the body, a space and the
    /// status.
    pub fn curl(&self, arguments: &[&str]) -> Ran {
        self.begin_curl(arguments).wait()
    }

    /// The same, while the test does something else.
    pub fn begin_curl(&self, arguments: &[&str]) -> Running {
        let mut curl = self.world.sim.command("curl");
        curl.args(["-sS", "-m", "30", "--resolve", "*:80:127.0.0.1", "-w", " %{http_code}"]);
        start(curl.args(arguments))
    }

    /// Asserts that a request on a new connection is answered as ever.
    pub fn still_works(&self) {
        let said = self.say(b"GET /works HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n");
        assert_eq!(said.status(), 200, "{said:?}");
    }

    /// The targets that services saw since the last time, in order.
    pub fn targets(&self) -> Vec<String> {
        let seen = self.world.sim.front().requests();
        self.world.sim.front().clear();
        seen.into_iter().map(|seen| seen.target).collect()
    }

    /// A number from the proxy's `/proc/PID/status`, in KiB.
    pub fn kilobytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("a running process");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line of the name");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    }

    /// Makes the present size the highest so far.
    pub fn forget_peak(&self) {
        std::fs::write(self.proc("clear_refs"), "5").expect("our own child");
    }

    /// How many descriptors it has.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("a running process").count()
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.running.pid()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid()))
    }
}

impl Raw {
    pub fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).expect("the proxy must take what it is sent");
    }

    /// Reads exactly so much.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.tcp.read_exact(&mut bytes).expect("more must come");
        bytes
    }

    /// Reads a head to its empty line.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1));
        }
        String::from_utf8(head).expect("a head is text")
    }

    pub fn end(&self) {
        self.tcp.shutdown(Shutdown::Write).expect("half a close");
    }

    /// Everything until the proxy closes, and how it does.
    pub fn rest(&mut self) -> Said {
        let mut bytes = Vec::new();
        let end = match self.tcp.read_to_end(&mut bytes) {
            Ok(_) => End::Closed,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        };
        Said { bytes, end }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

/// What the proxy said.
pub struct Said {
    pub bytes: Vec<u8>,
    pub end: End,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after {}", self.end, self.text())
    }
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The status of the first response; 0: there is none.
    pub fn status(&self) -> u16 {
        let text = self.text();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// How many responses there are.
    pub fn responses(&self) -> usize {
        self.text().matches("HTTP/1.1 ").count()
    }

    /// Whether the response is complete by its own framing.
    pub fn is_complete(&self) -> bool {
        let text = self.text();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let head = head.to_ascii_lowercase();
        if head.contains("\r\ntransfer-encoding: chunked") {
            return body.ends_with("0\r\n\r\n");
        }
        let length = head.split("\r\ncontent-length: ").nth(1);
        match length.and_then(|rest| rest.split("\r\n").next()).map(str::parse::<usize>) {
            Some(length) => length == Ok(body.len()),
            None => self.end == End::Closed,
        }
    }
}
