//! Where bytes come from, always with a bound in front.

pub mod archive;
pub mod config_map;
pub mod directory;
pub mod file;
pub mod http;
pub mod import;
pub mod memory;
pub mod oci;
pub mod state;
pub mod tree;
pub mod write;

use holdfast_core::trust::tuf::{Refresh, Refusal, State, TargetSearch, VerifiedTarget, Want};

pub use config_map::ConfigMapSource;
pub use directory::Directory;
pub use http::Http;
pub use tree::Tree;

/// Which half of a repository a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Roots, timestamp, snapshot, targets metadata.
    Metadata,
    /// The target files.
    Targets,
}

/// A place a TUF repository is read from.
pub trait Source {
    /// The file's bytes, at most `want.max` of them; `None` where it is not there.
    ///
    /// # Errors
    /// [`SourceError`], when one could not look. Absence is not an error.
    fn fetch(&self, half: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError>;
}

/// Why a source could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source does not answer.
    #[error("cannot read {what}: {detail}")]
    Unavailable {
        /// The file or address.
        what: String,
        /// What happened.
        detail: String,
    },
    /// What was given is no source, or a local file of it cannot be read.
    #[error("{what}: {detail}")]
    Unusable {
        /// The file or address.
        what: String,
        /// Why, and what to give instead.
        detail: String,
    },
    /// The source offers something that is not read: too large, a link that leads away, a redirect.
    #[error("{what} was not read: {detail}")]
    Unacceptable {
        /// The file or address.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What was offered is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// One could not look.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Drives a refresh from `source`. What was accepted before an error stays accepted, in `refresh`.
///
/// # Errors
/// [`ImportError`].
pub fn refresh(source: &dyn Source, refresh: &mut Refresh) -> Result<(), ImportError> {
    while let Some(want) = refresh.want() {
        let bytes = source.fetch(Half::Metadata, &want)?;
        refresh.give(bytes.as_deref())?;
    }
    Ok(())
}

/// Finds and verifies one target. `held` is asked first, with the name of the target; what it gives counts only if it verifies.
///
/// # Errors
/// [`ImportError`].
pub fn target(
    source: &dyn Source,
    refresh: &mut Refresh,
    name: &str,
    held: &dyn Fn() -> Option<Vec<u8>>,
) -> Result<VerifiedTarget, ImportError> {
    let mut search = TargetSearch::begin(refresh, name)?;
    while let Some((want, is_metadata)) = search.want() {
        if is_metadata {
            let bytes = source.fetch(Half::Metadata, &want)?;
            search.give(bytes.as_deref())?;
            continue;
        }
        let held_is_good = held().is_some_and(|bytes| search.give(Some(&bytes)).is_ok());
        if !held_is_good {
            let bytes = source.fetch(Half::Targets, &want)?;
            search.give(bytes.as_deref())?;
        }
    }
    search.found().cloned().ok_or_else(|| Refusal::UnknownTarget { name: name.to_owned() }.into())
}

/// The state to keep after an import ended, well or not: everything up to the last accepted step.
pub fn progress(refresh: Refresh) -> State {
    refresh.into_state()
}
