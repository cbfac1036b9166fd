//! A state directory: trust as it is held on a disk.
//!
//! `memory.json` is the one commit point: it names by digest everything that is held, and is replaced in one step. The bytes lie in `objects/`, written
//! and synced before it. Before the first of them, a note in the memory's place says that nothing was ever committed: objects beside it are what an attempt
//! left that was cut off, and objects beside nothing are what a lost memory was the memory of. `metadata/<role>.json` and `trusted_root.json` are copies for people and other tools, put in place after it and set right by
//! every import; what they say is never read back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_core::trust::held::HeldError;
pub use holdfast_core::trust::held::{AcceptedAs, Held, HeldRoot, TRUSTED_ROOT};
use holdfast_core::trust::tuf::{Refusal, quote};
use rustix::fs::{FlockOperation, flock};

use super::file::{self, FileError};
use super::write::{Prepared, WriteError, is_temporary, make_dir, replace, sync};

const MEMORY: &str = "memory.json";
/// What stands in the memory's place until it is first committed.
const BEGUN: &[u8] = b"{\"neverCommitted\": true}\n";
const OBJECTS: &str = "objects";
const METADATA: &str = "metadata";
const LOCK: &str = ".lock";
const MAX_MEMORY: u64 = 4 * 1024 * 1024;
/// Bytes of a role's name in the name of its copy; file systems take 255 for the whole, also while it is written.
const MAX_NAME: usize = 120;
const MAX_OBJECT: u64 = 16 * 1024 * 1024;
/// How often a state is looked at anew that is committed to meanwhile.
const LOOKS: usize = 100;

/// A locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory cannot be used. But for [`StateError::Late`], nothing was changed.
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
    /// The state was stored, and what follows was not done.
    #[error("the state in {} is stored, and then: {error}. The next import sets right what is missing", .path.display())]
    Late {
        /// The directory.
        path: PathBuf,
        /// What failed.
        error: WriteError,
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

impl StateDir {
    /// Makes a new state directory and locks it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn create(path: &Path) -> Result<Self, StateError> {
        make_dir(path)?;
        let dir = Self::lock(path)?;
        match Self::present(path) {
            Ok(()) => Err(StateError::Present { path: path.to_owned() }),
            Err(StateError::Absent { .. }) => Ok(dir),
            Err(other) => Err(other),
        }
    }

    /// Opens and locks a state directory, and reads what it holds.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<(Self, Held), StateError> {
        Self::present(path)?;
        let dir = Self::lock(path)?;
        let held = Self::load(path, &Self::memory(path)?)?;
        Ok((dir, held))
    }

    /// Reads what a state directory holds without locking it: for looking only.
    ///
    /// A commit replaces one file, so what is read is whole; and it takes away what the memory no longer names, so that what was about to be read may be gone.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn look(path: &Path) -> Result<Held, StateError> {
        Self::present(path)?;
        let mut memory = Self::memory(path)?;
        for _ in 0..LOOKS {
            let held = Self::load(path, &memory);
            let now = Self::memory(path)?;
            if held.is_ok() || now == memory {
                return held;
            }
            memory = now;
        }
        Err(StateError::Locked { path: path.to_owned() })
    }

    /// Whether there is a memory. One that is gone from beside what it was the memory of is a fault, and not an empty directory.
    fn present(path: &Path) -> Result<(), StateError> {
        let memory = path.join(MEMORY);
        let there = memory.try_exists().map_err(|e| io_error("read", &memory, e))?;
        let begun = there && says(&memory, BEGUN);
        if there && !begun {
            return Ok(());
        }
        let holds_any =
            |dir: &&str| entries(&path.join(dir)).any(|entry| !is_temporary(&entry.file_name().to_string_lossy()));
        // Objects are written before the first memory, copies after it.
        let never_before = if begun { &[METADATA][..] } else { &[OBJECTS, METADATA] };
        let left = never_before.iter().copied().find(holds_any);
        match left.or_else(|| path.join(TRUSTED_ROOT).exists().then_some(TRUSTED_ROOT)) {
            Some(left) => Err(StateError::Damaged {
                path: path.to_owned(),
                detail: format!("{MEMORY} is gone, and {left} is not"),
            }),
            None => Err(StateError::Absent { path: path.to_owned() }),
        }
    }

    /// Notes that nothing was committed yet, before the first object is put in place.
    fn begin(&self) -> Result<(), StateError> {
        let memory = self.path.join(MEMORY);
        if memory.try_exists().map_err(|e| io_error("read", &memory, e))? {
            return Ok(());
        }
        Ok(replace(&memory, BEGUN)?)
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

    fn memory(path: &Path) -> Result<Vec<u8>, StateError> {
        file::read(&path.join(MEMORY), "a memory", MAX_MEMORY).map_err(|e| unreadable(path, e))
    }

    /// What `memory` names.
    fn load(path: &Path, memory: &[u8]) -> Result<Held, StateError> {
        let damaged = |detail: String| StateError::Damaged { path: path.to_owned(), detail };
        let read = Held::read(memory, |digest, _| {
            file::read(&path.join(OBJECTS).join(digest.hex()), "an object", MAX_OBJECT)
                .map_err(|e| Unread::State(unreadable(path, e)))
        });
        read.map_err(|unread| match unread {
            Unread::State(error) => error,
            Unread::Held(HeldError::Document(error)) => damaged(format!("{MEMORY}: {error}")),
            // What to do about it is said once, of the state.
            Unread::Held(HeldError::State(Refusal::MemoryDamaged { file, detail })) => {
                damaged(format!("the held {file} is not what was accepted ({detail})"))
            }
            Unread::Held(error) => damaged(error.to_string()),
        })
    }

    /// Stores `held` in one step: after an error of [`StateError::Io`], everything is as it was.
    ///
    /// Everything is written and synced before the first rename, so that a full disk is met while nothing has changed.
    ///
    /// # Errors
    /// [`StateError::Io`]; [`StateError::Late`] where `held` was stored and what follows was not done.
    pub fn commit(&self, held: &Held) -> Result<(), StateError> {
        let objects = self.path.join(OBJECTS);
        make_dir(&objects)?;
        let mut named: Vec<String> = Vec::new();
        let mut new = Vec::new();
        for bytes in held.objects() {
            let name = Digest::of(bytes).hex();
            let path = objects.join(&name);
            if !named.contains(&name) && !says(&path, bytes) {
                new.push(Prepared::new(&path, bytes)?);
            }
            named.push(name);
        }
        self.begin()?;
        let memory = Prepared::new(&self.path.join(MEMORY), &self.memory_bytes(held)?)?;
        let copies = self.prepare_copies(held)?;

        let mut put = Vec::new();
        let committed = new
            .into_iter()
            .try_for_each(|object| {
                put.push(object.path().to_owned());
                object.put()
            })
            .and_then(|()| sync(&objects))
            .and_then(|()| memory.put());
        if let Err(error) = committed {
            for path in put {
                let _ = fs::remove_file(path);
            }
            return Err(error.into());
        }
        sync(&self.path).map_err(|e| self.late(e))?;
        self.put_copies(copies, held)?;
        // What is no longer named goes; that it stays where this fails harms nobody.
        remove_others(&objects, &named);
        Ok(())
    }

    /// Makes the copies for people anew where they are missing or are not what is held.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn repair(&self, held: &Held) -> Result<(), StateError> {
        let copies = self.prepare_copies(held)?;
        self.put_copies(copies, held)
    }

    fn memory_bytes(&self, held: &Held) -> Result<Vec<u8>, StateError> {
        held.document().map_err(|e| io_error("write", &self.path.join(MEMORY), e.into()))
    }

    fn prepare_copies(&self, held: &Held) -> Result<Vec<Prepared>, StateError> {
        let metadata = self.path.join(METADATA);
        make_dir(&metadata)?;
        let roles = held.state.held().iter().map(|(role, bytes)| (metadata.join(copy_name(role)), bytes));
        let root = held.trusted_root.as_ref().map(|root| (self.path.join(TRUSTED_ROOT), &root.bytes));
        let differing = roles.chain(root).filter(|(path, bytes)| !says(path, bytes));
        Ok(differing.map(|(path, bytes)| Prepared::new(&path, bytes)).collect::<Result<_, _>>()?)
    }

    fn put_copies(&self, copies: Vec<Prepared>, held: &Held) -> Result<(), StateError> {
        copies.into_iter().try_for_each(Prepared::put).map_err(|e| self.late(e))?;
        let named: Vec<String> = held.state.held().keys().map(|role| copy_name(role)).collect();
        remove_others(&self.path.join(METADATA), &named);
        if held.trusted_root.is_none() {
            let _ = fs::remove_file(self.path.join(TRUSTED_ROOT));
        }
        for entry in entries(&self.path).filter(|entry| is_temporary(&entry.file_name().to_string_lossy())) {
            let _ = fs::remove_file(entry.path());
        }
        Ok(())
    }

    fn late(&self, error: WriteError) -> StateError {
        StateError::Late { path: self.path.clone(), error }
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

fn says(path: &Path, bytes: &[u8]) -> bool {
    file::read(path, "a copy", bytes.len() as u64).is_ok_and(|there| there == bytes)
}

fn entries(dir: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(dir).into_iter().flatten().flatten()
}

fn remove_others(dir: &Path, named: &[String]) {
    for entry in entries(dir) {
        let other = entry.file_name().into_string().is_ok_and(|name| !named.contains(&name));
        if other {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Why a state was not read: the file system, or what it says.
enum Unread {
    State(StateError),
    Held(HeldError),
}

impl From<HeldError> for Unread {
    fn from(error: HeldError) -> Self {
        Self::Held(error)
    }
}

impl From<WriteError> for StateError {
    fn from(WriteError { what, path, error }: WriteError) -> Self {
        Self::Io { what, path, error }
    }
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
mod tests;
