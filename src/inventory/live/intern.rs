//! What is kept once for all that share it.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use holdfast_core::coverage::Image;

/// One image of a container or volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Use {
    /// The container, or the volume.
    pub container: Box<str>,
    /// The image.
    pub image: Arc<Image>,
}

impl Use {
    pub(super) fn new(container: &str, image: Image) -> Self {
        Self { container: container.into(), image: Arc::new(image) }
    }
}

/// What pods of one form bring in, and with which secrets nodes pull it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The images.
    pub uses: Box<[Use]>,
    /// The pull secrets it names.
    pub pull_secrets: Box<[Box<str>]>,
    /// The account it runs as.
    pub service_account: Option<Box<str>>,
}

/// Who made an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Group and version of its kind.
    pub api_version: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
}

/// Values that are kept once, as long as somebody has them.
#[derive(Debug)]
pub(super) struct Interner<T>(HashSet<Arc<T>>);

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The kept one of this value, and whether it is new.
    pub(super) fn intern(&mut self, value: T) -> (Arc<T>, bool) {
        if let Some(kept) = self.0.get(&value) {
            return (kept.clone(), false);
        }
        let kept = Arc::new(value);
        self.0.insert(kept.clone());
        (kept, true)
    }

    /// Forgets one where nobody but the caller has it; whether that is so.
    pub(super) fn release(&mut self, value: &Arc<T>) -> bool {
        self.release_from(value, 1)
    }

    /// Forgets one where nobody but the caller has it, who has it this often.
    pub(super) fn release_from(&mut self, value: &Arc<T>, held: usize) -> bool {
        Arc::strong_count(value) == held + 1 && self.0.remove(value)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
