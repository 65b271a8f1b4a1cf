//! Tokens: how many are fetched, where they go, and what is left alone.

use runsd_tests::{Ran, World};
use std::time::{Duration, Instant};

/// The value of a field that the front end saw, by its lower-case name.
fn field(world: &World, name: &str) -> Option<String> {
    let seen = world.sim.front().requests();
    let last = seen.last().expect("a request must have arrived");
    let found = last.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

fn answered(ran: &Ran, status: u16) {
    assert!(ran.ok().ends_with(&format!(" {status}")), "{ran:#?}");
}

#[test]
fn fifty_requests_cost_one_token() {
    let world = World::default();
    let app = ["curl", "-sS", "-m", "30", "-o", "/dev/null", "-w", "%{http_code} "];
    let mut app = app.to_vec();
    app.push("http://hello/?[1-50]");
    let ran = world.run(&[], &app);
    assert_eq!(ran.ok(), "200 ".repeat(50));
    assert_eq!(world.sim.front().requests().len(), 50);
    assert_eq!(world.sim.metadata().token_fetches(), 1);
    assert_eq!(world.sim.front().connections(), 1, "connections are kept");
}

#[test]
fn fifty_requests_at_once_cost_one_token() {
    let world = World::default();
    let app =
        "seq 50 | xargs -P 50 -I{} curl -sS -m 30 -o /dev/null -w '%{http_code} ' http://hello/{}";
    let ran = world.run(&[], &["sh", "-c", app]);
    assert_eq!(ran.ok(), "200 ".repeat(50));
    assert_eq!(world.sim.metadata().token_fetches(), 1);
}

#[test]
fn three_failures_of_the_metadata_server_are_survived() {
    let world = World::default();
    world.sim.metadata().fail_tokens(3, 503);
    answered(&world.curl(&["http://hello/"]), 200);
    assert_eq!(world.sim.metadata().token_fetches(), 4);
    world.sim.metadata().fail_next(3, 503);
    answered(&world.curl(&["http://hello/"]), 200);
}

#[test]
fn a_refusal_of_the_metadata_server_is_believed_for_a_while() {
    let world = World::default();
    world.sim.metadata().fail_tokens(1, 403);
    let ran = world.curl(&["http://hello/1", "http://hello/2"]);
    assert!(ran.ok().ends_with(" 503"), "{ran:#?}");
    assert!(ran.out.contains("answered 403"), "{}", ran.out);
    assert_eq!(world.sim.metadata().token_fetches(), 1, "ten seconds have not passed");
    assert!(world.sim.front().requests().is_empty());
}

#[test]
fn a_token_given_by_hand_is_the_token() {
    let world = World::default();
    let url = "https://hello-123456789012.us-central1.run.app";
    let script = format!(
        "export CLOUD_RUN_ID_TOKEN=$(curl -sS -H 'Metadata-Flavor: Google' \
         'http://metadata/computeMetadata/v1/instance/service-accounts/default/identity?audience={url}'); \
         exec {} -- curl -sS -m 30 -w ' %{{http_code}}' http://hello/ http://orders/",
        runsd_tests::runsd().display()
    );
    let ran = runsd_tests::start(world.sim.command("sh").args(["-c", &script])).wait();
    assert!(ran.ok().starts_with("hello from hello (us-central1)\n 200"), "{ran:#?}");
    assert!(ran.out.ends_with(" 401"), "it is sent whatever the audience: {}", ran.out);
    assert!(!ran.err.contains("eyJ"), "{}", ran.err);
    let ours = world.sim.front().requests();
    assert_eq!(ours[0].audience, ours[1].audience);
}

#[test]
fn the_apps_own_authorization_stays() {
    let world = World::default();
    answered(&world.curl(&["-H", "Authorization: Basic b3du", "http://hello/"]), 200);
    assert_eq!(field(&world, "authorization").as_deref(), Some("Basic b3du"));
    let ours = field(&world, "x-serverless-authorization").expect("ours must go beside it");
    assert!(ours.starts_with("Bearer "), "{ours}");
    answered(&world.curl(&["http://hello/"]), 200);
    assert_eq!(field(&world, "x-serverless-authorization"), None);
}

#[test]
fn nothing_is_added_to_a_request_but_the_token() {
    let world = World::default();
    let app = "import socket\n\
        s = socket.create_connection(('hello', 80))\n\
        s.sendall(b'GET //a/../b?%zz HTTP/1.1\\r\\nhOST: hello\\r\\nX-Odd:  a\\r\\nx-odd: b\\r\\n\
        Accept: \\xe9\\r\\n\\r\\n')\n\
        print(s.recv(65536).split(b' ')[1])";
    let ran = world.run(&[], &["python3", "-c", app]);
    assert_eq!(ran.ok(), "b'200'\n");
    let head = world.sim.front().requests()[0].head.clone();
    let start = b"GET //a/../b?%zz HTTP/1.1\r\nhOST: hello-123456789012.us-central1.run.app\r\n\
                  X-Odd: a\r\nx-odd: b\r\nAccept: \xe9\r\nAuthorization: Bearer ";
    assert!(head.starts_with(start), "{}", String::from_utf8_lossy(&head));
    let token = &head[start.len()..];
    assert_eq!(token.iter().filter(|byte| **byte == b'\n').count(), 2, "one line, and the end");
}

#[test]
fn the_audience_of_a_tagged_name_is_untagged() {
    let world = World::default();
    answered(&world.curl(&["http://green---hello/"]), 200);
    let seen = &world.sim.front().requests()[0];
    assert_eq!(seen.tag.as_deref(), Some("green"));
    assert_eq!(seen.audience.as_deref(), Some("https://hello-123456789012.us-central1.run.app"));
}

#[test]
fn a_token_that_the_service_calls_invalid_is_replaced() {
    let world = World::default();
    let app = format!(
        "curl -sS -m 30 -o /dev/null -w '%{{http_code}} ' http://hello/1; touch {0}/one; \
         until test -e {0}/two; do sleep 0.05; done; \
         curl -sS -m 30 -o /dev/null -w '%{{http_code}}' http://hello/2",
        scratch().display()
    );
    let running = runsd_tests::start(&mut world.command(&[], &["sh", "-c", &app]));
    let place = scratch();
    let until = Instant::now() + Duration::from_secs(60);
    while !place.join("one").exists() {
        assert!(Instant::now() < until, "the first request was never answered");
        std::thread::yield_now();
    }
    world.sim.front().invalidate_tokens();
    std::fs::write(place.join("two"), "").expect("a scratch file");
    let ran = running.wait();
    std::fs::remove_dir_all(&place).expect("a scratch folder");
    assert_eq!(ran.ok(), "200 200", "{ran:#?}");
    assert_eq!(world.sim.metadata().token_fetches(), 2);
}

fn scratch() -> std::path::PathBuf {
    let place = std::env::temp_dir().join(format!("runsd-e2e-tokens-{}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a scratch folder");
    place
}

#[test]
fn a_refusal_is_explained_once_and_passes_untouched() {
    let world = World::default();
    world.sim.front().deny("hello");
    let ran = world.curl(&["http://hello/1", "http://hello/2"]);
    assert!(ran.ok().ends_with(" 403"), "{ran:?}");
    assert_eq!(ran.err.matches("roles/run.invoker").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("-compute@developer.gserviceaccount.com"), "{}", ran.err);
}

#[test]
fn http2_from_an_app_is_authorised_too() {
    let world = World::default();
    let ran = world.curl(&["--http2-prior-knowledge", "http://hello/"]);
    answered(&ran, 200);
    let seen = &world.sim.front().requests()[0];
    assert_eq!(seen.protocol, "HTTP/2");
    let own = "https://hello-123456789012.us-central1.run.app";
    assert_eq!(seen.audience.as_deref(), Some(own), "{}", seen.verdict);
}
