//! One import, from what is held to what is held afterwards.

use holdfast_core::operate::mirror::ReadRoot;
use holdfast_core::trust::held::{Held, HeldRoot, TRUSTED_ROOT};
use holdfast_core::trust::root::{RootError, TrustRoot};
use holdfast_core::trust::tuf::{Grace, Note, Refresh, Refusal, State};
use jiff::Timestamp;

use super::{Half, ImportError, Source, SourceError, progress, refresh, target};

/// What became of an import.
#[derive(Debug)]
pub struct Imported {
    /// What is held afterwards: everything up to the last accepted step, also where a later one was refused.
    pub held: Held,
    /// What a person should know of the accepted metadata.
    pub notes: Vec<Note>,
    /// The trusted root that is offered; else why there is none.
    pub offered: Result<ReadRoot, Unimported>,
}

/// Why an import brought no trusted root.
#[derive(Debug, thiserror::Error)]
pub enum Unimported {
    /// What was offered is refused.
    #[error(transparent)]
    Refused(Refusal),
    /// One could not look.
    #[error(transparent)]
    Source(SourceError),
    /// The repository verified, and the trusted root in it cannot be used.
    #[error("{TRUSTED_ROOT}: {0}")]
    Root(RootError),
}

impl From<ImportError> for Unimported {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused(refusal) => Self::Refused(refusal),
            ImportError::Source(error) => Self::Source(error),
        }
    }
}

/// Takes up a memory of which nobody knows who wrote it: where the source's roots lead from the bootstrap root to the one it is held under, and with the
/// trusted root in it where its metadata lists that. Nothing, where they do not.
///
/// # Errors
/// [`ImportError`].
pub fn proven(
    source: &dyn Source,
    bootstrap: &State,
    found: Held,
    now: Timestamp,
) -> Result<Option<Held>, ImportError> {
    let root = |state: &State| state.memory().floors.get("root").map(|floor| (floor.version, floor.digest));
    let Some((wanted, digest)) = root(&found.state) else { return Ok(None) };
    let mut walk = Refresh::begin(bootstrap, now, Grace::NONE)?;
    while root(walk.state()).is_some_and(|(version, _)| version < wanted) {
        let Some(want) = walk.want() else { return Ok(None) };
        let Some(bytes) = source.fetch(Half::Metadata, &want)? else { return Ok(None) };
        walk.give(Some(&bytes))?;
    }
    if root(walk.state()) != Some((wanted, digest)) {
        return Ok(None);
    }
    let Held { state, trusted_root } = found;
    let listed = |root: &HeldRoot| {
        let imported = root.imported();
        state.listing(imported.target).is_ok_and(|listing| listing.names(imported.bytes))
    };
    let trusted_root = trusted_root.filter(listed);
    Ok(Some(Held { state, trusted_root }))
}

/// Imports on top of what is held.
pub fn import(name: &str, held: &Held, source: &dyn Source, grace: Grace, now: Timestamp) -> Imported {
    let mut under_way = match Refresh::begin(&held.state, now, grace) {
        Ok(under_way) => under_way,
        Err(refusal) => {
            return Imported { held: held.clone(), notes: Vec::new(), offered: Err(Unimported::Refused(refusal)) };
        }
    };
    let found = refresh(source, &mut under_way).and_then(|()| {
        target(source, &mut under_way, TRUSTED_ROOT, &|| held.trusted_root.as_ref().map(|root| root.bytes.clone()))
    });
    let notes = under_way.notes().to_vec();
    let mut held = Held { state: progress(under_way), trusted_root: held.trusted_root.clone() };
    let offered = found.map_err(Unimported::from).and_then(|target| {
        let root = TrustRoot::from_json(name, target.bytes()).map_err(Unimported::Root)?;
        let text = String::from_utf8(target.bytes().to_vec()).ok();
        held.trusted_root = Some(HeldRoot::accepted(&target));
        Ok(ReadRoot { root, text })
    });
    Imported { held, notes, offered }
}
