//! The hosts file.
//!
//! It owns its format and is read once, on the start path. The resolver calls
//! it before it asks anybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

/// The names of a hosts file; those whose address has a scope are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Reads a file; one that cannot be read has no names. Blocks on the file.
    pub fn read(path: &Path) -> Hosts {
        std::fs::read(path).map(|bytes| Hosts::parse(&bytes)).unwrap_or_default()
    }

    /// Reads the content of a file; lines that make no sense are passed over.
    pub fn parse(bytes: &[u8]) -> Hosts {
        let mut hosts = Hosts::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let addresses = hosts.0.entry(plain(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of `name` in the order of the file, in any case, with or
    /// without a final dot.
    pub fn lookup(&self, name: &str) -> Vec<IpAddr> {
        self.0.get(&plain(name)).cloned().unwrap_or_default()
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_order_is_kept() {
        let hosts = Hosts::parse(
            b"127.0.0.1\tlocalhost\r\n::1 localhost # both\n10.0.0.7 Api api.example. \n\
              # 10.0.0.8 api\n10.0.0.7 api\nnonsense api\nfe80::1%eth0 api\n\xff\n10.0.0.9",
        );
        let of = |name: &str| {
            hosts.lookup(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("localhost"), "127.0.0.1 ::1");
        assert_eq!(of("API"), "10.0.0.7");
        assert_eq!(of("api.example"), "10.0.0.7");
        assert_eq!(of("api.example."), "10.0.0.7");
        assert_eq!(of("other"), "");
    }

    #[test]
    fn a_file_that_is_not_there_has_no_names() {
        assert_eq!(Hosts::read(Path::new("/nonexistent/hosts")), Hosts::default());
    }
}
