//! Signatures counted by key, not by key id.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use sigstore_tuf::Key;
use sigstore_tuf::metadata::{Metadata, Role as LibraryRole, RoleKeys};
use sigstore_verify::types::SignatureBytes;

use super::refusal::{Refusal, Role};
use crate::Digest;

/// Something about accepted metadata that a person should know; it was accepted all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(tag = "note", rename_all_fields = "camelCase")]
pub enum Note {
    /// The same key stands under several ids.
    #[error("{role} lists one key under {} ids ({}); it counts once", .ids.len(), .ids.join(", "))]
    DuplicateKey {
        /// The role.
        role: String,
        /// The ids.
        ids: Vec<String>,
    },
    /// A key id that is not the hash of its key.
    #[error("{role}: the key id {id} is not the hash of its key; it is taken as a name")]
    KeyIdNotHash {
        /// The role.
        role: String,
        /// The id.
        id: String,
    },
    /// The clock has gone back since the last import. One of the two readings is wrong, and which cannot be told.
    #[error(
        "the clock says {now}, and at the last import it said {last}: one of the two was wrong. If it is this one, what is taken now may have expired"
    )]
    ClockWentBack {
        /// The clock.
        now: Timestamp,
        /// What it said at the last import.
        last: Timestamp,
    },
}

/// Counts the distinct keys that signed, and refuses where they are fewer than the role needs.
///
/// The specification (section 4.2.1) lets a key have one id; producers have listed one key under two, and counting ids would then let one key meet a
/// threshold of two.
pub(super) fn recount<T: LibraryRole>(
    metadata: &Metadata<T>,
    keys: &BTreeMap<String, Key>,
    role_keys: &RoleKeys,
    role: &str,
) -> Result<Vec<Note>, Refusal> {
    let mut by_key: BTreeMap<Digest, BTreeSet<&str>> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut unread = BTreeSet::new();
    for id in &role_keys.keyids {
        let Some(key) = keys.get(id) else { continue };
        by_key.entry(material(key)).or_default().insert(id);
        if key.verification_key().is_err() {
            unread.insert(material(key));
        }
        if key.key_id().is_ok_and(|hash| hash != *id) {
            notes.push(Note::KeyIdNotHash { role: role.to_owned(), id: id.clone() });
        }
    }
    let mut signed = BTreeSet::new();
    for signature in metadata.signatures() {
        let Some(key) = keys.get(&signature.keyid).filter(|_| role_keys.keyids.contains(&signature.keyid)) else {
            continue;
        };
        let Ok(bytes) = hex::decode(&signature.sig) else { continue };
        if !bytes.is_empty() && key.verify(metadata.signed_canonical(), &SignatureBytes::new(bytes)).is_ok() {
            signed.insert(material(key));
        }
    }
    let (role_name, need, got) = (Role(role.to_owned()), role_keys.threshold.max(1), signed.len());
    if got < need {
        return Err(match unread.len() {
            0 => Refusal::Threshold { role: role_name, need, got },
            unread => Refusal::UnreadKeys { role: role_name, need, got, unread },
        });
    }
    notes.extend(
        by_key
            .into_values()
            .filter(|ids| ids.len() > 1)
            .map(|ids| Note::DuplicateKey { role: role.to_owned(), ids: ids.into_iter().map(str::to_owned).collect() }),
    );
    Ok(notes)
}

/// What makes two keys the same: the public key itself, whatever its encoding, scheme name or extra fields.
fn material(key: &Key) -> Digest {
    match key.verification_key() {
        Ok(parsed) => Digest::of(parsed.as_bytes()),
        Err(_) => Digest::of(key.keyval.public.trim().as_bytes()),
    }
}
