//! One request as the access log tells it: for programs in the form that Cloud
//! Logging knows as `HttpRequest`, for people in one line. What a URL's query
//! says is never shown, and what an app sends cannot steer a terminal.

use super::json::Members;
use super::record::Level;
use std::fmt::{self, Write};
use std::time::Duration;

/// The longest URL that is shown, in bytes.
const URL: usize = 2048;
/// The longest `User-Agent` that is shown, in bytes.
const AGENT: usize = 256;

/// What is known of a request when it has ended.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// The method; empty if the request could not be read.
    pub method: &'a str,
    /// What [`visible_url`] gives; empty if the request could not be read.
    pub url: &'a str,
    /// The status that the app got, if it got one.
    pub status: Option<u16>,
    /// From the request's head to the end of the answer.
    pub latency: Duration,
    /// Head and body, in bytes.
    pub request_size: u64,
    /// Head and body, in bytes.
    pub response_size: u64,
    /// The app's version of HTTP.
    pub protocol: &'static str,
    /// What [`visible_agent`] gives.
    pub agent: Option<&'a str>,
    /// The name that the app called, and the host that it was mapped to.
    pub service: Option<(&'a str, &'a str)>,
    /// Why runsd itself answered, if it did.
    pub reason: Option<&'a str>,
    /// The status of a gRPC call.
    pub grpc_status: Option<u16>,
    /// The labels that correlate it with a trace.
    pub trace: &'a [(&'static str, serde_json::Value)],
}

impl Access<'_> {
    /// How the platform's own request log grades a status.
    pub(super) fn level(&self) -> Level {
        match self.status {
            Some(500..) => Level::Error,
            Some(400..) => Level::Warn,
            Some(_) => Level::Info,
            // The app left, or its connection was cut.
            None => Level::Warn,
        }
    }

    /// What stands in the JSON object besides the message.
    pub(super) fn details(&self) -> Members {
        let mut request = Members::default();
        if !self.method.is_empty() {
            request.text("requestMethod", self.method);
            request.text("requestUrl", self.url);
        }
        if let Some(status) = self.status {
            request.raw("status", status);
        }
        // Cloud Logging has 64-bit numbers and durations as text.
        request.raw("latency", format_args!("\"{:.6}s\"", self.latency.as_secs_f64()));
        request.raw("requestSize", format_args!("\"{}\"", self.request_size));
        request.raw("responseSize", format_args!("\"{}\"", self.response_size));
        request.text("protocol", self.protocol);
        if let Some(agent) = self.agent {
            request.text("userAgent", agent);
        }
        let mut own = Members::default();
        if let Some((service, host)) = self.service {
            own.text("service", service);
            own.text("host", host);
        }
        if let Some(reason) = self.reason {
            own.text("reason", reason);
        }
        if let Some(status) = self.grpc_status {
            own.raw("grpcStatus", status);
        }
        let mut details = Members::default();
        details.object("httpRequest", &request);
        if !own.is_empty() {
            details.object("runsd", &own);
        }
        self.trace.iter().for_each(|(key, value)| details.raw(key, value));
        details
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method.is_empty() {
            f.write_str("a request that cannot be read")?;
        } else {
            write!(f, "{} {}", self.method, self.url)?;
        }
        match self.status {
            Some(status) => write!(f, " {status}")?,
            None => f.write_str(" no answer")?,
        }
        if let Some(status) = self.grpc_status {
            write!(f, " grpc-status {status}")?;
        }
        let milliseconds = self.latency.as_secs_f64() * 1e3;
        write!(f, " {milliseconds:.1} ms {} B", self.response_size)?;
        match (self.reason, self.service) {
            (Some(reason), _) => write!(f, " ({reason})"),
            (None, Some((_, host))) => write!(f, " {host}"),
            (None, None) => Ok(()),
        }
    }
}

/// A request's URL as it may be shown: without the values of its query and its
/// fragment, user information and characters that no URL has. `target` is what
/// stands in the request, `host` what it names beside it.
pub fn visible_url(host: &[u8], target: &[u8]) -> String {
    let at = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let (place, behind) = target.split_at_checked(at).unwrap_or((target, b""));
    let pairs = behind.split_first().map(|(mark, all)| (char::from(*mark), all));
    let mut url = String::with_capacity(host.len() + target.len() + 8);
    if place.starts_with(b"/") || place == b"*" || place.is_empty() {
        url.push_str("http://");
        push(&mut url, without_user(host));
        push(&mut url, place);
    } else {
        let begins = place.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
        let (scheme, rest) = place.split_at_checked(begins).unwrap_or((b"", place));
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
        push(&mut url, scheme);
        push(&mut url, without_user(authority));
        push(&mut url, path);
    }
    let pairs = pairs.into_iter().flat_map(|(mark, all)| {
        let marks = std::iter::once(mark).chain(std::iter::repeat('&'));
        marks.zip(all.split(|byte| *byte == b'&'))
    });
    for (mark, pair) in pairs {
        url.push(mark);
        // A piece without a name is all value.
        if let Some(at) = pair.iter().position(|byte| *byte == b'=') {
            push(&mut url, pair.get(..at).unwrap_or_default());
            url.push('=');
        }
        if !pair.is_empty() {
            url.push('*');
        }
    }
    // It is ASCII, so it can be cut anywhere.
    url.truncate(URL);
    url
}

/// An authority without what names a user: a request that has that is refused,
/// and told of all the same.
fn without_user(authority: &[u8]) -> &[u8] {
    authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default()
}

/// Appends what may stand in a URL, and the rest of it percent-encoded.
fn push(url: &mut String, text: &[u8]) {
    for byte in text.iter().take(URL) {
        if byte.is_ascii_graphic() {
            url.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

/// A `User-Agent` as it may be shown.
pub fn visible_agent(value: &[u8]) -> String {
    let visible = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
    value.iter().take(AGENT).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn details(access: &Access<'_>) -> Value {
        serde_json::from_str(&access.details().into_object()).unwrap()
    }

    fn access() -> Access<'static> {
        Access {
            method: "GET",
            url: "http://hello/",
            status: Some(200),
            latency: Duration::from_micros(12_345),
            request_size: 80,
            response_size: 1 << 40,
            protocol: "HTTP/1.1",
            agent: Some("curl/8"),
            service: Some(("hello", "hello-1.example")),
            reason: None,
            grpc_status: None,
            trace: &[],
        }
    }

    #[test]
    fn a_request_is_cloud_loggings_http_request() {
        let details = details(&access());
        let request = &details["httpRequest"];
        let expected = json!({
            "requestMethod": "GET", "requestUrl": "http://hello/", "status": 200,
            "latency": "0.012345s", "requestSize": "80", "responseSize": "1099511627776",
            "protocol": "HTTP/1.1", "userAgent": "curl/8",
        });
        assert_eq!(*request, expected);
        assert_eq!(details["runsd"], json!({ "service": "hello", "host": "hello-1.example" }));
    }

    #[test]
    fn a_refused_request_says_why_and_an_unread_one_claims_nothing() {
        let trace = [("trace", json!("projects/p/traces/t"))];
        let refused = Access {
            method: "",
            url: "",
            status: Some(400),
            service: None,
            agent: None,
            reason: Some("no Host"),
            trace: &trace,
            ..access()
        };
        let details = details(&refused);
        assert!(details["httpRequest"].get("requestMethod").is_none());
        assert_eq!(details["runsd"]["reason"], "no Host");
        assert_eq!(details["trace"], "projects/p/traces/t");
        assert_eq!(refused.level(), Level::Warn);
        let text = refused.to_string();
        assert!(text.starts_with("a request that cannot be read 400 12.3 ms"), "{text}");
        assert!(text.ends_with("(no Host)"), "{text}");
    }

    #[test]
    fn people_get_one_line() {
        let line = access().to_string();
        assert_eq!(line, "GET http://hello/ 200 12.3 ms 1099511627776 B hello-1.example");
        let call = Access { grpc_status: Some(14), status: None, ..access() };
        assert!(call.to_string().contains("no answer grpc-status 14"));
        assert_eq!(call.level(), Level::Warn);
        assert_eq!(Access { status: Some(502), ..access() }.level(), Level::Error);
    }

    #[test]
    fn a_url_shows_no_secret_and_no_odd_character() {
        for (host, target, expected) in [
            ("hello", "/a/b?code=1&key=sekret&x=", "http://hello/a/b?code=*&key=*&x=*"),
            ("hello:80", "/?sekret", "http://hello:80/?*"),
            ("hello", "/?", "http://hello/?"),
            ("hello", "/?&a=b?c=d&&", "http://hello/?&a=*&&"),
            ("hello", "/a#token=sekret&sekret", "http://hello/a#token=*&*"),
            ("hello", "/a?b=c#token=sekret", "http://hello/a?b=*"),
            ("h", "http://hello/#sekret", "http://hello/#*"),
            ("h", "http://hello#sekret", "http://hello#*"),
            ("h", "http://user:sekret@hello/x@y?z=1", "http://hello/x@y?z=*"),
            ("h", "sekret@hello:443", "hello:443"),
            ("user:sekret@hello", "/x@y", "http://hello/x@y"),
            ("hello", "*", "http://hello*"),
            ("he\u{1b}llo", "/\u{e9} ", "http://he%1Bllo/%C3%A9%20"),
        ] {
            assert_eq!(visible_url(host.as_bytes(), target.as_bytes()), expected);
        }
        let long = format!("/{}", "a".repeat(10_000));
        assert_eq!(visible_url(b"h", long.as_bytes()).len(), URL);
        assert_eq!(visible_agent(b"a\x1b[31m\xe9"), "a?[31m?");
        assert_eq!(visible_agent(&[b'a'; 1000]).len(), AGENT);
    }
}
