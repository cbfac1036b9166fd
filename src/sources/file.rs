//! Reading files: regular ones only, up to a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_core::digest::Hasher;

/// Why a file was not read. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A directory, device or pipe.
    #[error("{} is {what}, not a file", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Larger than is read.
    #[error("{} has more than the {max} bytes that are read of {what}: was another file given?", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it was read as.
        what: &'static str,
        /// Bytes read at most.
        max: u64,
    },
}

impl FileError {
    /// What the system called it, where it was the system that said no.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { error, .. } => Some(error.kind()),
            Self::NotAFile { .. } | Self::TooLarge { .. } => None,
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), error };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a directory" } else { "a device or a pipe" };
        return Err(FileError::NotAFile { path: path.to_owned(), what });
    }
    File::open(path).map_err(failed)
}

/// Reads a whole file of at most `max` bytes; `what` names it in errors, as `a trusted root`.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn read(path: &Path, what: &'static str, max: u64) -> Result<Vec<u8>, FileError> {
    let bytes = beginning(path, max.saturating_add(1))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge { path: path.to_owned(), what, max });
    }
    Ok(bytes)
}

/// The beginning of a file, at most `most` bytes: for who judges what is too long as well.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn beginning(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    // The bound is on what is read, not on what the file says of itself: it may grow meanwhile.
    file.take(most).read_to_end(&mut bytes).map_err(|error| FileError::Io { path: path.to_owned(), error })?;
    Ok(bytes)
}

/// Digests a file of any size; its bytes come along where they are at most `keep`.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn digest(path: &Path, keep: usize) -> Result<(Digest, Option<Vec<u8>>), FileError> {
    let mut file = open(path)?;
    let mut hasher = Hasher::default();
    let mut kept = Some(Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(|error| FileError::Io { path: path.to_owned(), error })?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        hasher.update(piece);
        if let Some(bytes) = &mut kept {
            bytes.extend_from_slice(piece);
        }
        kept = kept.filter(|bytes| bytes.len() <= keep);
    }
    Ok((hasher.finish(), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_within_the_bound_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, "a test", 5).unwrap(), b"12345");
        assert!(matches!(read(&path, "a test", 4), Err(FileError::TooLarge { .. })));
        assert!(matches!(read(dir.path(), "a test", 4), Err(FileError::NotAFile { .. })));
        assert!(matches!(read(Path::new("/dev/zero"), "a test", 4), Err(FileError::NotAFile { .. })));
        assert!(matches!(read(&dir.path().join("y"), "a test", 4), Err(FileError::Io { .. })));
    }

    #[test]
    fn a_large_file_is_digested_without_being_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![7; 200_000]).unwrap();
        let want = Digest::of(&vec![7; 200_000]);
        assert_eq!(digest(&path, 1000).unwrap(), (want, None));
        assert_eq!(digest(&path, 200_000).unwrap().1.map(|b| b.len()), Some(200_000));
    }
}
