//! Writing files in one step.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Why a file was not written. What was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {}", .path.display(), cause(.error))]
pub struct WriteError {
    /// What was tried.
    pub what: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "its directory does not exist: make it first".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("{error}: make room first"),
        _ => error.to_string(),
    }
}

impl WriteError {
    fn new(what: &'static str, path: &Path, error: io::Error) -> Self {
        Self { what, path: path.to_owned(), error }
    }
}

/// New content that lies beside its file, synced: a rename is all that is left to do. Dropped before that, it goes away.
#[derive(Debug)]
pub struct Prepared {
    temporary: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Writes `bytes` beside `path`.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is left of the attempt.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self, WriteError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = dir_of(path).join(format!(".{name}.{}.tmp", std::process::id()));
        let prepared = Self { temporary, path: path.to_owned() };
        // What lies there already was left by an attempt that was cut off, or is a link somebody made: it goes, and nothing is written through it.
        let _ = fs::remove_file(&prepared.temporary);
        File::create_new(&prepared.temporary)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(|e| WriteError::new("write", path, e))?;
        Ok(prepared)
    }

    /// The file it is for.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place of its file.
    ///
    /// # Errors
    /// [`WriteError`]; the file is then as it was.
    pub fn put(self) -> Result<(), WriteError> {
        fs::rename(&self.temporary, &self.path).map_err(|e| WriteError::new("write", &self.path, e))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Whether a directory entry is what an attempt left behind that was cut off.
pub fn is_temporary(name: &str) -> bool {
    name.strip_prefix('.').is_some_and(|name| name.strip_suffix(".tmp").is_some())
}

/// Writes a file in one step: beside it, synced, then renamed over it, then the directory synced.
///
/// # Errors
/// [`WriteError`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    Prepared::new(path, bytes)?.put()?;
    sync(dir_of(path))
}

/// Writes a file that a person named, as [`replace`] does; but a link, a device or a pipe of that name is left what it is.
///
/// # Errors
/// [`WriteError`].
pub fn replace_named(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => {
            let error = io::Error::other("it is no plain file, and would not be written to but replaced: name a file");
            Err(WriteError::new("write", path, error))
        }
        _ => replace(path, bytes),
    }
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// [`WriteError`].
pub fn make_dir(path: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(path).map_err(|e| WriteError::new("make", path, e))
}

/// Makes sure that what was renamed in a directory outlives a crash.
///
/// # Errors
/// [`WriteError`].
pub fn sync(dir: &Path) -> Result<(), WriteError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| WriteError::new("sync", dir, e))
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        drop(Prepared::new(&path, b"1").unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        replace(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let error = replace(&dir.path().join("y/z"), b"3").unwrap_err().to_string();
        assert!(error.contains("y/z") && error.contains("make it first"), "{error}");
    }

    #[test]
    fn what_is_no_plain_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [link.as_path(), dir.path(), Path::new("/dev/null")] {
            let error = replace_named(path, b"1").unwrap_err().to_string();
            assert!(error.contains("no plain file"), "{error}");
        }
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/dev/null"));
        replace_named(&dir.path().join("new"), b"1").unwrap();
        replace_named(&dir.path().join("new"), b"2").unwrap();
    }
}
