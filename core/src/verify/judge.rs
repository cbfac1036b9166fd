//! Evidence, artefact, policy, roots and an instant in; a verdict out.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::authenticate::with_certificate;
use super::bundle::{self, Candidate, SignedBy};
use super::certificate::Leaf;
use super::fault::{Fault, nearness};
use super::key::with_key;
use super::policy::{Accept, Policy, Signer};
use super::verdict::{Authenticated, Content, EvidenceVerdict, Verdict};
use super::{Artifact, Evidence, PreparedRoot, Reason};

/// Judges `artifact` by the evidence found for it.
///
/// One good piece of evidence is enough, whatever else is stored beside it; every piece is judged and its reason kept. Every required statement has to
/// be there besides. A root that is past its limit never covers: what only it verifies is [`Reason::StaleTrustRoot`].
///
/// `now` is the instant judged at: no authenticated time may lie ahead of it. (The verification library also refuses log times ahead of the machine's own
/// clock; that is reported as [`Reason::ClockSuspect`] as well.)
pub fn judge(
    artifact: &Artifact,
    evidence: &[Evidence],
    policy: &Policy,
    roots: &[&PreparedRoot],
    now: Timestamp,
) -> Verdict {
    if evidence.is_empty() {
        return Verdict::without_evidence(
            artifact.digest,
            Reason::MissingBundle,
            format!(
                "nothing signed is stored for {}; sign it in its pipeline, or carry its signature along when mirroring",
                artifact.digest
            ),
        );
    }
    let judged: Vec<EvidenceVerdict> = evidence
        .iter()
        .take(policy.limits.evidence)
        .map(|piece| judge_one(artifact, piece, policy, roots, now))
        .collect();
    let (reason, message) = conclude(&judged, &policy.accept, evidence.len() > judged.len());
    Verdict { digest: artifact.digest, reason, message, evidence: judged }
}

/// Judges one piece of evidence under every root and signer; the nearest to a pass is told.
fn judge_one(
    artifact: &Artifact,
    piece: &Evidence,
    policy: &Policy,
    roots: &[&PreparedRoot],
    now: Timestamp,
) -> EvidenceVerdict {
    let mut verdict = EvidenceVerdict {
        source: piece.source.clone(),
        form: String::new(),
        content: None,
        reason: Reason::Malformed,
        message: String::new(),
        trust_root: None,
        signer: None,
        authenticated: None,
    };
    let candidate = match bundle::read(piece, artifact.digest, &policy.limits) {
        Ok(candidate) => candidate,
        Err(unreadable) => {
            verdict.form = unreadable.form;
            verdict.reason = unreadable.fault.reason;
            verdict.message = unreadable.fault.message;
            return verdict;
        }
    };
    let attempts = match &candidate.signed_by {
        SignedBy::Certificate(leaf) => by_certificate(artifact, &candidate, leaf, policy, roots, now),
        SignedBy::Key { hint } => by_key(artifact, &candidate, hint, policy, roots, now),
    };
    verdict.form.clone_from(&candidate.form);
    if let Some(attempt) =
        attempts.into_iter().reduce(|best, next| if next.nearness() > best.nearness() { next } else { best })
    {
        verdict.content = attempt.authenticated.is_some().then(|| candidate.content.clone());
        verdict.trust_root = attempt.root;
        verdict.signer = attempt.signer;
        verdict.authenticated = attempt.authenticated;
        verdict.reason = attempt.outcome.reason;
        verdict.message = attempt.outcome.message;
    }
    verdict
}

/// The result of one piece of evidence under one root.
struct Attempt {
    root: Option<String>,
    signer: Option<String>,
    authenticated: Option<Authenticated>,
    outcome: Fault,
}

impl Attempt {
    fn failed(root: Option<&PreparedRoot>, fault: Fault) -> Self {
        Self { root: root.map(|r| r.root().name.clone()), signer: None, authenticated: None, outcome: fault }
    }

    /// The cryptography held and the policy names the signer; it covers unless the root is past its limit.
    fn passed(root: Option<&PreparedRoot>, signer: &Signer, authenticated: Authenticated) -> Self {
        let outcome = match root.and_then(|r| r.staleness().map(|why| (r, why))) {
            Some((root, why)) => Fault::new(
                Reason::StaleTrustRoot,
                format!("verified, but the trust root `{}` is past its limit: {why}", root.root().name),
            ),
            None => Fault::new(Reason::Verified, format!("signed by `{}`", signer.name())),
        };
        Self {
            root: root.map(|r| r.root().name.clone()),
            signer: Some(signer.name().to_owned()),
            authenticated: Some(authenticated),
            outcome,
        }
    }

    const fn nearness(&self) -> u8 {
        self.outcome.nearness()
    }
}

fn by_certificate(
    artifact: &Artifact,
    candidate: &Candidate,
    leaf: &Leaf,
    policy: &Policy,
    roots: &[&PreparedRoot],
    now: Timestamp,
) -> Vec<Attempt> {
    let named = policy.signers.iter().any(|signer| matches!(signer, Signer::Certificate { .. }));
    if !named {
        return vec![Attempt::failed(
            None,
            Fault::new(Reason::KeyMismatch, "signed with a certificate; the policy names keys only"),
        )];
    }
    if roots.is_empty() {
        return vec![Attempt::failed(
            None,
            Fault::new(Reason::UntrustedAuthority, "no trust root was given to verify the signing certificate with"),
        )];
    }
    roots
        .iter()
        .map(|root| match with_certificate(artifact, candidate, leaf, policy.evidence, root, now) {
            Err(fault) => Attempt::failed(Some(root), fault),
            Ok(authenticated) => match policy.signers.iter().find(|signer| names(signer, leaf)) {
                Some(signer) => Attempt::passed(Some(root), signer, authenticated),
                None => Attempt {
                    root: Some(root.root().name.clone()),
                    signer: None,
                    outcome: Fault::new(Reason::IdentityMismatch, mismatch(leaf)),
                    authenticated: Some(authenticated),
                },
            },
        })
        .collect()
}

fn names(signer: &Signer, leaf: &Leaf) -> bool {
    match signer {
        // A certificate without a name has the empty one, as engines see it: only an expression that allows nothing at all matches it.
        Signer::Certificate { subject, issuer, .. } => {
            subject.matches(leaf.identity.as_deref().unwrap_or_default())
                && issuer.matches(leaf.issuer.as_deref().unwrap_or_default())
        }
        Signer::Key { .. } => false,
    }
}

fn mismatch(leaf: &Leaf) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "no one".to_owned());
    format!(
        "signed by {} (identity provider {}), whom the policy does not name",
        or_none(&leaf.identity),
        or_none(&leaf.issuer)
    )
}

fn by_key(
    artifact: &Artifact,
    candidate: &Candidate,
    hint: &str,
    policy: &Policy,
    roots: &[&PreparedRoot],
    now: Timestamp,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for signer in &policy.signers {
        let Signer::Key { key, .. } = signer else { continue };
        let mut under = |root: Option<&PreparedRoot>| {
            attempts.push(match with_key(artifact, candidate, key, policy.evidence, root, now) {
                Err(fault) => Attempt::failed(root, fault),
                Ok(authenticated) => Attempt::passed(root, signer, authenticated),
            });
        };
        if roots.is_empty() {
            under(None);
        } else {
            for root in roots {
                under(Some(root));
            }
        }
    }
    if attempts.is_empty() {
        let hint = if hint.is_empty() { String::new() } else { format!(" (hint `{hint}`)") };
        attempts.push(Attempt::failed(
            None,
            Fault::new(
                Reason::KeyMismatch,
                format!("signed with a key{hint}; the policy names certificate identities only"),
            ),
        ));
    }
    attempts
}

/// What all the evidence together amounts to.
fn conclude(judged: &[EvidenceVerdict], accept: &Accept, truncated: bool) -> (Reason, String) {
    let is_signature = |verdict: &EvidenceVerdict| matches!(verdict.content, Some(Content::Signature));
    let states = |verdict: &EvidenceVerdict, wanted: &str| matches!(&verdict.content, Some(Content::Statement { predicate_type }) if predicate_type == wanted);
    let mut missing = match accept {
        Accept::Either => missing_one(judged, |_| true, "nothing that counts"),
        Accept::Signature { .. } => missing_one(judged, is_signature, "no signature"),
        Accept::Statements(types) if types.is_empty() => Some((
            Reason::PredicateMissing,
            "the policy asks for no statement and for no signature, so nothing can cover".to_owned(),
        )),
        Accept::Statements(_) => None,
    };
    let types: &[String] = match accept {
        Accept::Signature { attestations } => attestations,
        Accept::Statements(types) => types,
        Accept::Either => &[],
    };
    for wanted in types {
        missing =
            missing.or_else(|| missing_one(judged, |v| states(v, wanted), &format!("no statement of type {wanted}")));
    }
    match missing {
        None => (Reason::Verified, passes(judged)),
        Some(_) if truncated => (
            Reason::ListingTruncated,
            format!(
                "none of the first {} pieces of evidence covers, and there are more; remove what does not belong to the image",
                judged.len()
            ),
        ),
        Some(missing) => missing,
    }
}

/// Why no evidence of one kind passed: the fault nearest to a pass, or its absence where others passed that are not of the kind.
fn missing_one(
    judged: &[EvidenceVerdict],
    wanted: impl Fn(&EvidenceVerdict) -> bool,
    what: &str,
) -> Option<(Reason, String)> {
    if judged.iter().any(|v| v.reason == Reason::Verified && wanted(v)) {
        return None;
    }
    // Content is known only once the cryptography held; what failed before may have been of the kind.
    let nearest = judged
        .iter()
        .filter(|v| v.reason != Reason::Verified && (v.content.is_none() || wanted(v)))
        .reduce(|best, next| if nearness(next.reason) > nearness(best.reason) { next } else { best });
    if let Some(nearest) = nearest {
        return Some((nearest.reason, nearest.message.clone()));
    }
    // All of it is authenticated and of another kind, then. Pieces come in the order of a listing, which says nothing.
    let others: BTreeSet<&str> = judged.iter().map(kind).collect();
    let others: Vec<&str> = others.into_iter().collect();
    Some((Reason::PredicateMissing, format!("signed, but {what} is among it: found {}", others.join(", "))))
}

fn kind(verdict: &EvidenceVerdict) -> &str {
    match &verdict.content {
        Some(Content::Statement { predicate_type }) => predicate_type,
        Some(Content::Signature) => "a signature",
        None => "unread evidence",
    }
}

fn passes(judged: &[EvidenceVerdict]) -> String {
    let signers: BTreeSet<&str> =
        judged.iter().filter(|v| v.reason == Reason::Verified).filter_map(|v| v.signer.as_deref()).collect();
    let signers: Vec<String> = signers.into_iter().map(|signer| format!("`{signer}`")).collect();
    format!("signed by {}", signers.join(", "))
}
