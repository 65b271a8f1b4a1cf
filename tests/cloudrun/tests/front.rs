//! The front end as programs inside meet it: names, tokens, services.
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use cloudrun_sim::{Options, Sim};

/// Runs curl inside and returns what it printed.
fn curl(sim: &Sim, arguments: &[&str]) -> String {
    let output = sim.command("curl").arg("-sS").args(arguments).output().expect("curl starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The status that curl sees.
fn status(sim: &Sim, arguments: &[&str]) -> String {
    let mut all = vec!["-o", "/dev/null", "-w", "%{http_code}"];
    all.extend(arguments);
    curl(sim, &all)
}

/// A token from the metadata server, as a field of the given name.
fn token(sim: &Sim, field: &str, audience: &str) -> String {
    let url = format!(
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/\
         identity?audience={audience}"
    );
    let token = curl(sim, &["-H", "Metadata-Flavor: Google", &url]);
    assert_eq!(token.split('.').count(), 3, "{token}");
    format!("{field}: Bearer {token}")
}

#[test]
fn a_private_service_answers_to_a_token_for_it_alone() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("hello");
    let own = token(&sim, "Authorization", &url);
    let other = token(&sim, "Authorization", &sim.url("echo"));
    assert_eq!(curl(&sim, &["-H", &own, &url]), "hello from hello (us-central1)\n");
    let refused = curl(&sim, &["-i", "--http1.1", "-H", &other, &url]);
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(refused.contains("www-authenticate: Bearer error=\"invalid_token\", error_desc"));
    assert!(refused.contains("<title>401 Unauthorized</title>"), "{refused}");
    let none = curl(&sim, &["-i", "--http1.1", &format!("{url}/a?b&c")]);
    assert!(none.starts_with("HTTP/1.1 403"), "{none}");
    assert!(!none.contains("www-authenticate"), "{none}");
    let page = "<h1>Error: Forbidden</h1>\n<h2>Your client does not have permission to get URL \
                <code>/a?b&amp;c</code> from this server.</h2>";
    assert!(none.contains(page), "{none}");
    assert_eq!(status(&sim, &["-H", &format!("{own}x"), &url]), "401", "forged");
    assert_eq!(status(&sim, &[&sim.url("public")]), "200");
    assert_eq!(status(&sim, &["-H", &own, &sim.url("nobody")]), "404");
    sim.front().deny("hello");
    assert_eq!(status(&sim, &["-H", &own, &url]), "403");
}

#[test]
fn a_tag_and_the_older_form_lead_to_the_same_service() {
    let sim = Sim::start(Options::default()).unwrap();
    let tagged = sim.url("green---hello");
    let own = token(&sim, "Authorization", &sim.url("hello"));
    let wrong = token(&sim, "Authorization", &tagged);
    assert_eq!(status(&sim, &["-H", &own, &tagged]), "200");
    assert_eq!(status(&sim, &["-H", &wrong, &tagged]), "401", "the audience is untagged");
    let older = "https://hello-abcde12345-uc.a.run.app";
    assert_eq!(status(&sim, &["-H", &own, older]), "200");
    assert_eq!(status(&sim, &["-H", &token(&sim, "Authorization", older), &tagged]), "200");
    let seen = sim.front().requests();
    let tags: Vec<Option<&str>> = seen.iter().map(|seen| seen.tag.as_deref()).collect();
    assert_eq!(tags, [Some("green"), Some("green"), None, Some("green")]);
    assert!(seen.iter().all(|seen| seen.service == "hello" && seen.region == "us-central1"));
}

#[test]
fn the_platforms_own_field_wins_and_reaches_the_service_without_signature() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("echo");
    let own = token(&sim, "X-Serverless-Authorization", &url);
    let with_app = ["--http1.1", "-H", &own, "-H", "Authorization: Basic app", &url];
    let echoed = curl(&sim, &with_app);
    assert!(echoed.contains("SIGNATURE_REMOVED_BY_GOOGLE\r\n"), "{echoed}");
    assert!(echoed.contains("Authorization: Basic app\r\n"));
    assert!(!echoed.contains(own.rsplit('.').next().unwrap()));
    let good = token(&sim, "Authorization", &url);
    let bad = ["-H", &good, "-H", "X-Serverless-Authorization: Bearer no", &url];
    assert_eq!(status(&sim, &bad), "401");
    let raw = &sim.front().requests()[0].head;
    assert!(String::from_utf8_lossy(raw).contains(&own), "the record is what arrived");
}

#[test]
fn echo_returns_the_head_byte_for_byte() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("echo");
    let own = token(&sim, "AUTHorization", &url);
    let arguments = ["--http1.1", "--path-as-is", "-H", &own, "-H", "x-OdD:  caSe ", "-d", "body"];
    let target = format!("{url}//a/../b%2F?x;%zz");
    let echoed = curl(&sim, &[&arguments[..], &[&target]].concat());
    assert!(echoed.starts_with("POST //a/../b%2F?x;%zz HTTP/1.1\r\nHost: echo-"), "{echoed}");
    assert!(echoed.contains("\r\nx-OdD:  caSe "), "{echoed}");
    assert!(echoed.contains("\r\nAUTHorization: Bearer "));
    assert!(echoed.ends_with("\r\n\r\nbody"), "{echoed}");
    assert_eq!(sim.front().requests()[0].body_len, 4);
}

#[test]
fn both_protocols_are_spoken_and_recorded() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("hello");
    let own = token(&sim, "Authorization", &url);
    for (flag, protocol, version) in [("--http2", "HTTP/2", "2"), ("--http1.1", "HTTP/1.1", "1.1")]
    {
        let seen =
            curl(&sim, &["-o", "/dev/null", "-w", "%{http_version}", flag, "-H", &own, &url]);
        assert_eq!(seen, version);
        let record = sim.front().requests().pop().unwrap();
        assert_eq!((record.protocol.as_str(), record.status), (protocol, 200));
        assert_eq!(record.audience.as_deref(), Some(url.as_str()));
    }
    assert_eq!(sim.front().connections(), 2);
}

#[test]
fn tokens_can_be_taken_back_and_run_out() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("hello");
    let own = token(&sim, "Authorization", &url);
    assert_eq!(token(&sim, "Authorization", &url), own, "handed out again");
    sim.front().invalidate_tokens();
    assert_eq!(status(&sim, &["-H", &own, &url]), "401");
    let next = token(&sim, "Authorization", &url);
    assert_eq!(status(&sim, &["-H", &next, &url]), "200");
    sim.metadata().token_lifetime(std::time::Duration::ZERO);
    let dead = token(&sim, "Authorization", &url);
    assert_eq!(status(&sim, &["-H", &dead, &url]), "401");
    assert_eq!(sim.metadata().token_fetches(), 4);
}

#[test]
fn the_front_end_refuses_connections_and_shows_false_certificates_as_told() {
    let sim = Sim::start(Options::default()).unwrap();
    let url = sim.url("public");
    sim.front().refuse(true);
    assert!(curl(&sim, &[&url]).contains("(7)"), "connection refused");
    sim.front().refuse(false);
    sim.front().wrong_certificate(true);
    assert!(curl(&sim, &[&url]).contains("(60)"), "certificate problem");
    sim.front().wrong_certificate(false);
    assert_eq!(status(&sim, &[&url]), "200");
    sim.front().silent(true);
    assert!(curl(&sim, &["--max-time", "0.3", &url]).contains("(28)"), "timeout");
}

#[test]
fn port_80_redirects_and_the_external_host_is_recorded_apart() {
    let sim = Sim::start(Options::default()).unwrap();
    let plain = sim.url("public").replace("https", "http");
    let redirect = curl(&sim, &["-i", &format!("{plain}/path?q")]);
    assert!(redirect.starts_with("HTTP/1.1 302"), "{redirect}");
    assert!(redirect.contains(&format!("Location: {}/path?q\r\n", sim.url("public"))));
    for url in ["http://example.com/a", "https://www.example.com/b"] {
        assert_eq!(curl(&sim, &[url]), "external\n");
    }
    let external = sim.front().external();
    assert_eq!(external.iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
    assert!(sim.front().requests().is_empty());
}
