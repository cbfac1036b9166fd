//! A state directory: trust as it is held on a disk.
//!
//! `memory.json` is the one commit point: it names by digest everything that is held, and is replaced in one step. The bytes lie in `objects/`, written
//! and synced before it. `metadata/<role>.json` and `trusted_root.json` are copies for people and other tools, made anew after each commit; what they
//! say is never read back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdfast_core::trust::freshness::Imported;
use holdfast_core::trust::tuf::{Refusal, State, TrustMemory, VerifiedTarget, quote};
use holdfast_core::{Digest, json};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::file::{self, FileError};

const MEMORY: &str = "memory.json";
const OBJECTS: &str = "objects";
const METADATA: &str = "metadata";
/// The target every Sigstore repository publishes its trusted root under, and the name of its copy.
pub const TRUSTED_ROOT: &str = "trusted_root.json";
const LOCK: &str = ".lock";
const MAX_MEMORY: u64 = 4 * 1024 * 1024;
/// Bytes of a role's name in the name of its copy; file systems take 255 for the whole, also while it is written.
const MAX_NAME: usize = 120;
const MAX_OBJECT: u64 = 16 * 1024 * 1024;

/// What a state directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The TUF state.
    pub state: State,
    /// The trusted root that was imported last.
    pub trusted_root: Option<HeldRoot>,
}

/// A trusted root, and what it was accepted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoot {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it was accepted as; absent where nothing that is held says so any more.
    pub accepted_as: Option<AcceptedAs>,
}

/// What a trusted root was accepted as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptedAs {
    /// The target.
    pub target: String,
    /// The role that listed it.
    pub role: String,
    /// The digest it was listed with.
    pub digest: Digest,
}

impl HeldRoot {
    /// A target, as it was verified.
    pub fn accepted(target: &VerifiedTarget) -> Self {
        let (bytes, digest) = (target.bytes().to_vec(), Digest::of(target.bytes()));
        let accepted_as = AcceptedAs { target: target.name().to_owned(), role: target.role().to_owned(), digest };
        Self { bytes, accepted_as: Some(accepted_as) }
    }

    /// As freshness is judged by it.
    pub fn imported(&self) -> Imported<'_> {
        let target = self.accepted_as.as_ref().map_or(TRUSTED_ROOT, |accepted| &accepted.target);
        Imported { target, bytes: &self.bytes }
    }

    /// What earlier forms of the memory did not say: worked out from the metadata that is held beside it.
    fn worked_out(bytes: Vec<u8>, state: &State) -> Self {
        let accepted_as = state
            .listing(TRUSTED_ROOT)
            .ok()
            .filter(|listing| listing.names(&bytes))
            .map(|listing| AcceptedAs { target: listing.target, role: listing.role, digest: Digest::of(&bytes) });
        Self { bytes, accepted_as }
    }
}

/// A locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It holds no state.
    #[error("{} holds no state: start one with `holdfast mirror init --state {} --bootstrap root.json`", .path.display(), .path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// It holds a state already.
    #[error("{} holds a state already; it is not overwritten, since that would forget which versions were already seen", .path.display())]
    Present {
        /// The directory.
        path: PathBuf,
    },
    /// Another process works on it.
    #[error("{} is in use by another process: try again when it has finished", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {what} {}: {error}. The state is as it was before", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The state was stored, and its copy for people was not.
    #[error("the state in {} was stored; its copy {} was not written: {error}", .path.display(), .copy.display())]
    Copy {
        /// The directory.
        path: PathBuf,
        /// The copy.
        copy: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What it holds is not what was written.
    #[error("the state in {} cannot be used: {detail}. Restore it from a backup; starting afresh would forget which versions were already seen", .path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MemoryFile {
    tuf: TrustMemory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trusted_root: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted_as: Option<AcceptedAs>,
}

impl StateDir {
    /// Makes a new state directory and locks it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn create(path: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(|e| io_error("make", path, e))?;
        let dir = Self::lock(path)?;
        if path.join(MEMORY).exists() {
            return Err(StateError::Present { path: path.to_owned() });
        }
        Ok(dir)
    }

    /// Opens and locks a state directory, and reads what it holds.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<(Self, Held), StateError> {
        if !path.join(MEMORY).exists() {
            return Err(StateError::Absent { path: path.to_owned() });
        }
        let dir = Self::lock(path)?;
        let held = Self::load(path)?;
        Ok((dir, held))
    }

    /// Reads what a state directory holds without locking it: for looking only. A commit replaces one file, so what is read is whole.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn look(path: &Path) -> Result<Held, StateError> {
        if !path.join(MEMORY).exists() {
            return Err(StateError::Absent { path: path.to_owned() });
        }
        Self::load(path)
    }

    fn lock(path: &Path) -> Result<Self, StateError> {
        let lock = path.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|e| io_error("lock", &lock, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Locked { path: path.to_owned() }),
            Err(error) => Err(io_error("lock", &lock, error.into())),
        }
    }

    fn load(path: &Path) -> Result<Held, StateError> {
        let damaged = |detail: String| StateError::Damaged { path: path.to_owned(), detail };
        let bytes = file::read(&path.join(MEMORY), "a memory", MAX_MEMORY).map_err(|e| unreadable(path, e))?;
        let limits = json::Limits { max_len: bytes.len(), max_depth: 16 };
        json::check(&bytes, limits).map_err(|e| damaged(format!("{MEMORY}: {e}")))?;
        let memory: MemoryFile = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("{MEMORY}: {e}")))?;
        let object = |digest: &Digest, what: &str| {
            let bytes = file::read(&path.join(OBJECTS).join(digest.hex()), "an object", MAX_OBJECT)
                .map_err(|e| unreadable(path, e))?;
            if Digest::of(&bytes) == *digest {
                Ok(bytes)
            } else {
                Err(damaged(format!("the held {what} is not what was accepted")))
            }
        };
        let mut held = BTreeMap::new();
        for (role, floor) in &memory.tuf.floors {
            held.insert(role.clone(), object(&floor.digest, role)?);
        }
        let bytes = memory.trusted_root.as_ref().map(|digest| object(digest, TRUSTED_ROOT)).transpose()?;
        if memory.accepted_as.as_ref().is_some_and(|accepted| Some(accepted.digest) != memory.trusted_root) {
            return Err(damaged(format!("the held {TRUSTED_ROOT} is not the one that was accepted")));
        }
        let state = State::restore(memory.tuf, held).map_err(|e: Refusal| damaged(e.to_string()))?;
        let trusted_root = bytes.map(|bytes| match memory.accepted_as {
            Some(accepted_as) => HeldRoot { bytes, accepted_as: Some(accepted_as) },
            None => HeldRoot::worked_out(bytes, &state),
        });
        Ok(Held { state, trusted_root })
    }

    /// Stores `held` in one step: after an error, everything is as it was.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn commit(&self, held: &Held) -> Result<(), StateError> {
        let objects = self.path.join(OBJECTS);
        fs::create_dir_all(&objects).map_err(|e| io_error("make", &objects, e))?;
        let mut named: Vec<String> = Vec::new();
        for bytes in held.state.held().values().chain(held.trusted_root.as_ref().map(|root| &root.bytes)) {
            let name = Digest::of(bytes).hex();
            let path = objects.join(&name);
            if !path.exists() {
                replace(&path, bytes)?;
            }
            named.push(name);
        }
        let root = held.trusted_root.as_ref();
        let memory = MemoryFile {
            tuf: held.state.memory().clone(),
            trusted_root: root.map(|root| Digest::of(&root.bytes)),
            accepted_as: root.and_then(|root| root.accepted_as.clone()),
        };
        let memory_path = self.path.join(MEMORY);
        let bytes = serde_json::to_vec_pretty(&memory).map_err(|e| io_error("write", &memory_path, e.into()))?;
        replace(&memory_path, &bytes)?;
        self.copies(held).map_err(|e| match e {
            StateError::Io { path: copy, error, .. } => StateError::Copy { path: self.path.clone(), copy, error },
            other => other,
        })?;
        // What is no longer named goes; that it stays where this fails harms nobody.
        for entry in fs::read_dir(&objects).into_iter().flatten().flatten() {
            let stale = entry.file_name().into_string().is_ok_and(|name| !named.contains(&name));
            if stale {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn copies(&self, held: &Held) -> Result<(), StateError> {
        let metadata = self.path.join(METADATA);
        fs::create_dir_all(&metadata).map_err(|e| io_error("make", &metadata, e))?;
        let mut names = Vec::new();
        for (role, bytes) in held.state.held() {
            let name = copy_name(role);
            copy(&metadata.join(&name), bytes)?;
            names.push(name);
        }
        for entry in fs::read_dir(&metadata).into_iter().flatten().flatten() {
            let stale = entry.file_name().into_string().is_ok_and(|name| !names.contains(&name));
            if stale {
                let _ = fs::remove_file(entry.path());
            }
        }
        match &held.trusted_root {
            Some(root) => copy(&self.path.join(TRUSTED_ROOT), &root.bytes),
            None => Ok(()),
        }
    }
}

/// The file name of a role's copy. A delegated role may have a name too long for a file; its digest names it then.
fn copy_name(role: &str) -> String {
    let quoted = quote(role);
    match quoted.get(..MAX_NAME) {
        Some(start) => format!("{start}~{}.json", Digest::of(role.as_bytes()).hex()),
        None => format!("{quoted}.json"),
    }
}

fn copy(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    if fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { replace(path, bytes) }
}

/// Writes a file in one step: beside it, synced, then renamed over it, then the directory synced.
///
/// # Errors
/// [`StateError::Io`]; the file is then as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |e| io_error("write", path, e);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(dir).and_then(|dir| dir.sync_all()));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> StateError {
    StateError::Io { what, path: path.to_owned(), error }
}

fn unreadable(dir: &Path, error: FileError) -> StateError {
    match error {
        FileError::Io { path, error } if error.kind() != io::ErrorKind::NotFound => {
            StateError::Io { what: "read", path, error }
        }
        other => StateError::Damaged { path: dir.to_owned(), detail: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_any_name_has_a_copy_of_its_own_whose_name_a_file_may_have() {
        let long = "päckchen/".repeat(100);
        let names = ["targets", "registry.npmjs.org", "../x", &long, &long[..long.len() - 1], "", "~"];
        let copies: Vec<String> = names.iter().map(|name| copy_name(name)).collect();
        let dir = std::env::temp_dir();
        for (index, copy) in copies.iter().enumerate() {
            assert!(copy.len() < 220 && !copy.contains('/') && !copies[..index].contains(copy), "{copy}");
            assert!(dir.join(copy).parent() == Some(dir.as_path()), "{copy}");
        }
    }
}
