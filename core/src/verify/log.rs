//! Which log made an entry, and did its key count then?

use jiff::Timestamp;
use sigstore_verify::crypto::VerificationKey;
use sigstore_verify::types::{DerPublicKey, KindVersion, bundle::TransparencyLogEntry};

use super::{Reason, fault::Fault, verdict::SigningTime};
use crate::trust::diff::Kind;
use crate::trust::root::{Log, TrustRoot};

/// The logs of `root` that may have made this entry: by its log id where the log signs it (Rekor v1), by the checkpoint's key hints else.
pub(super) fn entry_logs<'a>(entry: &'a TransparencyLogEntry, root: &'a TrustRoot) -> impl Iterator<Item = &'a Log> {
    root.logs.iter().filter(move |log| {
        if entry.inclusion_promise.is_some() && log.log_id.as_bytes().as_slice() != entry.log_id.key_id.as_bytes() {
            return false;
        }
        match entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()) {
            Some(checkpoint) => {
                checkpoint.signatures().iter().any(|s| log.log_id.as_bytes().starts_with(s.key_id.as_bytes()))
            }
            None => log.log_id.as_bytes().as_slice() == entry.log_id.key_id.as_bytes(),
        }
    })
}

/// An entry that no log of `root` may have made. What it says of its log is not authenticated, and is told as what it says.
pub(super) fn unknown_log(entry: &TransparencyLogEntry, root: &TrustRoot) -> Fault {
    let shorten = |text: &str| text.chars().take(100).collect::<String>();
    let id = shorten(&hex::encode(entry.log_id.key_id.as_bytes()));
    let of = match entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()) {
        Some(checkpoint) => format!(
            "the entry gives the log id `{id}` and has a checkpoint that calls itself `{}`: together they fit",
            shorten(checkpoint.origin())
        ),
        None => format!("the entry gives the log id `{id}`, which fits"),
    };
    let perhaps = root.perhaps_left_out(Kind::TransparencyLog);
    Fault::new(Reason::UnknownLog, format!("{of} no log of the trust root `{}`{perhaps}", root.name))
}

/// Whether the entry is of a Rekor v1 log; only those carry an authenticated time.
pub(super) fn is_v1(entry: &TransparencyLogEntry) -> bool {
    entry.kind_version != KindVersion::HashedRekordV002
}

/// The log whose key really signed what the entry relies on.
pub(super) fn signing_log<'a>(entry: &TransparencyLogEntry, root: &'a TrustRoot) -> Result<&'a Log, Fault> {
    let candidates: Vec<&Log> =
        root.logs.iter().filter(|log| entry_logs(entry, root).any(|other| other.log_id == log.log_id)).collect();
    let checkpoint = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint());
    let foreign =
        || Fault::new(Reason::InclusionProofMismatch, "the checkpoint is not signed by the log that the entry names");
    let Some(checkpoint) = checkpoint else { return candidates.first().copied().ok_or_else(foreign) };
    let known = |hint: &[u8]| root.logs.iter().filter(|log| log.log_id.as_bytes().starts_with(hint)).count();
    let pairs: usize = checkpoint.signatures().iter().map(|s| known(s.key_id.as_bytes())).sum();
    if let ([only], 1) = (candidates.as_slice(), pairs) {
        // One signature by one known key: it is the one the library verified.
        return Ok(only);
    }
    let signed = |log: &&Log| {
        VerificationKey::from_spki(&DerPublicKey::new(log.key.clone())).is_ok_and(|key| {
            checkpoint
                .signatures()
                .iter()
                .filter(|s| log.log_id.as_bytes().starts_with(s.key_id.as_bytes()))
                .any(|s| key.verify(checkpoint.signed_data(), &s.signature).is_ok())
        })
    };
    candidates.into_iter().find(signed).ok_or_else(foreign)
}

/// The log's key has to count at every signing time.
pub(super) fn in_window(log: &Log, times: &[SigningTime], now: Timestamp) -> Result<(), Fault> {
    let outside = |at: Timestamp, what: &str| {
        Fault::new(
            Reason::OutsideValidity,
            format!("the key of the log {} counts {}; {what} {at} lies outside", log.name(), log.window),
        )
    };
    if let Some(time) = times.iter().find(|time| !log.window.contains(time.at)) {
        return Err(outside(time.at, "the signing time"));
    }
    // Without an authenticated time nothing shows that the key counted then; it has to count now.
    if times.is_empty() && !log.window.contains(now) {
        return Err(outside(now, "the signing time is not known, and"));
    }
    Ok(())
}
