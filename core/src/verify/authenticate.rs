//! The cryptography of one bundle under one trust root: all of it holds, or a typed reason says what does not.
//!
//! What the verification library leaves open is closed here, each with a test:
//! - every log entry that counts carries a proof of inclusion (the library accepts a promise where the unsigned media type says 0.1);
//! - a checkpoint counts for the log that the entry names, and only inside that log key's window at every signing time (the library takes any log of the
//!   root whose window has begun);
//! - certificates of authorities count only while they are valid themselves (see `Authority::effective_window`);
//! - no authenticated time lies ahead of `now` (the library looks at the wall clock, and not for timestamps);
//! - a signature by a bare key without log and timestamp can be verified at all.

use jiff::Timestamp;
use sigstore_verify::crypto::{KeyAlgorithm, VerificationKey, verify_signature};
use sigstore_verify::types::{
    Artifact as LibraryArtifact, Bundle, DerPublicKey, KindVersion, MediaType, Sha256Hash, SignatureContent, Statement,
    bundle::TransparencyLogEntry,
};
use sigstore_verify::{Policy as LibraryPolicy, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult};

use super::bundle::{Candidate, SignedBy};
use super::certificate::{self, Leaf};
use super::fault::{self, Fault};
use super::verdict::{Authenticated, SigningTime, TimeSource};
use super::{Artifact, EvidenceRequirements, PreparedRoot, Reason};
use crate::trust::root::{Log, ManagedKey, TrustRoot, Window};
use crate::Digest;

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
    if !chain_is_in_bundle(&bundle) && !leaf.issuer_is_named_in(root.root()) {
        return Err(untrusted(root.root()));
    }
    let mut policy = VerificationPolicy::any_identity();
    if !proves_inclusion(&bundle) {
        policy = policy.skip_tlog_unsafe();
    }
    if !required.sct {
        policy = policy.skip_sct();
    }
    let result = run(artifact, candidate, &bundle, root, &policy).map_err(|fault| explain(fault, &bundle, leaf, root.root()))?;
    let times = signing_times(&result, &bundle, root.root());
    let logs = checked(&bundle, candidate, required, &times, root.root(), now)?;
    if required.sct && !result.sct_verified() || !result.certificate_verified() {
        return Err(Fault::new(Reason::SctInvalid, "the certificate's proof of certificate transparency was not verified"));
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

/// Verifies a bare key's signature; the log and the timestamp, where there are any, under `root`.
pub(super) fn with_key(
    artifact: &Artifact,
    candidate: &Candidate,
    key: &ManagedKey,
    required: EvidenceRequirements,
    root: Option<&PreparedRoot>,
    now: Timestamp,
) -> Result<Authenticated, Fault> {
    present(candidate, required)?;
    let mut authenticated = Authenticated { key: Some(key.key_digest), ..Authenticated::default() };
    let bundle = match root {
        Some(root) => checkable(candidate, required, root.root())?,
        None => without_log(&candidate.bundle),
    };
    let material = &bundle.verification_material;
    let bare = material.tlog_entries.is_empty() && material.timestamp_verification_data.rfc3161_timestamps.is_empty();
    match root.filter(|_| !bare) {
        Some(root) => {
            let mut policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.key.clone()));
            if !proves_inclusion(&bundle) {
                policy = policy.skip_tlog_unsafe();
            }
            let result = run(artifact, candidate, &bundle, root, &policy).map_err(|fault| match fault.reason {
                Reason::SignatureInvalid => Fault::new(Reason::KeyMismatch, format!("the signature is not by the key `{}`, or not over this artefact", key.name)),
                _ => explain_timestamp(fault, &bundle, root.root()),
            })?;
            let times = signing_times(&result, &bundle, root.root());
            authenticated.logs = checked(&bundle, candidate, required, &times, root.root(), now)?;
            authenticated.timestamp_authorities = authority_names(&times);
            authenticated.signed_at = times;
        }
        None if required.transparency_log || required.signed_timestamp || !material.timestamp_verification_data.rfc3161_timestamps.is_empty() => {
            return Err(Fault::new(
                Reason::UnknownLog,
                "the bundle carries a log entry or timestamp, and no trust root was given to check it with",
            ));
        }
        None => bare_key(artifact, candidate, &bundle, key)?,
    }
    in_key_window(key, &authenticated.signed_at, now)?;
    Ok(authenticated)
}

/// What the policy requires has to be there at all; whose fault its absence is does not depend on any root.
fn present(candidate: &Candidate, required: EvidenceRequirements) -> Result<(), Fault> {
    let material = &candidate.bundle.verification_material;
    let counts = |entry: &TransparencyLogEntry| {
        entry.inclusion_proof.is_some() || candidate.promise_suffices && entry.inclusion_promise.is_some()
    };
    if required.transparency_log && !material.tlog_entries.iter().any(counts) {
        let what = if material.tlog_entries.is_empty() {
            "the bundle has no transparency log entry"
        } else {
            "the bundle's log entry has a promise of inclusion and no proof; outside cosign's legacy form a proof is needed"
        };
        return Err(Fault::new(Reason::LogEntryMissing, what));
    }
    if required.signed_timestamp && material.timestamp_verification_data.rfc3161_timestamps.is_empty() {
        return Err(Fault::new(Reason::TimestampMissing, "the bundle has no signed timestamp"));
    }
    if let (SignedBy::Certificate(leaf), true) = (&candidate.signed_by, required.sct) {
        if leaf.sct_logs.is_empty() {
            return Err(Fault::new(Reason::SctMissing, "the signing certificate has no signed certificate timestamp"));
        }
    }
    Ok(())
}

fn sct_can_be_checked(leaf: &Leaf, root: &TrustRoot) -> Result<(), Fault> {
    let known = |id: &[u8; 32]| root.ct_logs.iter().any(|log| log.log_id.as_bytes() == id);
    match leaf.sct_logs.iter().find(|id| !known(id)) {
        Some(id) => Err(Fault::new(
            Reason::UnknownLog,
            format!("the certificate's transparency log {} is not in the trust root `{}`", hex::encode(id), root.name),
        )),
        None => Ok(()),
    }
}

/// The bundle with the log entries that `root` can check.
///
/// An entry of an unknown log, or without proof, is a fault where a log entry is required. Elsewhere it counts for nothing, and is left out so that it
/// cannot lend a time.
fn checkable(candidate: &Candidate, required: EvidenceRequirements, root: &TrustRoot) -> Result<Bundle, Fault> {
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
            unknown = Some(named_log(&entry));
        }
    }
    if let (Some(log), true) = (&unknown, required.transparency_log) {
        return Err(Fault::new(Reason::UnknownLog, format!("the entry is of {log}, which is not in the trust root `{}`", root.name)));
    }
    if kept.verification_material.tlog_entries.is_empty() && kept.media_type == MediaType::Bundle0_1 {
        // Version 0.1 demands a promise that no longer takes part; 0.2 is the same form without that demand.
        kept.media_type = MediaType::Bundle0_2;
    }
    Ok(kept)
}

fn without_log(bundle: &Bundle) -> Bundle {
    let mut kept = bundle.clone();
    kept.verification_material.tlog_entries.clear();
    kept
}

/// The logs of `root` that may have made this entry: by its log id where the log signs it (Rekor v1), by the checkpoint's key hints else.
fn entry_logs<'a>(entry: &'a TransparencyLogEntry, root: &'a TrustRoot) -> impl Iterator<Item = &'a Log> {
    root.logs.iter().filter(move |log| {
        if entry.inclusion_promise.is_some() && log.log_id.as_bytes().as_slice() != entry.log_id.key_id.as_bytes() {
            return false;
        }
        match entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()) {
            Some(checkpoint) => checkpoint.signatures().iter().any(|s| log.log_id.as_bytes().starts_with(s.key_id.as_bytes())),
            None => log.log_id.as_bytes().as_slice() == entry.log_id.key_id.as_bytes(),
        }
    })
}

fn named_log(entry: &TransparencyLogEntry) -> String {
    let origin = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint()).map(|c| c.origin().chars().take(100).collect::<String>());
    origin.map_or_else(|| "a log without checkpoint".to_owned(), |origin| format!("the log `{origin}`"))
}

fn carries_no_time(bundle: &Bundle) -> bool {
    let material = &bundle.verification_material;
    material.timestamp_verification_data.rfc3161_timestamps.is_empty()
        && !material.tlog_entries.iter().any(|entry| entry.inclusion_promise.is_some() && entry.integrated_time.is_some() && is_v1(entry))
}

fn is_v1(entry: &TransparencyLogEntry) -> bool {
    entry.kind_version != KindVersion::HashedRekordV002
}

fn proves_inclusion(bundle: &Bundle) -> bool {
    !bundle.verification_material.tlog_entries.is_empty()
}

fn chain_is_in_bundle(bundle: &Bundle) -> bool {
    use sigstore_verify::types::bundle::VerificationMaterialContent;
    matches!(&bundle.verification_material.content, VerificationMaterialContent::X509CertificateChain { certificates } if certificates.len() > 1)
}

fn run(
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
fn signing_times(result: &VerificationResult, bundle: &Bundle, root: &TrustRoot) -> Vec<SigningTime> {
    let material = &bundle.verification_material;
    let authorities = material.timestamp_verification_data.rfc3161_timestamps.iter().map(|timestamp| {
        let name = certificate::timestamp_authority(root, timestamp.signed_timestamp.as_bytes());
        TimeSource::TimestampAuthority(name.unwrap_or("a timestamp authority of the trust root").to_owned())
    });
    let logs = material
        .tlog_entries
        .iter()
        .filter(|entry| is_v1(entry) && entry.inclusion_promise.is_some() && entry.integrated_time.is_some())
        .map(|entry| TimeSource::TransparencyLog(entry_logs(entry, root).next().map_or_else(|| named_log(entry), Log::name)));
    // A bare key's result lists log entries before timestamps; a certificate's lists timestamps first.
    let sources: Vec<TimeSource> = if result.certificate().is_some() { authorities.chain(logs).collect() } else { logs.chain(authorities).collect() };
    result.verified_timestamps().iter().zip(sources).map(|(at, source)| SigningTime { at: *at, source }).collect()
}

fn authority_names(times: &[SigningTime]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for time in times {
        if let TimeSource::TimestampAuthority(name) = &time.source {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// The checks the library leaves open. Gives the names of the logs whose proof counts.
fn checked(
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
            format!("signed at {}, which lies ahead of the instant judged at ({now}): check this machine's clock", ahead.at),
        ));
    }
    let mut logs = Vec::new();
    for entry in &bundle.verification_material.tlog_entries {
        let proven = entry.inclusion_proof.is_some();
        if !proven && !(candidate.promise_suffices && entry.inclusion_promise.is_some()) {
            return Err(Fault::new(Reason::LogEntryMissing, "a log entry of the bundle has no proof of inclusion"));
        }
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

/// The log whose key really signed what the entry relies on.
fn signing_log<'a>(entry: &TransparencyLogEntry, root: &'a TrustRoot) -> Result<&'a Log, Fault> {
    let candidates: Vec<&Log> = root.logs.iter().filter(|log| entry_logs(entry, root).any(|other| other.log_id == log.log_id)).collect();
    let checkpoint = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint());
    let foreign = || {
        Fault::new(Reason::InclusionProofMismatch, "the checkpoint is not signed by the log that the entry names")
    };
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

fn in_window(log: &Log, times: &[SigningTime], now: Timestamp) -> Result<(), Fault> {
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

fn in_key_window(key: &ManagedKey, times: &[SigningTime], now: Timestamp) -> Result<(), Fault> {
    let outside = times.iter().map(|time| time.at).chain(times.is_empty().then_some(now)).find(|at| !key.window.contains(*at));
    match outside {
        Some(at) if key.window != Window::ALWAYS => {
            Err(Fault::new(Reason::OutsideValidity, format!("the key `{}` counts {}; {at} lies outside", key.name, key.window)))
        }
        _ => Ok(()),
    }
}

/// A key's signature that stands alone: no log, no timestamp, so nothing but the arithmetic and the artefact's digest.
fn bare_key(artifact: &Artifact, candidate: &Candidate, bundle: &Bundle, key: &ManagedKey) -> Result<(), Fault> {
    let spki = DerPublicKey::new(key.key.clone());
    let algorithm = KeyAlgorithm::from_spki(&spki)
        .map_err(|e| Fault::new(Reason::UnsupportedFormat, format!("the key `{}` cannot be used: {e}", key.name)))?;
    let foreign = || Fault::new(Reason::KeyMismatch, format!("the signature is not by the key `{}`, or not over this artefact", key.name));
    match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => {
            verify_signature(&spki, &envelope.pae(), &envelope.signature.sig, algorithm.default_signing_scheme()).map_err(|_| foreign())?;
            let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
                .map_err(|e| Fault::new(Reason::Malformed, format!("the statement cannot be read: {e}")))?;
            let bound = statement.matches_sha256(&Sha256Hash::new(*artifact.digest.as_bytes()))
                || artifact.bytes.as_deref().is_some_and(|bytes| statement.matches_sha512(&sigstore_verify::crypto::sha512(bytes)));
            if bound { Ok(()) } else { Err(Fault::new(Reason::DigestMismatch, "the statement is about another digest")) }
        }
        SignatureContent::MessageSignature(message) => {
            let bytes = candidate.payload.as_deref().or(artifact.bytes.as_deref());
            let digest = candidate.payload.as_deref().map_or(artifact.digest, Digest::of);
            if let Some(declared) = &message.message_digest {
                let wrong = declared.algorithm != sigstore_verify::types::HashAlgorithm::Sha2256 || declared.digest.as_bytes() != digest.as_bytes();
                if wrong && bytes.is_none_or(|bytes| !digest_matches(declared, bytes)) {
                    return Err(Fault::new(Reason::DigestMismatch, "the signature is over another digest"));
                }
            }
            let scheme = match &message.message_digest {
                Some(declared) => algorithm.resolve_signing_scheme(declared.algorithm),
                None => Ok(algorithm.default_signing_scheme()),
            }
            .map_err(|e| Fault::new(Reason::UnsupportedFormat, e.to_string()))?;
            match bytes {
                Some(bytes) => verify_signature(&spki, bytes, &message.signature, scheme).map_err(|_| foreign()),
                None if scheme.hash_algorithm() == Some(sigstore_verify::types::HashAlgorithm::Sha2256) => {
                    sigstore_verify::crypto::verify_signature_prehashed(&spki, digest.as_bytes(), &message.signature, scheme).map_err(|_| foreign())
                }
                None => Err(Fault::new(
                    Reason::UnsupportedFormat,
                    format!("a signature of scheme {} needs the artefact's bytes, not its digest alone", scheme.name()),
                )),
            }
        }
        _ => Err(Fault::new(Reason::UnsupportedFormat, "the bundle holds neither a signature nor a statement")),
    }
}

fn digest_matches(declared: &sigstore_verify::types::bundle::MessageDigest, bytes: &[u8]) -> bool {
    sigstore_verify::crypto::ArtifactHasher::new(declared.algorithm).is_ok_and(|mut hasher| {
        hasher.update(bytes);
        hasher.finalize().as_bytes() == declared.digest.as_bytes()
    })
}

fn untrusted(root: &TrustRoot) -> Fault {
    Fault::new(
        Reason::UntrustedAuthority,
        format!("the signing certificate was not issued by an authority of the trust root `{}`", root.name),
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
        _ => explain_timestamp(fault, bundle, root),
    }
}

fn explain_timestamp(fault: Fault, bundle: &Bundle, root: &TrustRoot) -> Fault {
    if fault.reason != Reason::TimestampInvalid {
        return fault;
    }
    let timestamps = &bundle.verification_material.timestamp_verification_data.rfc3161_timestamps;
    let unknown = timestamps.iter().any(|timestamp| {
        let token = timestamp.signed_timestamp.as_bytes();
        certificate::timestamp_signer(token).is_some() && certificate::timestamp_authority(root, token).is_none()
    });
    if unknown {
        return Fault::new(
            Reason::UnknownTimestampAuthority,
            format!("a timestamp is of an authority that is not in the trust root `{}`; every time a bundle carries has to hold", root.name),
        );
    }
    fault
}
