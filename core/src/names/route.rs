//! Routes: where a name leads because the user says so.

use super::Target;
use super::grammar::normal;
use serde_json::Value;
use std::str::FromStr;
use std::sync::Arc;

/// One configured route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    name: String,
    target: Arc<Target>,
}

impl Route {
    /// The name it is for, lower case, without a final dot.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it leads.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    fn new(
        name: &str,
        url: &str,
        audience: Option<String>,
        token: Option<bool>,
    ) -> Result<Route, String> {
        let name = normal(name);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(format!("{name:?} is not a host name"));
        }
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("{url:?} does not begin with https:// or http://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(format!(
                "{url:?} must be a scheme and a host, such as https://host.example"
            ));
        }
        let default: u16 = if tls { 443 } else { 80 };
        // The scheme's own port is no part of an origin's name (RFC 9110 §4.2.3).
        let authority = match authority.strip_suffix(&format!(":{default}")) {
            Some(host) => host.to_owned(),
            None => authority,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} in {url:?} is not a port"))?)
            }
            _ => (authority.as_str(), default),
        };
        if !tls && audience.is_some() {
            return Err(format!(
                "{url:?} is in the clear, where no token is ever sent: leave out its audience, or \
                 use https://"
            ));
        }
        if !tls && token == Some(true) {
            return Err(format!("{url:?} is in the clear, where no token is ever sent"));
        }
        let send = tls && token != Some(false);
        let audience = send.then(|| audience.unwrap_or_else(|| format!("https://{authority}")));
        let target = Target {
            name: name.clone(),
            host: host.to_owned(),
            port,
            tls,
            authority: authority.clone(),
            audience: audience.map(Arc::from),
        };
        Ok(Route { name, target: Arc::new(target) })
    }

    fn from_json(text: &str) -> Result<Route, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("{text:?} is not JSON: {error}"))?;
        let object = value.as_object().ok_or_else(|| format!("{text} is not an object"))?;
        let known = ["name", "url", "audience", "token"];
        if let Some(key) = object.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("a route has no key {key:?}; it has {}", known.join(", ")));
        }
        let string = |key: &str| match object.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("a route's {key:?} is a string, not {other}")),
        };
        let token = match object.get("token") {
            None => None,
            Some(Value::Bool(token)) => Some(*token),
            Some(other) => {
                return Err(format!("a route's \"token\" is true or false, not {other}"));
            }
        };
        let missing = |key: &str| format!("a route needs {key:?}: {text}");
        let name = string("name")?.ok_or_else(|| missing("name"))?;
        let url = string("url")?.ok_or_else(|| missing("url"))?;
        Route::new(&name, &url, string("audience")?, token)
    }
}

/// `NAME=URL[,audience=A][,token=off]`, or a JSON object.
impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Route, String> {
        if text.trim_start().starts_with('{') {
            return Route::from_json(text);
        }
        let (name, rest) =
            text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=URL"))?;
        let mut parts = rest.split(',');
        let url = parts.next().unwrap_or_default();
        let (mut audience, mut token) = (None, None);
        for part in parts {
            match part.split_once('=') {
                Some(("audience", value)) => audience = Some(value.to_owned()),
                Some(("token", "off")) => token = Some(false),
                Some(("token", "on")) => token = Some(true),
                _ => {
                    return Err(format!(
                        "{part:?} in {text:?} is neither audience=URL nor token=on or token=off"
                    ));
                }
            }
        }
        Route::new(name, url, audience, token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Arc<Target> {
        text.parse::<Route>().unwrap().target
    }

    #[test]
    fn a_route_is_a_name_and_a_url() {
        let secure = route("API=https://api.example.com");
        assert_eq!((secure.name.as_str(), secure.port, secure.tls), ("api", 443, true));
        assert_eq!(secure.audience.as_deref(), Some("https://api.example.com"));
        let plain = route("db=http://localhost:9000/");
        assert_eq!((plain.host.as_str(), plain.port, plain.tls), ("localhost", 9000, false));
        assert_eq!((plain.authority.as_str(), plain.audience.clone()), ("localhost:9000", None));
        let custom = route("a=https://b:8443,audience=https://c");
        assert_eq!((custom.port, custom.audience.as_deref()), (8443, Some("https://c")));
        assert_eq!(route("a=https://b,token=off").audience, None);
        assert_eq!(route("a=http://[::1]:1").host, "[::1]");
    }

    #[test]
    fn json_says_the_same() {
        let json = r#"{"name": "a", "url": "https://b:8443", "audience": "https://c"}"#;
        assert_eq!(route(json), route("a=https://b:8443,audience=https://c"));
        let off = r#"{"name": "a", "url": "https://b", "token": false}"#;
        assert_eq!(route(off), route("a=https://b,token=off"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, part) in [
            ("a", "NAME=URL"),
            ("a=b", "https://"),
            ("a=http://b,audience=c", "in the clear"),
            ("a=http://b,token=on", "in the clear"),
            ("a=https://b/path", "scheme and a host"),
            ("a=https://u@b", "scheme and a host"),
            ("a=https://b:x", "not a port"),
            ("a=https://b,tokne=off", "neither"),
            ("{\"name\":\"a\"}", "needs \"url\""),
            ("{\"name\":\"a\",\"url\":\"https://b\",\"aud\":1}", "no key \"aud\""),
        ] {
            let error = text.parse::<Route>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
