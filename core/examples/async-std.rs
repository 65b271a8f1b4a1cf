//! An engine in a program on async-std. Both use the reactor of this process;
//! the engine's work stays on its own threads.

#![allow(clippy::print_stdout, reason = "an example shows something")]

mod service;

use async_std::io::{ReadExt, WriteExt};
use async_std::net::TcpStream;
use async_std::task;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

fn run() -> Result<String, Box<dyn Error>> {
    task::block_on(async {
        let routes = service::start()?;
        let builder = runsd::Engine::builder().set("mode", "proxy").set("routes", &routes);
        let engine = builder.start_async().await?;
        let watched = engine.clone();
        let watch = task::spawn(async move { watched.wait_async().await });

        let proxy = engine.proxy_addrs().first().ok_or("the proxy is off")?;
        let answer = fetch(*proxy).await?;

        let report = engine.stop_async(Duration::from_secs(5)).await?;
        // Would have said why, had the engine failed meanwhile.
        watch.await?;
        Ok(format!("{answer}\n{} exchanges were cut", report.aborted))
    })
}

/// What `http://hello/` answers, asked of the proxy.
async fn fetch(proxy: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(service::REQUEST).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
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
