//! Refusals that the platform makes in a service's place, explained to whoever
//! runs the caller: the likely cause, and the command that mends it. The log of
//! the proxy and `runsd doctor` say the same.

use super::URL_ZONE;
use super::answer::{member, service_of};
use crate::names::Target;

/// What mends the front end's `status` at `target`, which `caller` called: the
/// account of the token that was sent. `None`: it is surely the service's own.
pub fn remedy(status: u16, target: &Target, caller: Option<&str>) -> Option<String> {
    let Target { name, host, .. } = target;
    let (service, region, project) = service_of(host).unwrap_or(("SERVICE", "REGION", "PROJECT"));
    let place = format!("--region={region} --project={project}");
    match status {
        401 => target.audience.as_deref().map(|audience| {
            format!(
                "it does not accept a token for {audience}. A service behind another name accepts \
                 its own URL and its custom audiences: call it with --route \
                 {name}=URL,audience=AUDIENCE, or add this one: gcloud run services update \
                 {service} {place} --add-custom-audiences={audience}"
            )
        }),
        403 => Some(format!(
            "permit the caller: gcloud run services add-iam-policy-binding {service} {place} \
             --member={} --role=roles/run.invoker; or, if its ingress is internal, let the call \
             leave through the VPC",
            caller.map_or("serviceAccount:EMAIL".to_owned(), member)
        )),
        404 if host.ends_with(URL_ZONE) => Some(format!(
            "either there is no service {service} in {region} (gcloud run services list \
             --project={project} shows where it is; then call {service}.REGION), or its default \
             URL is disabled (give another with --route {name}=URL), or its ingress is internal, \
             and the call must leave through the VPC{}",
            if host.contains("---") { ", or the tag is none of its own" } else { "" }
        )),
        429 | 503 => Some("the service has no instance free: see its logs and its limits".into()),
        _ => None,
    }
}

/// What an answer with `status` by `target` to `caller` probably means, and the
/// remedy; `None` where it is surely the service's own.
pub fn refusal(status: u16, target: &Target, caller: Option<&str>) -> Option<String> {
    let Target { name, host, .. } = target;
    let audience = target.audience.as_deref()?;
    let remedy = remedy(status, target, caller)?;
    let whom = caller.unwrap_or("this service's account");
    let answered = format!("{name} ({host}) answered {status} to {whom}");
    match status {
        401 => Some(format!("{answered}: {remedy}")),
        403 => Some(format!(
            "{answered}. If that is not its own answer, {remedy}. The token's audience was \
             {audience}"
        )),
        404 => Some(format!("{answered} with a web page. If that is not its own, {remedy}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Target {
        Target {
            name: "hello".into(),
            host: host.into(),
            port: 443,
            tls: true,
            authority: host.into(),
            audience: Some(format!("https://{host}").into()),
        }
    }

    #[test]
    fn a_missing_role_comes_with_the_command_that_grants_it() {
        let hello = target("hello-123.us-east1.run.app");
        for (caller, member) in [
            (Some("me@x.example"), "user:me@x.example"),
            (Some("a@x.iam.gserviceaccount.com"), "serviceAccount:a@x.iam.gserviceaccount.com"),
            (None, "serviceAccount:EMAIL"),
        ] {
            let text = refusal(403, &hello, caller).unwrap();
            let command = format!(
                "gcloud run services add-iam-policy-binding hello --region=us-east1 \
                 --project=123 --member={member} --role=roles/run.invoker"
            );
            assert!(text.contains(&command), "{text}");
        }
        let text = refusal(403, &hello, Some("me@x.example")).unwrap();
        for part in ["hello (hello-123", "answered 403 to me@x.example", "audience was https://"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn other_refusals_have_their_own_causes() {
        let hello = target("hello-123.us-east1.run.app");
        let wrong = refusal(401, &hello, None).unwrap();
        assert!(wrong.contains("--add-custom-audiences=https://hello-123"), "{wrong}");
        let none = refusal(404, &hello, None).unwrap();
        assert!(none.contains("no service hello in us-east1"), "{none}");
        assert!(none.contains("default URL is disabled") && none.contains("ingress"), "{none}");
        let tagged = refusal(404, &target("green---hello-12.us-east1.run.app"), None).unwrap();
        assert!(tagged.contains("no service hello in") && tagged.ends_with("none of its own"));
        let elsewhere = target("api.example.com");
        assert_eq!(refusal(404, &elsewhere, None), None, "only the platform's own hosts");
        assert!(refusal(403, &elsewhere, None).unwrap().contains("binding SERVICE"));
        assert_eq!(refusal(500, &hello, None), None);
        assert_eq!(refusal(503, &hello, None), None, "it may be the service's own");
        assert!(remedy(503, &hello, None).is_some_and(|text| text.contains("no instance")));
    }

    #[test]
    fn the_log_and_the_doctor_say_the_same() {
        let hello = target("hello-123.us-east1.run.app");
        for status in [401, 403, 404] {
            let remedy = remedy(status, &hello, Some("a@b.c")).unwrap();
            let told = refusal(status, &hello, Some("a@b.c")).unwrap();
            assert!(told.contains(&remedy), "{told}");
        }
    }
}
