//! The lines of a head on their way to another connection, copied in as few
//! pieces as they stand in.

use super::field::{Field, Span, write_field};

/// Copies lines from the buffer that a head was parsed from. What stands there
/// as it is to be written, one line behind the other, goes in one piece: most of
/// a head does, and a piece costs more than its bytes.
#[derive(Debug)]
#[must_use = "what is left is copied by `end`"]
pub struct Lines<'a> {
    out: &'a mut Vec<u8>,
    buffer: &'a [u8],
    /// The piece that is to be copied before anything else is written.
    start: usize,
    end: usize,
}

impl<'a> Lines<'a> {
    /// Lines from `buffer`, appended to `out`.
    pub fn new(out: &'a mut Vec<u8>, buffer: &'a [u8]) -> Lines<'a> {
        Lines { out, buffer, start: 0, end: 0 }
    }

    /// Copies the request line if it stands there as services get it: in origin
    /// form and of HTTP/1.1. Whether it does.
    pub fn request_line(&mut self, method: Span, target: Span) -> bool {
        target.start() == method.end() + 1
            && self.buffer.get(target.start()) == Some(&b'/')
            && self.line(method.start(), target.end(), b" HTTP/1.1\r\n")
    }

    /// Copies the status line that ends with `reason` if it is one of HTTP/1.1.
    /// Whether it is.
    pub fn status_line(&mut self, reason: Span) -> bool {
        reason.start() == b"HTTP/1.1 200 ".len()
            && self.buffer.starts_with(b"HTTP/1.1 ")
            && self.line(0, reason.end(), b"\r\n")
    }

    /// Writes a field as it came.
    pub fn field(&mut self, field: &Field) {
        let stands =
            self.is_spaced(field) && self.line(field.name.start(), field.value.end(), b"\r\n");
        if !stands {
            self.flush();
            let (name, value) = (field.name, field.value);
            write_field(self.out, name.in_buffer(self.buffer), value.in_buffer(self.buffer));
        }
    }

    /// Writes a field with another value.
    pub fn field_with(&mut self, field: &Field, value: &[u8]) {
        if !self.is_spaced(field) {
            self.flush();
            return write_field(self.out, field.name.in_buffer(self.buffer), value);
        }
        self.piece(field.name.start(), field.value.start());
        self.flush();
        self.out.extend_from_slice(value);
        if !self.line(field.value.end(), field.value.end(), b"\r\n") {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Copies what is left, and gives the place back where more is to be written.
    pub fn end(mut self) -> &'a mut Vec<u8> {
        self.flush();
        self.out
    }

    /// Whether there are a colon and one space between name and value.
    fn is_spaced(&self, field: &Field) -> bool {
        let (name, value) = (field.name.end(), field.value.start());
        name + 2 == value && self.buffer.get(name..value) == Some(b": ")
    }

    /// Copies a line from `start` on if the rest of it, from `rest` on, is `end`.
    fn line(&mut self, start: usize, rest: usize, end: &[u8]) -> bool {
        let ends = self.buffer.get(rest..rest + end.len()) == Some(end);
        if ends {
            self.piece(start, rest + end.len());
        }
        ends
    }

    fn piece(&mut self, start: usize, end: usize) {
        if start != self.end {
            self.flush();
            self.start = start;
        }
        self.end = end;
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(self.buffer.get(self.start..self.end).unwrap_or_default());
        self.start = self.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Known, Limits, RequestHead, ResponseHead};

    fn request(text: &str) -> (bool, String) {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), Limits::default()).unwrap().unwrap();
        let mut out = b"> ".to_vec();
        let mut lines = Lines::new(&mut out, text.as_bytes());
        let copied = lines.request_line(head.method, head.target);
        for field in head.fields() {
            match field.known {
                Known::Host => lines.field_with(field, b"other"),
                Known::Te => {}
                _ => lines.field(field),
            }
        }
        lines.end().extend_from_slice(b"<");
        (copied, String::from_utf8(out).unwrap())
    }

    #[test]
    fn lines_are_the_same_in_one_piece_and_in_many() {
        let fields = [
            ("Host: h\r\n", "Host: other\r\n"),
            ("A: 1\r\n", "A: 1\r\n"),
            ("TE: x\r\n", ""),
            ("b:2\r\n", "b: 2\r\n"),
            ("C:\t3\r\n", "C: 3\r\n"),
            ("D: 4 \t\r\n", "D: 4\r\n"),
            ("E:\r\n", "E: \r\n"),
            ("F: \r\n", "F: \r\n"),
            ("G:  7\r\n", "G: 7\r\n"),
        ];
        // Each beside each, in every order.
        for rotated in 0..fields.len() {
            for left_out in 1..fields.len() {
                let mut some = fields.to_vec();
                some.rotate_left(rotated);
                if some[left_out].0.starts_with("Host") {
                    continue;
                }
                some.remove(left_out);
                let join = |part: fn(&(&str, &str)) -> String| -> String {
                    some.iter().map(part).collect()
                };
                let text = format!("GET /x HTTP/1.1\r\n{}\r\n", join(|(came, _)| came.to_string()));
                let goes = join(|(_, goes)| goes.to_string());
                assert_eq!(request(&text), (true, format!("> GET /x HTTP/1.1\r\n{goes}<")));
            }
        }
        for host in ["Host:h\r\n", "Host: h \r\n", "Host:\th\r\n"] {
            let text = format!("GET /x HTTP/1.1\r\n{host}A: 1\r\n\r\n");
            assert_eq!(request(&text).1, "> GET /x HTTP/1.1\r\nHost: other\r\nA: 1\r\n<");
        }
    }

    #[test]
    fn a_start_line_is_copied_only_where_it_stands_as_it_goes() {
        assert!(request("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").1.starts_with("> GET / "));
        assert!(!request("GET / HTTP/1.0\r\nHost: h\r\n\r\n").0);
        assert!(!request("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n").0);
        assert!(!request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").0);
        for (text, copied) in [
            ("HTTP/1.1 200 OK\r\nA: 1\r\n\r\n", true),
            ("HTTP/1.1 999 \r\nA: 1\r\n\r\n", true),
            ("HTTP/1.1 200\r\nA: 1\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nA: 1\r\n\r\n", false),
            ("\r\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", false),
        ] {
            let mut head = ResponseHead::default();
            head.parse(text.as_bytes(), Limits::default()).unwrap().unwrap();
            let mut out = Vec::new();
            let mut lines = Lines::new(&mut out, text.as_bytes());
            assert_eq!(lines.status_line(head.reason), copied, "{text:?}");
            head.fields().iter().for_each(|field| lines.field(field));
            lines.end();
            let begin = if copied { text.split("A:").next().unwrap() } else { "" };
            assert_eq!(String::from_utf8(out).unwrap(), format!("{begin}A: 1\r\n"));
        }
    }
}
