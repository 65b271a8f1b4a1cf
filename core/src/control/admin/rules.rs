//! Who may ask the admin endpoint, and how: programs on this machine, by its own
//! names. A web page in a browser on this machine is none of them, whichever
//! name it has made lead here (DNS rebinding).

use std::net::IpAddr;
use surf::http::{Method, Request, StatusCode};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Something to read.
    Page,
    /// Something that is to happen.
    Action,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is for this path.
    Fit(&'static str, Asked),
    /// It has the wrong method; these are the right ones.
    Method(&'static str),
    /// It gets this status, and why.
    Refused(StatusCode, &'static str),
}

/// Judges a request, which has exactly one `Host`.
pub(super) fn judge(
    request: &Request,
    mut pages: impl Iterator<Item = &'static str>,
    mut actions: impl Iterator<Item = &'static str>,
) -> Verdict {
    let host = request.header("host").map(|values| values.as_str()).unwrap_or_default();
    // The target may name a host too, and would win (RFC 9112 §3.2.2).
    let named = request.url().host_str().is_some_and(is_loopback);
    if !named || !is_loopback(without_port(host)) {
        let why = "Host must be a loopback name or address, such as localhost";
        return Verdict::Refused(StatusCode::Forbidden, why);
    }
    if request.header("origin").is_some() {
        return Verdict::Refused(StatusCode::Forbidden, "web pages may not ask (Origin)");
    }
    let site = request.header("sec-fetch-site").map(|values| values.as_str());
    if site.is_some_and(|site| !["none", "same-origin"].contains(&site)) {
        return Verdict::Refused(StatusCode::Forbidden, "web pages may not ask (Sec-Fetch-Site)");
    }
    let path = request.url().path();
    if let Some(path) = actions.find(|known| *known == path) {
        let fits = request.method() == Method::Post;
        return if fits { Verdict::Fit(path, Asked::Action) } else { Verdict::Method("POST") };
    }
    if let Some(path) = pages.find(|known| *known == path) {
        let fits = matches!(request.method(), Method::Get | Method::Head);
        return if fits { Verdict::Fit(path, Asked::Page) } else { Verdict::Method("GET, HEAD") };
    }
    Verdict::Refused(StatusCode::NotFound, "there is no such page; / lists them")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use surf::http::Url;

    fn judged(method: Method, url: &str, fields: &[(&str, &str)]) -> Verdict {
        let mut request = Request::new(method, Url::parse(url).unwrap());
        request.insert_header("host", "127.0.0.1:9903");
        for (name, value) in fields {
            request.insert_header(*name, *value);
        }
        judge(&request, ["/", "/metrics"].into_iter(), ["/quit"].into_iter())
    }

    fn status(verdict: Verdict) -> Option<u16> {
        match verdict {
            Verdict::Refused(status, _) => Some(status.into()),
            Verdict::Method(_) => Some(405),
            Verdict::Fit(..) => None,
        }
    }

    #[test]
    fn this_machines_own_names_are_loopback_alone() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:9"] {
            assert!(is_loopback(without_port(host)), "{host}");
        }
        for host in ["", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "[::]", "evil:80", "1"] {
            assert!(!is_loopback(without_port(host)), "{host}");
        }
    }

    #[test]
    fn pages_are_read_and_actions_are_posted() {
        let here = "http://localhost";
        let page = |path, asked| Verdict::Fit(path, asked);
        let at = |path: &str| format!("{here}{path}");
        assert_eq!(judged(Method::Get, &at("/metrics?x"), &[]), page("/metrics", Asked::Page));
        assert_eq!(judged(Method::Head, &at("/"), &[]), page("/", Asked::Page));
        assert_eq!(judged(Method::Post, &at("/quit"), &[]), page("/quit", Asked::Action));
        assert_eq!(judged(Method::Get, &at("/quit"), &[]), Verdict::Method("POST"));
        assert_eq!(judged(Method::Head, &at("/quit"), &[]), Verdict::Method("POST"));
        assert_eq!(judged(Method::Post, &at("/metrics"), &[]), Verdict::Method("GET, HEAD"));
        assert_eq!(status(judged(Method::Get, &at("/nothing"), &[])), Some(404));
    }

    #[test]
    fn web_pages_and_foreign_names_are_refused_before_anything_else() {
        let here = "http://localhost/quit";
        for (url, field) in [
            ("http://evil.example/quit", ("accept", "*/*")),
            (here, ("host", "evil.example")),
            (here, ("host", "localhost.evil.example:9903")),
            (here, ("origin", "http://localhost:9903")),
            (here, ("origin", "null")),
            (here, ("sec-fetch-site", "cross-site")),
            (here, ("sec-fetch-site", "same-site")),
        ] {
            let verdict = judged(Method::Post, url, &[field]);
            assert_eq!(status(verdict), Some(403), "{url} {field:?}");
        }
        let typed = judged(Method::Get, "http://localhost/", &[("sec-fetch-site", "none")]);
        assert_eq!(status(typed), None);
    }
}
