//! The admin endpoint of an engine that is part of a program.

use crate::engine::{Builder, Engine, ErrorKind, Mode};
#[cfg(feature = "cli")]
use crate::telemetry::Record;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(feature = "cli")]
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

fn ask(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_embedded_engine_has_one_at_a_port_of_the_kernels_choice() {
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    let engine = builder.set("admin_addr", "127.0.0.1:0").start().unwrap();
    let address = engine.admin_addr().unwrap();
    assert!(ask(address, "GET /readyz").starts_with("HTTP/1.1 200 "));
    let metrics = ask(address, "GET /metrics");
    assert!(metrics.contains("\nrunsd_proxy_requests_total 0\n"), "{metrics}");
    let config = ask(address, "GET /config");
    assert!(config.contains("\"origin\": \"key\""), "{config}");
    assert!(config.contains("\"mode\": \"proxy\""), "{config}");
    // The program that the engine is part of stops it, and nobody else.
    assert!(ask(address, "POST /quitquitquit").starts_with("HTTP/1.1 409 "));
    engine.stop(Duration::ZERO).unwrap();
    assert!(TcpStream::connect(address).is_err(), "it is gone with its engine");
}

#[test]
fn a_taken_port_is_an_error_for_a_program_and_costs_the_command_its_endpoint_alone() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let builder = || {
        let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
        let builder = builder.set("region", "us-east1").set("project", "1");
        builder.set("admin_addr", &address)
    };
    let refused = |builder: Builder| {
        let error = builder.start().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("--admin-addr"), "{error}");
    };
    refused(builder());
    #[cfg(feature = "cli")]
    {
        let command = || {
            let builder = Engine::builder().flags(crate::settings::Layer::default(), None);
            let builder = builder.environment(|_| None).set("mode", "proxy");
            builder.set("region", "us-east1").set("project", "1").set("admin_addr", &address)
        };
        let (tell, told) = std::sync::mpsc::channel();
        let tell = move |record: &Record<'_>| drop(tell.send(record.message.to_owned()));
        let engine = command().log(tell).start().unwrap();
        assert_eq!((engine.mode(), engine.admin_addr()), (Mode::Proxy, None));
        engine.stop(Duration::ZERO).unwrap();
        let told: Vec<String> = told.iter().collect();
        let missed = |said: &&String| said.contains("no admin endpoint") && said.contains(&address);
        assert_eq!(told.iter().filter(missed).count(), 1, "{told:?}");
        refused(command().set("strict", "true"));
    }
}

#[test]
fn the_mode_off_serves_none_and_says_so() {
    let (tell, told) = std::sync::mpsc::channel();
    let builder = Engine::builder().environment(|_| None).set("admin_addr", "127.0.0.1:0");
    let engine = builder.log(move |record| drop(tell.send(record.message.to_owned()))).start();
    let engine = engine.unwrap();
    assert_eq!((engine.mode(), engine.admin_addr()), (Mode::Off, None));
    engine.stop(Duration::ZERO).unwrap();
    assert!(told.iter().any(|said| said.contains("no admin endpoint at 127.0.0.1:0")));
}

#[cfg(feature = "cli")]
#[test]
fn what_is_read_again_is_read_once_and_shown_as_it_was_read() {
    let builder = Engine::builder().environment(|_| None).set("mode", "proxy");
    let engine = builder.set("admin_addr", "127.0.0.1:0").start().unwrap();
    let looks = AtomicUsize::new(0);
    // Somebody is just changing it.
    let again = Engine::builder().environment(move |name| {
        (name == "RUNSD_ALLOW").then(|| format!("look-{}", looks.fetch_add(1, SeqCst)).into())
    });
    engine.reload(&again);
    let config = ask(engine.admin_addr().unwrap(), "GET /config");
    assert!(config.contains("\"look-0\""), "what was put in force: {config}");
    engine.stop(Duration::ZERO).unwrap();
}
