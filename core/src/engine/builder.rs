//! The builder: collects what the caller says, from whichever language.

use super::base::Plans;
use super::environment::{self, Lookup};
use super::error::Error;
use super::handle::Engine;
use crate::cloudrun;
use crate::settings::{self, Config, Layer, LogFormat, Origin};
use crate::telemetry::{Format, Log, Record, Sink};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A function of the embedding program that receives log records.
type LogCallback = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// Says how an engine is to be; made by [`Engine::builder`].
pub struct Builder {
    said: Layer,
    file: Option<PathBuf>,
    lookup: Lookup,
    log: Option<LogCallback>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            said: Layer::default(),
            file: None,
            lookup: environment::of_this_process(),
            log: None,
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

    /// Sends log records to `callback` instead of standard error. It is called
    /// on the engine's threads and must not block.
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
        self
    }

    /// What the command line said, which is stronger than everything else.
    #[cfg(feature = "cli")]
    pub(crate) fn flags(mut self, flags: Layer, file: Option<PathBuf>) -> Builder {
        self.said = flags;
        self.file = file;
        self
    }

    /// Starts the engine and returns when it is true: sockets are bound,
    /// resolv.conf is written or left on purpose, and its DNS server has
    /// answered. Blocks, usually for some milliseconds, and for at most about
    /// 2 s while the metadata server is silent.
    ///
    /// # Errors
    /// Nothing is half-changed on an error: resolv.conf is as before.
    pub fn start(self) -> Result<Engine, Error> {
        super::start::start(self)
    }

    /// The port that the app was told to listen on.
    pub(super) fn app_port(&self) -> Option<u16> {
        environment::text(&self.lookup, "PORT").and_then(|port| port.parse().ok())
    }

    /// What an engine is to be made from.
    pub(super) fn plans(self) -> Result<Plans, Error> {
        let config = self.config()?;
        let is_set = |name: &str| environment::text(&self.lookup, name).is_some();
        let on_platform = cloudrun::detect(is_set).is_some();
        let format = match config.log_format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
            LogFormat::Auto if on_platform => Format::Json,
            LogFormat::Auto => Format::Text,
        };
        let sink = self.log.map_or(Sink::Stderr(format), Sink::Callback);
        let log = Log::new(config.log_level, sink);
        Ok(Plans::new(config, log, on_platform, &self.lookup))
    }

    /// Reads every source and checks it.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let [own, inherited] = environment::layers(&self.lookup);
        let mut file = Layer::default();
        let named = self
            .file
            .clone()
            .or_else(|| environment::text(&self.lookup, "RUNSD_CONFIG").map(PathBuf::from));
        if let Some(path) = &named {
            read_file(path, &mut file);
        }
        let layers = [self.said.clone(), own, file, inherited];
        settings::resolve(&layers).map_err(|problems| Error::config(&problems))
    }
}

fn read_file(path: &Path, layer: &mut Layer) {
    match std::fs::read_to_string(path) {
        Ok(text) => layer.push_file(path, &text),
        Err(error) => {
            let origin = Origin::File(path.to_owned(), "config".to_owned());
            layer.problem(origin, format!("cannot read the file: {error}"));
        }
    }
}
