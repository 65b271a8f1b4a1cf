//! What mends the errors that the proxy itself answers with: each in words that
//! whoever reads the answer or the log can act on.

use super::error::{Fault, ProxyError, TINY_FRAMES};
use crate::net::{DialError, TlsError};

impl ProxyError {
    /// What mends it, where the error's own words do not say so.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        match self {
            ProxyError::Dial { cause, .. } => Some(dial_remedy(cause)),
            ProxyError::Upstream { fault, .. } => Some(match fault {
                Fault::BrokeOff => {
                    "the service's own log says why it broke off; its instance may have crashed"
                }
                Fault::Response => {
                    "runsd passes on no response that breaks a rule of HTTP or is beyond its \
                     limits (a head of 64 KiB and 256 fields, over HTTP/2 of 256 KiB): the \
                     service, or what stands before it, must send another"
                }
                Fault::Version => {
                    "HTTP/2 is what --upstream-http 2 asks for: set it to auto, which takes what a \
                     service offers, or let the service speak it"
                }
            }),
            ProxyError::Limit { what: TINY_FRAMES, .. } => Some(
                "that could exhaust runsd, which ends such a connection: the service should send \
                 fewer, or be called over HTTP/1.1, which has none (--upstream-http 1)",
            ),
            ProxyError::Limit { .. } => Some(
                "that could exhaust runsd, which ends such a connection: the service must send \
                 fewer",
            ),
            ProxyError::Elsewhere { error, misses } => Some(elsewhere_remedy(error, *misses)),
            ProxyError::Token { cause, .. } if !cause.permanent => Some(
                "it is asked for again; if it goes on, check that the metadata server can be \
                 reached (runsd doctor)",
            ),
            ProxyError::Token { .. } => {
                Some("runsd doctor tells which account or credentials are used here")
            }
            _ => None,
        }
    }
}

/// What mends a service's connection that did not come about.
fn dial_remedy(cause: &DialError) -> &'static str {
    match cause {
        DialError::Resolve { .. } => {
            "check the service's name and region (runsd explain NAME), and that the nameservers in \
             resolv.conf answer (runsd doctor)"
        }
        DialError::Loop { .. } => "a route or a host table entry leads back to runsd: change it",
        DialError::Connect { .. } | DialError::Timeout { .. } => {
            "check that calls may leave this container (VPC egress, firewall); with ingress \
             limited to internal the service must be called through the VPC"
        }
        DialError::Tls { cause: TlsError::Certificate(_), .. } => {
            "if the service has a certificate of your own authority, trust it with --ca-file"
        }
        DialError::Tls { cause: TlsError::Version(_), .. } => {
            "TLS before 1.2 is not safe: the service must offer a later one, or what stands \
             before it"
        }
        DialError::Tls { .. } => {
            "check that the service speaks TLS there; one in the clear needs a route with http://"
        }
    }
}

/// What mends the failure of a host that is no service.
fn elsewhere_remedy(error: &ProxyError, misses: bool) -> &'static str {
    match error {
        ProxyError::Dial { cause: DialError::Loop { .. }, .. } => {
            "that is runsd's own address and port: call services by http://NAME"
        }
        _ if misses => {
            "a service is called by http://NAME on port 80 alone, where runsd adds TLS by itself; \
             with another port this is any other host, called as without runsd: check its name and \
             its port"
        }
        ProxyError::Dial { cause: DialError::Resolve { .. }, .. } => {
            "it is no service's name and has no route here, and was looked up as any other host \
             is: check its spelling, and that the nameservers in resolv.conf answer; to call a \
             service by it, give it a route (--route NAME=URL; runsd doctor NAME tells more)"
        }
        ProxyError::Dial { .. } => {
            "it is no service, and was called as without runsd: check that it listens on that \
             port, and that calls to it may leave this container (VPC egress, firewall)"
        }
        ProxyError::Upstream { fault: Fault::Response, .. } => {
            "it is no service, and was called as without runsd, which passes on no response that \
             breaks a rule of HTTP or is beyond its limits (a head of 64 KiB and 256 fields)"
        }
        _ => "it is no service, and was called as without runsd: its own log says why it broke off",
    }
}
