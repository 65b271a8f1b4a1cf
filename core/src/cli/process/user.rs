//! `--user`: whom COMMAND acts as. `/etc/passwd` and `/etc/group` are read
//! here, without the system's name service, so that it works in any image.

use crate::sys::Ids;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A user that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Identity {
    ids: Ids,
    /// The home directory; `/` where none is known.
    pub(super) home: OsString,
}

/// Why a user was not found.
#[derive(Debug)]
pub(in crate::cli) enum UserError {
    /// It does not have the form `NAME|UID[:GROUP]`.
    Form(String),
    /// A file has no such entry.
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name that was looked for.
        name: String,
        /// Where.
        file: PathBuf,
    },
    /// A file that is needed cannot be read.
    File(PathBuf, io::Error),
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::Form(given) => {
                write!(f, "--user: {given:?} does not have the form NAME, UID, or either:GROUP")
            }
            UserError::Unknown { what, name, file } => write!(
                f,
                "--user: there is no {what} {name:?} in {}; a number needs no entry there",
                file.display()
            ),
            UserError::File(file, cause) => {
                write!(f, "--user: cannot read {}: {cause}", file.display())
            }
        }
    }
}

impl Identity {
    /// Finds a user by `NAME|UID[:GROUP]`. Without GROUP, it gets its own group
    /// and all that list it; with GROUP that one alone, as containers have it.
    pub(in crate::cli) fn find(given: &str) -> Result<Identity, UserError> {
        Files { passwd: Path::new("/etc/passwd"), group: Path::new("/etc/group") }.find(given)
    }

    /// What must change for a process of these user and group ids to act as
    /// this user: nothing, if it already does and has no right to more.
    pub(super) fn to_become(&self, (user, group): (u32, u32)) -> Option<&Ids> {
        let same = user != 0 && (user, group) == (self.ids.user, self.ids.group);
        (!same).then_some(&self.ids)
    }
}

/// The two files.
struct Files<'a> {
    passwd: &'a Path,
    group: &'a Path,
}

impl Files<'_> {
    fn find(&self, given: &str) -> Result<Identity, UserError> {
        let form = || UserError::Form(given.to_owned());
        let (user, group) = match given.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (given, None),
        };
        if user.is_empty() || group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(form());
        }
        let number = id(user.as_bytes());
        let entry = self.user(user, number)?;
        let uid = match (&entry, number) {
            (Some(entry), _) => entry.uid,
            (None, Some(uid)) => uid,
            (None, None) => {
                let (name, file) = (user.to_owned(), self.passwd.to_owned());
                return Err(UserError::Unknown { what: "user", name, file });
            }
        };
        let (gid, others) = match (group, &entry) {
            (Some(group), _) => (self.group(group)?, Vec::new()),
            (None, Some(entry)) => (entry.gid, self.groups_of(entry)?),
            // A user that no file knows has no group of its own; 0 would lend it
            // root's, so the group takes the user's number.
            (None, None) => (uid, Vec::new()),
        };
        let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty());
        Ok(Identity {
            ids: Ids { user: uid, group: gid, others },
            home: home.unwrap_or_else(|| OsString::from("/")),
        })
    }

    /// passwd(5): `name:password:uid:gid:comment:home:shell`.
    fn user(&self, name: &str, number: Option<u32>) -> Result<Option<User>, UserError> {
        // Without a passwd file, as in an empty image, numbers still work.
        let text = read(self.passwd, number.is_some())?;
        let users = text.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            let name = fields.next()?.to_vec();
            let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
            let home = fields.nth(1).unwrap_or_default().to_vec();
            Some(User { name, uid, gid, home: OsString::from_vec(home) })
        });
        let mut users = users;
        Ok(users.find(|user| match number {
            Some(uid) => user.uid == uid,
            None => user.name == name.as_bytes(),
        }))
    }

    fn group(&self, name: &str) -> Result<u32, UserError> {
        if let Some(gid) = id(name.as_bytes()) {
            return Ok(gid);
        }
        let text = read(self.group, false)?;
        let found = groups(&text).find(|group| group.name == name.as_bytes());
        found.map(|group| group.gid).ok_or_else(|| UserError::Unknown {
            what: "group",
            name: name.to_owned(),
            file: self.group.to_owned(),
        })
    }

    /// The user's own group and every group that lists it, as initgroups(3) has it.
    fn groups_of(&self, user: &User) -> Result<Vec<u32>, UserError> {
        let text = read(self.group, true)?;
        let mut found = vec![user.gid];
        for group in groups(&text) {
            let listed =
                group.members.split(|byte| *byte == b',').any(|member| member == user.name);
            if listed && !found.contains(&group.gid) {
                found.push(group.gid);
            }
        }
        Ok(found)
    }
}

struct User {
    name: Vec<u8>,
    uid: u32,
    gid: u32,
    home: OsString,
}

struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// group(5): `name:password:gid:member,member`.
fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let gid = id(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// A user's or a group's number. The highest means "unchanged" to the kernel,
/// and is nobody's.
fn id(text: &[u8]) -> Option<u32> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn read(file: &Path, optional: bool) -> Result<Vec<u8>, UserError> {
    match std::fs::read(file) {
        Ok(text) => Ok(text),
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(UserError::File(file.to_owned(), error)),
    }
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
