//! The metadata server.
//!
//! Owns its paths, headers and failures; asks `token` for tokens and knows
//! nothing of the front end that will check them. `sim` starts it, tests script it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use crate::options::Options;
use crate::token::{Mint, now};
use crate::wire::{self, Head, Wire};

const PREFIX: &str = "/computeMetadata/v1/";
const ACCOUNT: &str = "instance/service-accounts/default/";

#[derive(Default)]
struct Script {
    calls: Vec<String>,
    identity_calls: usize,
    failures: (usize, u16),
    token_failures: (usize, u16),
    delay: Duration,
    silent: bool,
    absent: bool,
    ahead: i64,
}

struct Facts {
    region: String,
    number: String,
    id: String,
}

struct Shared {
    script: Mutex<Script>,
    facts: Facts,
    mint: Arc<Mint>,
}

/// A handle on the simulated metadata server: what it was asked, what it does next.
#[derive(Clone)]
pub struct Metadata(Arc<Shared>);

struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Reply {
    fn text(body: impl Into<String>) -> Self {
        Self { status: 200, kind: "application/text", body: body.into() }
    }

    fn error(status: u16, body: &str) -> Self {
        Self { status, kind: "text/html; charset=UTF-8", body: body.to_owned() }
    }
}

impl Metadata {
    pub(crate) fn new(options: &Options, mint: Arc<Mint>) -> Self {
        let facts = Facts {
            region: options.region.clone(),
            number: options.project_number.clone(),
            id: options.project_id.clone(),
        };
        let script = Script { absent: options.laptop.is_some(), ..Script::default() };
        Self(Arc::new(Shared { script: Mutex::new(script), facts, mint }))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every path that was asked for, with its query as received, in order.
    pub fn calls(&self) -> Vec<String> {
        self.script().calls.clone()
    }

    /// How many identity tokens were asked for.
    pub fn token_fetches(&self) -> usize {
        self.script().identity_calls
    }

    /// Forgets the calls so far.
    pub fn clear(&self) {
        let mut script = self.script();
        script.calls.clear();
        script.identity_calls = 0;
    }

    /// The next `n` calls are answered with `status`.
    pub fn fail_next(&self, n: usize, status: u16) {
        self.script().failures = (n, status);
    }

    /// The next `n` calls for an identity token are answered with `status`.
    pub fn fail_tokens(&self, n: usize, status: u16) {
        self.script().token_failures = (n, status);
    }

    /// Every answer comes this much later.
    pub fn delay(&self, delay: Duration) {
        self.script().delay = delay;
    }

    /// Whether calls are accepted and never answered.
    pub fn silent(&self, silent: bool) {
        self.script().silent = silent;
    }

    /// Whether there is no such server: connections are closed at once.
    pub fn absent(&self, absent: bool) {
        self.script().absent = absent;
    }

    /// How long tokens made from now on live (whole seconds).
    pub fn token_lifetime(&self, lifetime: Duration) {
        self.0.mint.set_lifetime(lifetime);
    }

    /// Changes the service account's email.
    pub fn set_email(&self, email: &str) {
        self.0.mint.set_email(email);
    }

    /// From now on its clock is ahead of this machine's by so many seconds, or
    /// behind.
    pub fn set_clock(&self, ahead: i64) {
        self.script().ahead = ahead;
    }

    /// Seconds since 1970 by its own clock.
    fn clock(&self) -> u64 {
        now().saturating_add_signed(self.script().ahead)
    }

    /// Accepts and answers until the simulation ends.
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let this = self.clone();
                    tokio::spawn(async move {
                        // A client that leaves early is no event here.
                        let _ = this.connection(Wire::new(Box::new(stream))).await;
                    });
                }
                // Out of descriptors, for instance: leave time for some to return.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn connection(&self, mut wire: Wire) -> io::Result<()> {
        if self.script().absent {
            return Ok(());
        }
        while let Some(head) = wire.head().await? {
            let (delay, silent) = {
                let mut script = self.script();
                script.calls.push(head.target.clone());
                (script.delay, script.silent)
            };
            if silent {
                return std::future::pending().await;
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let reply = self.answer(&head);
            let reason = http::StatusCode::from_u16(reply.status).ok();
            let reason = reason.and_then(|code| code.canonical_reason()).unwrap_or("Unknown");
            let text = format!(
                "HTTP/1.1 {} {reason}\r\nMetadata-Flavor: Google\r\nContent-Type: {}\r\n\
                 Date: {}\r\nServer: Metadata Server for VM\r\nContent-Length: {}\r\n\
                 X-XSS-Protection: 0\r\nX-Frame-Options: SAMEORIGIN\r\n\r\n{}",
                reply.status,
                reply.kind,
                wire::http_date(self.clock()),
                reply.body.len(),
                reply.body
            );
            wire.write(text.as_bytes()).await?;
            if !head.keeps_alive() {
                wire.close().await;
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, head: &Head) -> Reply {
        let (path, query) = head.path_and_query();
        let identity = path == format!("{PREFIX}{ACCOUNT}identity");
        if let Some(status) = self.next_failure(identity) {
            return Reply::error(status, "the simulation was told to fail\n");
        }
        let flavor = wire::field(&head.fields, "metadata-flavor");
        if flavor.is_none_or(|value| !value.eq_ignore_ascii_case(b"google")) {
            return Reply::error(403, "Missing Metadata-Flavor:Google header.\n");
        }
        match path.strip_prefix(PREFIX) {
            Some(path) => self.resource(path, query),
            None if path == "/" => Reply::text("computeMetadata/\n"),
            None => Reply::error(404, "not found\n"),
        }
    }

    fn next_failure(&self, identity: bool) -> Option<u16> {
        let mut script = self.script();
        if identity {
            script.identity_calls += 1;
            if script.token_failures.0 > 0 {
                script.token_failures.0 -= 1;
                return Some(script.token_failures.1);
            }
        }
        if script.failures.0 == 0 {
            return None;
        }
        script.failures.0 -= 1;
        Some(script.failures.1)
    }

    fn resource(&self, path: &str, query: &str) -> Reply {
        let (facts, mint) = (&self.0.facts, &self.0.mint);
        // The account may also be called by its email.
        let by_email = format!("instance/service-accounts/{}/", mint.email());
        let path = path
            .strip_prefix(&by_email)
            .map_or_else(|| path.to_owned(), |rest| format!("{ACCOUNT}{rest}"));
        match path.as_str() {
            "project/numeric-project-id" => Reply::text(&facts.number),
            "project/project-id" => Reply::text(&facts.id),
            "instance/region" => {
                Reply::text(format!("projects/{}/regions/{}", facts.number, facts.region))
            }
            "instance/zone" => {
                Reply::text(format!("projects/{}/zones/{}-1", facts.number, facts.region))
            }
            "instance/id" => Reply::text("0067a2f3c1d9"),
            "instance/service-accounts/" => Reply::text(format!("default/\n{}/\n", mint.email())),
            "instance/service-accounts/default/email" => Reply::text(mint.email()),
            "instance/service-accounts/default/identity" => self.identity(query),
            "instance/service-accounts/default/token" => Reply {
                status: 200,
                kind: "application/json",
                body: json!({"access_token": "ya29.simulated", "expires_in": 3599,
                             "token_type": "Bearer"})
                .to_string(),
            },
            _ => Reply::error(404, "not found\n"),
        }
    }

    fn identity(&self, query: &str) -> Reply {
        let full = wire::parameter(query, "format").as_deref() == Some("full");
        match wire::parameter(query, "audience") {
            Some(audience) if !audience.is_empty() => {
                Reply { kind: "text/html", ..Reply::text(self.0.mint.token(&audience, full)) }
            }
            _ => Reply::error(400, "non-empty audience parameter required\n"),
        }
    }
}
