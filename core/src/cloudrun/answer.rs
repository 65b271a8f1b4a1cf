//! Whose an answer is: the service's own, or the front end's in its place; and
//! what a host says of its service.

use super::{URL_ZONE, regions};
use crate::names::Target;

/// The front end's pages begin their only heading so.
const HEADING: &str = "<h1>Error: ";

/// Whether the front end itself answered, and the service saw nothing: by the
/// pages that it shows for errors, or its word on the token.
pub fn is_front_ends(status: u16, challenge: Option<&str>, body: &str) -> bool {
    let titled = body.contains(&format!("<title>{status} ")) && body.contains(HEADING);
    let invalid = challenge.is_some_and(|text| text.contains("error=\"invalid_token\""));
    titled || (status == 401 && invalid)
}

/// Whether the front end says so that the service takes HTTP/2 alone, as gRPC does.
pub fn wants_http2(status: u16) -> bool {
    status == 464
}

/// An account as access policies name it: whoever tries things out at home calls
/// as a user.
pub(super) fn member(email: &str) -> String {
    let kind = if email.ends_with("gserviceaccount.com") { "serviceAccount" } else { "user" };
    format!("{kind}:{email}")
}

/// Service, region and project of a host that is made of them.
pub(super) fn service_of(host: &str) -> Option<(&str, &str, &str)> {
    let (label, region) = host.strip_suffix(URL_ZONE)?.strip_suffix('.')?.split_once('.')?;
    let untagged = label.split_once("---").map_or(label, |(_, rest)| rest);
    let (service, project) = untagged.rsplit_once('-')?;
    let numbered = !project.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
    (numbered && region.contains('-')).then_some((service, region, project))
}

/// The region that a host names, if it is none that runsd has heard of, and the
/// one that was perhaps meant.
pub fn unheard_region(target: &Target) -> Option<(&str, Option<&'static str>)> {
    let (_, region, _) = service_of(&target.host)?;
    (!regions::is_known(region)).then(|| (region, regions::nearest(region)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Target {
        let text = format!("hello=https://{host}");
        let route: crate::names::Route = text.parse().unwrap();
        Target::clone(route.target())
    }

    #[test]
    fn a_page_of_the_front_end_is_told_from_a_services() {
        let page = "\n<html><head>\n<title>404 Page not found</title>\n</head>\n<body>\n\
                    <h1>Error: Page not found</h1>\n</body></html>";
        assert!(is_front_ends(404, None, page));
        assert!(!is_front_ends(403, None, page), "of another status");
        assert!(!is_front_ends(404, None, "<title>404 Not found</title><h1>Ours</h1>"));
        assert!(!is_front_ends(404, None, "not found\n"));
        assert!(is_front_ends(401, Some("Bearer error=\"invalid_token\""), ""));
        assert!(!is_front_ends(401, Some("Basic realm=\"x\""), ""));
    }

    #[test]
    fn a_host_tells_where_its_service_is() {
        let expected = |service| Some((service, "us-east1", "123"));
        assert_eq!(service_of("hello-123.us-east1.run.app"), expected("hello"));
        assert_eq!(service_of("a---b-c-123.us-east1.run.app"), expected("b-c"));
        for other in ["hello-abc-uc.a.run.app", "a-1.b-c1run.app", "api.example.com", "run.app", ""]
        {
            assert_eq!(service_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_region_that_nobody_has_heard_of_may_be_misspelt() {
        assert_eq!(unheard_region(&target("a-1.us-central1.run.app")), None);
        let odd = target("a-1.us-centrall1.run.app");
        assert_eq!(unheard_region(&odd), Some(("us-centrall1", Some("us-central1"))));
        assert_eq!(unheard_region(&target("a-1.moon-base1.run.app")), Some(("moon-base1", None)));
        assert_eq!(unheard_region(&target("api.example.com")), None);
    }
}
