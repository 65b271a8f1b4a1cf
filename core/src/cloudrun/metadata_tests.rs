//! What is asked of the metadata server, and what its answers mean.

use super::*;
use crate::auth::TokenSource;
use crate::cloudrun::MetadataTokens;
use crate::net::{Dialer, OwnAddresses, Resolve, Roots, Tls, block_on};
use crate::telemetry::Log;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

const FLAVOR: &str = "Metadata-Flavor: Google\r\n";

/// A server that gives one of `answers` (status, fields, body) to each call in
/// turn, and tells the heads that it saw.
fn server(
    answers: &[(u16, &'static str, &'static str)],
) -> (Metadata, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let answers = answers.to_vec();
    let thread = std::thread::spawn(move || {
        let answer = |(status, fields, body): (u16, &str, &str)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    (at(&host), thread)
}

fn at(host: &str) -> Metadata {
    let resolve: Resolve = Arc::new(|_| Box::pin(async { Err("no DNS here".to_owned()) }));
    let tls = Tls::new(Roots::default(), Log::discard());
    let dialer = Dialer::new(resolve, Vec::new(), tls, OwnAddresses::default());
    Metadata::new(Client::new(Arc::new(dialer)), Some(host))
}

#[test]
fn every_question_names_the_flavour_and_an_audience_is_encoded() {
    let (metadata, server) = server(&[(200, FLAVOR, "t"), (200, FLAVOR, "12\n")]);
    assert_eq!(block_on(metadata.identity("https://a.b/?c&d")).unwrap(), "t");
    assert_eq!(block_on(metadata.project_number()).unwrap(), "12");
    let heads = server.join().unwrap();
    let path = "GET /computeMetadata/v1/instance/service-accounts/default/identity\
                ?audience=https%3A%2F%2Fa.b%2F%3Fc%26d&format=full HTTP/1.1\r\n";
    assert!(heads[0].starts_with(path), "{heads:?}");
    for head in heads {
        assert!(head.to_ascii_lowercase().contains("\r\nmetadata-flavor: google\r\n"), "{head}");
    }
}

#[test]
fn the_zone_stands_in_for_a_region_that_is_not_told() {
    let zone = "projects/1/zones/us-east1-b";
    let (metadata, server) = server(&[(404, FLAVOR, "no"), (200, FLAVOR, zone)]);
    assert_eq!(block_on(metadata.region()).unwrap(), "us-east1");
    let heads = server.join().unwrap();
    assert!(heads[0].starts_with("GET /computeMetadata/v1/instance/region "), "{heads:?}");
    assert!(heads[1].starts_with("GET /computeMetadata/v1/instance/zone "), "{heads:?}");
    // A server in trouble is asked for the region again, not for the zone.
    let (metadata, server) = self::server(&[(503, FLAVOR, "wait")]);
    assert!(matches!(block_on(metadata.region()), Err(Fault::Passing(_))));
    assert_eq!(server.join().unwrap().len(), 1);
}

#[test]
fn what_passes_is_told_from_what_does_not() {
    for (status, passes) in
        [(429, true), (500, true), (503, true), (400, false), (403, false), (404, false)]
    {
        let (metadata, server) = server(&[(status, FLAVOR, "why\r\nX: y")]);
        let error = block_on(MetadataTokens(metadata).fetch("a")).unwrap_err();
        assert_eq!(error.permanent, !passes, "{status}");
        assert!(error.cause.contains(&format!("{status}: whyX: y")), "{}", error.cause);
        server.join().unwrap();
    }
    // The near end of a connection refuses others, and nobody else can get its port.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let closed = kept.local_addr().unwrap();
    let error = block_on(MetadataTokens(at(&closed.to_string())).fetch("a")).unwrap_err();
    assert!(!error.permanent && error.cause.contains("refused"), "{}", error.cause);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hasty = at(&silent.local_addr().unwrap().to_string()).within(Duration::from_millis(20));
    let error = block_on(MetadataTokens(hasty).fetch("a")).unwrap_err();
    assert!(!error.permanent && error.cause.contains("no answer within"), "{}", error.cause);
}

#[test]
fn who_speaks_http2_alone_is_named_and_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        // A token, a region, and no zone in its stead.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let error = block_on(MetadataTokens(at(&host)).fetch("a")).unwrap_err();
    assert!(error.permanent, "{}", error.cause);
    for part in [&*host, "not the metadata server", "HTTP/2 alone", "--metadata-host"] {
        assert!(error.cause.contains(part), "{part}: {}", error.cause);
    }
    assert!(!error.cause.contains("cannot be reached"), "{}", error.cause);
    let fault = block_on(at(&host).region()).unwrap_err();
    assert!(matches!(fault, Fault::OtherProtocol(_)), "{fault}");
    server.join().unwrap();
}

#[test]
fn who_does_not_name_the_flavour_is_a_stranger_and_its_token_none() {
    for fields in ["", "Metadata-Flavor: Other\r\n"] {
        let (metadata, server) = server(&[(200, fields, "e30.e30.x")]);
        assert!(matches!(block_on(metadata.identity("a")), Err(Fault::Stranger(_))), "{fields}");
        server.join().unwrap();
    }
}

#[test]
fn what_is_no_token_is_asked_for_again() {
    let (metadata, server) = server(&[(200, FLAVOR, "<html>log in</html>")]);
    let error = block_on(MetadataTokens(metadata).fetch("a")).unwrap_err();
    assert!(!error.permanent && error.cause.contains("JSON Web Token"), "{}", error.cause);
    server.join().unwrap();
}

#[test]
fn the_servers_clock_is_in_its_answer() {
    let date = "Metadata-Flavor: Google\r\nDate: Thu, 01 Jan 1970 00:01:40 GMT\r\n";
    let (metadata, server) = server(&[(200, date, "12")]);
    let told = block_on(metadata.clock()).unwrap();
    assert_eq!(told, Some(std::time::UNIX_EPOCH + Duration::from_secs(100)));
    server.join().unwrap();
}
