//! Taking resolv.conf over, and giving it back.
//!
//! It owns the file: container runtimes bind-mount it into a directory that
//! may be read-only, so it is changed in place and nothing is put beside it.
//! It is replaced in one write, so that nobody reads half of two contents.
//! What is no regular file is refused rather than waited for. Blocking; the
//! engine calls it on the start and stop path.

use super::marker::{Marked, Marker};
use super::{Wanted, content};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest file that is taken for a resolv.conf, in bytes; what we make of
/// one holds it twice.
const LARGEST: u64 = 4 << 20;

/// The file as it was before any of us changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Its content, recovered from the file itself where an engine changed it.
    pub bytes: Vec<u8>,
    /// Who has changed it, if somebody has: alive, or killed before it could
    /// put the original back.
    pub marked: Option<Marker>,
    /// Whether there was no file.
    pub missing: bool,
}

/// What came of giving the file back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The original is there again.
    Original,
    /// Somebody else has changed the file since: it was left alone.
    ChangedByOthers,
}

/// A file that is ours until it is restored, which dropping does too.
#[derive(Debug)]
pub struct TakeOver {
    path: PathBuf,
    original: Original,
    /// What we wrote; `None` once restored.
    ours: Option<Vec<u8>>,
}

/// Reads the file at `path`, which need not exist. Blocks on the file.
///
/// # Errors
/// What the operating system says, a missing file excepted; also for what is
/// no regular file, or too large to be meant.
pub fn read_original(path: &Path) -> io::Result<Original> {
    Ok(Original::of(read(path)?))
}

impl Original {
    /// What was there before us, by what is there now.
    fn of(now: Option<Vec<u8>>) -> Original {
        let Some(bytes) = now else { return Original { missing: true, ..Original::default() } };
        match Marker::find(&bytes) {
            Some(Marked { marker, original }) => Original {
                missing: original.is_none(),
                bytes: original.unwrap_or_default(),
                marked: Some(marker),
            },
            None => Original { bytes, ..Original::default() },
        }
    }

    /// Writes it over what an engine that is gone has made of the file at
    /// `path`; whether the file was still that engine's. Blocks on the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn put_back(&self, path: &Path) -> io::Result<bool> {
        let now = read_original(path)?;
        if now.marked.is_none() || now.marked != self.marked {
            return Ok(false);
        }
        self.write(path).map(|()| true)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        if self.missing && remove(path).is_ok() {
            return Ok(());
        }
        replace(path, &self.bytes).map(|_| ())
    }
}

impl TakeOver {
    /// Writes what is `wanted` over the file at `path` and reads it back. The
    /// original is what is there by then. Blocks on the file.
    ///
    /// # Errors
    /// What the operating system says, or that something else was read back;
    /// the file is then as it was.
    pub fn write(path: &Path, wanted: &Wanted) -> io::Result<TakeOver> {
        let before = read(path)?;
        let original = Original::of(before.clone());
        let known = (!original.missing).then_some(original.bytes.as_slice());
        let ours = content(known, wanted);
        if let Err(error) = replace_and_check(path, &ours) {
            put_back(path, before.as_deref());
            return Err(error);
        }
        Ok(TakeOver { path: behind_links(path), original, ours: Some(ours) })
    }

    /// Puts the original back, if the file is still ours. Blocks on the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn restore(mut self) -> io::Result<Restored> {
        self.give_back()
    }

    fn give_back(&mut self) -> io::Result<Restored> {
        let Some(ours) = self.ours.take() else { return Ok(Restored::Original) };
        if read(&self.path)?.as_deref() != Some(ours.as_slice()) {
            return Ok(Restored::ChangedByOthers);
        }
        self.original.write(&self.path)?;
        Ok(Restored::Original)
    }
}

impl Drop for TakeOver {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; `restore` is for those who ask.
        let _ = self.give_back();
    }
}

/// Where a path leads now: it may lead elsewhere when it is time to restore,
/// and a link that led to no file must outlive the file that it led us to make.
fn behind_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(behind_links(path))
}

/// The content of a regular file; `None` if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    // A pipe would make us wait for whoever writes to it.
    let file = match options.read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = check(&file)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The length of a file that can be a resolv.conf.
fn check(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() >= LARGEST {
        return Err(io::Error::other(format!("{} bytes are no resolv.conf", metadata.len())));
    }
    Ok(metadata.len())
}

fn replace_and_check(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = replace(path, bytes)?;
    file.rewind()?;
    let mut written = Vec::new();
    file.read_to_end(&mut written)?;
    if written == bytes {
        return Ok(());
    }
    Err(io::Error::other("something else was read back than was written"))
}

/// Replaces the content in one write, padded with empty lines to the length it
/// had, and cuts the padding off then: whoever reads it in one call in between
/// sees no line of the old content behind the new.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Not cut on opening: a reader could see the file empty. And created only
    // if need be: the directory may be read-only around a file that is not.
    options.read(true).write(true).truncate(false).custom_flags(libc::O_NONBLOCK);
    let mut file = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.create(true).open(path)?,
        opened => opened?,
    };
    let old = usize::try_from(check(&file)?).unwrap_or(0);
    let padded = padded(bytes, old);
    if file.write(&padded)? != padded.len() {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "the write was cut short"));
    }
    file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
    Ok(file)
}

/// `bytes`, filled up with empty lines to `length`.
pub(super) fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(length.max(bytes.len()), b'\n');
    padded
}

/// After a failure: the file as it was, as well as can be.
fn put_back(path: &Path, before: Option<&[u8]>) {
    let now = read(path).ok().flatten();
    let _ = match before {
        _ if now.as_deref() == before => Ok(()),
        Some(before) => replace(path, before).map(|_| ()),
        None => remove(path),
    };
}
