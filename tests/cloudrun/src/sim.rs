//! One simulation: builds the instance, starts the servers, takes all of it down.
//!
//! Owns the thread that everything runs on and the order of start and stop;
//! knows the parts only by their handles.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::{env, fs, io};

use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::oneshot;

use crate::addresses::{EXTERNAL, FRONT, METADATA};
use crate::authority::{self, Authority};
use crate::dns::Dns;
use crate::error::{Error, Step};
use crate::front::{Front, Sockets};
use crate::google::{Google, Login};
use crate::metadata::Metadata;
use crate::namespace::{self, Files, Namespaces, Network};
use crate::options::Options;
use crate::token::Mint;

/// As observed on the platform.
const RESOLV_CONF: &[u8] = b"nameserver 169.254.169.254\nsearch google.internal.\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n169.254.169.254\tmetadata.google.internal metadata\n";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PORT_TRIES: usize = 32;

/// Where the servers of a simulation listen, as programs inside reach them. The
/// addresses are not the instance's own (see [`Sim::is_apart`]), so that programs
/// may listen on these ports themselves.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// The metadata server.
    pub metadata: SocketAddr,
    /// The nameserver, UDP and TCP.
    pub dns: SocketAddr,
    /// The front end with TLS.
    pub front: SocketAddr,
    /// The front end without TLS, which redirects.
    pub plain: SocketAddr,
}

/// A running simulation. Dropping it stops the servers; processes that were
/// started inside keep running, without the platform.
pub struct Sim {
    options: Options,
    metadata: Metadata,
    dns: Dns,
    front: Front,
    google: Google,
    authority: Arc<Authority>,
    endpoints: Endpoints,
    namespaces: Option<Namespaces>,
    directory: PathBuf,
    /// Of the user of a laptop.
    home: Option<PathBuf>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Listeners {
    metadata: TcpListener,
    udp: UdpSocket,
    tcp: TcpListener,
    sockets: Sockets,
}

struct Ready {
    namespaces: Option<Namespaces>,
    endpoints: Endpoints,
}

/// The parts that the servers' thread takes along.
struct Parts {
    metadata: Metadata,
    dns: Dns,
    front: Front,
    commands: tokio::sync::mpsc::UnboundedReceiver<(bool, mpsc::Sender<()>)>,
}

impl Sim {
    /// Starts a simulation. Blocks until everything is listening.
    ///
    /// # Errors
    /// [`Error::NoNamespaces`] where namespaces need more rights than there are: a
    /// process without root can make them only while it has a single thread.
    pub fn start(options: Options) -> Result<Self, Error> {
        possible(&options)?;
        if !options.loopback {
            namespace::gain_privilege()?;
        }
        let random = || Error::Setup {
            step: "making the tokens' secret".into(),
            cause: io::Error::other("the system has no random numbers"),
        };
        let mint = Arc::new(Mint::new(&options.email).ok_or_else(random)?);
        let google = Google::new(Arc::clone(&mint)).ok_or_else(random)?;
        let authority = Arc::new(Authority::new()?);
        let metadata = Metadata::new(&options, Arc::clone(&mint));
        let dns = Dns::default();
        let tokens = (mint, google.clone());
        let (front, commands) = Front::new(options.clone(), tokens, Arc::clone(&authority))?;
        let directory = fresh_directory()?;
        let home = options.laptop.map(|login| home(&google, login)).transpose()?;
        let (stop, stopped) = oneshot::channel();
        let (report, ready) = mpsc::channel();
        let parts =
            Parts { metadata: metadata.clone(), dns: dns.clone(), front: front.clone(), commands };
        let (place, chosen, pem) = (directory.clone(), options.clone(), authority.pem().to_owned());
        let spawned = thread::Builder::new()
            .name("cloudrun-sim".into())
            .spawn(move || run(&chosen, &place, &pem, parts, &report, stopped));
        // From here on dropping it cleans up.
        let mut sim = Self {
            options,
            metadata,
            dns,
            front,
            google,
            authority,
            endpoints: Endpoints::inside(),
            namespaces: None,
            directory,
            home,
            stop: Some(stop),
            thread: Some(spawned.step("starting a thread")?),
        };
        let gone = || Error::Setup {
            step: "starting the servers".into(),
            cause: io::Error::other("their thread has ended"),
        };
        let ready = ready.recv().map_err(|_| gone())??;
        sim.endpoints = ready.endpoints;
        sim.namespaces = ready.namespaces;
        Ok(sim)
    }

    /// A command that will run inside, with the environment that Cloud Run gives
    /// (and nothing else), in the caller's working directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment());
        if let Some(namespaces) = &self.namespaces {
            namespaces.start_inside(&mut command);
        }
        command
    }

    /// Runs `f` on a fresh thread inside, for instance to open sockets there.
    ///
    /// # Panics
    /// With the panic of `f`, or if no thread can be started.
    pub fn enter<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(namespaces) = &self.namespaces else { return f() };
        match namespaces.enter(f) {
            Ok(value) => value,
            Err(error) => {
                // The signature is a test's: there is nobody to hand an error to.
                std::panic::resume_unwind(Box::new(format!("entering the namespaces: {error}")))
            }
        }
    }

    /// The metadata server.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The nameserver.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The front end.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// The endpoints that give tokens to who is logged in elsewhere.
    pub fn google(&self) -> &Google {
        &self.google
    }

    /// Where the servers listen.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// The files that stand for the network and the mount namespace, for `nsenter`.
    /// `None` in loopback mode.
    pub fn namespace_files(&self) -> Option<(PathBuf, PathBuf)> {
        self.namespaces.as_ref().map(Namespaces::files)
    }

    /// Whether the servers have a network of their own, as on the platform. Not so
    /// in loopback mode, with [`Options::apart`] off, and on a kernel without veth
    /// interfaces: then a program inside that listens on port 53, 80 or 443 has to do
    /// it on one address (`127.0.0.1:80`), because the servers have these ports on
    /// theirs and `0.0.0.0:80` would be both.
    pub fn is_apart(&self) -> bool {
        self.namespaces.as_ref().is_some_and(Namespaces::is_apart)
    }

    /// The options it was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The URL of a service in the instance's own region and project.
    pub fn url(&self, service: &str) -> String {
        let Options { project_number, region, .. } = &self.options;
        format!("https://{service}-{project_number}.{region}.run.app")
    }

    /// The current bytes of `/etc/resolv.conf`; empty where there is none.
    pub fn resolv_conf(&self) -> Vec<u8> {
        match &self.namespaces {
            Some(namespaces) => namespaces.resolv_conf(),
            None => fs::read(self.directory.join("resolv.conf")),
        }
        .unwrap_or_default()
    }

    /// Replaces `/etc/resolv.conf` (loopback mode: the file that stands for it).
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_resolv_conf(&self, bytes: &[u8]) {
        let result = match &self.namespaces {
            Some(namespaces) => namespaces.set_resolv_conf(bytes),
            None => fs::write(self.directory.join("resolv.conf"), bytes),
        };
        expect_done(result, "writing resolv.conf");
    }

    /// Leaves no `/etc/resolv.conf`.
    ///
    /// # Panics
    /// If the file cannot be removed.
    pub fn remove_resolv_conf(&self) {
        let result = match &self.namespaces {
            Some(namespaces) => namespaces.remove_resolv_conf(),
            None => fs::remove_file(self.directory.join("resolv.conf")),
        };
        expect_done(result, "removing resolv.conf");
    }

    /// What [`Sim::command`] puts into the environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let service = &self.options.service;
        let own = if self.namespaces.is_some() { None } else { env::var("HOME").ok() };
        let home = self.home.as_ref().map(|home| home.display().to_string()).or(own);
        let mut all = vec![
            // The image is this machine, so its programs are where they always are.
            ("PATH", env::var("PATH").unwrap_or_else(|_| PATH.to_owned())),
            ("HOME", home.unwrap_or_else(|| "/root".to_owned())),
        ];
        if self.home.is_none() {
            all.extend([
                ("PORT", "8080".to_owned()),
                ("K_SERVICE", service.clone()),
                ("K_REVISION", format!("{service}-00001-abc")),
                ("K_CONFIGURATION", service.clone()),
                ("CLOUD_RUN_TIMEOUT_SECONDS", "300".to_owned()),
            ]);
        }
        if self.namespaces.is_none() {
            let Endpoints { metadata, dns, front, .. } = self.endpoints;
            all.extend([
                ("GCE_METADATA_HOST", metadata.to_string()),
                ("RUNSD_METADATA_HOST", metadata.to_string()),
                ("RUNSD_CONNECT_TO", format!(":443:{front}")),
                ("RUNSD_CA_FILE", self.directory.join("ca.pem").display().to_string()),
                ("RUNSD_NAMESERVERS", dns.to_string()),
            ]);
            if self.home.is_none() {
                // The machine's own ports and resolv.conf are not the instance's.
                all.push(("RUNSD_MODE", "proxy".to_owned()));
            }
        }
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The certificate of the authority behind the front end.
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The thread may have ended by itself, after an error.
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // The mount namespace must go first: it covers this directory.
        self.namespaces = None;
        let _ = fs::remove_dir_all(&self.directory);
        if let Some(home) = &self.home {
            let _ = fs::remove_dir_all(home);
        }
    }
}

impl Endpoints {
    fn inside() -> Self {
        let at = |address: Ipv4Addr, port| SocketAddr::new(IpAddr::V4(address), port);
        Self {
            metadata: at(METADATA, 80),
            dns: at(METADATA, 53),
            front: at(FRONT, 443),
            plain: at(FRONT, 80),
        }
    }
}

/// Whether URLs can be made of these.
fn possible(options: &Options) -> Result<(), Error> {
    let Options { region, project_number: number, project_hash: hash, .. } = options;
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let wrong = if !crate::regions::is_region(region) {
        format!("`{region}` is no region")
    } else if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("`{number}` is no project number")
    } else if hash.is_empty() || !hash.bytes().all(lower) {
        format!("`{hash}` cannot stand for a project in a URL: want a-z and 0-9")
    } else {
        return Ok(());
    };
    Err(Error::Option(wrong))
}

fn expect_done(result: io::Result<()>, what: &str) {
    if let Err(error) = result {
        std::panic::resume_unwind(Box::new(format!("{what}: {error}")));
    }
}

/// A new, empty directory that only this simulation uses.
fn fresh_directory() -> Result<PathBuf, Error> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("cloudrun-sim-{}-{number}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => {
                return Err(Error::Setup { step: format!("making {}", path.display()), cause });
            }
        }
    }
}

/// A folder of a user who is logged in this way.
fn home(google: &Google, login: Login) -> Result<PathBuf, Error> {
    let home = fresh_directory()?;
    let gcloud = home.join(".config/gcloud");
    let subject = gcloud.join("provider-token");
    fs::create_dir_all(&gcloud).step("making a home")?;
    fs::write(&subject, google.subject_token()).step("writing a token")?;
    if let Some(credentials) = google.credentials(login, &subject) {
        let file = gcloud.join("application_default_credentials.json");
        fs::write(file, format!("{credentials:#}\n")).step("writing credentials")?;
    }
    Ok(home)
}

/// The servers' thread.
fn run(
    options: &Options,
    directory: &Path,
    pem: &str,
    parts: Parts,
    report: &mpsc::Sender<Result<Ready, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let begun = begin(options, directory, pem);
    let (namespaces, runtime) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // The starter waits for exactly this.
            let _ = report.send(Err(error));
            return;
        }
    };
    runtime.block_on(async move {
        let bound = bind(options.loopback).await;
        let ready = bound.and_then(|listeners| {
            let endpoints = endpoints(&listeners).step("reading the ports")?;
            Ok((listeners, Ready { namespaces, endpoints }))
        });
        match ready {
            Ok((listeners, ready)) => {
                tokio::spawn(parts.metadata.serve(listeners.metadata));
                tokio::spawn(parts.dns.clone().serve_udp(listeners.udp));
                tokio::spawn(parts.dns.serve_tcp(listeners.tcp));
                parts.front.serve(listeners.sockets, parts.commands);
                let _ = report.send(Ok(ready));
                let _ = stopped.await;
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    });
}

fn begin(
    options: &Options,
    directory: &Path,
    pem: &str,
) -> Result<(Option<Namespaces>, tokio::runtime::Runtime), Error> {
    let resolv_conf = options.resolv_conf.as_deref().unwrap_or(RESOLV_CONF);
    let namespaces = if options.loopback {
        fs::write(directory.join("ca.pem"), authority::bundle_with(pem)).step("writing ca.pem")?;
        fs::write(directory.join("resolv.conf"), resolv_conf).step("writing resolv.conf")?;
        None
    } else {
        let hosts = if options.ipv6 { format!("{HOSTS}::1\tlocalhost\n") } else { HOSTS.into() };
        let link = authority::openssl_link();
        let files = Files { resolv_conf, hosts: &hosts, authority: (pem, link) };
        let network = Network {
            addresses: &[METADATA, FRONT, EXTERNAL],
            ipv6: options.ipv6,
            apart: options.apart,
        };
        Some(Namespaces::create(directory, &network, &files)?)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok((namespaces, runtime.step("starting the runtime")?))
}

async fn bind(loopback: bool) -> Result<Listeners, Error> {
    let tcp = |address: Ipv4Addr, port: u16| async move {
        let (address, port) = if loopback { (Ipv4Addr::LOCALHOST, 0) } else { (address, port) };
        listen((address, port).into()).step(format!("listening on {address}:{port}"))
    };
    let metadata = tcp(METADATA, 80).await?;
    let (udp, dns_tcp) = bind_dns(loopback).await.step("listening for DNS")?;
    let mut plain = vec![tcp(FRONT, 80).await?];
    let mut external_tls = None;
    if !loopback {
        plain.push(tcp(EXTERNAL, 80).await?);
        external_tls = Some(tcp(EXTERNAL, 443).await?);
    }
    let sockets = Sockets { tls: tcp(FRONT, 443).await?, external_tls, plain };
    Ok(Listeners { metadata, udp, tcp: dns_tcp, sockets })
}

/// UDP and TCP on one port.
/// With room for a burst of connections, as a real front end has: one that finds
/// none waits a second for its next try.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn bind_dns(loopback: bool) -> io::Result<(UdpSocket, TcpListener)> {
    if !loopback {
        let udp = UdpSocket::bind((METADATA, 53)).await?;
        return Ok((udp, TcpListener::bind((METADATA, 53)).await?));
    }
    let mut tries = 0;
    loop {
        // The kernel's port for the one may be taken for the other.
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

fn endpoints(listeners: &Listeners) -> io::Result<Endpoints> {
    let plain = listeners.sockets.plain.first().map(TcpListener::local_addr);
    Ok(Endpoints {
        metadata: listeners.metadata.local_addr()?,
        dns: listeners.udp.local_addr()?,
        front: listeners.sockets.tls.local_addr()?,
        plain: plain.ok_or(io::ErrorKind::NotFound)??,
    })
}
