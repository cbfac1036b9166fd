//! What was read from registries, kept by its digest, so that judging it again does not hang on a registry.
//!
//! It is a copy and no record: whatever is lost or damaged is fetched again. So nothing here fails its caller, and what cannot be kept is left out and counted.
//! On disk, reading and writing take as long as the disk takes; nobody else waits for that.

mod disk;
mod order;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::Digest;
use parking_lot::Mutex;

use self::disk::Disk;
use self::order::Order;

pub use self::disk::BlobsError;

/// One item takes at most this part of the bound: a single large one does not push out all others.
const LARGEST: u64 = 8;

/// Bytes by their SHA-256, up to a bound; what was not used for longest goes first.
#[derive(Debug)]
pub struct Blobs {
    max: u64,
    shelf: Shelf,
    order: Mutex<Order>,
    hits: AtomicU64,
    misses: AtomicU64,
    unwritten: AtomicU64,
}

#[derive(Debug)]
enum Shelf {
    /// The bytes are in the order itself.
    Memory,
    Disk(Disk),
}

impl Blobs {
    /// A store in memory, of at most `max_bytes`.
    pub fn in_memory(max_bytes: u64) -> Self {
        Self::new(max_bytes, Shelf::Memory, Order::default())
    }

    /// A store in files under `dir`, of at most `max_bytes`, with what is there already. What it does not know there is left alone, but for files of its own
    /// that were never finished.
    ///
    /// # Errors
    /// [`BlobsError`], where the directory cannot be used.
    pub fn on_disk(dir: &Path, max_bytes: u64) -> Result<Self, BlobsError> {
        let (disk, found) = Disk::open(dir)?;
        let mut order = Order::default();
        for (digest, size) in found {
            if size > max_bytes / LARGEST {
                disk.remove(digest);
            } else {
                order.insert(digest, size, None);
            }
        }
        let blobs = Self::new(max_bytes, Shelf::Disk(disk), order);
        let excess = blobs.order.lock().make_room(0, max_bytes);
        blobs.discard(&excess);
        Ok(blobs)
    }

    fn new(max: u64, shelf: Shelf, order: Order) -> Self {
        let counter = AtomicU64::default;
        Self { max, shelf, order: Mutex::new(order), hits: counter(), misses: counter(), unwritten: counter() }
    }

    /// The bytes of this digest. Where what was kept has another one, it is deleted, and nothing is there.
    pub fn get(&self, digest: Digest) -> Option<Vec<u8>> {
        let found = self.read(digest);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn read(&self, digest: Digest) -> Option<Vec<u8>> {
        let (size, held) = self.order.lock().touch(digest)?;
        let bytes = match &self.shelf {
            Shelf::Memory => held.map(|held| held.to_vec()),
            Shelf::Disk(disk) => disk.read(digest, size),
        };
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest);
        if bytes.is_none() {
            self.order.lock().remove(digest);
            self.discard(&[digest]);
        }
        bytes
    }

    /// Keeps bytes under their digest. Where that cannot be done, it is not: what is too large for the store, and whatever a disk refuses.
    pub fn put(&self, digest: Digest, bytes: &[u8]) {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > self.max / LARGEST {
            return;
        }
        let excess = {
            let mut order = self.order.lock();
            if order.touch(digest).is_some() {
                return;
            }
            let excess = order.make_room(size, self.max);
            match self.shelf {
                Shelf::Memory => order.insert(digest, size, Some(Arc::from(bytes))),
                Shelf::Disk(_) => order.reserve(size),
            }
            excess
        };
        self.discard(&excess);
        let Shelf::Disk(disk) = &self.shelf else { return };
        let written = disk.write(digest, bytes);
        let mut order = self.order.lock();
        order.release(size);
        match written {
            Ok(()) => order.insert(digest, size, None),
            Err(error) => {
                drop(order);
                // Once: a full disk is full for every item.
                if self.unwritten.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(dir = %disk.path().display(), %error, "evidence cannot be kept, so it is fetched again whenever it is judged: give its directory space and leave to write");
                }
            }
        }
    }

    /// Whether the digest is kept, by what is known without reading it.
    pub fn contains(&self, digest: Digest) -> bool {
        self.order.lock().contains(digest)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> u64 {
        self.order.lock().bytes()
    }

    /// Items that are kept.
    pub fn len(&self) -> usize {
        self.order.lock().len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often something was there.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often it was not.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// How often a disk did not take what it was given.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    fn discard(&self, digests: &[Digest]) {
        if let Shelf::Disk(disk) = &self.shelf {
            for digest in digests {
                disk.remove(*digest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
