//! An engine in a program without any async runtime.

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod service;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn run() -> Result<String, Box<dyn Error>> {
    let routes = service::start()?;
    let engine = runsd::Engine::builder().set("mode", "proxy").set("routes", &routes).start()?;

    let proxy = engine.proxy_addrs().first().ok_or("the proxy is off")?;
    let answer = fetch(*proxy)?;

    let report = engine.stop(Duration::from_secs(5))?;
    Ok(format!("{answer}\n{} exchanges were cut", report.aborted))
}

/// What `http://hello/` answers, asked of the proxy.
fn fetch(proxy: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.write_all(service::REQUEST)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run()?);
    Ok(())
}

#[test]
fn it_runs() {
    let said = run().unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\nhello\n0 exchanges were cut"), "{said}");
}
