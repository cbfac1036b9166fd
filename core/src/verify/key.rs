//! Signatures by a bare key.

use jiff::Timestamp;
use sigstore_verify::PublicKeyVerificationPolicy;
use sigstore_verify::crypto::{ArtifactHasher, KeyAlgorithm, sha512, verify_signature, verify_signature_prehashed};
use sigstore_verify::types::{
    Bundle, DerPublicKey, HashAlgorithm, Sha256Hash, SignatureContent, Statement, bundle::MessageDigest,
};

use super::authenticate::{
    authority_names, checkable, checked, explain_timestamp, present, proves_inclusion, run, signing_times,
};
use super::bundle::Candidate;
use super::fault::Fault;
use super::verdict::{Authenticated, SigningTime};
use super::{Artifact, EvidenceRequirements, PreparedRoot, Reason};
use crate::Digest;
use crate::trust::root::ManagedKey;

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
    let bundle = if let Some(root) = root {
        checkable(candidate, required, root.root())?
    } else {
        let mut bare = candidate.bundle.clone();
        bare.verification_material.tlog_entries.clear();
        bare
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
                Reason::SignatureInvalid => Fault::new(
                    Reason::KeyMismatch,
                    format!("the signature is not by the key `{}`, or not over this artefact", key.name),
                ),
                _ => explain_timestamp(fault, &bundle, root.root()),
            })?;
            let times = signing_times(&result, &bundle, root.root());
            authenticated.logs = checked(&bundle, candidate, required, &times, root.root(), now)?;
            authenticated.timestamp_authorities = authority_names(&times);
            authenticated.signed_at = times;
        }
        // What is required is there: that was looked at first.
        None if required.transparency_log => return Err(unchecked(Reason::UnknownLog, "a log entry", "log")),
        None if !material.timestamp_verification_data.rfc3161_timestamps.is_empty() => {
            return Err(unchecked(Reason::UnknownTimestampAuthority, "a signed timestamp", "timestamp authority"));
        }
        None => bare_key(artifact, candidate, &bundle, key)?,
    }
    in_key_window(key, &authenticated.signed_at, now)?;
    Ok(authenticated)
}

fn unchecked(reason: Reason, carried: &str, holder: &str) -> Fault {
    Fault::new(
        reason,
        format!(
            "the bundle carries {carried}, and no trust root was given to check it with: give the one that holds its {holder}"
        ),
    )
}

fn in_key_window(key: &ManagedKey, times: &[SigningTime], now: Timestamp) -> Result<(), Fault> {
    let outside =
        times.iter().map(|time| time.at).chain(times.is_empty().then_some(now)).find(|at| !key.window.contains(*at));
    match outside {
        Some(at) => Err(Fault::new(
            Reason::OutsideValidity,
            format!("the key `{}` counts {}; {at} lies outside", key.name, key.window),
        )),
        None => Ok(()),
    }
}

/// A key's signature that stands alone: no log, no timestamp, so nothing but the arithmetic and the artefact's digest.
fn bare_key(artifact: &Artifact, candidate: &Candidate, bundle: &Bundle, key: &ManagedKey) -> Result<(), Fault> {
    let spki = DerPublicKey::new(key.key.clone());
    let algorithm = KeyAlgorithm::from_spki(&spki)
        .map_err(|e| Fault::new(Reason::UnsupportedFormat, format!("the key `{}` cannot be used: {e}", key.name)))?;
    let foreign = || {
        Fault::new(
            Reason::KeyMismatch,
            format!("the signature is not by the key `{}`, or not over this artefact", key.name),
        )
    };
    match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => {
            verify_signature(&spki, &envelope.pae(), &envelope.signature.sig, algorithm.default_signing_scheme())
                .map_err(|_| foreign())?;
            let statement: Statement = serde_json::from_slice(envelope.payload.as_bytes())
                .map_err(|e| Fault::new(Reason::Malformed, format!("the statement cannot be read: {e}")))?;
            let bound = statement.matches_sha256(&Sha256Hash::new(*artifact.digest.as_bytes()))
                || artifact.bytes.as_deref().is_some_and(|bytes| statement.matches_sha512(&sha512(bytes)));
            if bound {
                Ok(())
            } else {
                Err(Fault::new(Reason::DigestMismatch, "the statement is about another digest"))
            }
        }
        SignatureContent::MessageSignature(message) => {
            let bytes = candidate.payload.as_deref().or(artifact.bytes.as_deref());
            let digest = candidate.payload.as_deref().map_or(artifact.digest, Digest::of);
            if let Some(declared) = &message.message_digest {
                let wrong =
                    declared.algorithm != HashAlgorithm::Sha2256 || declared.digest.as_bytes() != digest.as_bytes();
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
                None if scheme.hash_algorithm() == Some(HashAlgorithm::Sha2256) => {
                    verify_signature_prehashed(&spki, digest.as_bytes(), &message.signature, scheme)
                        .map_err(|_| foreign())
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

fn digest_matches(declared: &MessageDigest, bytes: &[u8]) -> bool {
    ArtifactHasher::new(declared.algorithm).is_ok_and(|mut hasher| {
        hasher.update(bytes);
        hasher.finalize().as_bytes() == declared.digest.as_bytes()
    })
}
