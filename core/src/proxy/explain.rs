//! What went wrong, told once and with what mends it: refusals of the platform
//! in a service's place, and the proxy's own errors.

use super::Shared;
use super::error::{About, ProxyError};
use crate::cloudrun;
use crate::http1::{Known, ResponseHead};
use crate::names::Target;
use crate::telemetry::Log;
use http::{HeaderMap, StatusCode, header};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::verdict::is_invalid_token;

/// Refusals that are remembered as told.
const TOLD: usize = 256;

/// The refusals that the log has been told of: each a host and a status.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashSet<(String, u16)>>);

impl Refusals {
    /// Tells of one what `text` says of it, if that is anything, once.
    fn tell(&self, log: &Log, (host, status): (&str, u16), text: impl FnOnce() -> Option<String>) {
        let refusal = (host.to_owned(), status);
        {
            let mut told = self.told();
            if told.len() >= TOLD || !told.insert(refusal.clone()) {
                return;
            }
        }
        let Some(text) = text() else { return };
        if !log.warn_of("proxy", "refusals", format_args!("{text}")) {
            // Many others have just been told of: its turn comes.
            self.told().remove(&refusal);
        }
    }

    fn told(&self) -> MutexGuard<'_, HashSet<(String, u16)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// What is known of a call to `target`, for an error that names it.
    pub(super) fn about(&self, target: Option<&Target>) -> About {
        let Some(target) = target else { return About::default() };
        About {
            service: Some((target.name.clone(), target.host.clone())),
            caller: self.caller(target),
        }
    }

    /// Whom the token for `target` proves, if there is one.
    fn caller(&self, target: &Target) -> Option<String> {
        let token = self.tokens.ready(target.audience.as_deref()?, self.timers.moment())?;
        token.email().map(str::to_owned)
    }

    /// A service has answered with a status that the platform may have given in
    /// its place: said once for each service and status. The answer passes.
    pub(super) fn refused(&self, target: &Target, status: u16) {
        self.refusals.tell(self.tasks.log(), (&target.host, status), || {
            cloudrun::refusal(status, target, self.caller(target).as_deref())
        });
    }

    /// Tells the log of an error that the proxy answers with. What the app alone
    /// can mend, and what its source has told already, is for whoever looks; so is
    /// all of it where the access log tells the same of each request.
    pub(super) fn tell(&self, error: &ProxyError, about: &About) {
        let log = self.tasks.log();
        if error.is_news() && !self.config.access_log {
            let (_, class) = error.class();
            log.warn_of("proxy", class, format_args!("{}", error.told(about)));
        } else {
            log.debug("proxy", format_args!("{}", error.told(about)));
        }
    }
}

/// Whether a response may be the platform's own refusal: by its status, and by
/// what the platform says with it.
pub(super) fn may_be_refusal(head: &ResponseHead, buffer: &[u8]) -> bool {
    let any = |known, matches: fn(&[u8]) -> bool| {
        let mut fields = head.fields().iter().filter(|field| field.known == known);
        fields.any(|field| matches(field.value.in_buffer(buffer)))
    };
    match head.status {
        401 => any(Known::WwwAuthenticate, is_invalid_token),
        403 => true,
        404 => any(Known::ContentType, is_page),
        _ => false,
    }
}

/// The same of a response with these fields.
pub(super) fn may_be_refusal_h2(status: StatusCode, fields: &HeaderMap) -> bool {
    let any = |name: header::HeaderName, matches: fn(&[u8]) -> bool| {
        fields.get_all(name).iter().any(|value| matches(value.as_bytes()))
    };
    match status {
        StatusCode::UNAUTHORIZED => any(header::WWW_AUTHENTICATE, is_invalid_token),
        StatusCode::FORBIDDEN => true,
        StatusCode::NOT_FOUND => any(header::CONTENT_TYPE, is_page),
        _ => false,
    }
}

fn is_page(content_type: &[u8]) -> bool {
    content_type.get(..9).is_some_and(|begin| begin.eq_ignore_ascii_case(b"text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Limits;
    use crate::telemetry::{Level, Record, Sink};
    use http::HeaderValue;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn a_refusal_is_told_once_and_one_that_was_held_back_when_its_turn_comes() {
        let (begin, passed) = (Instant::now(), Arc::<Mutex<Duration>>::default());
        let (told, clock) = (Arc::<Mutex<Vec<String>>>::default(), passed.clone());
        let telling = told.clone();
        let say = move |record: &Record<'_>| telling.lock().unwrap().push(record.message.into());
        let now = move || begin + *clock.lock().unwrap();
        let log = Log::new(Level::Warn, Sink::Callback(Box::new(say)), now);
        let refusals = Refusals::default();
        for (minute, sum) in [(0, 20), (0, 20), (1, 30), (2, 30)] {
            *passed.lock().unwrap() = Duration::from_secs(60 * minute);
            for number in 0..30 {
                let host = format!("host-{number}");
                refusals.tell(&log, (&host, 403), || Some(format!("refused by {host}")));
            }
            let told = told.lock().unwrap();
            let mut hosts: Vec<_> = told.iter().filter(|said| said.starts_with("ref")).collect();
            assert_eq!(hosts.len(), sum, "{hosts:?}");
            hosts.sort();
            hosts.dedup();
            assert_eq!(hosts.len(), sum, "each once");
        }
    }

    #[test]
    fn what_may_be_the_platforms_is_told_from_a_services_own() {
        let invalid = ("www-authenticate", "Bearer error=\"invalid_token\"");
        for (status, (name, value), expected) in [
            (401, invalid, true),
            (401, ("www-authenticate", "Basic realm=x"), false),
            (403, ("content-type", "application/json"), true),
            (404, ("content-type", "text/html; charset=UTF-8"), true),
            (404, ("content-type", "application/json"), false),
            (200, ("content-type", "text/html"), false),
        ] {
            let text = format!("HTTP/1.1 {status} X\r\n{name}: {value}\r\n\r\n");
            let mut head = ResponseHead::default();
            head.parse(text.as_bytes(), Limits::default()).unwrap().unwrap();
            assert_eq!(may_be_refusal(&head, text.as_bytes()), expected, "{text}");
            let mut fields = HeaderMap::new();
            fields.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(may_be_refusal_h2(status, &fields), expected, "{text}");
        }
    }
}
