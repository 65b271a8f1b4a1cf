//! Services whose TLS will not do: what an app is told of each, and that they
//! get nothing of its request.

use super::http1_apps::{CLOSE, ask};
use super::world::{World, acceptor_of, get, token};
use crate::net::{TLS_LIBRARY, Tcp};
use crate::proxy::Upstream;
use futures_lite::AsyncReadExt;
use futures_rustls::TlsAcceptor;
use rcgen::{CertificateParams, CertifiedKey, DnType, KeyPair};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const EACH: [Upstream; 3] = [Upstream::Same, Upstream::Http1, Upstream::Http2];

/// OpenSSL's own server.
struct OpenSsl {
    child: Child,
    says: BufReader<ChildStdout>,
    files: [PathBuf; 2],
    address: SocketAddr,
}

impl OpenSsl {
    fn start(certificate: &CertifiedKey<KeyPair>, options: &[&str]) -> OpenSsl {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |end: &str| {
            std::env::temp_dir().join(format!("runsd-{}-{number}.{end}", std::process::id()))
        };
        let files = [file("cert"), file("key")];
        std::fs::write(&files[0], certificate.cert.pem()).unwrap();
        std::fs::write(&files[1], certificate.signing_key.serialize_pem()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0"]).args(options);
        for ([cert, key], file) in [["-cert", "-cert2"], ["-key", "-key2"]].iter().zip(&files) {
            command.arg(cert).arg(file).arg(key).arg(file);
        }
        // It ends with its input.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(says.read_line(&mut line).unwrap() > 0, "openssl s_server ended");
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.trim().parse().unwrap();
            }
        };
        OpenSsl { child, says, files, address }
    }

    /// Ends it; what it had to say of its clients, what they sent included.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        self.says.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A certificate of its own authority, for `name`.
fn certificate(name: &str, expired: bool) -> CertifiedKey<KeyPair> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    // OpenSSL looks for an issuer by its name.
    params.distinguished_name.push(DnType::CommonName, format!("{name}, expired: {expired}"));
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    }
    let signing_key = KeyPair::generate().unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

/// What an app of each version is told.
fn told(world: &World) -> [String; 2] {
    *world.tokens.ready.lock().unwrap() = token("ours");
    world.run(async {
        let old = ask(world, &format!("GET /secret HTTP/1.1\r\n{CLOSE}")).await;
        let new = world.ask(get("http://hello/secret"), None).await;
        let new = format!("{:?}\r\n\r\n{}", new.head, String::from_utf8(new.body).unwrap());
        [old.to_lowercase(), new.to_lowercase()]
    })
}

fn are_502(told: &[String; 2], parts: &[&str]) {
    for told in told {
        assert!(told.contains("502") && told.contains("cannot reach hello"), "{told}");
        for part in parts {
            assert!(told.contains(part), "{part:?} in {told}");
        }
    }
}

/// The words of the library that is built in.
fn in_its_words(rustls: &'static str, native: &'static str) -> &'static str {
    if TLS_LIBRARY == "native-tls" { native } else { rustls }
}

/// What apps are told of a service that is not to be believed.
fn refused(acceptor: TlsAcceptor, trusted: Option<&CertifiedKey<KeyPair>>, parts: &[&str]) {
    for upstream in EACH {
        let world = World::new(upstream);
        if let Some(certificate) = trusted {
            world.trust(&certificate.cert);
        }
        let heard = Arc::new(AtomicUsize::new(0));
        let (acceptor, hearing) = (acceptor.clone(), heard.clone());
        world.listen("hello", true, move |tcp: Tcp| {
            let (acceptor, hearing) = (acceptor.clone(), hearing.clone());
            async move {
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    let read = tls.read(&mut [0; 1024]).await.unwrap_or_default();
                    hearing.fetch_add(read, Ordering::SeqCst);
                }
            }
        });
        are_502(&told(&world), parts);
        assert_eq!(heard.load(Ordering::SeqCst), 0, "{upstream:?}");
    }
}

#[test]
fn tls_1_1_is_refused_and_named() {
    let certificate = certificate("localhost", false);
    for upstream in EACH {
        let world = World::new(upstream);
        world.trust(&certificate.cert);
        let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
        let server = OpenSsl::start(&certificate, &old);
        world.lead("hello", server.address, true);
        are_502(&told(&world), &["tls_protocol_error", "it offers no tls 1.2 or later"]);
        let said = server.end();
        assert!(!said.contains("secret") && !said.contains("PRI *"), "{said}");
    }
    // With nothing but the version changed, it is a service like others.
    let world = World::new(Upstream::Http1);
    world.trust(&certificate.cert);
    let server = OpenSsl::start(&certificate, &["-tls1_2", "-www"]);
    world.lead("hello", server.address, true);
    for told in told(&world) {
        assert!(told.contains("200"), "{told}");
    }
}

#[test]
fn a_service_that_knows_no_such_name_is_told_of() {
    let certificate = certificate("localhost", false);
    for upstream in EACH {
        let world = World::new(upstream);
        world.trust(&certificate.cert);
        let server =
            OpenSsl::start(&certificate, &["-servername", "elsewhere", "-servername_fatal"]);
        world.lead("hello", server.address, true);
        let words = in_its_words("unrecognisedname", "unrecognized name");
        are_502(&told(&world), &["tls_protocol_error", words]);
        assert!(!server.end().contains("secret"));
    }
}

#[test]
fn an_expired_certificate_is_refused_and_named() {
    let expired = certificate("localhost", true);
    let acceptor = acceptor_of(&expired, &[b"h2", b"http/1.1"]);
    refused(acceptor, Some(&expired), &["tls_certificate_error", "expired"]);
}

#[test]
fn a_certificate_for_another_host_is_refused_and_named() {
    let other = certificate("elsewhere", false);
    let acceptor = acceptor_of(&other, &[b"h2", b"http/1.1"]);
    let words = in_its_words("not valid for name", "hostname mismatch");
    refused(acceptor, Some(&other), &["tls_certificate_error", words]);
}

#[test]
fn a_certificate_of_nobody_known_is_refused_and_named() {
    let own = certificate("localhost", false);
    let acceptor = acceptor_of(&own, &[b"h2", b"http/1.1"]);
    refused(acceptor, None, &["tls_certificate_error", "--ca-file"]);
}
