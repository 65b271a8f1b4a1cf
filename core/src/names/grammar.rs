//! The grammar `[TAG---]SERVICE[.REGION[.PROJECT]][.ZONE]`, pure.
//!
//! The same rules decide what the proxy accepts and which names exist in DNS,
//! so that a name never resolves to a proxy that then refuses it for its form.

/// The longest service name that the platform accepts, in characters.
const SERVICE_LENGTH: usize = 49;
/// The longest tag, likewise.
const TAG_LENGTH: usize = 46;

/// A name that follows the grammar, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The traffic tag of one revision.
    pub tag: Option<String>,
    /// The service.
    pub service: String,
    /// The region, where the name gives one.
    pub region: Option<String>,
    /// The project number or id, where the name gives one.
    pub project: Option<String>,
}

/// The parts of a name, as they stand in it.
struct Parts<'a> {
    tag: Option<&'a str>,
    service: &'a str,
    region: Option<&'a str>,
    project: Option<&'a str>,
}

/// What a name is in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service: it has addresses.
    Service,
    /// Something exists below it, but it has no records itself (RFC 8020).
    EmptyNonTerminal,
    /// It is in our zone and does not exist.
    NoSuchName,
    /// It belongs to somebody else.
    NotOurs,
}

/// The grammar with its zone and the words that are never a service.
#[derive(Clone, Debug)]
pub struct Grammar {
    zone: String,
    reserved: Vec<String>,
}

/// Whether a label has the shape of a region, `[a-z]+-[a-z]+[0-9]+` with any
/// number of middle words. Unknown regions are never refused: new ones appear.
pub fn is_region(label: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let Some((area, last)) = label.rsplit_once('-') else { return false };
    let direction = last.trim_end_matches(|c: char| c.is_ascii_digit());
    is_word(direction) && direction.len() < last.len() && area.split('-').all(is_word)
}

/// Whether a text is a project number.
pub fn is_project_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A project's id: 6 to 30 letters, digits and hyphens.
fn is_project_id(text: &str) -> bool {
    (6..=30).contains(&text.len()) && label(text).is_ok()
}

/// Lower case, without a port and the final dot.
pub(crate) fn normal(host: &str) -> String {
    let bare = match host.rsplit_once(':') {
        Some((before, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            // An IPv6 literal without brackets has colons of its own.
            if before.contains(':') && !before.ends_with(']') { host } else { before }
        }
        _ => host,
    };
    bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()
}

/// `[a-z]([-a-z0-9]*[a-z0-9])?`
fn label(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (None, _) | (_, None) => Err("a name must not be empty"),
        (Some(first), _) if !first.is_ascii_lowercase() => Err("a name begins with a letter"),
        (_, Some(b'-')) => Err("a name does not end with a hyphen"),
        _ if bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') => {
            Ok(())
        }
        _ => Err("a name has letters, digits and hyphens only"),
    }
}

impl Grammar {
    /// A grammar over `zone` in which `reserved` words are never services.
    pub fn new(zone: &str, reserved: &[&str]) -> Grammar {
        Grammar {
            zone: zone.to_ascii_lowercase(),
            reserved: reserved.iter().map(|word| word.to_ascii_lowercase()).collect(),
        }
    }

    /// Whether the whole name, or its first label, is never a service.
    pub fn is_reserved(&self, host: &str) -> bool {
        self.reserves(&normal(host))
    }

    /// The same of a normal name; DNS asks for every query.
    fn reserves(&self, host: &str) -> bool {
        let inner = self.inside(host).unwrap_or(host);
        let first = inner.split('.').next().unwrap_or_default();
        let ends_with = |word: &str| {
            host.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
            || self.reserved.iter().any(|word| first == word || ends_with(word))
    }

    /// The part of a name before the zone.
    fn inside<'a>(&self, host: &'a str) -> Option<&'a str> {
        host.strip_suffix(self.zone.as_str())?.strip_suffix('.')
    }

    /// A normal name without the zone.
    pub fn bare<'a>(&self, host: &'a str) -> &'a str {
        self.inside(host).unwrap_or(host)
    }

    /// Reads a host as an app typed it, with or without port, zone and final dot.
    ///
    /// # Errors
    /// The rule that is broken, as half a sentence.
    pub fn parse(&self, host: &str) -> Result<Name, String> {
        let host = normal(host);
        let parts = self.parts(&host)?;
        Ok(Name {
            tag: parts.tag.map(str::to_owned),
            service: parts.service.to_owned(),
            region: parts.region.map(str::to_owned),
            project: parts.project.map(str::to_owned),
        })
    }

    /// The parts of a normal name.
    fn parts<'a>(&self, host: &'a str) -> Result<Parts<'a>, String> {
        let inner = self.inside(host).unwrap_or(host);
        let mut labels = inner.split('.');
        let first = labels.next().unwrap_or_default();
        let (tag, service) = match first.split_once("---") {
            Some((tag, service)) => (Some(tag), service),
            None => (None, first),
        };
        let bounded = |what: &str, text: &'a str, most: usize| {
            label(text).map_err(str::to_owned)?;
            if text.len() <= most {
                return Ok(text);
            }
            Err(format!("a {what} has at most {most} characters, and {text:?} has {}", text.len()))
        };
        let service = bounded("service name", service, SERVICE_LENGTH)?;
        let tag = tag.map(|tag| bounded("tag", tag, TAG_LENGTH)).transpose()?;
        let region = labels.next();
        let project = labels.next();
        if labels.next().is_some() {
            return Err(format!("it has more parts than SERVICE.REGION.PROJECT.{}", self.zone));
        }
        if let Some(region) = region.filter(|region| !is_region(region)) {
            return Err(format!(
                "its second part is a region, two words and a number, which {region:?} is not"
            ));
        }
        if let Some(project) = project.filter(|p| !is_project_number(p) && !is_project_id(p)) {
            return Err(format!("its third part is a project number, which {project:?} is not"));
        }
        Ok(Parts { tag, service, region, project })
    }

    /// What `name` is in DNS: lower case, without the final dot.
    pub fn kind(&self, name: &str) -> Kind {
        let Some(inner) = self.inside(name) else {
            return match (name == self.zone, name.split('.').nth(1)) {
                (true, _) => Kind::EmptyNonTerminal,
                // No public top-level domain looks like a region or a number,
                // so SERVICE.REGION. and SERVICE.REGION.PROJECT. are ours.
                (false, Some(second)) if is_region(second) && self.is_absolute(name) => {
                    self.service(name)
                }
                _ => Kind::NotOurs,
            };
        };
        if is_region(inner) && !self.reserves(inner) {
            // `hello-world1` is both a service name and the shape of a region;
            // an address serves whoever means the service.
            return Kind::EmptyNonTerminal;
        }
        self.service(name)
    }

    fn is_absolute(&self, name: &str) -> bool {
        let mut labels = name.split('.').skip(2);
        match (labels.next(), labels.next()) {
            (None, _) => true,
            (Some(project), None) => is_project_number(project),
            _ => false,
        }
    }

    fn service(&self, name: &str) -> Kind {
        if !self.reserves(name) && self.parts(name).is_ok() {
            Kind::Service
        } else {
            Kind::NoSuchName
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar() -> Grammar {
        Grammar::new("run.internal", &["localhost", "metadata", "google.internal"])
    }

    fn name(text: &str) -> [Option<String>; 4] {
        let name = grammar().parse(text).unwrap();
        [name.tag, Some(name.service), name.region, name.project]
    }

    fn parts(parts: [&str; 4]) -> [Option<String>; 4] {
        parts.map(|part| (!part.is_empty()).then(|| part.to_owned()))
    }

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("hello", ["", "hello", "", ""]),
            ("HELLO.", ["", "hello", "", ""]),
            ("hello:8080", ["", "hello", "", ""]),
            ("hello.us-east1", ["", "hello", "us-east1", ""]),
            ("hello.run.internal", ["", "hello", "", ""]),
            ("hello.us-east1.run.internal", ["", "hello", "us-east1", ""]),
            ("hello.us-east1.123456789", ["", "hello", "us-east1", "123456789"]),
            ("hello.us-east1.123.run.internal.", ["", "hello", "us-east1", "123"]),
            ("hello.us-east1.my-project.run.internal", ["", "hello", "us-east1", "my-project"]),
            ("green---hello", ["green", "hello", "", ""]),
            ("green---hello.us-east1:80", ["green", "hello", "us-east1", ""]),
            ("hello.northamerica-northeast1", ["", "hello", "northamerica-northeast1", ""]),
        ] {
            assert_eq!(name(text), parts(expected), "{text}");
        }
    }

    #[test]
    fn broken_rules_are_named() {
        for (text, rule) in [
            ("", "empty"),
            ("1hello", "begins with a letter"),
            ("hello-", "end with a hyphen"),
            ("hel_lo", "letters, digits and hyphens"),
            ("hello.com", "region"),
            ("hello.us-east1.x", "project number"),
            ("a.us-east1.1.b", "more parts"),
            ("---hello", "empty"),
            ("a/b", "letters, digits"),
            ("hello@evil", "letters, digits"),
            ("héllo", "letters, digits"),
        ] {
            let error = grammar().parse(text).unwrap_err();
            assert!(error.contains(rule), "{text}: {error}");
        }
        let long = "a".repeat(50);
        assert!(grammar().parse(&long).unwrap_err().contains("at most 49"));
        assert!(grammar().parse(&format!("{}---x", "a".repeat(47))).unwrap_err().contains("tag"));
    }

    #[test]
    fn reserved_words_are_reserved_everywhere() {
        for host in [
            "localhost",
            "LOCALHOST:80",
            "metadata",
            "metadata.google.internal",
            "x.google.internal",
            "metadata.run.internal",
            "localhost.us-east1.run.internal",
            "127.0.0.1",
            "[::1]:80",
            "::1",
        ] {
            assert!(grammar().is_reserved(host), "{host}");
        }
        assert!(!grammar().is_reserved("metadata-server"));
    }

    #[test]
    fn dns_sees_the_same_names() {
        for (name, kind) in [
            ("run.internal", Kind::EmptyNonTerminal),
            ("us-east1.run.internal", Kind::EmptyNonTerminal),
            ("hello.run.internal", Kind::Service),
            ("hello.us-east1.run.internal", Kind::Service),
            ("hello.us-east1.1.run.internal", Kind::Service),
            ("hello.us-east1", Kind::Service),
            ("hello.us-east1.123", Kind::Service),
            ("hello.us-east1.com", Kind::NotOurs),
            ("hello", Kind::NotOurs),
            ("example.com", Kind::NotOurs),
            ("a.b.c.d.run.internal", Kind::NoSuchName),
            ("_grpc_config.hello.run.internal", Kind::NoSuchName),
            ("hello.example.run.internal", Kind::NoSuchName),
            ("metadata.run.internal", Kind::NoSuchName),
            ("metadata.us-east1.run.internal", Kind::NoSuchName),
            ("localhost.us-east1", Kind::NoSuchName),
            ("-x.us-east1", Kind::NoSuchName),
            ("xrun.internal", Kind::NotOurs),
        ] {
            assert_eq!(grammar().kind(name), kind, "{name}");
        }
    }

    #[test]
    fn regions_have_a_shape() {
        for yes in ["us-east1", "europe-west12", "northamerica-northeast2", "me-central1"] {
            assert!(is_region(yes), "{yes}");
        }
        for no in ["", "us", "us-east", "east1", "us-1", "-east1", "us-east1a", "US-east1", "run"] {
            assert!(!is_region(no), "{no}");
        }
    }
}
