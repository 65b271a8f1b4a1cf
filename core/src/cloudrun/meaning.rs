//! What Cloud Run means by the statuses that its front end answers itself.

/// The likely cause of a status, and the remedy; `None` where it is the
/// service's own answer.
pub fn meaning(status: u16) -> Option<&'static str> {
    match status {
        401 => Some(
            "the front end did not accept the token: is the audience this service's URL, or one of \
             its custom audiences? A service behind its own domain needs --route with its audience",
        ),
        403 => Some(
            "the caller is not allowed: grant its service account roles/run.invoker on this \
             service, or, with ingress limited to internal, let the call leave through the VPC",
        ),
        404 => Some(
            "no such service here, or its default URL is disabled, or its ingress is internal: \
             check name, region and project, or give its URL with --route",
        ),
        429 | 503 => Some("the service has no instance free for this: see its logs and limits"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_itself_needs_no_meaning() {
        assert_eq!(meaning(200), None);
        assert!(meaning(403).is_some_and(|text| text.contains("roles/run.invoker")));
    }
}
