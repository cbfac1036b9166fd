//! What the held metadata says of a target, without a source.

use sigstore_tuf::metadata::TargetFile;

use super::refresh::Refresh;
use super::refusal::Refusal;
use super::search::{TargetSearch, verified};
use super::state::State;

/// How a trusted role lists a target.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The target.
    pub target: String,
    /// The role that lists it.
    pub role: String,
    /// The version of that role.
    pub version: u64,
    pub(super) file: TargetFile,
}

impl Listing {
    /// Whether these bytes are what is listed: by length and by every hash.
    pub fn names(&self, bytes: &[u8]) -> bool {
        verified(&self.target, &self.role, &self.file, bytes).is_ok()
    }
}

impl State {
    /// Follows what is held from its root to the targets, as an import would and with no regard to expiry.
    ///
    /// # Errors
    /// [`Refusal`]: a role names a newer one that is not held, or what is held does not verify under the newest root.
    pub fn check_chain(&self) -> Result<(), Refusal> {
        Refresh::of_held(self).map(|_| ())
    }

    /// How the held metadata lists `target`, with no regard to expiry.
    ///
    /// # Errors
    /// As [`Self::check_chain`]; [`Refusal::UnknownTarget`] where no role lists it.
    pub fn listing(&self, target: &str) -> Result<Listing, Refusal> {
        let mut refresh = Refresh::of_held(self)?;
        TargetSearch::begin(&mut refresh, target)?.listing()
    }
}
