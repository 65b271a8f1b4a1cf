//! The URLs that Cloud Run gives to services.

use super::regions;
use crate::names::Target;
use std::sync::Arc;

/// DNS allows no longer label (RFC 1035 §2.3.4), in characters.
const LABEL: usize = 63;

/// A service with everything that its URL is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service<'a> {
    pub(super) tag: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    /// The project's number.
    pub(super) project: &'a str,
    /// The hash of the older URLs, if they are to be used.
    pub(super) hash: Option<&'a str>,
}

impl Service<'_> {
    /// Where the service is. `shown` is what the app typed.
    ///
    /// # Errors
    /// What makes the URL impossible, as half a sentence with the remedy.
    pub(super) fn target(&self, shown: &str) -> Result<Target, String> {
        let untagged = self.host(None)?;
        let host = self.host(self.tag)?;
        Ok(Target {
            name: shown.to_owned(),
            authority: host.clone(),
            host,
            port: 443,
            tls: true,
            // A tag is a door to the service, not a service of its own: the
            // platform takes the untagged URL as audience at every door.
            audience: Some(Arc::from(format!("https://{untagged}"))),
        })
    }

    fn host(&self, tag: Option<&str>) -> Result<String, String> {
        let Service { name, region, project, .. } = self;
        let tag = tag.map(|tag| format!("{tag}---")).unwrap_or_default();
        if let (Some(hash), Some(code)) = (self.hash, regions::code(region)) {
            let label = format!("{tag}{name}-{hash}-{code}");
            return fits(&label).map(|()| format!("{label}.a.run.app"));
        }
        let label = format!("{tag}{name}-{project}");
        fits(&label).map(|()| format!("{label}.{region}.run.app"))
    }
}

fn fits(label: &str) -> Result<(), String> {
    if label.len() <= LABEL {
        return Ok(());
    }
    Err(format!(
        "its URL would begin with {label:?}, {} characters where DNS allows {LABEL}; such a \
         service has the older URL only: give its hash with --project-hash, or its URL with \
         --route",
        label.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Service<'_> = Service {
        tag: None,
        name: "hello",
        region: "us-central1",
        project: "123456789",
        hash: None,
    };

    #[test]
    fn the_deterministic_form_is_the_default() {
        let target = HELLO.target("hello").unwrap();
        assert_eq!(target.host, "hello-123456789.us-central1.run.app");
        assert_eq!(target.audience.as_deref(), Some("https://hello-123456789.us-central1.run.app"));
        assert_eq!((target.port, target.tls), (443, true));
    }

    #[test]
    fn a_tagged_name_keeps_the_untagged_audience() {
        let target = Service { tag: Some("green"), ..HELLO }.target("green---hello").unwrap();
        assert_eq!(target.host, "green---hello-123456789.us-central1.run.app");
        assert_eq!(target.audience.as_deref(), Some("https://hello-123456789.us-central1.run.app"));
    }

    #[test]
    fn a_hash_makes_the_older_form_where_the_region_has_a_code() {
        let older = Service { hash: Some("4wwb5jvpza"), ..HELLO };
        assert_eq!(older.target("hello").unwrap().host, "hello-4wwb5jvpza-uc.a.run.app");
        let new = Service { region: "moon-base1", ..older };
        assert_eq!(new.target("hello").unwrap().host, "hello-123456789.moon-base1.run.app");
    }

    #[test]
    fn a_label_over_63_characters_is_refused_with_the_remedy() {
        let name = "a".repeat(49);
        let long = Service { name: &name, project: "12345678901234", ..HELLO };
        let error = long.target("x").unwrap_err();
        assert!(error.contains("64 characters") && error.contains("--project-hash"), "{error}");
        assert!(Service { project: "1234567890123", ..long }.target("x").is_ok());
        let hashed = Service { hash: Some("4wwb5jvpza"), ..long };
        assert!(hashed.target("x").is_ok());
    }
}
