//! Names: what an app types, and which service it reaches.

use cloudrun_sim::Options;
use runsd_tests::World;

const OTHER: &str = "999999999999";

/// Runs curl for `url` and returns the host that the front end saw.
fn host_for(world: &World, options: &[&str], url: &str) -> String {
    world.sim.front().clear();
    let mut app = vec!["curl", "-sS", "-m", "30", "-w", "%{http_code}", "-o", "/dev/null"];
    app.push(url);
    let ran = world.run(options, &app);
    assert_eq!(ran.ok(), "200", "{url}: {ran:#?}");
    assert_eq!(ran.err, "", "{url}");
    let seen = world.sim.front().requests();
    assert_eq!(seen.len(), 1, "{url}: {seen:?}");
    seen[0].host.clone()
}

#[test]
fn every_form_of_a_name_reaches_its_service() {
    let world = World::default();
    let own = "123456789012";
    for (url, host) in [
        ("http://hello/", format!("hello-{own}.us-central1.run.app")),
        ("http://hello.run.internal/", format!("hello-{own}.us-central1.run.app")),
        ("http://HELLO/", format!("hello-{own}.us-central1.run.app")),
        ("http://hello:80/", format!("hello-{own}.us-central1.run.app")),
        ("http://hello.us-east1/", format!("hello-{own}.us-east1.run.app")),
        ("http://hello.us-east1.run.internal/", format!("hello-{own}.us-east1.run.app")),
        ("http://hello.us-east1.run.internal./", format!("hello-{own}.us-east1.run.app")),
        ("http://green---hello/", format!("green---hello-{own}.us-central1.run.app")),
        ("http://green---hello.us-east1/", format!("green---hello-{own}.us-east1.run.app")),
    ] {
        assert_eq!(host_for(&world, &[], url), host, "{url}");
    }
}

#[test]
fn another_project_is_reached_once_it_is_allowed() {
    let world = World::default();
    let url = format!("http://hello.us-east1.{OTHER}.run.internal/");
    let refused = world.curl(&[&url]);
    assert!(refused.ok().ends_with(" 421"), "{refused:?}");
    assert!(refused.out.contains(&format!("--allow-project {OTHER}")), "{}", refused.out);
    assert_eq!(world.sim.front().requests(), [], "nothing may leave for another project");
    let host = host_for(&world, &["--allow-project", OTHER], &url);
    assert_eq!(host, format!("hello-{OTHER}.us-east1.run.app"));
    let short = format!("http://hello.us-east1.{OTHER}/");
    assert_eq!(host_for(&world, &["--allow-project", "*"], &short), host);
}

#[test]
fn names_answer_over_both_families_and_over_one() {
    let world = World::default();
    for family in ["-4", "-6"] {
        let ran = world.curl(&[family, "http://hello/"]);
        assert!(ran.ok().ends_with(" 200"), "{family}: {ran:?}");
    }
    let narrow = World::new(Options { ipv6: false, ..Options::default() });
    let ran = narrow.curl(&["http://hello/"]);
    assert!(ran.ok().ends_with(" 200"), "{ran:?}");
    let none = narrow.curl(&["-6", "http://hello/"]);
    assert_ne!(none.code, Some(0), "there is no IPv6 here: {none:?}");
}

#[test]
fn the_rest_of_the_world_goes_on() {
    let world = World::default();
    let outside = world.curl(&["http://example.com/"]);
    assert!(outside.ok().ends_with(" 200"), "{outside:?}");
    assert_eq!(world.sim.front().external().len(), 1);
    for seen in world.sim.front().external() {
        let head = String::from_utf8_lossy(&seen.head).to_ascii_lowercase();
        assert!(!head.contains("authorization"), "a token left: {head}");
    }
    for host in ["metadata.google.internal", "metadata"] {
        let url = format!("http://{host}/computeMetadata/v1/project/project-id");
        let metadata = world.curl(&["-H", "Metadata-Flavor: Google", &url]);
        assert_eq!(metadata.ok(), "sim-project 200", "{host}");
    }
    let local = world.run(&[], &["curl", "-sS", "http://localhost:8080/"]);
    assert!(local.err.contains("onnect"), "localhost is the app's own: {local:?}");
}

#[test]
fn the_resolver_of_the_image_finds_every_name() {
    let world = World::default();
    let script = "import socket\n\
         for name in ['hello', 'hello.us-east1', 'green---hello.run.internal', 'example.com']:\n\
         \x20   print(name, sorted({a[4][0] for a in socket.getaddrinfo(name, 80)}))\n\
         try: socket.getaddrinfo('a.b.c.d.run.internal', 80)\n\
         except socket.gaierror: print('none')";
    let ran = world.run(&[], &["python3", "-c", script]);
    let expected = "hello ['127.0.0.1', '::1']\n\
                    hello.us-east1 ['127.0.0.1', '::1']\n\
                    green---hello.run.internal ['127.0.0.1', '::1']\n\
                    example.com ['198.18.0.20']\nnone\n";
    assert_eq!(ran.ok(), expected);
    let leaked: Vec<_> = world
        .sim
        .dns()
        .queries()
        .into_iter()
        .filter(|query| query.name.contains("run.internal"))
        .collect();
    assert!(leaked.is_empty(), "our zone must not be asked for upstream: {leaked:?}");
}

#[test]
fn without_namespaces_everything_works_on_loopback() {
    let machine = std::fs::read("/etc/resolv.conf").ok();
    let world = World::new(Options { loopback: true, ..Options::default() });
    for (url, status) in [("http://hello/", " 200"), ("http://hello.us-east1/", " 200")] {
        let ran = world.curl(&[url]);
        assert!(ran.ok().ends_with(status), "{ran:?}");
        assert_eq!(ran.err, "");
    }
    assert_eq!(world.sim.metadata().token_fetches(), 2);
    assert_eq!(std::fs::read("/etc/resolv.conf").ok(), machine);
}
