//! The dialer: from a host and a port to a connection that is ready for HTTP.
//!
//! Names are resolved by a function that the engine supplies, against the
//! original nameservers: never through the resolv.conf that runsd rewrote,
//! where it would find itself.

use super::BoxFuture;
use super::stream::Stream;
use super::tcp::Tcp;
use super::time::{Clock, SystemClock, deadline_by};
use super::tls::{Alpn, Protocol, Tls, TlsError};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// For one address: TCP's first retransmission comes after 1 s, its third after 7 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A throttled peer needs time for its handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds the addresses of a host; the text of an error says why it could not.
pub type Resolve =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<IpAddr>, String>> + Send + Sync>;

/// Whether a connection is encrypted, and what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// In the clear.
    No,
    /// TLS with this offer.
    Tls(Alpn),
}

/// `HOST:PORT:ADDRESS:PORT`, curl's `--connect-to`: connections to the first
/// pair go to the second; an empty host or port stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    host: Option<String>,
    port: Option<u16>,
    to: SocketAddr,
}

impl FromStr for ConnectTo {
    type Err = String;

    fn from_str(text: &str) -> Result<ConnectTo, String> {
        let wrong = || format!("{text:?} is not HOST:PORT:ADDRESS:PORT");
        let mut parts = text.splitn(3, ':');
        let (host, port, to) = match (parts.next(), parts.next(), parts.next()) {
            (Some(host), Some(port), Some(to)) => (host, port, to),
            _ => return Err(wrong()),
        };
        Ok(ConnectTo {
            host: (!host.is_empty()).then(|| host.to_ascii_lowercase()),
            port: if port.is_empty() { None } else { Some(port.parse().map_err(|_| wrong())?) },
            to: to.parse().map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        write!(f, "{}:{port}:{}", self.host.as_deref().unwrap_or_default(), self.to)
    }
}

/// The addresses runsd itself listens on; shared, because they are known only
/// when the sockets are bound.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses(Arc<Mutex<Vec<SocketAddr>>>);

impl OwnAddresses {
    /// Adds one.
    pub fn add(&self, address: SocketAddr) {
        if let Ok(mut list) = self.0.lock() {
            list.push(address);
        }
    }

    /// Whether connecting to `address` would reach runsd itself: by the address
    /// that it listens on, or by any of this machine's where it listens on all.
    /// Its sockets take the traffic of their own version of IP alone.
    pub fn contains(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let reaches = |own: &SocketAddr| {
            own.port() == address.port()
                && own.is_ipv4() == ip.is_ipv4()
                && (own.ip() == ip
                    // The unspecified address, as a destination, is loopback.
                    || ip.is_unspecified() && own.ip().is_loopback()
                    || own.ip().is_unspecified() && is_local(ip))
        };
        self.0.lock().is_ok_and(|list| list.iter().any(reaches))
    }
}

/// Whether it is an address of this machine: only such can be bound.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The host has no address.
    Resolve {
        /// The host.
        host: String,
        /// Why.
        cause: String,
    },
    /// The address is one of our own listeners.
    Loop {
        /// The host.
        host: String,
        /// The address.
        address: SocketAddr,
    },
    /// Every address refused.
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// No address answered in time.
    Timeout {
        /// The last address tried.
        address: SocketAddr,
        /// The step that took too long.
        step: &'static str,
    },
    /// The handshake failed.
    Tls {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: TlsError,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Resolve { host, cause } => write!(f, "cannot resolve {host}: {cause}"),
            DialError::Loop { host, address } => {
                write!(f, "{host} leads to {address}, where runsd itself listens")
            }
            DialError::Connect { address, cause } => {
                write!(f, "cannot connect to {address}: {cause}")
            }
            DialError::Timeout { address, step } => {
                write!(f, "{address} did not answer in time ({step})")
            }
            DialError::Tls { address, cause } => write!(f, "{address}: {cause}"),
        }
    }
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub struct Connected {
    /// The bytes.
    pub stream: Stream,
    /// What ALPN chose; [`Protocol::Http1`] in the clear.
    pub protocol: Protocol,
    /// How long the connection to the address that took it came about.
    pub connect: Duration,
    /// How long the TLS handshake took, where there was one.
    pub handshake: Option<Duration>,
}

/// Opens connections; shared by everything that calls out.
pub struct Dialer {
    resolve: Resolve,
    connect_to: Vec<ConnectTo>,
    tls: Tls,
    own: OwnAddresses,
    clock: Arc<dyn Clock>,
}

impl Dialer {
    /// A dialer over `resolve` and `tls` that refuses to call `own` addresses.
    pub fn new(
        resolve: Resolve,
        connect_to: Vec<ConnectTo>,
        tls: Tls,
        own: OwnAddresses,
    ) -> Dialer {
        Dialer { resolve, connect_to, tls, own, clock: Arc::new(SystemClock) }
    }

    /// The TLS client.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Connects to `host`, trying its addresses in turn until one takes the
    /// connection: at most 5 s each, then at most 10 s for the TLS handshake.
    ///
    /// # Errors
    /// Every [`DialError`]; a failed handshake is not tried elsewhere.
    pub async fn dial(
        &self,
        host: &str,
        port: u16,
        secure: Secure,
    ) -> Result<Connected, DialError> {
        let addresses = self.addresses(host, port).await?;
        let mut last =
            DialError::Resolve { host: host.to_owned(), cause: "it has no address".to_owned() };
        for address in addresses {
            if self.own.contains(address) {
                return Err(DialError::Loop { host: host.to_owned(), address });
            }
            let begun = Instant::now();
            match deadline_by(&*self.clock, CONNECT_TIMEOUT, Tcp::connect(address)).await {
                // In a box: whoever may have to dial would hold the kilobytes of
                // a handshake for as long as an exchange lasts.
                Ok(Ok(tcp)) => {
                    let connect = begun.elapsed();
                    let secured = Box::pin(self.secure(host, address, tcp, secure)).await;
                    return secured.map(|connected| Connected { connect, ..connected });
                }
                Ok(Err(cause)) => last = DialError::Connect { address, cause },
                Err(_) => last = DialError::Timeout { address, step: "connect" },
            }
        }
        Err(last)
    }

    /// Where `host` is: what is configured, or the addresses it resolves to.
    ///
    /// # Errors
    /// [`DialError::Resolve`].
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let redirected = self.connect_to.iter().find(|rule| {
            rule.host.as_deref().is_none_or(|name| name.eq_ignore_ascii_case(host))
                && rule.port.is_none_or(|given| given == port)
        });
        if let Some(rule) = redirected {
            return Ok(vec![rule.to]);
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let addresses = (self.resolve)(host.to_owned())
            .await
            .map_err(|cause| DialError::Resolve { host: host.to_owned(), cause })?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn secure(
        &self,
        host: &str,
        address: SocketAddr,
        tcp: Tcp,
        secure: Secure,
    ) -> Result<Connected, DialError> {
        let Secure::Tls(alpn) = secure else {
            return Ok(Connected {
                stream: Stream::Plain(tcp),
                protocol: Protocol::Http1,
                connect: Duration::ZERO,
                handshake: None,
            });
        };
        let (offer, other) = Tls::offers(alpn);
        match (self.handshake(host, address, tcp, offer).await, other) {
            (Err(DialError::Tls { cause: TlsError::Handshake(_), .. }), Some(other)) => {
                let tcp =
                    match deadline_by(&*self.clock, CONNECT_TIMEOUT, Tcp::connect(address)).await {
                        Ok(connected) => {
                            connected.map_err(|cause| DialError::Connect { address, cause })?
                        }
                        Err(_) => return Err(DialError::Timeout { address, step: "connect" }),
                    };
                self.handshake(host, address, tcp, other).await
            }
            (connected, _) => connected,
        }
    }

    async fn handshake(
        &self,
        host: &str,
        address: SocketAddr,
        tcp: Tcp,
        offer: Alpn,
    ) -> Result<Connected, DialError> {
        let begun = Instant::now();
        let connecting = self.tls.connect(host, tcp, offer);
        match deadline_by(&*self.clock, TLS_TIMEOUT, connecting).await {
            Ok(Ok((stream, protocol))) => Ok(Connected {
                stream,
                protocol,
                connect: Duration::ZERO,
                handshake: Some(begun.elapsed()),
            }),
            Ok(Err(cause)) => Err(DialError::Tls { address, cause }),
            Err(_) => Err(DialError::Timeout { address, step: "TLS handshake" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{TcpListener, block_on};
    use crate::telemetry::Log;

    fn dialer(connect_to: &[&str], found: Result<Vec<IpAddr>, String>) -> Dialer {
        let resolve: Resolve = Arc::new(move |_| {
            let found = found.clone();
            Box::pin(async move { found })
        });
        let rules = connect_to.iter().map(|text| text.parse().unwrap()).collect();
        let tls = Tls::new(super::super::Roots::default(), Log::discard());
        Dialer::new(resolve, rules, tls, OwnAddresses::default())
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn the_next_address_is_tried_when_one_refuses() {
        let (_listener, address) = listener();
        // Nobody listens on the second loopback address.
        let found = Ok(vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        let connected = block_on(dialer(&[], found).dial("hello", address.port(), Secure::No));
        assert_eq!(connected.unwrap().stream.tcp().peer_addr().unwrap(), address);
    }

    /// A clock whose first timer ends as soon as it is looked at, and no other ever;
    /// for how long it was asked.
    #[derive(Default)]
    struct Once(Mutex<Vec<Duration>>);

    impl Clock for Once {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn wall(&self) -> std::time::SystemTime {
            std::time::SystemTime::now()
        }

        fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
            let mut asked = self.0.lock().unwrap();
            asked.push(time);
            if asked.len() > 1 { Box::pin(std::future::pending()) } else { Box::pin(async {}) }
        }
    }

    #[test]
    fn an_address_is_given_five_seconds_before_the_next() {
        let (_listener, address) = listener();
        let silent = SocketAddr::new("127.0.0.2".parse().unwrap(), address.port());
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&silent.into()).unwrap();
        socket.listen(0).unwrap();
        // Beyond the one that its queue has room for the kernel drops what comes.
        let _waiting = std::net::TcpStream::connect(silent).unwrap();
        let clock = Arc::<Once>::default();
        let found = Ok(vec![silent.ip(), address.ip()]);
        let dialer = Dialer { clock: clock.clone(), ..dialer(&[], found) };
        let connected = block_on(dialer.dial("hello", address.port(), Secure::No));
        assert_eq!(connected.unwrap().stream.tcp().peer_addr().unwrap(), address);
        // The other address may answer before anybody would wait for it.
        assert_eq!(clock.0.lock().unwrap().first(), Some(&Duration::from_secs(5)));
    }

    #[test]
    fn connect_to_replaces_the_address_and_resolves_nothing() {
        let (_listener, address) = listener();
        let rule = format!("hello:443:{address}");
        let dialer = dialer(&[&rule], Err("asked".to_owned()));
        assert!(block_on(dialer.dial("HELLO", 443, Secure::No)).is_ok());
        let error = block_on(dialer.dial("other", 443, Secure::No)).unwrap_err();
        assert_eq!(error.to_string(), "cannot resolve other: asked");
    }

    #[test]
    fn runsd_never_calls_itself() {
        let (_listener, address) = listener();
        let dialer = dialer(&[], Ok(vec![address.ip()]));
        dialer.own.add(address);
        let error = block_on(dialer.dial("hello", address.port(), Secure::No)).unwrap_err();
        assert!(matches!(error, DialError::Loop { .. }), "{error}");
    }

    #[test]
    fn no_spelling_of_an_address_hides_that_it_is_our_own() {
        for (own, called, ours) in [
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.9.9.9:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", false),
            ("[::]:80", "[::ffff:127.0.0.1]:80", false),
            ("0.0.0.0:80", "[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "[::]:80", false),
            // Documentation's addresses are nobody's.
            ("0.0.0.0:80", "192.0.2.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:8080", false),
        ] {
            let addresses = OwnAddresses::default();
            addresses.add(own.parse().unwrap());
            assert_eq!(addresses.contains(called.parse().unwrap()), ours, "{own} {called}");
        }
    }

    #[test]
    fn connect_to_is_written_as_curl_writes_it() {
        for good in [":443:127.0.0.1:8443", "hello::[::1]:1", "::127.0.0.1:80"] {
            let parsed: ConnectTo = good.parse().unwrap();
            assert_eq!(parsed.to_string(), good);
        }
        for bad in ["", "hello", "hello:443", "hello:x:127.0.0.1:1", "hello:443:name:80"] {
            assert!(bad.parse::<ConnectTo>().is_err(), "{bad}");
        }
    }
}
