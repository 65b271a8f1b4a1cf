//! One record and the two forms of line it can take.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a record matters; the order is from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Failed for good.
    Error,
    /// Works less well than it should.
    Warn,
    /// Milestones.
    Info,
    /// For whoever looks into something odd.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The lower-case name, as the setting `log_level` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    /// Cloud Logging's `LogSeverity` (LogEntry reference).
    fn severity(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARNING",
            Level::Info => "INFO",
            Level::Debug | Level::Trace => "DEBUG",
        }
    }
}

/// How a record is written on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, in Cloud Logging's structured form.
    Json,
    /// `runsd: warning: message`, for people.
    Text,
}

/// What one log call says; borrowed for the length of the call.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How much it matters.
    pub level: Level,
    /// The part of runsd that speaks, such as `dns`.
    pub room: &'static str,
    /// One sentence or more, without a final newline and without secrets.
    pub message: &'a str,
    /// The wall clock when it was said.
    pub time: SystemTime,
}

impl Record<'_> {
    /// The record as one line, final newline included.
    pub(crate) fn line(&self, format: Format) -> String {
        match format {
            Format::Json => {
                let object = serde_json::json!({
                    "severity": self.level.severity(),
                    "message": self.message,
                    "timestamp": rfc3339(self.time),
                    "logger": format_args!("runsd.{}", self.room).to_string(),
                });
                format!("{object}\n")
            }
            Format::Text => {
                let word = match self.level {
                    Level::Error => "error: ",
                    Level::Warn => "warning: ",
                    Level::Info => "",
                    Level::Debug | Level::Trace => "debug: ",
                };
                let indented = self.message.replace('\n', "\n  ").replace("\n  \n", "\n\n");
                format!("runsd: {word}{indented}\n")
            }
        }
    }
}

/// RFC 3339 in UTC with microseconds.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a civil date in the proleptic Gregorian calendar, counted in
    // 400-year eras that begin on 1 March.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let mut text = String::with_capacity(27);
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60,
        since.subsec_micros()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(at(1_767_225_599)), "2025-12-31T23:59:59.000000Z");
        assert_eq!(rfc3339(at(1_767_225_600)), "2026-01-01T00:00:00.000000Z");
    }

    #[test]
    fn json_is_one_line_in_cloud_loggings_form() {
        let record =
            Record { level: Level::Warn, room: "dns", message: "two\n\"lines\"", time: at(1) };
        let line = record.line(Format::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["severity"], "WARNING");
        assert_eq!(value["message"], "two\n\"lines\"");
        assert_eq!(value["timestamp"], "1970-01-01T00:00:01.000000Z");
        assert_eq!(value["logger"], "runsd.dns");
    }

    #[test]
    fn text_is_for_people() {
        let record = Record { level: Level::Error, room: "dns", message: "a\nb", time: at(1) };
        assert_eq!(record.line(Format::Text), "runsd: error: a\n  b\n");
    }
}
