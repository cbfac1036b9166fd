//! The cryptography of one bundle under one trust root: all of it holds, or a typed reason says what does not.
//!
//! What the verification library leaves open is closed here, each with a test:
//! - every log entry that counts carries a proof of inclusion (the library accepts a promise where the unsigned media type says 0.1);
//! - a checkpoint counts for the log that the entry names, and only inside that log key's window at every signing time (the library takes any log of the
//!   root whose window has begun);
//! - a proof is for the tree whose checkpoint is signed (the library holds a Rekor v1 proof to the root hash, not to the size);
//! - certificates of authorities count only while they are valid themselves (see `Authority::effective_window`);
//! - no authenticated time lies ahead of `now` (the library looks at the wall clock, and not for timestamps);
//! - a signature by a bare key without log and timestamp can be verified at all.

use jiff::Timestamp;
use sigstore_verify::types::{
    Artifact as LibraryArtifact, Bundle, MediaType, Sha256Hash,
    bundle::{TransparencyLogEntry, VerificationMaterialContent},
};
use sigstore_verify::{Policy as LibraryPolicy, VerificationPolicy, VerificationResult};

use super::bundle::{Candidate, SignedBy};
use super::certificate::{self, Leaf, Sct};
use super::fault::{self, Fault};
use super::log::{entry_logs, in_window, is_v1, signing_log, unknown_log};
use super::verdict::{Authenticated, SigningTime, TimeSource};
use super::{Artifact, EvidenceRequirements, PreparedRoot, Reason};
use crate::trust::diff::Kind;
use crate::trust::root::{Log, TrustRoot};

/// Verifies a certificate's signature under `root`.
pub(super) fn with_certificate(
    artifact: &Artifact,
    candidate: &Candidate,
    leaf: &Leaf,
    required: EvidenceRequirements,
    root: &PreparedRoot,
    now: Timestamp,
) -> Result<Authenticated, Fault> {
    present(candidate, required)?;
    if !chain_is_in_bundle(&candidate.bundle) && !leaf.issuer_is_named_in(root.root()) {
        return Err(untrusted(root.root()));
    }
    if required.sct {
        sct_can_be_checked(leaf, root.root())?;
    }
    let bundle = checkable(candidate, required, root.root())?;
    if carries_no_time(&bundle) {
        return Err(Fault::new(
            Reason::TimestampMissing,
            "nothing in the bundle says when it was signed: it has neither a signed timestamp nor a log entry with an authenticated time",
        ));
    }
    let mut policy = VerificationPolicy::any_identity();
    if !proves_inclusion(&bundle) {
        policy = policy.skip_tlog_unsafe();
    }
    if !required.sct {
        policy = policy.skip_sct();
    }
    let run_under = |root: &PreparedRoot| run(artifact, candidate, &bundle, root, &policy);
    let (result, outside) = match run_under(root) {
        // The library has one word for an SCT that is wrong and for one that is right and out of its log's window.
        Err(fault) if fault.reason == Reason::SctInvalid => match sct_outside_window(leaf, root) {
            Some((open, outside)) => (run_under(&open), Some(outside)),
            None => (Err(fault), None),
        },
        result => (result, None),
    };
    let result = result.map_err(|fault| explain(fault, &bundle, leaf, root.root()))?;
    let times = signing_times(&result, &bundle, root.root());
    let logs = checked(&bundle, candidate, required, &times, root.root(), now)?;
    if required.sct && !result.sct_verified() || !result.certificate_verified() {
        return Err(Fault::new(
            Reason::SctInvalid,
            "the certificate's proof of certificate transparency was not verified",
        ));
    }
    if let Some(outside) = outside {
        return Err(outside);
    }
    Ok(Authenticated {
        identity: leaf.identity.clone(),
        issuer: leaf.issuer.clone(),
        key: None,
        timestamp_authorities: authority_names(&times),
        signed_at: times,
        logs,
        sct: result.sct_verified(),
    })
}

/// What the policy requires has to be there at all; whose fault its absence is does not depend on any root.
pub(super) fn present(candidate: &Candidate, required: EvidenceRequirements) -> Result<(), Fault> {
    let material = &candidate.bundle.verification_material;
    let counts = |entry: &TransparencyLogEntry| {
        entry.inclusion_proof.is_some() || candidate.promise_suffices && entry.inclusion_promise.is_some()
    };
    if required.transparency_log && !material.tlog_entries.iter().any(counts) {
        let what = if material.tlog_entries.is_empty() {
            "the bundle has no transparency log entry"
        } else {
            "the bundle's log entry has no proof of inclusion; outside cosign's legacy form a promise of it is not enough"
        };
        return Err(Fault::new(Reason::LogEntryMissing, what));
    }
    if required.signed_timestamp && material.timestamp_verification_data.rfc3161_timestamps.is_empty() {
        return Err(Fault::new(Reason::TimestampMissing, "the bundle has no signed timestamp"));
    }
    match &candidate.signed_by {
        SignedBy::Certificate(leaf) if required.sct && leaf.scts.is_empty() => {
            Err(Fault::new(Reason::SctMissing, "the signing certificate has no signed certificate timestamp"))
        }
        _ => Ok(()),
    }
}

fn sct_can_be_checked(leaf: &Leaf, root: &TrustRoot) -> Result<(), Fault> {
    match leaf.scts.iter().find(|sct| ct_logs(sct, root).next().is_none()) {
        Some(sct) => Err(Fault::new(
            Reason::UnknownLog,
            format!(
                "the certificate says that it was logged in {}, which is no certificate transparency log of the trust root `{}`{}",
                hex::encode(sct.log),
                root.name,
                root.perhaps_left_out(Kind::CtLog)
            ),
        )),
        None => Ok(()),
    }
}

/// The logs of `root` that an SCT may be of.
fn ct_logs<'a>(sct: &Sct, root: &'a TrustRoot) -> impl Iterator<Item = &'a Log> {
    root.ct_logs.iter().filter(|log| *log.log_id.as_bytes() == sct.log)
}

/// The fault of an SCT made when its log's key did not count, and the root that does not look at that.
fn sct_outside_window(leaf: &Leaf, root: &PreparedRoot) -> Option<(PreparedRoot, Fault)> {
    let (log, at) = leaf.scts.iter().find_map(|sct| {
        let at = sct.at?;
        let counted = ct_logs(sct, root.root()).any(|log| log.window.contains(at));
        ct_logs(sct, root.root()).next().filter(|_| !counted).map(|log| (log, at))
    })?;
    let (name, window) = (log.name(), log.window);
    let text = format!(
        "the key of the certificate transparency log {name} counts {window}; the certificate was logged at {at}"
    );
    Some((root.without_ct_windows().ok()?, Fault::new(Reason::OutsideValidity, text)))
}

/// The bundle with the log entries that `root` can check.
///
/// An entry of an unknown log, or without proof, is a fault where a log entry is required. Elsewhere it counts for nothing, and is left out so that it
/// cannot lend a time.
pub(super) fn checkable(
    candidate: &Candidate,
    required: EvidenceRequirements,
    root: &TrustRoot,
) -> Result<Bundle, Fault> {
    let mut kept = candidate.bundle.clone();
    let entries = std::mem::take(&mut kept.verification_material.tlog_entries);
    let mut unknown = None;
    for entry in entries {
        if entry.inclusion_proof.is_none() && !candidate.promise_suffices && !required.transparency_log {
            continue;
        }
        if entry_logs(&entry, root).next().is_some() {
            kept.verification_material.tlog_entries.push(entry);
        } else {
            unknown = Some(unknown_log(&entry, root));
        }
    }
    if let Some(fault) = unknown.filter(|_| required.transparency_log) {
        return Err(fault);
    }
    if kept.verification_material.tlog_entries.is_empty() && kept.media_type == MediaType::Bundle0_1 {
        // Version 0.1 demands a promise that no longer takes part; 0.2 is the same form without that demand.
        kept.media_type = MediaType::Bundle0_2;
    }
    Ok(kept)
}

fn carries_no_time(bundle: &Bundle) -> bool {
    let material = &bundle.verification_material;
    material.timestamp_verification_data.rfc3161_timestamps.is_empty()
        && !material
            .tlog_entries
            .iter()
            .any(|entry| entry.inclusion_promise.is_some() && entry.integrated_time.is_some() && is_v1(entry))
}

pub(super) fn proves_inclusion(bundle: &Bundle) -> bool {
    !bundle.verification_material.tlog_entries.is_empty()
}

fn chain_is_in_bundle(bundle: &Bundle) -> bool {
    matches!(&bundle.verification_material.content, VerificationMaterialContent::X509CertificateChain { certificates } if certificates.len() > 1)
}

pub(super) fn run(
    artifact: &Artifact,
    candidate: &Candidate,
    bundle: &Bundle,
    root: &PreparedRoot,
    policy: &impl LibraryPolicy,
) -> Result<VerificationResult, Fault> {
    let input = match (&candidate.payload, &artifact.bytes) {
        (Some(payload), _) => LibraryArtifact::from(payload.as_slice()),
        (None, Some(bytes)) => LibraryArtifact::from(bytes.as_slice()),
        (None, None) => LibraryArtifact::from(Sha256Hash::new(*artifact.digest.as_bytes())),
    };
    root.verifier().verify(input, bundle, policy).map_err(|e| fault::from_library(&e))
}

/// The authenticated times, with who vouches for each: timestamps first, then log entries, in the bundle's order, as the library returns them.
pub(super) fn signing_times(result: &VerificationResult, bundle: &Bundle, root: &TrustRoot) -> Vec<SigningTime> {
    let material = &bundle.verification_material;
    let authorities = material.timestamp_verification_data.rfc3161_timestamps.iter().map(|timestamp| {
        let name = certificate::timestamp_authority(root, timestamp.signed_timestamp.as_bytes());
        TimeSource::TimestampAuthority(name.unwrap_or("a timestamp authority of the trust root").to_owned())
    });
    let logs = material
        .tlog_entries
        .iter()
        .filter(|entry| is_v1(entry) && entry.inclusion_promise.is_some() && entry.integrated_time.is_some())
        .map(|entry| {
            let name = entry_logs(entry, root).next().map(Log::name);
            TimeSource::TransparencyLog(name.unwrap_or_else(|| "a transparency log of the trust root".to_owned()))
        });
    // A bare key's result lists log entries before timestamps; a certificate's lists timestamps first.
    let sources: Vec<TimeSource> = if result.certificate().is_some() {
        authorities.chain(logs).collect()
    } else {
        logs.chain(authorities).collect()
    };
    result.verified_timestamps().iter().zip(sources).map(|(at, source)| SigningTime { at: *at, source }).collect()
}

pub(super) fn authority_names(times: &[SigningTime]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for time in times {
        match &time.source {
            TimeSource::TimestampAuthority(name) if !names.contains(name) => names.push(name.clone()),
            _ => {}
        }
    }
    names
}

/// The checks the library leaves open. Gives the names of the logs whose proof counts.
pub(super) fn checked(
    bundle: &Bundle,
    candidate: &Candidate,
    required: EvidenceRequirements,
    times: &[SigningTime],
    root: &TrustRoot,
    now: Timestamp,
) -> Result<Vec<String>, Fault> {
    if let Some(ahead) = times.iter().find(|time| time.at > now) {
        return Err(Fault::new(
            Reason::ClockSuspect,
            format!(
                "signed at {}, which lies ahead of the instant judged at ({now}): check this machine's clock",
                ahead.at
            ),
        ));
    }
    let mut logs = Vec::new();
    for entry in &bundle.verification_material.tlog_entries {
        let proven = entry.inclusion_proof.is_some();
        if !(proven || candidate.promise_suffices && entry.inclusion_promise.is_some()) {
            return Err(Fault::new(Reason::LogEntryMissing, "a log entry of the bundle has no proof of inclusion"));
        }
        tree_is_the_signed_one(entry)?;
        let log = signing_log(entry, root)?;
        in_window(log, times, now)?;
        logs.push(log.name());
    }
    let timestamped = times.iter().any(|time| matches!(time.source, TimeSource::TimestampAuthority(_)));
    if required.transparency_log && logs.is_empty() {
        return Err(Fault::new(Reason::LogEntryMissing, "no log entry of the bundle could be verified"));
    }
    if required.signed_timestamp && !timestamped {
        return Err(Fault::new(Reason::TimestampMissing, "no signed timestamp of the bundle could be verified"));
    }
    Ok(logs)
}

/// A Rekor v1 proof repeats the size of the tree; the library proves by the copy and does not hold it to the checkpoint's.
fn tree_is_the_signed_one(entry: &TransparencyLogEntry) -> Result<(), Fault> {
    let proof = entry.inclusion_proof.as_ref().filter(|_| is_v1(entry));
    match proof.and_then(|proof| proof.checkpoint.checkpoint().map(|checkpoint| (proof, checkpoint))) {
        Some((proof, checkpoint)) if proof.tree_size != checkpoint.tree_size() => Err(Fault::new(
            Reason::InclusionProofMismatch,
            format!(
                "the proof is for a tree of {} entries, and the checkpoint signs one of {}",
                proof.tree_size,
                checkpoint.tree_size()
            ),
        )),
        _ => Ok(()),
    }
}

fn untrusted(root: &TrustRoot) -> Fault {
    Fault::new(
        Reason::UntrustedAuthority,
        format!(
            "the signing certificate was not issued by an authority of the trust root `{}`{}",
            root.name,
            root.perhaps_left_out(Kind::CertificateAuthority)
        ),
    )
}

/// Tells apart what the library reports as one fault.
fn explain(fault: Fault, bundle: &Bundle, leaf: &Leaf, root: &TrustRoot) -> Fault {
    match fault.reason {
        Reason::UntrustedAuthority if leaf.signed_by_an_authority_of(root) => Fault::new(
            Reason::OutsideValidity,
            format!(
                "the signing certificate (valid {}) is of an authority of the trust root `{}` that did not count at the signing time: {}",
                certificate::window_text(leaf),
                root.name,
                fault.message
            ),
        ),
        Reason::UntrustedAuthority => untrusted(root),
        Reason::OutsideValidity
            if fault.message.contains("CertExpired") || fault.message.contains("CertNotValidYet") =>
        {
            Fault::new(
                Reason::OutsideValidity,
                format!(
                    "the signing certificate is valid {}, and it was used at another time",
                    certificate::window_text(leaf)
                ),
            )
        }
        _ => explain_timestamp(fault, bundle, root),
    }
}

pub(super) fn explain_timestamp(fault: Fault, bundle: &Bundle, root: &TrustRoot) -> Fault {
    if fault.reason != Reason::TimestampInvalid {
        return fault;
    }
    let timestamps = &bundle.verification_material.timestamp_verification_data.rfc3161_timestamps;
    let unknown = timestamps.iter().find_map(|timestamp| {
        let token = timestamp.signed_timestamp.as_bytes();
        certificate::timestamp_signer(token).filter(|_| certificate::timestamp_authority(root, token).is_none())
    });
    let Some((issuer, serial)) = unknown else { return fault };
    Fault::new(
        Reason::UnknownTimestampAuthority,
        format!(
            "a timestamp names its signer itself, as certificate {} of `{}`, which is no timestamp authority of the trust root `{}`; every time a bundle carries has to hold{}",
            hex::encode(serial),
            issuer.chars().take(100).collect::<String>(),
            root.name,
            root.perhaps_left_out(Kind::TimestampAuthority)
        ),
    )
}
