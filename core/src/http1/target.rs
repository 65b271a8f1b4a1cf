//! Request targets (RFC 9112 §3.2) and the hosts they and `Host` name.

/// The form of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, of CONNECT alone.
    Authority,
    /// `*`, of OPTIONS alone.
    Asterisk,
}

/// A request target taken apart; the parts are slices of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its form.
    pub form: TargetForm,
    /// The authority, where the form has one: host and optional port.
    pub authority: Option<&'a str>,
    /// Path and query in origin form, byte for byte; a missing path is `/`,
    /// which must be put before a query that begins the slice.
    pub path: &'a [u8],
}

impl<'a> Target<'a> {
    /// Takes a target apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, &'static str> {
        let plain = |form| Target { form, authority: None, path: target };
        if method == b"CONNECT" {
            let authority = text(target)?;
            let port = authority.rsplit_once(':').map(|(_, port)| port);
            if !port.is_some_and(is_port) {
                return Err("CONNECT needs HOST:PORT");
            }
            let form = TargetForm::Authority;
            return check(authority).map(|()| Target {
                form,
                authority: Some(authority),
                path: b"",
            });
        }
        match target {
            [b'/', ..] => Ok(plain(TargetForm::Origin)),
            b"*" if method == b"OPTIONS" => Ok(plain(TargetForm::Asterisk)),
            _ => Target::absolute(target),
        }
    }

    fn absolute(target: &'a [u8]) -> Result<Target<'a>, &'static str> {
        let scheme = target.get(..7).ok_or("the request target is neither a path nor a URL")?;
        if !scheme.eq_ignore_ascii_case(b"http://") {
            return Err("the request target is neither a path nor an http:// URL");
        }
        let rest = target.get(7..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (authority, path) =
            rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, b""));
        let authority = text(authority)?;
        check(authority)?;
        Ok(Target { form: TargetForm::Absolute, authority: Some(authority), path })
    }
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "the host is not ASCII")
}

/// Whether it is the number of a port: digits alone, where Rust's own parser lets
/// a sign stand before them.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Checks `host[:port]` (RFC 3986 §3.2 without userinfo).
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(authority: &str) -> Result<(), &'static str> {
    if authority.is_empty() {
        return Err("an empty host");
    }
    // What most are: a name, and no port.
    if authority.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return Ok(());
    }
    if authority.contains('@') {
        return Err("userinfo in the host");
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => {
            let (host, rest) = authority.split_at_checked(end + 1).unwrap_or((authority, ""));
            let sound = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            if sound.is_none_or(|host| host.parse::<std::net::Ipv6Addr>().is_err()) {
                return Err("an invalid IPv6 address");
            }
            match rest {
                "" => (host, None),
                _ => (host, Some(rest.strip_prefix(':').ok_or("an invalid host")?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if port.is_some_and(|port| !port.is_empty() && !is_port(port)) {
        return Err("an invalid port");
    }
    // No percent-encoding, which is right in a URL and wrong in every name there
    // is: whoever decodes it reads another host.
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&b);
    let is_address = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !is_address && !host.bytes().all(is_name) {
        return Err("an invalid host");
    }
    Ok(())
}

/// A checked `Host` value as text.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn host(value: &[u8]) -> Result<&str, &'static str> {
    let host = text(value)?;
    check(host).map(|()| host)
}

/// Host and port of a checked authority; an IPv6 address keeps its brackets.
pub(crate) fn split_authority(authority: &str) -> (&str, Option<u16>) {
    let colon = authority.bytes().rposition(|byte| byte == b':');
    match colon.and_then(|at| Some((authority.get(..at)?, authority.get(at + 1..)?))) {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms() {
        let parse = |method: &str, target: &'static str| {
            Target::parse(method.as_bytes(), target.as_bytes())
        };
        for same in ["/", "//a", "/a/../b", "/%2F%zz", "/?", "/;a?b#c"] {
            let target = parse("GET", same).unwrap();
            assert_eq!((target.form, target.path), (TargetForm::Origin, same.as_bytes()));
        }
        let absolute = parse("GET", "http://hello:80/a?b").unwrap();
        assert_eq!(absolute.authority, Some("hello:80"));
        assert_eq!(absolute.path, b"/a?b");
        assert_eq!(parse("GET", "HTTP://hello").unwrap().path, b"");
        assert_eq!(parse("GET", "http://hello?x").unwrap().path, b"?x");
        assert_eq!(parse("OPTIONS", "*").unwrap().form, TargetForm::Asterisk);
        let connect = parse("CONNECT", "hello:80").unwrap();
        assert_eq!((connect.form, connect.authority), (TargetForm::Authority, Some("hello:80")));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for (method, target) in [
            ("GET", "*"),
            ("GET", "hello:80"),
            ("GET", "https://hello/"),
            ("GET", "http:///x"),
            ("GET", "http://u@h/"),
            ("CONNECT", "hello"),
            ("CONNECT", "/x"),
            ("CONNECT", "a:b@c:80"),
            ("CONNECT", "hello:+80"),
            ("CONNECT", "hello:"),
        ] {
            assert!(Target::parse(method.as_bytes(), target.as_bytes()).is_err(), "{target}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        assert_eq!(split_authority("a"), ("a", None));
        assert_eq!(split_authority("a:80"), ("a", Some(80)));
        assert_eq!(split_authority("a:"), ("a", None));
        assert_eq!(split_authority("[::1]"), ("[::1]", None));
        assert_eq!(split_authority("[::1]:8"), ("[::1]", Some(8)));
    }

    #[test]
    fn hosts_are_checked() {
        for good in ["hello", "hello:80", "hello.us-east1", "[::1]", "[::1]:80", "1.2.3.4:5", "a_b"]
        {
            assert_eq!(host(good.as_bytes()), Ok(good));
        }
        for bad in [
            "",
            "a b",
            "u@h",
            "a:b",
            "a:99999",
            "[::1",
            "[x]",
            "a/b",
            "a,b",
            "::1",
            "a:1:2",
            "a%2eb",
            "a:+80",
            "[::1]:+80",
            "a:-0",
        ] {
            assert!(host(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
