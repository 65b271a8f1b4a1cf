//! The command's own words: mistakes, and failures that are told after the
//! engine has gone. They look like every line of the log, since on the platform
//! one program reads both.

use super::builder::Builder;
use super::environment;
use crate::cloudrun;
use crate::settings::LogFormat;
use crate::telemetry::Format;
use std::io::IsTerminal;

impl Builder {
    /// The form of log lines: as the setting says, else as the platform reads
    /// them; text for people is coloured on a terminal.
    pub(super) fn format(&self, setting: LogFormat) -> Format {
        let json = match setting {
            LogFormat::Json => true,
            LogFormat::Text => false,
            LogFormat::Auto => self.on_platform(),
        };
        // https://no-color.org: whatever it says, as long as it says something.
        let plain = || environment::text(&self.lookup, "NO_COLOR").is_some();
        if json {
            Format::Json
        } else if std::io::stderr().is_terminal() && !plain() {
            Format::Colour
        } else {
            Format::Text
        }
    }

    /// Whether the environment is that of the platform.
    pub(super) fn on_platform(&self) -> bool {
        cloudrun::detect(|name| environment::text(&self.lookup, name).is_some()).is_some()
    }

    /// `text` as an error's line of the log, final newline included.
    #[cfg(feature = "cli")]
    pub(crate) fn error_line(&self, text: &str) -> String {
        use crate::telemetry::{Level, Record};
        let setting = crate::settings::log_format(&self.layers());
        let time = std::time::SystemTime::now();
        let record =
            Record { level: Level::Error, room: "cli", message: text, time, details: None };
        record.line(self.format(setting))
    }
}
