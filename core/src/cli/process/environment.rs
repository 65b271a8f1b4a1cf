//! The child's environment, and where it leads in search of a program.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Where programs are when PATH is unset, as execvp(3) has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The value of a variable among the entries; the first counts, as for getenv(3).
pub(super) fn value<'a>(entries: &'a [CString], name: &str) -> Option<&'a OsStr> {
    entries.iter().find_map(|entry| {
        let (found, value) = split(entry.as_bytes())?;
        (found == name.as_bytes()).then(|| OsStr::from_bytes(value))
    })
}

/// Sets a variable: in place, and once, if it is there already. A value with a
/// NUL byte cannot be set, and is not.
pub(super) fn set(entries: &mut Vec<CString>, name: &str, value: &OsStr) {
    let Ok(entry) = CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()) else {
        return;
    };
    let mut entry = Some(entry);
    entries.retain_mut(|present| {
        if split(present.as_bytes()).is_none_or(|(found, _)| found != name.as_bytes()) {
            return true;
        }
        entry.take().map(|entry| *present = entry).is_some()
    });
    entries.extend(entry);
}

fn split(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = entry.split_at_checked(entry.iter().position(|byte| *byte == b'=')?)?;
    Some((name, value.get(1..)?))
}

/// The files that a program's name may mean, in the order in which they are tried.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) files: Vec<OsString>,
    /// The PATH that was searched; none if the name itself is a path.
    pub(super) path: Option<OsString>,
}

/// Finds out what execvp(3) would try.
pub(super) fn search(program: &OsStr, entries: &[CString]) -> Search {
    if program.as_bytes().contains(&b'/') {
        return Search { files: vec![program.to_owned()], path: None };
    }
    let path = value(entries, "PATH").unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned();
    let in_directory = |directory: &[u8]| match directory {
        // An empty part is the current directory.
        b"" => program.to_owned(),
        _ => OsString::from_vec([directory, b"/", program.as_bytes()].concat()),
    };
    // An empty name is in no directory, and would mean the directories.
    let files = match program.is_empty() {
        true => Vec::new(),
        false => path.as_bytes().split(|byte| *byte == b':').map(in_directory).collect(),
    };
    Search { files, path: Some(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(entries: &[&str]) -> Vec<CString> {
        entries.iter().map(|entry| CString::new(*entry).unwrap()).collect()
    }

    #[test]
    fn set_replaces_in_place_and_once() {
        let mut present = entries(&["A=1", "odd", "B=2", "A=3", "=C", "AA=4"]);
        set(&mut present, "A", OsStr::new("x=y"));
        assert_eq!(present, entries(&["A=x=y", "odd", "B=2", "=C", "AA=4"]));
        set(&mut present, "D", OsStr::new(""));
        assert_eq!(value(&present, "D"), Some(OsStr::new("")));
        assert_eq!(value(&present, "odd"), None);
        assert_eq!(value(&present, "A"), Some(OsStr::new("x=y")));
        let before = present.clone();
        set(&mut present, "A", OsStr::new("with\0nul"));
        assert_eq!(present, before);
    }

    #[test]
    fn path_is_searched_as_execvp_does() {
        let found = search(OsStr::new("app"), &entries(&["PATH=/a::/b/"]));
        assert_eq!(found.files, ["/a/app", "app", "/b//app"]);
        assert_eq!(found.path.as_deref(), Some(OsStr::new("/a::/b/")));
        assert_eq!(search(OsStr::new("app"), &[]).files, ["/bin/app", "/usr/bin/app"]);
        let found = search(OsStr::new("./app"), &entries(&["PATH=/a"]));
        assert_eq!(found, Search { files: vec!["./app".into()], path: None });
        assert!(search(OsStr::new(""), &[]).files.is_empty());
    }
}
