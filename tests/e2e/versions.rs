//! HTTP/1.1 apps over HTTP/2 services (`--upstream-http 2`), by one that knows
//! HTTP/1.1 to the letter: curl.

use runsd_tests::{Ran, World};

const OPTIONS: &[&str] = &["--upstream-http", "2"];

fn curl(world: &World, arguments: &[&str]) -> Ran {
    let mut app = vec!["curl", "-sS", "-m", "30", "--http1.1", "-w", " %{http_code}"];
    app.extend(arguments);
    world.run(OPTIONS, &app)
}

/// The versions in which the requests have arrived, since the last time.
fn versions(world: &World, seen: &mut usize) -> Vec<String> {
    let requests = world.sim.front().requests();
    let new = requests.iter().skip(*seen).map(|request| request.protocol.clone()).collect();
    *seen = requests.len();
    new
}

#[test]
fn what_an_app_says_and_hears_is_the_same_over_http2() {
    let world = World::default();
    let mut seen = 0;
    let file = std::env::temp_dir().join(format!("runsd-upload-{}", std::process::id()));
    std::fs::write(&file, vec![b'x'; 10_000_000]).unwrap();
    let upload = format!("@{}", file.display());
    for (arguments, expected) in [
        (&["http://hello/"][..], " 200"),
        (&["-o", "/dev/null", "http://hello.us-east1/"], " 200"),
        (&["--data-binary", &upload, "http://upload/"], "\"bytes\":10000000,"),
        (&["-T", "-", "http://upload/"], "\"bytes\":0,"),
        (
            &["-o", "/dev/null", "-w", "%{size_download}", "http://download/?bytes=10000000"],
            "10000000",
        ),
        (&["-o", "/dev/null", "-w", "%{size_download}", "http://download/?bytes=9&chunked"], "9"),
        (&["-i", "-L", "http://redirect/"], "http://redirect/landed"),
        (
            &["-i", "-d", "x", "-H", "Expect: 100-continue", "http://hints/"],
            "HTTP/1.1 103 Early Hints",
        ),
        (&["-I", "http://hello/"], "HTTP/1.1 200 OK"),
        (&["-i", "http://status/?code=299"], "HTTP/1.1 299 "),
        (&["http://status/?code=401"], " 401"),
        (&["http://nobody/"], " 404"),
    ] {
        let ran = curl(&world, arguments);
        assert!(ran.ok().contains(expected), "{arguments:?}: {ran:#?}");
        let versions = versions(&world, &mut seen);
        assert!(!versions.is_empty(), "{arguments:?}");
        assert!(versions.iter().all(|version| version == "HTTP/2"), "{arguments:?}: {versions:?}");
    }
    std::fs::remove_file(&file).unwrap();
    // 18: the body is shorter than declared; 56: the connection was reset. A
    // reset may also overtake the head.
    let cut = curl(&world, &["http://broken/?how=truncate"]);
    assert!(matches!(cut.code, Some(18 | 56)) || cut.ok().ends_with(" 502"), "{cut:#?}");
    let reset = curl(&world, &["http://broken/?how=reset"]);
    assert!(reset.ok().ends_with(" 502"), "{reset:#?}");
}

#[test]
fn a_websocket_takes_a_connection_of_its_own() {
    const APP: &str = r#"
import socket
service = socket.create_connection(("ws", 80))
service.sendall(b"GET / HTTP/1.1\r\nHost: ws\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
print(service.makefile("rb").readline())
"#;
    let world = World::default();
    let ran = world.run(OPTIONS, &["python3", "-c", APP]);
    assert!(ran.ok().contains("HTTP/1.1 101 Switching Protocols"), "{ran:#?}");
    assert_eq!(versions(&world, &mut 0), ["HTTP/1.1"]);
}

#[test]
fn redirects_pass_untouched_where_that_is_wished() {
    let world = World::default();
    let own = "location: https://redirect-123456789012.us-central1.run.app/landed";
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (options, expected) in [
            (&[][..], "location: http://redirect/landed"),
            (&["--rewrite-redirects", "on"], "location: http://redirect/landed"),
            (&["--rewrite-redirects=off"], own),
        ] {
            let ran =
                world.run(options, &["curl", "-sSi", "-m", "30", version, "http://redirect/"]);
            let head = ran.ok().to_lowercase();
            assert!(head.lines().any(|line| line.trim_end() == expected), "{options:?}: {ran:#?}");
        }
    }
}
