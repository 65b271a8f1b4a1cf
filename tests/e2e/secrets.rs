//! What must not be in any log.

use runsd_tests::World;

/// Requests that carry secrets wherever an app may put them, and every fate:
/// answered, refused by the service, refused by the platform.
const SCRIPT: &str = r#"
for url in http://hello http://status http://no-such-service http://orders; do
    curl -sS -m 30 -o /dev/null "$url/?code=401&key=sekret-query&field=set-cookie:a%3Dsekret-set-cookie" \
        -H 'Authorization: Bearer sekret-authorization' \
        -H 'X-Serverless-Authorization: Bearer sekret.own.token' \
        -H 'Proxy-Authorization: Basic sekret-proxy' \
        -H 'Cookie: session=sekret-cookie'
    curl -sS -m 30 -o /dev/null --http2-prior-knowledge "$url/?code=401&key=sekret-query&field=set-cookie:a%3Dsekret-set-cookie" \
        -H 'Cookie: session=sekret-cookie'
done
"#;

#[test]
fn no_secret_is_in_any_log() {
    let world = World::default();
    world.sim.front().deny("orders");
    for (format, access_log) in [("json", true), ("text", true), ("json", false), ("text", false)] {
        let format = format!("--log-format={format}");
        let options = ["--log-level=trace", &format, "--access-log"];
        let options = options.get(..2 + usize::from(access_log)).expect("options");
        let ran = world.run(options, &["sh", "-c", SCRIPT]);
        ran.ok();
        assert!(ran.err.contains("orders"), "the refusal must be in the log: {}", ran.err);
        let shown = ran.err.matches("?code=*&key=*&field=* ").count();
        let logged = if access_log { 8 } else { 0 };
        assert_eq!(shown, logged, "requests must be in the access log: {}", ran.err);
        assert!(!ran.err.contains("sekret"), "{}", ran.err);
        // The platform's tokens are JWTs, which begin so: `{"` in base64url.
        assert!(!ran.err.contains("eyJ"), "{}", ran.err);
    }
    // The service's own 401 came to both versions, whatever it was sent with.
    let refused = world.sim.front().requests().iter().filter(|one| one.status == 401).count();
    assert!(refused >= 4, "{refused}");
}
