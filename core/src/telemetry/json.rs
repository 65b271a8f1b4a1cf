//! JSON objects, written member by member: a record is made once and read by
//! others, so no tree of values is built for it.

use std::fmt::{Display, Write};

/// The members of an object, without its braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members(String);

impl Members {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a text; `key` has nothing that must be escaped.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push('"');
        for c in value.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                // RFC 8259 §7: control characters must not stand there.
                c if c < ' ' => {
                    // Writing to a string cannot fail.
                    let _ = write!(self.0, "\\u{:04x}", u32::from(c));
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    /// Adds something that is JSON as it is written: a number, a truth value.
    pub(super) fn raw(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _ = write!(self.0, "{value}");
    }

    /// Adds an object.
    pub(super) fn object(&mut self, key: &str, members: &Members) {
        self.raw(key, format_args!("{{{}}}", members.0));
    }

    /// Adds the members of another object.
    pub(super) fn join(&mut self, others: &Members) {
        if !self.0.is_empty() && !others.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&others.0);
    }

    /// The object.
    pub(super) fn into_object(self) -> String {
        format!("{{{}}}", self.0)
    }

    fn key(&mut self, key: &str) {
        let separator = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{separator}\"{key}\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let odd = "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f}\u{e9}\u{1f600}";
        let mut inner = Members::default();
        inner.text("odd", odd);
        inner.raw("number", 41);
        let mut members = Members::default();
        members.join(&Members::default());
        members.object("inner", &inner);
        members.join(&inner);
        let read: Value = serde_json::from_str(&members.into_object()).unwrap();
        let expected = json!({ "odd": odd, "number": 41 });
        assert_eq!((&read["inner"], &read["odd"]), (&expected, &expected["odd"]));
        assert_eq!(Members::default().into_object(), "{}");
    }
}
