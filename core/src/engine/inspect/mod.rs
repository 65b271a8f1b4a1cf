//! Looking at things without changing them: what becomes of a name, and what
//! of this machine stands in the way.
//!
//! It owns the questions and their order; the answers are the rooms' own, asked
//! through the same base that an engine runs on, so that nothing is explained
//! here that would not happen there. The command line calls it through `lib.rs`.

mod doctor;
mod explain;
mod machine;
mod report;

pub use doctor::diagnose;
pub use explain::explain;
pub use report::{Finding, Report, Verdict};

use super::base::Plans;
use crate::net::{Clock, SystemClock};
use crate::telemetry::{Level, Log, Sink};

/// What the report tells needs no log line beside it; who asks for more than
/// warnings gets all.
fn quiet(plans: Plans) -> Plans {
    if plans.log.enabled(Level::Info) {
        return plans;
    }
    let nowhere = Sink::Callback(Box::new(|_| {}));
    Plans { log: Log::new(Level::Error, nowhere, || SystemClock.now()), ..plans }
}

/// The host of what somebody typed, a name or a URL; or, where a call of that
/// does not pass through runsd, what is wrong and what to do.
fn typed(text: &str) -> Result<&str, (String, String)> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port),
        _ => (authority, ""),
    };
    if matches!(scheme, "http" | "ws") && matches!(port, "" | "80") {
        return Ok(host);
    }
    let what =
        format!("{text:?} does not pass through runsd, which takes http:// on port 80 alone");
    Err((what, format!("call a service as http://{host}")))
}

#[cfg(test)]
mod tests {
    use super::typed;

    #[test]
    fn a_url_is_taken_for_its_host() {
        for text in ["hello", "hello:80", "http://hello", "http://hello:80/a?b", "ws://hello/"] {
            assert_eq!(typed(text), Ok("hello"), "{text}");
        }
        assert_eq!(typed("[::1]"), Ok("[::1]"));
        assert_eq!(typed("::1"), Ok("::1"));
        for text in ["https://hello/", "hello:8080", "http://hello:8080/"] {
            assert!(typed(text).is_err(), "{text}");
        }
    }
}
