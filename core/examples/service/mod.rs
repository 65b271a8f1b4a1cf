//! A service to call, so that the examples run anywhere: it says hello.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// What a client of the proxy sends for `http://hello/`.
pub const REQUEST: &[u8] =
    b"GET http://hello/ HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n";

/// Starts the service; the setting `routes` under which it is called hello.
pub fn start() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address: SocketAddr = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A caller that goes away is no concern of an example's.
            let _ = answer(stream);
        }
    });
    Ok(format!(r#"[{{"name": "hello", "url": "http://{address}"}}]"#))
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")?;
    stream.shutdown(Shutdown::Write)
}
