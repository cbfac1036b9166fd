//! What is kept, from what was not used for longest to what was used last.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use holdfast_core::Digest;

/// Items that are kept at most, however small: each is remembered in memory.
pub(super) const MAX_ITEMS: usize = 1 << 18;

#[derive(Debug)]
struct Item {
    used: u64,
    size: u64,
    held: Option<Arc<[u8]>>,
}

/// Items by digest and by when they were used.
#[derive(Debug, Default)]
pub(super) struct Order {
    items: HashMap<Digest, Item>,
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: u64,
    /// Bytes on their way to the disk.
    reserved: u64,
}

impl Order {
    /// Marks an item as used; its size and what is held of it in memory.
    pub(super) fn touch(&mut self, digest: Digest) -> Option<(u64, Option<Arc<[u8]>>)> {
        let item = self.items.get_mut(&digest)?;
        self.by_use.remove(&item.used);
        self.uses += 1;
        item.used = self.uses;
        self.by_use.insert(self.uses, digest);
        Some((item.size, item.held.clone()))
    }

    pub(super) fn contains(&self, digest: Digest) -> bool {
        self.items.contains_key(&digest)
    }

    /// Takes an item in, as used last, in place of another of the same digest.
    pub(super) fn insert(&mut self, digest: Digest, size: u64, held: Option<Arc<[u8]>>) {
        self.remove(digest);
        self.uses += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.by_use.insert(self.uses, digest);
        self.items.insert(digest, Item { used: self.uses, size, held });
    }

    pub(super) fn remove(&mut self, digest: Digest) {
        if let Some(item) = self.items.remove(&digest) {
            self.by_use.remove(&item.used);
            self.bytes = self.bytes.saturating_sub(item.size);
        }
    }

    pub(super) fn reserve(&mut self, size: u64) {
        self.reserved = self.reserved.saturating_add(size);
    }

    pub(super) fn release(&mut self, size: u64) {
        self.reserved = self.reserved.saturating_sub(size);
    }

    /// Removes what was not used for longest until one more item of `size` bytes fits into `max`; what was removed.
    pub(super) fn make_room(&mut self, size: u64, max: u64) -> Vec<Digest> {
        let mut removed = Vec::new();
        let is_over = |order: &Self| {
            order.bytes.saturating_add(order.reserved).saturating_add(size) > max || order.len() >= MAX_ITEMS
        };
        while is_over(self) {
            let Some((_, digest)) = self.by_use.first_key_value() else { break };
            let digest = *digest;
            self.remove(digest);
            removed.push(digest);
        }
        removed
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}
