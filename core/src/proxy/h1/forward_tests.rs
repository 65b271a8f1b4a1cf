//! The proxy where apps are told of it: hosts that are no services, CONNECT, and
//! pages that a browser asks for.

use super::h1_tests::{GET, HEAD_END, OK, app, proxy, read_until, service};
use crate::proxy::testing::refusing;
use std::io::Write;
use std::net::Shutdown;

#[test]
fn a_forward_proxy_relays_what_is_not_ours_and_draws_through_what_is() {
    let (ours, service_a) = service(vec![vec![(HEAD_END, OK)]]);
    let (theirs, service_b) = service(vec![vec![(HEAD_END, OK)], vec![("raw", b"bytes")]]);
    let proxy = proxy(ours, true);
    let mut plain = app(&proxy);
    plain
        .write_all(format!("GET http://{theirs}/x HTTP/1.1\r\nHost: {theirs}\r\n\r\n").as_bytes())
        .unwrap();
    read_until(&mut plain, "ok");
    let mut blind = app(&proxy);
    blind
        .write_all(format!("CONNECT {theirs} HTTP/1.1\r\nHost: {theirs}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(read_until(&mut blind, HEAD_END).starts_with("HTTP/1.1 200 "));
    blind.write_all(b"raw").unwrap();
    read_until(&mut blind, "bytes");
    let mut drawn = app(&proxy);
    // As Python up to 3.11 asks: HTTP/1.0 needs no Host.
    drawn.write_all(b"CONNECT hello:80 HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_until(&mut drawn, HEAD_END).starts_with("HTTP/1.1 200 "));
    drawn.write_all(GET.as_bytes()).unwrap();
    read_until(&mut drawn, "ok");
    // A service is called on port 80 alone: what else answers there has no part in it.
    let mut beside = app(&proxy);
    beside.write_all(b"GET http://hello:8080/ HTTP/1.1\r\nHost: hello:8080\r\n\r\n").unwrap();
    let refused = read_until(&mut beside, "");
    assert!(refused.contains("cannot resolve hello"), "{refused}");
    service_a.join().unwrap();
    let heard = service_b.join().unwrap();
    assert!(
        heard[0].starts_with(&format!("GET /x HTTP/1.1\r\nHost: {theirs}\r\n")),
        "{}",
        heard[0]
    );
}

#[test]
fn a_forward_proxy_tells_what_became_of_a_host_that_is_no_service() {
    let (closed, _kept) = refusing();
    let proxy = proxy(closed, true);
    let ask = |line: &str| {
        let mut app = app(&proxy);
        write!(app, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        read_until(&mut app, "")
    };
    let (garbled, service) = service(vec![vec![(HEAD_END, b"220 smtp.example\r\n")]]);
    for (line, what, remedy) in [
        ("CONNECT exmple.com:443", "cannot reach exmple.com:443", "check its spelling"),
        ("GET http://exmple.com:8080/", "cannot reach exmple.com:8080", "check its spelling"),
        ("GET http://exmple.com/", "cannot reach exmple.com", "check its spelling"),
        ("CONNECT hello:443", "cannot reach hello:443", "http://NAME on port 80"),
        ("GET http://hello:8080/", "cannot reach hello:8080", "http://NAME on port 80"),
        (&format!("CONNECT {closed}"), "refused", "listens on that port"),
        (&format!("GET http://{closed}/"), "refused", "listens on that port"),
        (&format!("GET http://{garbled}/"), &format!("{garbled}"), "breaks a rule of HTTP"),
    ] {
        let heard = ask(line);
        assert!(heard.starts_with("HTTP/1.1 502 "), "{heard}");
        for part in [what, remedy] {
            assert!(heard.contains(part), "{part}: {heard}");
        }
        assert!(!heard.contains("ingress") && !heard.contains("region"), "{heard}");
        assert!(!heard.contains("\"service\""), "{heard}");
    }
    service.join().unwrap();
    let ours = ask("GET http://hello/");
    assert!(ours.contains("ingress") && ours.contains("\"service\":\"hello\""), "{ours}");
}

#[test]
fn where_an_app_is_told_of_the_proxy_a_web_page_gets_no_identity() {
    let (ours, service) = service(vec![vec![(HEAD_END, OK)]]);
    let proxy = proxy(ours, true);
    let ask = |fields: &str| {
        let mut app = app(&proxy);
        write!(app, "GET http://hello/ HTTP/1.1\r\nHost: hello\r\n{fields}\r\n").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        read_until(&mut app, "")
    };
    for page in ["Origin: https://a.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let refused = ask(page);
        assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{refused}");
        assert!(refused.contains("web page"), "{refused}");
    }
    assert!(ask("Sec-Fetch-Site: none\r\n").starts_with("HTTP/1.1 200"));
    assert_eq!(service.join().unwrap().len(), 1);
}
