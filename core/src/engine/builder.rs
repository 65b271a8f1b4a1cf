//! The builder: collects what the caller says, from whichever language.

use super::base::Plans;
use super::dispatch::Dispatcher;
#[cfg(feature = "cli")]
use super::effective;
use super::elsewhere;
use super::environment::{self, Lookup};
use super::error::Error;
use super::handle::Engine;
use crate::net::{Clock, SystemClock};
use crate::settings::{self, Layer, Origin};
use crate::telemetry::{Log, Record, Sink};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A function of the embedding program that receives log records.
pub(super) type LogCallback = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// What happens to resolv.conf while an engine runs in full mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolvConf {
    /// It names the engine's DNS server, and is restored afterwards.
    Rewrite,
    /// It stays as it is; the program finds the DNS server by
    /// [`Engine::dns_addrs`].
    Leave,
}

impl ResolvConf {
    fn name(self) -> &'static str {
        match self {
            ResolvConf::Rewrite => "rewrite",
            ResolvConf::Leave => "leave",
        }
    }
}

/// Says how an engine is to be; made by [`Engine::builder`].
pub struct Builder {
    said: Layer,
    file: Option<PathBuf>,
    pub(super) lookup: Lookup,
    /// The names of variables that look like settings, where they can be listed.
    variables: fn() -> Vec<String>,
    log: Option<LogCallback>,
    /// It is the command that starts it, and not a program that embeds it.
    by_command: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            said: Layer::default(),
            file: None,
            lookup: environment::of_this_process(),
            variables: environment::names_of_this_process,
            log: None,
            by_command: false,
        }
    }
}

impl Builder {
    /// Sets one setting by its key, such as `region`; a list as a JSON array or
    /// comma-separated, `routes` as a JSON array. The key `config` names a JSON
    /// file. What is wrong with keys or values is said by [`Builder::start`],
    /// all at once.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Builder {
        let origin = Origin::Key(key.to_owned());
        match settings::find(key) {
            Some(setting) => self.said.push_text(setting, origin, value),
            None if key == "config" => self.file = Some(PathBuf::from(value)),
            None => self.said.unknown(origin, key),
        }
        self
    }

    /// The region of names that give none; the key `region`.
    #[must_use]
    pub fn region(self, region: &str) -> Builder {
        self.set("region", region)
    }

    /// The project number of names that give none; the key `project`.
    #[must_use]
    pub fn project(self, number: &str) -> Builder {
        self.set("project", number)
    }

    /// Where the proxy listens; port 0 lets the kernel choose. The key
    /// `proxy_addr`.
    #[must_use]
    pub fn proxy_addr(self, address: SocketAddr) -> Builder {
        self.set("proxy_addr", &address.to_string())
    }

    /// Where DNS is answered; port 0 lets the kernel choose. The key `dns_addr`.
    #[must_use]
    pub fn dns_addr(self, address: SocketAddr) -> Builder {
        self.set("dns_addr", &address.to_string())
    }

    /// Whether resolv.conf is rewritten; the key `resolv_conf_mode`.
    #[must_use]
    pub fn resolv_conf(self, mode: ResolvConf) -> Builder {
        self.set("resolv_conf_mode", mode.name())
    }

    /// Sends log records to `callback` instead of standard error: one at a
    /// time, on one thread of the engine's that does nothing else, and none
    /// after [`Engine::stop`] has returned. While it is busy records wait;
    /// those that find no room are counted, and told as one record.
    /// [`Engine::stop`] and [`Engine::wait`] answer `Busy` in it.
    #[must_use]
    pub fn log(mut self, callback: impl Fn(&Record<'_>) + Send + Sync + 'static) -> Builder {
        self.log = Some(Box::new(callback));
        self
    }

    /// Takes environment variables from `lookup` instead of from the process.
    #[must_use]
    pub fn environment(
        mut self,
        lookup: impl Fn(&str) -> Option<OsString> + Send + 'static,
    ) -> Builder {
        self.lookup = Box::new(lookup);
        self.variables = Vec::new;
        self
    }

    /// What the command line said, which is stronger than everything else.
    #[cfg(feature = "cli")]
    pub(crate) fn flags(mut self, flags: Layer, file: Option<PathBuf>) -> Builder {
        self.said = flags;
        self.file = file;
        self.by_command = true;
        self
    }

    /// Starts the engine and returns when it is true: sockets are bound,
    /// resolv.conf is written or left on purpose, and its DNS server has
    /// answered. Blocks, usually for some milliseconds, and for at most about
    /// 2 s while the metadata server is silent.
    ///
    /// # Errors
    /// Nothing is half-changed on an error: resolv.conf is as before.
    /// `Forked` in a process that was forked from one that had an engine.
    pub fn start(self) -> Result<Engine, Error> {
        super::start::start(self)
    }

    /// What an engine is to be made from, and what must live as long as its log.
    pub(super) fn plans(self) -> Result<(Plans, Option<Dispatcher>), Error> {
        let layers = self.layers();
        let config = settings::resolve(&layers).map_err(|problems| Error::config(&problems))?;
        let (on_platform, format) = (self.on_platform(), self.format(config.log_format));
        let (sink, dispatcher) = match self.log {
            None => (Sink::Stderr(format), None),
            Some(callback) => {
                let (dispatcher, queue) = Dispatcher::start(callback)?;
                let push = move |record: &Record<'_>| queue.push(record);
                (Sink::Callback(Box::new(push)), Some(dispatcher))
            }
        };
        let log = Log::new(config.log_level, sink, || SystemClock.now());
        let settled = (config, settings::said(&layers));
        let mut plans = Plans::new(settled, log, on_platform, &self.lookup);
        plans.by_command = self.by_command;
        Ok((plans, dispatcher))
    }

    /// As [`Builder::start`], in any async runtime: a thread does the work. If
    /// the future is given up, an engine that starts all the same is stopped.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start_async(self) -> Result<Engine, Error> {
        elsewhere::run("runsd-start", move || self.start()).await?
    }

    /// Reads every source and checks it.
    #[cfg(any(feature = "cli", test))]
    pub(crate) fn config(&self) -> Result<settings::Config, Error> {
        settings::resolve(&self.layers()).map_err(|problems| Error::config(&problems))
    }

    /// The same, and the settings for people to see: of one look at the sources,
    /// which may change between two.
    #[cfg(feature = "cli")]
    pub(super) fn config_and_shown(&self) -> Result<(settings::Config, serde_json::Value), Error> {
        let layers = self.layers();
        let config = settings::resolve(&layers).map_err(|problems| Error::config(&problems))?;
        let fixed = environment::text(&self.lookup, "CLOUD_RUN_ID_TOKEN").is_some();
        Ok((config, effective::settings(&settings::said(&layers), fixed)))
    }

    /// What every source says, from the strongest to the weakest.
    pub(super) fn layers(&self) -> [Layer; 4] {
        let [mut own, inherited] = environment::layers(&self.lookup);
        environment::note_mistaken(&(self.variables)(), &mut own);
        let mut file = Layer::default();
        let named = self
            .file
            .clone()
            .or_else(|| environment::text(&self.lookup, "RUNSD_CONFIG").map(PathBuf::from));
        if let Some(path) = &named {
            read_file(path, &mut file);
        }
        [self.said.clone(), own, file, inherited]
    }
}

fn read_file(path: &Path, layer: &mut Layer) {
    match std::fs::read_to_string(path) {
        Ok(text) => layer.push_file(path, &text),
        Err(error) => {
            let origin = Origin::File(path.to_owned(), String::new());
            layer.problem(origin, format!("cannot read the file: {error}"));
        }
    }
}
