//! Blobs in files, `sha256/<hex>`.
//!
//! All names are looked up in one directory that is held open, and no link is followed: what else lies there, or takes the directory's place later, leads nowhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::CStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::Digest;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::order::MAX_ITEMS;

/// What the names of unfinished files begin with; no digest does.
const UNFINISHED: &str = ".unfinished-";

/// Why a directory cannot hold blobs.
#[derive(Debug, thiserror::Error)]
#[error("evidence cannot be kept in {}: {detail}; give a directory that can be written to, for this alone", .path.display())]
pub struct BlobsError {
    /// The directory.
    pub path: PathBuf,
    /// What the system said.
    pub detail: String,
}

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    dir: OwnedFd,
    /// Tells the unfinished files of this store from those of another one in the same place.
    own: u64,
    written: AtomicU64,
}

impl Disk {
    /// Opens a directory; the digests and sizes of what is there, the oldest first.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<(Digest, u64)>), BlobsError> {
        let path = dir.join("sha256");
        let failed = |detail: String| BlobsError { path: path.clone(), detail };
        std::fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error.to_string())),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed(e.to_string()))?;
        let own = RandomState::new().build_hasher().finish();
        let disk = Self { path: path.clone(), dir: opened, own, written: AtomicU64::new(0) };
        let found = disk.found().map_err(|e| failed(e.to_string()))?;
        Ok((disk, found))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn found(&self) -> Result<Vec<(Digest, u64)>, Errno> {
        // The newest that are remembered: however many there are, no more than that is held.
        let mut newest = BinaryHeap::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(UNFINISHED.as_bytes()) {
                let _ = unlinkat(&self.dir, name, AtFlags::empty());
                continue;
            }
            let Some(digest) = digest_of(name) else { continue };
            let Ok(stat) = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            newest.push(Reverse(((stat.st_mtime, stat.st_mtime_nsec), digest, size)));
            if newest.len() > MAX_ITEMS
                && let Some(Reverse((_, oldest, _))) = newest.pop()
            {
                self.remove(oldest);
            }
        }
        // Sorted as `Reverse` has it: the newest first.
        let sorted = newest.into_sorted_vec();
        Ok(sorted.into_iter().rev().map(|Reverse((_, digest, size))| (digest, size)).collect())
    }

    /// The bytes of a file that has this size.
    pub(super) fn read(&self, digest: Digest, size: u64) -> Option<Vec<u8>> {
        // Without waiting: a pipe may lie there by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.dir, digest.hex(), flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() != size {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a file under a name of its own, and gives it its digest's name when it is whole.
    pub(super) fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let name = format!("{UNFINISHED}{:016x}-{}", self.own, self.written.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.dir, &name, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(bytes).and_then(|()| Ok(renameat(&self.dir, &name, &self.dir, digest.hex())?));
        if written.is_err() {
            let _ = unlinkat(&self.dir, &name, AtFlags::empty());
        }
        written
    }

    pub(super) fn remove(&self, digest: Digest) {
        // What cannot be removed is met again, and counted, at the next start.
        let _ = unlinkat(&self.dir, digest.hex(), AtFlags::empty());
    }
}

fn digest_of(name: &CStr) -> Option<Digest> {
    name.to_str().ok().and_then(|name| Digest::from_hex(name).ok())
}
