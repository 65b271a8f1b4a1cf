//! One record and the two forms of line it can take.

use super::json::Members;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a record matters; the order is from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    fn colour(self) -> &'static str {
        match self {
            Level::Error => RED,
            Level::Warn => YELLOW,
            Level::Info | Level::Debug | Level::Trace => PLAIN,
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
    /// The same in colours, for a terminal.
    Colour,
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
    /// What programs want to know besides the message.
    pub(crate) details: Option<&'a Members>,
}

impl Record<'_> {
    /// The record as one JSON object in Cloud Logging's structured form, with
    /// everything that is known of it: for a request of the access log, its
    /// `httpRequest`. Without a final newline.
    pub fn json(&self) -> String {
        let mut object = Members::default();
        object.text("severity", self.level.severity());
        object.text("message", self.message);
        object.text("timestamp", &rfc3339(self.time));
        object.raw("logger", format_args!("\"runsd.{}\"", self.room));
        if let Some(details) = self.details {
            object.join(details);
        }
        object.into_object()
    }

    /// The record as one line, final newline included.
    pub(crate) fn line(&self, format: Format) -> String {
        let (word, colour) = match self.level {
            // What happened to a request is no trouble of runsd's own.
            _ if self.room == ACCESS => ("", self.level.colour()),
            Level::Error => ("error: ", RED),
            Level::Warn => ("warning: ", YELLOW),
            Level::Info => ("", GREEN),
            Level::Debug | Level::Trace => ("debug: ", DIM),
        };
        match format {
            Format::Json => self.json() + "\n",
            Format::Text => format!("runsd: {word}{}\n", visible(self.message)),
            Format::Colour if self.room == ACCESS => {
                format!("{DIM}runsd:{PLAIN} {colour}{}{PLAIN}\n", visible(self.message))
            }
            Format::Colour => {
                format!("{colour}runsd: {word}{PLAIN}{}\n", visible(self.message))
            }
        }
    }
}

/// The room of the access log's records.
pub(crate) const ACCESS: &str = "access";

/// Colours of a terminal (ECMA-48 SGR).
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What a message looks like on a terminal, which it must not steer: what
/// stands in it may have come from anywhere.
fn visible(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for c in message.chars() {
        match c {
            '\n' => text.push_str("\n  "),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text.replace("\n  \n", "\n\n")
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

    fn record(level: Level, room: &'static str, message: &'static str) -> Record<'static> {
        Record { level, room, message, time: at(1), details: None }
    }

    #[test]
    fn json_is_one_line_in_cloud_loggings_form() {
        let line = record(Level::Warn, "dns", "two\n\"lines\"").line(Format::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["severity"], "WARNING");
        assert_eq!(value["message"], "two\n\"lines\"");
        assert_eq!(value["timestamp"], "1970-01-01T00:00:01.000000Z");
        assert_eq!(value["logger"], "runsd.dns");
    }

    #[test]
    fn details_are_members_of_the_object() {
        let mut details = Members::default();
        details.raw("repeated", 41);
        let record = Record { details: Some(&details), ..record(Level::Info, "dns", "m") };
        let value: serde_json::Value = serde_json::from_str(&record.json()).unwrap();
        assert_eq!((value["repeated"].as_u64(), value["message"].as_str()), (Some(41), Some("m")));
    }

    #[test]
    fn text_is_for_people() {
        assert_eq!(
            record(Level::Error, "dns", "a\nb").line(Format::Text),
            "runsd: error: a\n  b\n"
        );
        assert_eq!(record(Level::Warn, ACCESS, "GET /").line(Format::Text), "runsd: GET /\n");
    }

    #[test]
    fn a_terminal_gets_colours_and_cannot_be_steered() {
        let warning = record(Level::Warn, "dns", "odd\x1b[2J").line(Format::Colour);
        assert_eq!(warning, "\x1b[33mrunsd: warning: \x1b[0modd\u{fffd}[2J\n");
        let refused = record(Level::Error, ACCESS, "GET / 502").line(Format::Colour);
        assert_eq!(refused, "\x1b[2mrunsd:\x1b[0m \x1b[1;31mGET / 502\x1b[0m\n");
        assert!(!record(Level::Error, "dns", "a").line(Format::Text).contains('\x1b'));
    }
}
