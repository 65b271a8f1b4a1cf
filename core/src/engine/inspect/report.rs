//! Findings: what was looked at, how it is, and what to do about it.

use serde_json::{Value, json};
use std::fmt;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing here can tell; the whole is no worse for it.
    Unknown,
    /// As it should be.
    Ok,
    /// It works, and may not do what is wanted.
    Warning,
    /// It does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What, in one or two words, such as `token`.
    pub what: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
    /// The same as `detail` for programs: values by their names, which stay as they
    /// are.
    pub facts: Vec<(&'static str, String)>,
}

/// Everything that was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn ok(&mut self, what: &'static str, detail: impl Into<String>) {
        self.add(what, Verdict::Ok, detail.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        what: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(what, Verdict::Warning, detail.into(), Some(remedy.into()));
    }

    /// Something that cannot be told here, and what tells it.
    pub(super) fn unknown(
        &mut self,
        what: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(what, Verdict::Unknown, detail.into(), Some(remedy.into()));
    }

    /// A failure whose remedy stands in its own words already, or is known.
    pub(super) fn fail(
        &mut self,
        what: &'static str,
        detail: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.add(what, Verdict::Failure, detail.into(), remedy);
    }

    fn add(
        &mut self,
        what: &'static str,
        verdict: Verdict,
        detail: String,
        remedy: Option<String>,
    ) {
        self.findings.push(Finding { what, verdict, detail, remedy, facts: Vec::new() });
    }

    /// Adds a value to the last finding.
    pub(super) fn fact(&mut self, name: &'static str, value: impl ToString) {
        if let Some(finding) = self.findings.last_mut() {
            finding.facts.push((name, value.to_string()));
        }
    }

    /// The first of what is not as it should be.
    pub(super) fn first_problem(&self) -> Option<&str> {
        let mut problems = self.findings.iter().filter(|finding| finding.verdict > Verdict::Ok);
        problems.next().map(|finding| finding.detail.as_str())
    }

    /// The worst verdict of all.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// The report as JSON, for programs.
    pub fn to_json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            let facts = finding.facts.iter();
            let facts: serde_json::Map<String, Value> =
                facts.map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
            json!({
                "what": finding.what,
                "verdict": finding.verdict.name(),
                "detail": finding.detail,
                "remedy": finding.remedy,
                "facts": facts,
            })
        });
        let verdict = self.verdict().name();
        json!({ "verdict": verdict, "findings": findings.collect::<Vec<Value>>() }).to_string()
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Unknown => "unknown",
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failure => "failure",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Unknown => "unknown",
                Verdict::Ok => "ok",
                Verdict::Warning => "WARNING",
                Verdict::Failure => "FAILED",
            };
            let mut start = format!("{verdict:<7}  {:<width$}  ", finding.what);
            let rest = " ".repeat(start.len());
            let remedy = finding.remedy.as_ref().map(|remedy| format!("-> {remedy}"));
            for text in [Some(&finding.detail), remedy.as_ref()].into_iter().flatten() {
                for line in lines(text, COLUMNS - start.len()) {
                    writeln!(f, "{start}{line}")?;
                    start.clone_from(&rest);
                }
            }
        }
        Ok(())
    }
}

/// As wide as a terminal is at least, in characters.
const COLUMNS: usize = 100;

/// A text in lines of at most `width` characters, broken between words; a longer
/// word stays whole, because it may be copied.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table_for_people_and_json_for_programs() {
        let mut report = Report::default();
        report.unknown("call", "none made", "make one");
        assert_eq!(report.verdict(), Verdict::Unknown);
        report.ok("name", "hello");
        assert_eq!(report.verdict(), Verdict::Ok, "what nothing can tell spoils nothing");
        report.fact("service", "hello");
        report.fail("token", "none", Some("ask".into()));
        assert_eq!(report.verdict(), Verdict::Failure);
        assert_eq!(
            report.to_string(),
            "unknown  call   none made\n                -> make one\nok       name   hello\n\
             FAILED   token  none\n                -> ask\n"
        );
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["findings"][2]["remedy"], "ask");
        assert_eq!(json["findings"][1]["facts"]["service"], "hello");
        assert_eq!(json["verdict"], "failure");
    }

    #[test]
    fn long_texts_are_broken_between_words_and_long_words_stay_whole() {
        assert_eq!(lines("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(
            lines("to https://a.very.long.example/ go", 8),
            ["to", "https://a.very.long.example/", "go"]
        );
        let mut report = Report::default();
        report.warn("x", "word ".repeat(40), "then do this");
        assert!(report.to_string().lines().all(|line| line.len() <= COLUMNS));
        assert!(report.to_string().ends_with("            -> then do this\n"), "{report}");
    }
}
