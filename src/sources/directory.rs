//! A TUF repository in a directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use holdfast_core::trust::tuf::Want;

use super::file::{self, FileError};
use super::{Half, Source, SourceError};

/// A directory with the metadata in it or in `metadata/`, and the targets in `targets/`.
#[derive(Debug)]
pub struct Directory {
    metadata: PathBuf,
    targets: PathBuf,
}

impl Directory {
    /// Opens a repository; `targets` where its targets lie elsewhere.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] where there is no such directory.
    pub fn open(path: &Path, targets: Option<&Path>) -> Result<Self, SourceError> {
        let metadata = match canonical(&path.join("metadata")) {
            Ok(metadata) if metadata.is_dir() => metadata,
            _ => canonical(path)?,
        };
        let targets = match targets {
            Some(targets) => canonical(targets)?,
            None => canonical(&path.join("targets")).unwrap_or_else(|_| path.join("targets")),
        };
        Ok(Self { metadata, targets })
    }
}

fn canonical(path: &Path) -> Result<PathBuf, SourceError> {
    let unusable = |detail: &str| SourceError::Unusable { what: path.display().to_string(), detail: detail.to_owned() };
    let real = path.canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => unusable("there is no such directory: give one with a TUF repository, or an address"),
        _ => unusable(&error.to_string()),
    })?;
    if real.is_dir() { Ok(real) } else { Err(unusable("it is not a directory: give one with a TUF repository")) }
}

impl Source for Directory {
    /// Links are followed while they stay inside the repository (mounted ConfigMaps are made of such links); one that leads out is refused.
    fn fetch(&self, half: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let base = match half {
            Half::Metadata => &self.metadata,
            Half::Targets => &self.targets,
        };
        let path = base.join(&want.name);
        let what = path.display().to_string();
        let unacceptable = |detail: &str| SourceError::Unacceptable { what: what.clone(), detail: detail.to_owned() };
        let plain = want.name.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        if !plain {
            return Err(unacceptable("its name is absolute, or has an empty, `.` or `..` segment"));
        }
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SourceError::Unusable { what, detail: format!("it cannot be read: {error}") }),
        };
        if !real.starts_with(base) {
            return Err(unacceptable("it is a link that leads out of the repository"));
        }
        match file::read(&real, "repository metadata", want.max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileError::TooLarge { max, .. }) => {
                Err(unacceptable(&format!("it has more than the {max} bytes that are read of it")))
            }
            Err(FileError::NotAFile { what: kind, .. }) => Err(unacceptable(&format!("it is {kind}, not a file"))),
            Err(FileError::Io { error, .. }) => {
                Err(SourceError::Unusable { what, detail: format!("it cannot be read: {error}") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(name: &str) -> Want {
        Want { name: name.to_owned(), max: 10, optional: true }
    }

    #[test]
    fn nothing_outside_the_repository_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("repository");
        std::fs::create_dir_all(repository.join("..data")).unwrap();
        std::fs::write(dir.path().join("secret"), b"secret").unwrap();
        std::fs::write(repository.join("..data/a.json"), b"{}").unwrap();
        std::os::unix::fs::symlink("..data/a.json", repository.join("a.json")).unwrap();
        std::os::unix::fs::symlink("../secret", repository.join("b.json")).unwrap();
        let source = Directory::open(&repository, None).unwrap();
        assert_eq!(source.fetch(Half::Metadata, &want("a.json")).unwrap().as_deref(), Some(b"{}".as_slice()));
        assert!(source.fetch(Half::Metadata, &want("c.json")).unwrap().is_none());
        for name in ["b.json", "../secret", "/etc/passwd", "x//y", "./a.json", "..data"] {
            assert!(
                matches!(source.fetch(Half::Metadata, &want(name)), Err(SourceError::Unacceptable { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_and_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.json"), vec![b' '; 11]).unwrap();
        let source = Directory::open(dir.path(), None).unwrap();
        assert!(matches!(source.fetch(Half::Metadata, &want("a.json")), Err(SourceError::Unacceptable { .. })));
    }
}
