//! What is noted of one request while it is under way: enough for the counters
//! always, and for the access log where it is on. A request is told when its note
//! is dropped, so that none is forgotten, whatever ends it.

use super::Shared;
use super::error::{About, ProxyError};
use crate::cloudrun::TRACE_FIELDS;
use crate::http1::{RequestHead, Version};
use crate::names::Target;
use crate::telemetry::{Access, visible_agent, visible_url};
use http::HeaderMap;
use http::header;
use http::request::Parts;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status of an answer that opens a tunnel.
const SWITCHED: u16 = 101;

/// The note of one request after the other; the default is that of none.
#[derive(Default)]
pub(super) struct Note {
    /// Where it is told, from the first request on.
    shared: Option<Arc<Shared>>,
    open: Option<Open>,
}

/// Of one that is under way.
struct Open {
    begun: Instant,
    target: Option<Arc<Target>>,
    /// 0: none yet.
    status: u16,
    grpc_status: Option<u16>,
    /// It became a relay of bytes: how long that took is no latency.
    tunnel: bool,
    received: u64,
    sent: u64,
    seen: Option<Box<Seen>>,
}

/// What the access log alone wants to know.
#[derive(Default)]
struct Seen {
    method: String,
    url: String,
    agent: Option<String>,
    protocol: &'static str,
    trace: Vec<(&'static str, serde_json::Value)>,
    reason: Option<String>,
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Note({:?})", self.open.as_ref().map(|open| open.status))
    }
}

impl Note {
    /// A request begins now, whose head is in `buffer`.
    pub(super) fn begin_h1(
        &mut self,
        shared: &Arc<Shared>,
        now: Instant,
        (head, buffer): (&RequestHead, &[u8]),
    ) {
        let seen = shared.config.access_log.then(|| Box::new(Seen::of_h1(shared, head, buffer)));
        self.begin(shared, now, seen);
    }

    /// The note of a request that came as a stream.
    pub(super) fn of_h2(shared: &Arc<Shared>, head: &Parts) -> Note {
        let seen = shared.config.access_log.then(|| Box::new(Seen::of_h2(shared, head)));
        let mut note = Note::default();
        note.begin(shared, shared.timers.clock().now(), seen);
        if shared.config.access_log {
            note.received(size(&head.headers));
        }
        note
    }

    /// Something begins that cannot be read as a request.
    pub(super) fn begin_unread(&mut self, shared: &Arc<Shared>) {
        let unread = || Box::new(Seen { protocol: protocol(Version::Http11), ..Seen::default() });
        let now = shared.timers.clock().now();
        self.begin(shared, now, shared.config.access_log.then(unread));
    }

    fn begin(&mut self, shared: &Arc<Shared>, begun: Instant, seen: Option<Box<Seen>>) {
        self.end();
        self.shared.get_or_insert_with(|| shared.clone());
        self.open = Some(Open {
            begun,
            target: None,
            status: 0,
            grpc_status: None,
            tunnel: false,
            received: 0,
            sent: 0,
            seen,
        });
    }

    /// The request has ended, if there was one: counts and tells it. Never a part
    /// of its callers: a future drops its note in each of its states, and a copy
    /// for each would be most of the program.
    #[inline(never)]
    pub(super) fn end(&mut self) {
        if let (Some(open), Some(shared)) = (self.open.take(), &self.shared) {
            open.tell(shared);
        }
    }

    /// Where it goes.
    pub(super) fn leads_to(&mut self, target: &Arc<Target>) {
        if let Some(open) = &mut self.open {
            open.target = Some(target.clone());
        }
    }

    /// Where it goes, if that is known.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.open.as_ref().and_then(|open| open.target.as_ref())
    }

    /// The app is being answered.
    pub(super) fn answered(&mut self, status: u16) {
        if let Some(open) = &mut self.open {
            open.status = status;
        }
    }

    /// The app is being answered over HTTP/2, with these fields.
    pub(super) fn answered_with(&mut self, status: u16, fields: &HeaderMap) {
        self.answered(status);
        if self.open.as_ref().is_some_and(|open| open.seen.is_some()) {
            self.ended_with(fields);
            self.sent(size(fields));
        }
    }

    /// The fields that may say how a gRPC call went: trailers, or a head.
    pub(super) fn ended_with(&mut self, fields: &HeaderMap) {
        if let Some(open) = self.open.as_mut().filter(|open| open.seen.is_some())
            && let Some(status) = fields.get("grpc-status")
        {
            open.grpc_status = status.to_str().ok().and_then(|text| text.parse().ok());
        }
    }

    /// runsd itself answers, in the form that suits the call.
    pub(super) fn refused(
        &mut self,
        (error, about): (&ProxyError, &About),
        status: u16,
        grpc: Option<u8>,
    ) {
        if let Some(open) = &mut self.open {
            open.status = if grpc.is_some() { 200 } else { status };
            open.grpc_status = grpc.map(u16::from);
            if let Some(seen) = &mut open.seen {
                seen.reason = Some(error.told(about));
            }
        }
    }

    /// It has become a relay of bytes.
    pub(super) fn tunnels(&mut self) {
        if let Some(open) = &mut self.open {
            open.tunnel = true;
        }
    }

    /// So many bytes have come from the app.
    pub(super) fn received(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.received = open.received.saturating_add(bytes);
        }
    }

    /// So many bytes went to the app.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.sent = open.sent.saturating_add(bytes);
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.end();
    }
}

impl Open {
    fn tell(&self, shared: &Shared) {
        let counters = shared.tasks.counters();
        let status = (self.status != 0).then_some(self.status);
        let now = shared.timers.clock().now();
        let latency = now.saturating_duration_since(self.begun);
        counters.proxy_answered.add(status);
        if !self.tunnel && self.status != SWITCHED {
            counters.proxy_time.observe(latency);
        }
        if let Some(seen) = &self.seen {
            self.log(shared, seen, status, latency);
        }
    }

    #[cold]
    fn log(&self, shared: &Shared, seen: &Seen, status: Option<u16>, latency: Duration) {
        shared.tasks.log().access(&Access {
            method: &seen.method,
            url: &seen.url,
            status,
            latency,
            request_size: self.received,
            response_size: self.sent,
            protocol: seen.protocol,
            agent: seen.agent.as_deref(),
            service: self.target.as_ref().map(|target| (&*target.name, &*target.host)),
            reason: seen.reason.as_deref(),
            grpc_status: self.grpc_status,
            trace: &seen.trace,
        });
    }
}

impl Seen {
    fn of_h1(shared: &Shared, head: &RequestHead, buffer: &[u8]) -> Seen {
        let field = |name: &str| {
            let mut fields = head.fields().iter();
            fields
                .find(|field| field.name.in_buffer(buffer).eq_ignore_ascii_case(name.as_bytes()))
                .map(|field| field.value.in_buffer(buffer))
        };
        let host = head.host.map(|host| host.in_buffer(buffer)).unwrap_or_default();
        Seen {
            method: String::from_utf8_lossy(head.method.in_buffer(buffer)).into_owned(),
            url: visible_url(host, head.target.in_buffer(buffer)),
            agent: field("user-agent").map(visible_agent),
            protocol: protocol(head.version),
            trace: shared.traces.labels(TRACE_FIELDS.map(field)),
            reason: None,
        }
    }

    fn of_h2(shared: &Shared, head: &Parts) -> Seen {
        let field = |name: &str| head.headers.get(name).map(header::HeaderValue::as_bytes);
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = authority.or_else(|| field("host")).unwrap_or_default();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        Seen {
            method: head.method.as_str().to_owned(),
            url: visible_url(host, target.as_bytes()),
            agent: field("user-agent").map(visible_agent),
            protocol: "HTTP/2",
            trace: shared.traces.labels(TRACE_FIELDS.map(field)),
            reason: None,
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

/// What fields take as lines, in bytes: how they were packed on the way is the
/// connection's matter.
fn size(fields: &HeaderMap) -> u64 {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() as u64
}
