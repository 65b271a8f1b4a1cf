//! The errors that the proxy itself answers with: status, cause and remedy, as
//! problem details (RFC 9457) that `Proxy-Status` (RFC 9209) marks as ours, or
//! as gRPC's trailers-only form for a gRPC request.

use crate::auth::TokenError;
use crate::http1::{BodyError, HeadError};
use crate::names::{Refusal, Target};
use crate::net::{DialError, TlsError};
use std::fmt;

/// Why the proxy answers instead of the service.
#[derive(Debug)]
pub(super) enum ProxyError {
    /// The request cannot be read.
    Head(HeadError),
    /// The request's body cannot be read.
    Body(BodyError),
    /// The request's target or host is not one.
    Target(&'static str),
    /// The head took too long.
    SlowHead,
    /// CONNECT to a reverse proxy.
    Connect,
    /// A web page in a browser is behind the request.
    Page,
    /// The host leads nowhere.
    Refused(Refusal),
    /// There is no token.
    Token {
        /// The host that the name was mapped to.
        host: String,
        /// Why.
        cause: TokenError,
    },
    /// There is no connection.
    Dial {
        /// What the app called.
        name: String,
        /// Why.
        cause: DialError,
    },
    /// The connection broke, or what came over it is not HTTP.
    Upstream {
        /// What the app called.
        name: String,
        /// The host that the name was mapped to.
        host: String,
        /// What went wrong.
        cause: String,
        /// What kind of fault that is.
        fault: Fault,
    },
    /// We gave the service up for what it sent too much of.
    Limit {
        /// What the app called.
        name: String,
        /// The host that the name was mapped to.
        host: String,
        /// What it sent more of than we take.
        what: &'static str,
    },
    /// A host that is no service, which was called as without runsd, failed so.
    Elsewhere {
        /// How.
        error: Box<ProxyError>,
        /// A service has this name, but not on the port that was named.
        misses: bool,
    },
    /// A defect of ours.
    Internal,
}

/// What is wrong with a service that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It broke off.
    BrokeOff,
    /// Its response breaks a rule of HTTP, or is beyond our limits.
    Response,
    /// It does not speak the version that the configuration wants, or seems not to.
    Version,
}

/// What a service may send too much of over HTTP/2 alone.
pub(super) const TINY_FRAMES: &str = "empty and tiny DATA frames";

/// An answer of the proxy's own.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The value of `Proxy-Status`.
    pub(super) proxy_status: String,
    /// The body, `application/problem+json`.
    pub(super) body: String,
    /// The status and message for a gRPC request.
    pub(super) grpc: (u8, String),
}

/// What is known of the call that failed.
#[derive(Debug, Default)]
pub(super) struct About {
    /// What the app called, and the host that it was mapped to.
    pub(super) service: Option<(String, String)>,
    /// Whom our token proves.
    pub(super) caller: Option<String>,
}

impl ProxyError {
    /// The service that `target` is has failed.
    pub(super) fn upstream(target: &Target, fault: Fault, cause: impl ToString) -> ProxyError {
        let (name, host) = (target.name.clone(), target.host.clone());
        ProxyError::Upstream { name, host, cause: cause.to_string(), fault }
    }

    /// The status, and RFC 9209's name of the error.
    pub(super) fn class(&self) -> (u16, &'static str) {
        match self {
            ProxyError::Head(error) => (error.status(), "http_request_error"),
            ProxyError::Body(error) => (error.status(), "http_request_error"),
            ProxyError::Target(_) => (400, "http_request_error"),
            ProxyError::SlowHead => (408, "http_request_error"),
            ProxyError::Connect => (405, "http_request_denied"),
            ProxyError::Page => (403, "http_request_denied"),
            ProxyError::Refused(Refusal::Unsettled { .. }) => (503, "destination_unavailable"),
            ProxyError::Refused(_) => (421, "http_request_denied"),
            ProxyError::Token { .. } => (503, "proxy_internal_response"),
            ProxyError::Dial { cause, .. } => match cause {
                DialError::Resolve { .. } => (502, "dns_error"),
                DialError::Loop { .. } => (508, "proxy_loop_detected"),
                DialError::Connect { .. } => (502, "connection_refused"),
                DialError::Timeout { .. } => (504, "connection_timeout"),
                DialError::Tls { cause: TlsError::Certificate(_), .. } => {
                    (502, "tls_certificate_error")
                }
                DialError::Tls { .. } => (502, "tls_protocol_error"),
            },
            ProxyError::Upstream { .. } | ProxyError::Limit { .. } => (502, "http_protocol_error"),
            ProxyError::Elsewhere { error, .. } => error.class(),
            ProxyError::Internal => (502, "proxy_internal_error"),
        }
    }

    /// gRPC's status code: 14 UNAVAILABLE may be tried again, 16
    /// UNAUTHENTICATED not; 3 INVALID_ARGUMENT, 5 NOT_FOUND and 7
    /// PERMISSION_DENIED are the caller's.
    fn grpc(&self) -> u8 {
        match self {
            ProxyError::Token { cause, .. } if cause.permanent => 16,
            ProxyError::Head(_)
            | ProxyError::Body(_)
            | ProxyError::Target(_)
            | ProxyError::Connect => 3,
            ProxyError::Page => 7,
            ProxyError::Refused(Refusal::Unsettled { .. }) => 14,
            ProxyError::Refused(_) => 5,
            ProxyError::Internal => 13,
            _ => 14,
        }
    }

    /// The same of a call by another name.
    pub(super) fn calling(self, called: &str) -> ProxyError {
        match self {
            ProxyError::Dial { cause, .. } => ProxyError::Dial { name: called.to_owned(), cause },
            ProxyError::Upstream { host, cause, fault, .. } => {
                ProxyError::Upstream { name: called.to_owned(), host, cause, fault }
            }
            other => other,
        }
    }

    /// The same of a host that is no service; it `misses` one if that has its name
    /// and another port.
    pub(super) fn elsewhere(self, misses: bool) -> ProxyError {
        match self {
            ProxyError::Dial { .. } | ProxyError::Upstream { .. } => {
                ProxyError::Elsewhere { error: Box::new(self), misses }
            }
            other => other,
        }
    }

    /// Whether the log is to tell of it: not of what the app alone can mend, nor
    /// of what the source of tokens has told already.
    pub(super) fn is_news(&self) -> bool {
        match self {
            ProxyError::Head(_)
            | ProxyError::Body(_)
            | ProxyError::Target(_)
            | ProxyError::SlowHead
            | ProxyError::Connect => false,
            ProxyError::Token { cause, .. } => !cause.permanent,
            _ => true,
        }
    }

    /// The error as the log tells it: with the mapped host, the caller and what
    /// mends it.
    pub(super) fn told(&self, about: &About) -> String {
        let mut text = self.to_string();
        if let Some((_, host)) = about.service.as_ref().filter(|(_, host)| !text.contains(host)) {
            text.push_str(&format!("; it leads to {host}"));
        }
        if let Some(caller) = &about.caller {
            text.push_str(&format!("; the caller is {caller}"));
        }
        if let Some(remedy) = self.remedy() {
            text.push_str(&format!("; {remedy}"));
        }
        text
    }

    /// What is said in answer.
    pub(super) fn answer(&self, about: &About) -> Answer {
        let (status, error) = self.class();
        let detail = self.to_string();
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": reason(status),
            "status": status,
            "detail": detail,
        });
        let (service, host) = about.service.as_ref().map(|(name, host)| (name, host)).unzip();
        let service = service.filter(|_| !matches!(self, ProxyError::Elsewhere { .. }));
        let remedy = self.remedy().map(str::to_owned);
        for (key, value) in [
            ("service", service),
            ("host", host),
            ("caller", about.caller.as_ref()),
            ("remedy", remedy.as_ref()),
        ] {
            if let Some(value) = value {
                body[key] = value.as_str().into();
            }
        }
        // A quoted string of RFC 8941 has printable ASCII alone.
        let details: String = detail
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .map(|c| if matches!(c, '"' | '\\') { '\'' } else { c })
            .collect();
        Answer {
            status,
            proxy_status: format!("runsd; error={error}; details=\"{details}\""),
            body: format!("{body}\n"),
            grpc: (self.grpc(), percent_encoded(&self.told(about))),
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Head(error) => write!(f, "runsd cannot read the request: {error}"),
            ProxyError::Body(error) => write!(f, "runsd cannot read the request: {error}"),
            ProxyError::Target(what) => write!(f, "runsd cannot read the request: {what}"),
            ProxyError::SlowHead => f.write_str("the request's head did not arrive within 30 s"),
            ProxyError::Connect => {
                f.write_str("CONNECT is for a forward proxy; call the service by http://NAME")
            }
            ProxyError::Page => f.write_str(
                "a web page in a browser is behind this request (Origin, Sec-Fetch-Site), and pages \
                 must not act with this identity; call the service from a program",
            ),
            ProxyError::Refused(refusal) => refusal.fmt(f),
            ProxyError::Token { host, cause } => write!(f, "cannot call {host}: {cause}"),
            ProxyError::Dial { name, cause } => write!(f, "cannot reach {name}: {cause}"),
            ProxyError::Upstream { name, host, cause, .. } => {
                write!(f, "{name} ({host}) failed: {cause}")
            }
            ProxyError::Limit { name, host, what } => {
                write!(f, "runsd gave up {name} ({host}), which sent more {what} than runsd takes")
            }
            ProxyError::Elsewhere { error, .. } => error.fmt(f),
            ProxyError::Internal => f.write_str("an internal error of runsd; its log has more"),
        }
    }
}

/// The cause of [`ProxyError::Upstream`] where a response's head cannot be read.
pub(super) fn unreadable(error: HeadError) -> String {
    format!("runsd cannot read its response: {error}")
}

/// How a connection ended before the whole head of a response was there, of which
/// something was `heard`.
pub(super) fn before_response(how: &str, heard: bool) -> String {
    let when = if heard { "before its response's head was whole" } else { "before it answered" };
    format!("{how} {when}")
}

/// gRPC's encoding of a status message (its HTTP/2 protocol document,
/// "Percent-Byte-Unencoded").
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The reason phrases of the statuses that the proxy itself uses.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_connection() -> ProxyError {
        ProxyError::Dial {
            name: "hello".into(),
            cause: DialError::Connect {
                address: "192.0.2.1:443".parse().unwrap(),
                cause: std::io::ErrorKind::ConnectionRefused.into(),
            },
        }
    }

    #[test]
    fn an_answer_names_what_was_called_and_why_it_failed() {
        let about = About {
            service: Some(("hello".into(), "hello-1.example".into())),
            caller: Some("me@x.example".into()),
        };
        let answer = refused_connection().answer(&about);
        assert_eq!(answer.status, 502);
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["status"], 502);
        assert_eq!((&body["service"], &body["host"]), (&"hello".into(), &"hello-1.example".into()));
        assert_eq!(body["caller"], "me@x.example");
        assert!(answer.grpc.1.contains("hello-1.example") && answer.grpc.1.contains("VPC"));
        assert!(body["remedy"].as_str().unwrap().contains("VPC"), "{body}");
        let told = refused_connection().told(&about);
        for part in ["hello-1.example", "me@x.example", "VPC", "refused"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(body["detail"].as_str().unwrap().contains("hello"));
        assert!(answer.proxy_status.starts_with("runsd; error=connection_refused"));
        assert_eq!(answer.grpc.0, 14);
    }

    #[test]
    fn a_host_that_is_no_service_is_told_of_as_such() {
        let unresolved = || {
            let cause = DialError::Resolve { host: "db".into(), cause: "NXDOMAIN".into() };
            ProxyError::Dial { name: "db:5432".into(), cause }
        };
        let broken = |fault| ProxyError::Upstream {
            name: "db:5432".into(),
            host: "db".into(),
            cause: "no HTTP".into(),
            fault,
        };
        assert!(unresolved().told(&About::default()).contains("name and region"));
        for (error, misses, remedy) in [
            (unresolved(), false, "check its spelling"),
            (unresolved(), false, "--route NAME=URL"),
            (unresolved(), true, "http://NAME on port 80"),
            (refused_connection(), false, "listens on that port"),
            (refused_connection(), true, "http://NAME on port 80"),
            (broken(Fault::BrokeOff), false, "its own log"),
            (broken(Fault::Response), false, "beyond its limits"),
        ] {
            let (class, words) = (error.class(), error.to_string());
            let error = error.elsewhere(misses);
            assert_eq!((error.class(), error.to_string()), (class, words));
            let about = About { service: Some(("db:5432".into(), "db".into())), caller: None };
            let body: serde_json::Value = serde_json::from_str(&error.answer(&about).body).unwrap();
            assert!(body["remedy"].as_str().unwrap().contains(remedy), "{remedy}: {body}");
            let told = error.told(&about);
            assert!(!told.contains("ingress") && !told.contains("region"), "{told}");
            assert_eq!((&body["service"], &body["host"]), (&serde_json::Value::Null, &"db".into()));
        }
        assert!(matches!(ProxyError::SlowHead.elsewhere(true), ProxyError::SlowHead));
    }

    #[test]
    fn each_fault_of_a_service_has_its_own_remedy() {
        for (fault, remedy) in [
            (Fault::BrokeOff, "its instance may have crashed"),
            (Fault::Response, "must send another"),
            (Fault::Version, "set it to auto"),
        ] {
            let (name, host, cause) = ("hello".into(), "h".into(), "c".into());
            let error = ProxyError::Upstream { name, host, cause, fault };
            let told = error.told(&About::default());
            assert!(told.starts_with("hello (h) failed: c; ") && told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn every_class_has_its_status() {
        let token = |permanent| ProxyError::Token {
            host: "h".into(),
            cause: TokenError { audience: "a".into(), cause: "c".into(), permanent },
        };
        let dial = |cause| ProxyError::Dial { name: "n".into(), cause };
        let host = || "h".to_owned();
        let address = "192.0.2.1:443".parse().unwrap();
        for (error, status, grpc) in [
            (ProxyError::Head(HeadError::TargetTooLong), 414, 3),
            (ProxyError::Target("x"), 400, 3),
            (ProxyError::SlowHead, 408, 14),
            (ProxyError::Connect, 405, 3),
            (ProxyError::Page, 403, 7),
            (ProxyError::Refused(Refusal::Reserved { host: host() }), 421, 5),
            (ProxyError::Refused(Refusal::Unsettled { host: host(), missing: host() }), 503, 14),
            (token(false), 503, 14),
            (token(true), 503, 16),
            (dial(DialError::Resolve { host: host(), cause: host() }), 502, 14),
            (dial(DialError::Loop { host: host(), address }), 508, 14),
            (dial(DialError::Timeout { address, step: "connect" }), 504, 14),
            (ProxyError::Internal, 502, 13),
        ] {
            let answer = error.answer(&About::default());
            assert_eq!((answer.status, answer.grpc.0), (status, grpc), "{error}");
        }
    }

    #[test]
    fn what_an_app_typed_cannot_break_a_header() {
        let odd = Refusal::Name { host: "a\"b\r\nX: y\u{e9}%".into(), rule: "no".into() };
        let answer = ProxyError::Refused(odd).answer(&About::default());
        assert!(!answer.proxy_status.contains(['\r', '\n']));
        assert_eq!(answer.proxy_status.matches('"').count(), 2);
        assert!(!answer.grpc.1.contains(['\r', '\n', '\u{e9}']));
    }
}
