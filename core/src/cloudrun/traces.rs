//! Traces: which one a request belongs to, by what it carries, in the form in
//! which Cloud Logging shows a record beside its trace.

use super::metadata::Metadata;
use crate::net::{Clock, Tasks};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The fields of a request that tell of a trace, in lower case: W3C Trace
/// Context's, and the platform's own older one.
pub const TRACE_FIELDS: [&str; 2] = ["traceparent", "x-cloud-trace-context"];

/// The first pause after a failure; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// The traces of one project, whose id is part of their names.
#[derive(Debug)]
pub struct Traces {
    project: OnceLock<String>,
    settling: async_channel::Sender<()>,
    settled: async_channel::Receiver<()>,
}

impl Default for Traces {
    fn default() -> Traces {
        let (settling, settled) = async_channel::bounded(1);
        Traces { project: OnceLock::new(), settling, settled }
    }
}

/// What a request says of its trace.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    trace: String,
    span: Option<String>,
    sampled: bool,
}

impl Traces {
    /// Asks for the project's id until it is known; records before that are not
    /// correlated.
    pub fn look_up(self: &Arc<Traces>, metadata: Metadata, tasks: &Tasks, clock: Arc<dyn Clock>) {
        let this = self.clone();
        tasks.spawn("project id look-up", async move {
            let mut pause = FIRST_PAUSE;
            loop {
                match metadata.project_id().await {
                    Ok(id) if is_id(&id) => {
                        let _ = this.project.set(id);
                        this.settling.close();
                        return;
                    }
                    // It is no part of any request, so nobody needs to be told.
                    _ => clock.sleep(crate::auth::jittered(pause)).await,
                }
                pause = (pause * 2).min(LAST_PAUSE);
            }
        });
    }

    /// Ends when the id is known; to be asked only after [`Traces::look_up`].
    pub async fn settled(&self) {
        let _ = self.settled.recv().await;
    }

    /// The labels of a record about a request with these [`TRACE_FIELDS`]; none
    /// if it says nothing of a trace that makes sense.
    pub fn labels(&self, fields: [Option<&[u8]>; 2]) -> Vec<(&'static str, Value)> {
        let [parent, context] = fields.map(|field| field.and_then(|v| std::str::from_utf8(v).ok()));
        let said = parent.and_then(read_parent).or_else(|| context.and_then(read_context));
        let (Some(said), Some(project)) = (said, self.project.get()) else { return Vec::new() };
        let trace = format!("projects/{project}/traces/{}", said.trace);
        let mut labels = vec![
            ("logging.googleapis.com/trace", trace.into()),
            ("logging.googleapis.com/trace_sampled", said.sampled.into()),
        ];
        labels.extend(said.span.map(|span| ("logging.googleapis.com/spanId", span.into())));
        labels
    }
}

fn is_id(text: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:".contains(&b);
    !text.is_empty() && text.len() <= 100 && text.bytes().all(sound)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

/// `VERSION-TRACE-PARENT-FLAGS` (W3C Trace Context §3.2); a later version may
/// have more behind it.
fn read_parent(value: &str) -> Option<Said> {
    let mut parts = value.trim().splitn(5, '-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (span, flags) = (parts.next()?, parts.next()?);
    let sound = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    let known = version != "ff" && (version != "00" || parts.next().is_none());
    if !sound || !known || is_zero(trace) || is_zero(span) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    Some(Said { trace: trace.to_owned(), span: Some(span.to_owned()), sampled })
}

/// `TRACE[/SPAN[;o=OPTIONS]]`, the span as a decimal number.
fn read_context(value: &str) -> Option<Said> {
    let (ids, options) = match value.trim().split_once(';') {
        Some((ids, options)) => (ids, Some(options)),
        None => (value.trim(), None),
    };
    let (trace, span) = match ids.split_once('/') {
        Some((trace, span)) => (trace, Some(span.parse::<u64>().ok()?)),
        None => (ids, None),
    };
    let trace = trace.to_ascii_lowercase();
    if !is_hex(&trace, 32) || is_zero(&trace) {
        return None;
    }
    let options = options.and_then(|options| options.strip_prefix("o=")?.parse::<u8>().ok());
    let sampled = options.is_some_and(|options| options & 1 == 1);
    let span = span.filter(|span| *span > 0).map(|span| format!("{span:016x}"));
    Some(Said { trace, span, sampled })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn traces() -> Traces {
        Traces { project: OnceLock::from("my-project".to_owned()), ..Traces::default() }
    }

    fn labels(parent: Option<&str>, context: Option<&str>) -> Vec<(&'static str, Value)> {
        traces().labels([parent.map(str::as_bytes), context.map(str::as_bytes)])
    }

    fn value(labels: &[(&str, Value)], key: &str) -> Option<Value> {
        let full = format!("logging.googleapis.com/{key}");
        labels.iter().find(|(known, _)| *known == full).map(|(_, value)| value.clone())
    }

    #[test]
    fn w3c_beats_the_platforms_own() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let both = labels(Some(&parent), Some("ffffffffffffffffffffffffffffffff/1;o=0"));
        let trace = format!("projects/my-project/traces/{TRACE}");
        assert_eq!(value(&both, "trace"), Some(trace.into()));
        assert_eq!(value(&both, "spanId"), Some(SPAN.into()));
        assert_eq!(value(&both, "trace_sampled"), Some(true.into()));
        let later = labels(Some(&format!("cc-{TRACE}-{SPAN}-00-more")), None);
        assert_eq!(value(&later, "trace_sampled"), Some(false.into()));
    }

    #[test]
    fn the_platforms_own_has_a_decimal_span() {
        let all = labels(Some("nonsense"), Some(&format!("{TRACE}/255;o=1")));
        assert_eq!(value(&all, "spanId"), Some("00000000000000ff".into()));
        assert_eq!(value(&all, "trace_sampled"), Some(true.into()));
        let bare = labels(None, Some(&TRACE.to_ascii_uppercase()));
        assert_eq!((bare.len(), value(&bare, "spanId")), (2, None));
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        let zero = "0".repeat(32);
        for parent in [
            "",
            "00",
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-01-more"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("00-{zero}-{SPAN}-01"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{}-{SPAN}-01", TRACE.to_ascii_uppercase()),
            &format!("00-{TRACE}-{SPAN}-zz"),
        ] {
            assert_eq!(labels(Some(parent), None), [], "{parent}");
        }
        for context in ["", "/1", "abc/1;o=1", &format!("{zero}/1"), &format!("{TRACE}/x;o=1")] {
            assert_eq!(labels(None, Some(context)), [], "{context}");
        }
        assert_eq!(traces().labels([Some(b"\xff\xfe"), None]), []);
    }

    #[test]
    fn without_the_projects_id_nothing_is_correlated() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(Traces::default().labels([Some(parent.as_bytes()), None]), []);
        assert!(is_id("example.com:my-project") && !is_id("a/b") && !is_id(""));
    }
}
