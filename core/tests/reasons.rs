//! Every good form passes, and every single flaw is named by its reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_core::Digest;
use holdfast_core::trust::root::{ManagedKey, TrustRoot, Window};
use holdfast_core::verify::policy::SIGNATURE_PREDICATE;
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceForm, EvidenceRequirements, Limits, Matcher, Outcome, Policy, PreparedRoot,
    Reason, Signer, Verdict, judge,
};
use holdfast_testpki::{Flaw, Legacy, LogForm, Recipe, SignerForm, Sigstore, Subject};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::at;

const SUBJECT: &str = "https://ci.example/acme/web/release.yaml@refs/heads/main";
const ISSUER: &str = "https://issuer.example";
const IMAGE: &[u8] = br#"{"an":"image manifest"}"#;
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn image() -> Recipe {
    Recipe::image(SUBJECT, ISSUER)
}

fn blob() -> Recipe {
    Recipe::blob(SUBJECT, ISSUER)
}

fn now() -> Timestamp {
    at("2026-07-01T00:00:00Z")
}

fn release() -> Signer {
    Signer::Certificate {
        name: "web-release".to_owned(),
        subject: Matcher::Exact(SUBJECT.to_owned()),
        issuer: Matcher::Exact(ISSUER.to_owned()),
    }
}

fn policy() -> Policy {
    Policy {
        signers: vec![release()],
        evidence: EvidenceRequirements::DEFAULT,
        accept: Accept::Signature { attestations: Vec::new() },
        limits: Limits::default(),
    }
}

fn root_of(document: &Value) -> PreparedRoot {
    PreparedRoot::new(TrustRoot::from_json("corp", document.to_string().as_bytes()).unwrap()).unwrap()
}

fn evidence(bundle: &Value) -> Evidence {
    Evidence::bundle("bundle.json", bundle.to_string().into_bytes())
}

fn judged(bundles: &[Value], policy: &Policy, root: &PreparedRoot) -> Verdict {
    let evidence: Vec<Evidence> = bundles.iter().map(evidence).collect();
    judge(&Artifact::of_bytes(IMAGE.to_vec()), &evidence, policy, &[root], now())
}

fn key_policy(sigstore: &Sigstore, evidence: EvidenceRequirements) -> Policy {
    let key = ManagedKey::from_bytes("release", sigstore.managed_key.pem().as_bytes(), Window::ALWAYS).unwrap();
    Policy { signers: vec![Signer::Key { name: "release".to_owned(), key: Box::new(key) }], evidence, ..policy() }
}

const NOTHING: EvidenceRequirements =
    EvidenceRequirements { transparency_log: false, signed_timestamp: false, sct: false };

#[test]
fn every_good_form_passes() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let v0 = |version: &str| -> &'static str {
        match version {
            "0.1" => "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "0.2" => "application/vnd.dev.sigstore.bundle+json;version=0.2",
            _ => "application/vnd.dev.sigstore.bundle+json;version=0.3",
        }
    };
    for (name, recipe) in [
        ("cosign v3 image", image()),
        ("without timestamp", Recipe { timestamp: false, ..image() }),
        ("Rekor v2", Recipe { log: LogForm::V2, ..image() }),
        ("intoto entry", Recipe { intoto_entry: true, ..image() }),
        ("blob", blob()),
        ("blob in Rekor v2", Recipe { log: LogForm::V2, ..blob() }),
        ("v0.3 in its other spelling", Recipe { media_type: v0("0.3"), ..image() }),
        ("v0.2", Recipe { media_type: v0("0.2"), ..blob() }),
        ("v0.1", Recipe { media_type: v0("0.1"), ..blob() }),
    ] {
        let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], &policy(), &root);
        assert_eq!(verdict.reason, Reason::Verified, "{name}: {verdict:#?}");
        let authenticated = verdict.evidence[0].authenticated.as_ref().unwrap();
        assert_eq!(authenticated.identity.as_deref(), Some(SUBJECT), "{name}");
        assert!(authenticated.sct, "{name}");
        assert_eq!(authenticated.logs.len(), 1, "{name}");
        let authorities = usize::from(recipe.timestamp);
        assert_eq!(authenticated.timestamp_authorities.len(), authorities, "{name}");
    }
}

#[test]
fn every_flaw_is_named() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let v2 = || Recipe { log: LogForm::V2, ..image() };
    for (recipe, want) in [
        (image().with(Flaw::Signature), Reason::SignatureInvalid),
        (blob().with(Flaw::Signature), Reason::SignatureInvalid),
        (image().with(Flaw::OtherArtifact), Reason::DigestMismatch),
        (blob().with(Flaw::OtherArtifact), Reason::DigestMismatch),
        (image().with(Flaw::InclusionProof), Reason::InclusionProofMismatch),
        (v2().with(Flaw::InclusionProof), Reason::InclusionProofMismatch),
        (image().with(Flaw::CheckpointKey), Reason::InclusionProofMismatch),
        (v2().with(Flaw::CheckpointKey), Reason::InclusionProofMismatch),
        (image().with(Flaw::Promise), Reason::InclusionProofMismatch),
        (image().with(Flaw::IntegratedTime), Reason::InclusionProofMismatch),
        (image().with(Flaw::ForeignEntry), Reason::EntryMismatch),
        (blob().with(Flaw::ForeignEntry), Reason::EntryMismatch),
        (v2().with(Flaw::ForeignEntry), Reason::EntryMismatch),
        (image().with(Flaw::Sct), Reason::SctInvalid),
        (image().with(Flaw::UnknownCtLog), Reason::UnknownLog),
        (Recipe { sct: false, ..image() }, Reason::SctMissing),
        (image().with(Flaw::TimestampOverOther), Reason::TimestampInvalid),
        (image().with(Flaw::UnknownTimestampAuthority), Reason::UnknownTimestampAuthority),
        (image().with(Flaw::UnknownAuthority), Reason::UntrustedAuthority),
        (image().with(Flaw::ExpiredCertificate), Reason::OutsideValidity),
        (image().with(Flaw::UnknownLog), Reason::UnknownLog),
        (v2().with(Flaw::UnknownLog), Reason::UnknownLog),
        (image().with(Flaw::NoProof), Reason::LogEntryMissing),
        (Recipe { log: LogForm::None, ..image() }, Reason::LogEntryMissing),
        (Recipe { timestamp: false, ..v2() }, Reason::TimestampMissing),
        (image().with(Flaw::UnknownEntryKind), Reason::UnsupportedFormat),
        (Recipe { media_type: "application/vnd.dev.sigstore.bundle.v9+json", ..image() }, Reason::UnsupportedFormat),
        (image().with(Flaw::DuplicateEntry), Reason::Malformed),
        (image().with(Flaw::DuplicateTimestamp), Reason::Malformed),
        (image().with(Flaw::TwoSubjects), Reason::Malformed),
        (Recipe { at: at("2026-08-01T00:00:00Z"), ..image() }, Reason::ClockSuspect),
        (Recipe { at: at("2025-01-01T00:00:00Z"), ..image() }, Reason::OutsideValidity),
        (Recipe::image("https://ci.example/someone/else", ISSUER), Reason::IdentityMismatch),
        (Recipe::image(SUBJECT, "https://other-issuer.example"), Reason::IdentityMismatch),
        (Recipe { predicate: Some(PROVENANCE.to_owned()), ..image() }, Reason::PredicateMissing),
        (Recipe { signer: SignerForm::Key, ..image() }, Reason::KeyMismatch),
    ] {
        let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], &policy(), &root);
        assert_eq!(verdict.reason, want, "{recipe:?}: {verdict:#?}");
        assert_ne!(verdict.outcome(), Outcome::Covered);
    }
    assert_eq!(judged(&[], &policy(), &root).reason, Reason::MissingBundle);
}

/// The library takes a checkpoint of any log of the root; an entry has to be proven by the log it names.
#[test]
fn a_checkpoint_counts_only_for_the_log_the_entry_names() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let verdict = judged(&[sigstore.bundle(IMAGE, &image().with(Flaw::CheckpointOfOtherLog))], &policy(), &root);
    assert_ne!(verdict.outcome(), Outcome::Covered, "{verdict:#?}");
}

/// The library looks at the start of a log key's window only, where the entry has no time of its own.
#[test]
fn a_log_whose_window_ended_before_the_signature_does_not_count() {
    let sigstore = Sigstore::new();
    for (recipe, log) in [(image(), 0), (Recipe { log: LogForm::V2, ..image() }, 2)] {
        let mut document = sigstore.trusted_root();
        document["tlogs"][log]["publicKey"]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
        let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], &policy(), &root_of(&document));
        assert_eq!(verdict.reason, Reason::OutsideValidity, "{verdict:#?}");
    }
}

#[test]
fn an_authority_whose_window_ended_before_the_signature_does_not_count() {
    let sigstore = Sigstore::new();
    for path in
        ["/certificateAuthorities/0/validFor", "/timestampAuthorities/0/validFor", "/ctlogs/0/publicKey/validFor"]
    {
        let mut document = sigstore.trusted_root();
        document.pointer_mut(path).unwrap()["end"] = json!("2026-01-01T00:00:00Z");
        let verdict = judged(&[sigstore.bundle(IMAGE, &image())], &policy(), &root_of(&document));
        assert_eq!(verdict.reason, Reason::OutsideValidity, "{path}: {verdict:#?}");
    }
}

/// A log's window says something of proofs that hold; nothing else that is wrong hides behind it.
#[test]
fn an_sct_out_of_its_logs_window_is_a_matter_of_trust_only_where_all_else_holds() {
    let sigstore = Sigstore::new();
    for (edge, at) in [("end", "2026-01-01T00:00:00Z"), ("start", "2026-06-30T00:00:00Z")] {
        let mut document = sigstore.trusted_root();
        document["ctlogs"][0]["publicKey"]["validFor"][edge] = json!(at);
        let root = root_of(&document);
        for (recipe, want) in [
            (image(), Reason::OutsideValidity),
            (image().with(Flaw::Sct), Reason::SctInvalid),
            (image().with(Flaw::Signature), Reason::SignatureInvalid),
            (image().with(Flaw::OtherArtifact), Reason::DigestMismatch),
            (image().with(Flaw::CheckpointKey), Reason::InclusionProofMismatch),
            (image().with(Flaw::UnknownAuthority), Reason::UntrustedAuthority),
        ] {
            let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], &policy(), &root);
            assert_eq!(verdict.reason, want, "{edge} {recipe:?}: {verdict:#?}");
        }
        let without =
            Policy { evidence: EvidenceRequirements { sct: false, ..EvidenceRequirements::DEFAULT }, ..policy() };
        assert_eq!(judged(&[sigstore.bundle(IMAGE, &image())], &without, &root).reason, Reason::Verified);
    }
}

/// Path validation does not look at the expiry of a trust anchor.
#[test]
fn an_authority_whose_own_certificate_ended_does_not_count() {
    let sigstore = Sigstore::founded(at("2005-01-01T00:00:00Z"));
    let root = root_of(&sigstore.trusted_root());
    let verdict = judged(&[sigstore.bundle(IMAGE, &image())], &policy(), &root);
    assert_ne!(verdict.outcome(), Outcome::Covered, "{verdict:#?}");
    let verdict =
        judged(&[sigstore.bundle(IMAGE, &Recipe { at: at("2006-01-01T00:00:00Z"), ..image() })], &policy(), &root);
    assert_eq!(verdict.reason, Reason::Verified, "{verdict:#?}");
}

/// What a root lacks switches nothing off.
#[test]
fn requirements_never_follow_from_what_a_root_lacks() {
    let sigstore = Sigstore::new();
    let bundle = sigstore.bundle(IMAGE, &image());
    for (field, want) in [
        ("tlogs", Reason::UnknownLog),
        ("ctlogs", Reason::UnknownLog),
        ("timestampAuthorities", Reason::UnknownTimestampAuthority),
        ("certificateAuthorities", Reason::UntrustedAuthority),
    ] {
        let mut document = sigstore.trusted_root();
        document[field] = json!([]);
        let verdict = judged(std::slice::from_ref(&bundle), &policy(), &root_of(&document));
        assert_eq!(verdict.reason, want, "{field}: {verdict:#?}");
    }
}

/// An entry that cannot be checked lends no time and does not count as a log entry.
#[test]
fn without_the_log_requirement_an_unknown_log_is_no_help_and_no_harm() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let relaxed = Policy {
        evidence: EvidenceRequirements { transparency_log: false, ..EvidenceRequirements::DEFAULT },
        ..policy()
    };
    let with_timestamp = judged(&[sigstore.bundle(IMAGE, &image().with(Flaw::UnknownLog))], &relaxed, &root);
    assert_eq!(with_timestamp.reason, Reason::Verified, "{with_timestamp:#?}");
    assert!(with_timestamp.evidence[0].authenticated.as_ref().unwrap().logs.is_empty());
    let alone = judged(
        &[sigstore.bundle(IMAGE, &Recipe { timestamp: false, ..image() }.with(Flaw::UnknownLog))],
        &relaxed,
        &root,
    );
    assert_eq!(alone.reason, Reason::TimestampMissing);
    // A log that is known is checked all the same.
    let wrong = judged(&[sigstore.bundle(IMAGE, &image().with(Flaw::InclusionProof))], &relaxed, &root);
    assert_eq!(wrong.reason, Reason::InclusionProofMismatch);
}

#[test]
fn required_timestamps_have_to_be_there() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let strict = Policy {
        evidence: EvidenceRequirements { signed_timestamp: true, ..EvidenceRequirements::DEFAULT },
        ..policy()
    };
    assert_eq!(judged(&[sigstore.bundle(IMAGE, &image())], &strict, &root).reason, Reason::Verified);
    let without = sigstore.bundle(IMAGE, &Recipe { timestamp: false, ..image() });
    assert_eq!(judged(&[without], &strict, &root).reason, Reason::TimestampMissing);
}

#[test]
fn one_good_bundle_is_enough_and_every_reason_is_kept() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundles = [
        sigstore.bundle(IMAGE, &image().with(Flaw::Signature)),
        sigstore.bundle(IMAGE, &image()),
        json!({"mediaType": "nonsense"}),
    ];
    let verdict = judged(&bundles, &policy(), &root);
    assert_eq!(verdict.reason, Reason::Verified);
    let reasons: Vec<Reason> = verdict.evidence.iter().map(|e| e.reason).collect();
    assert_eq!(reasons, [Reason::SignatureInvalid, Reason::Verified, Reason::UnsupportedFormat]);
}

#[test]
fn a_statement_is_no_signature_and_a_signature_no_statement() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let provenance = sigstore.bundle(IMAGE, &Recipe { predicate: Some(PROVENANCE.to_owned()), ..image() });
    let signature = sigstore.bundle(IMAGE, &image());
    let both = Policy { accept: Accept::Signature { attestations: vec![PROVENANCE.to_owned()] }, ..policy() };
    assert_eq!(judged(std::slice::from_ref(&provenance), &both, &root).reason, Reason::PredicateMissing);
    assert_eq!(judged(std::slice::from_ref(&signature), &both, &root).reason, Reason::PredicateMissing);
    assert_eq!(judged(&[signature.clone(), provenance.clone()], &both, &root).reason, Reason::Verified);
    let statement = Policy { accept: Accept::Statements(vec![PROVENANCE.to_owned()]), ..policy() };
    assert_eq!(judged(std::slice::from_ref(&provenance), &statement, &root).reason, Reason::Verified);
    assert_eq!(judged(std::slice::from_ref(&signature), &statement, &root).reason, Reason::PredicateMissing);
    let nothing = Policy { accept: Accept::Statements(Vec::new()), ..policy() };
    assert_ne!(judged(&[signature], &nothing, &root).outcome(), Outcome::Covered);
    // Someone else's statement does not fill the gap.
    let strangers = sigstore.bundle(
        IMAGE,
        &Recipe { predicate: Some(PROVENANCE.to_owned()), ..Recipe::image("https://evil.example", ISSUER) },
    );
    let signature = sigstore.bundle(IMAGE, &image());
    assert_eq!(judged(&[signature, strangers], &both, &root).reason, Reason::IdentityMismatch);
}

#[test]
fn a_policy_without_signers_covers_nothing() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let nobody = Policy { signers: Vec::new(), ..policy() };
    for recipe in [image(), Recipe::key()] {
        assert_ne!(judged(&[sigstore.bundle(IMAGE, &recipe)], &nobody, &root).outcome(), Outcome::Covered);
    }
}

#[test]
fn keys_pass_with_what_the_policy_requires_and_no_less() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let logged = key_policy(&sigstore, EvidenceRequirements::DEFAULT);
    let bare = key_policy(&sigstore, NOTHING);
    for (recipe, policy, want) in [
        (Recipe::key(), &logged, Reason::Verified),
        (Recipe { log: LogForm::V2, ..Recipe::key() }, &logged, Reason::Verified),
        (Recipe { predicate: None, ..Recipe::key() }, &logged, Reason::Verified),
        (Recipe { log: LogForm::None, ..Recipe::key() }, &logged, Reason::LogEntryMissing),
        (Recipe { log: LogForm::None, ..Recipe::key() }, &bare, Reason::Verified),
        (Recipe { log: LogForm::None, predicate: None, ..Recipe::key() }, &bare, Reason::Verified),
        (Recipe { log: LogForm::None, timestamp: true, ..Recipe::key() }, &bare, Reason::Verified),
        (Recipe { log: LogForm::None, ..Recipe::key() }.with(Flaw::Signature), &bare, Reason::KeyMismatch),
        (Recipe { log: LogForm::None, ..Recipe::key() }.with(Flaw::OtherArtifact), &bare, Reason::DigestMismatch),
        (
            Recipe { log: LogForm::None, predicate: None, ..Recipe::key() }.with(Flaw::OtherArtifact),
            &bare,
            Reason::DigestMismatch,
        ),
        (Recipe::key().with(Flaw::Signature), &logged, Reason::KeyMismatch),
        (Recipe::key().with(Flaw::InclusionProof), &logged, Reason::InclusionProofMismatch),
        (Recipe::key().with(Flaw::ForeignEntry), &logged, Reason::EntryMismatch),
        (Recipe::key().with(Flaw::UnknownLog), &logged, Reason::UnknownLog),
        (Recipe::key().with(Flaw::NoProof), &logged, Reason::LogEntryMissing),
        (
            Recipe { timestamp: true, ..Recipe::key() }.with(Flaw::UnknownTimestampAuthority),
            &logged,
            Reason::UnknownTimestampAuthority,
        ),
        (image(), &logged, Reason::KeyMismatch),
    ] {
        let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], policy, &root);
        assert_eq!(verdict.reason, want, "{recipe:?}: {verdict:#?}");
    }
    let other = key_policy(&Sigstore::new(), NOTHING);
    assert_eq!(
        judged(&[sigstore.bundle(IMAGE, &Recipe { log: LogForm::None, ..Recipe::key() })], &other, &root).reason,
        Reason::KeyMismatch
    );
}

#[test]
fn a_key_counts_in_its_window_only() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let window = Window::new(Some(at("2025-01-01T00:00:00Z")), Some(at("2026-05-01T00:00:00Z"))).unwrap();
    let key = ManagedKey::from_bytes("old", sigstore.managed_key.pem().as_bytes(), window).unwrap();
    let with = |evidence| Policy {
        signers: vec![Signer::Key { name: "old".to_owned(), key: Box::new(key.clone()) }],
        evidence,
        ..policy()
    };
    let late = sigstore.bundle(IMAGE, &Recipe::key());
    assert_eq!(judged(&[late], &with(EvidenceRequirements::DEFAULT), &root).reason, Reason::OutsideValidity);
    let in_time = sigstore.bundle(IMAGE, &Recipe { at: at("2026-03-01T00:00:00Z"), ..Recipe::key() });
    assert_eq!(judged(&[in_time], &with(EvidenceRequirements::DEFAULT), &root).reason, Reason::Verified);
    let timeless = sigstore.bundle(IMAGE, &Recipe { log: LogForm::None, ..Recipe::key() });
    assert_eq!(judged(&[timeless], &with(NOTHING), &root).reason, Reason::OutsideValidity);
}

fn legacy(legacy: Legacy, attestation: bool) -> Evidence {
    let form = if attestation {
        EvidenceForm::LegacyAttestation { envelope: legacy.payload, annotations: legacy.annotations }
    } else {
        EvidenceForm::LegacySignature { payload: legacy.payload, annotations: legacy.annotations }
    };
    Evidence { source: "legacy".to_owned(), form }
}

#[test]
fn the_legacy_form_is_judged_like_any_other() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let digest = Digest::of(IMAGE);
    let plain = Recipe { timestamp: false, ..blob() };
    let judged =
        |evidence: Evidence, policy: &Policy| judge(&Artifact::of_digest(digest), &[evidence], policy, &[&root], now());
    for (recipe, want) in [
        (plain.clone(), Reason::Verified),
        (blob(), Reason::Verified),
        (plain.clone().with(Flaw::Signature), Reason::SignatureInvalid),
        (plain.clone().with(Flaw::Promise), Reason::InclusionProofMismatch),
        (plain.clone().with(Flaw::IntegratedTime), Reason::InclusionProofMismatch),
        (plain.clone().with(Flaw::ForeignEntry), Reason::EntryMismatch),
        (plain.clone().with(Flaw::UnknownLog), Reason::UnknownLog),
        (plain.clone().with(Flaw::UnknownAuthority), Reason::UntrustedAuthority),
        (plain.clone().with(Flaw::ExpiredCertificate), Reason::OutsideValidity),
        (Recipe { sct: false, ..plain.clone() }, Reason::SctMissing),
        (Recipe { log: LogForm::None, ..plain.clone() }, Reason::LogEntryMissing),
    ] {
        let verdict = judged(legacy(sigstore.legacy_signature(&digest.to_string(), &recipe), false), &policy());
        assert_eq!(verdict.reason, want, "{recipe:?}: {verdict:#?}");
    }
    let other = Digest::of(b"another image").to_string();
    assert_eq!(
        judged(legacy(sigstore.legacy_signature(&other, &plain), false), &policy()).reason,
        Reason::DigestMismatch
    );
    let mut swapped = sigstore.legacy_signature(&other, &plain);
    swapped.payload = sigstore.legacy_signature(&digest.to_string(), &plain).payload;
    assert_ne!(judged(legacy(swapped, false), &policy()).outcome(), Outcome::Covered);
    let keyed = key_policy(&sigstore, NOTHING);
    let bare = Recipe { log: LogForm::None, ..Recipe::key() };
    assert_eq!(
        judged(legacy(sigstore.legacy_signature(&digest.to_string(), &bare), false), &keyed).reason,
        Reason::Verified
    );

    let statement = Policy { accept: Accept::Statements(vec![PROVENANCE.to_owned()]), ..policy() };
    let provenance = Recipe { predicate: Some(PROVENANCE.to_owned()), timestamp: false, ..image() };
    assert_eq!(
        judged(legacy(sigstore.legacy_attestation(IMAGE, &provenance), true), &statement).reason,
        Reason::Verified
    );
    assert_eq!(
        judged(legacy(sigstore.legacy_attestation(b"other", &provenance), true), &statement).reason,
        Reason::DigestMismatch
    );
    assert_eq!(
        judged(legacy(sigstore.legacy_attestation(IMAGE, &provenance), true), &policy()).reason,
        Reason::PredicateMissing
    );
}

#[test]
fn a_stale_root_never_covers_and_a_fresh_one_beside_it_does() {
    let sigstore = Sigstore::new();
    let document = sigstore.trusted_root();
    let bundle = evidence(&sigstore.bundle(IMAGE, &image()));
    let (stale, fresh) = (root_of(&document).stale("no courier for 40 days"), root_of(&document));
    let with = |roots: &[&PreparedRoot]| {
        judge(&Artifact::of_bytes(IMAGE.to_vec()), std::slice::from_ref(&bundle), &policy(), roots, now()).reason
    };
    assert_eq!(with(&[&stale]), Reason::StaleTrustRoot);
    assert_eq!(Reason::StaleTrustRoot.outcome(), Outcome::Unknown);
    assert_eq!(with(&[&stale, &fresh]), Reason::Verified);
    assert_eq!(with(&[]), Reason::UntrustedAuthority);
}

#[test]
fn with_several_roots_the_one_that_knows_most_speaks() {
    let (ours, theirs) = (Sigstore::new(), Sigstore::new());
    let (ours_root, theirs_root) = (root_of(&ours.trusted_root()), root_of(&theirs.trusted_root()));
    let broken = evidence(&ours.bundle(IMAGE, &image().with(Flaw::InclusionProof)));
    let verdict = judge(&Artifact::of_bytes(IMAGE.to_vec()), &[broken], &policy(), &[&theirs_root, &ours_root], now());
    assert_eq!(verdict.reason, Reason::InclusionProofMismatch);
}

/// A root that knows the certificate's authority is the one to mend, in whatever order the roots are listed.
#[test]
fn with_several_roots_the_one_that_knows_the_authority_speaks() {
    let (ours, stranger) = (Sigstore::new(), Sigstore::of("elsewhere.example", at("2026-01-01T00:00:00Z")));
    let stranger = root_of(&stranger.trusted_root());
    let lacking = |list: &str| {
        let mut document = ours.trusted_root();
        document[list] = json!([]);
        root_of(&document)
    };
    let recipe = Recipe { log: LogForm::V2, ..image() };
    let bundle = evidence(&ours.bundle(IMAGE, &recipe));
    for (list, reason) in [("tlogs", Reason::UnknownLog), ("timestampAuthorities", Reason::UnknownTimestampAuthority)] {
        let root = lacking(list);
        for roots in [[&stranger, &root], [&root, &stranger]] {
            let artifact = Artifact::of_bytes(IMAGE.to_vec());
            let verdict = judge(&artifact, std::slice::from_ref(&bundle), &policy(), &roots, now());
            assert_eq!(verdict.reason, reason, "{verdict:#?}");
        }
    }
}

#[test]
fn every_kind_of_subject_is_read_as_one_name() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    for (subject, name) in [
        (Subject::Email("dev@corp.example".to_owned()), "dev@corp.example"),
        (Subject::Username("alice!corp.example".to_owned()), "alice!corp.example"),
        (Subject::Uri(SUBJECT.to_owned()), SUBJECT),
    ] {
        let signer = Signer::Certificate {
            name: "someone".to_owned(),
            subject: Matcher::Exact(name.to_owned()),
            issuer: Matcher::Exact(ISSUER.to_owned()),
        };
        let recipe = Recipe { signer: SignerForm::Certificate { subject, issuer: ISSUER.to_owned() }, ..image() };
        let verdict = judged(&[sigstore.bundle(IMAGE, &recipe)], &Policy { signers: vec![signer], ..policy() }, &root);
        assert_eq!(verdict.reason, Reason::Verified, "{name}: {verdict:#?}");
    }
    let nobody =
        Recipe { signer: SignerForm::Certificate { subject: Subject::None, issuer: ISSUER.to_owned() }, ..image() };
    assert_eq!(judged(&[sigstore.bundle(IMAGE, &nobody)], &policy(), &root).reason, Reason::IdentityMismatch);
}

#[test]
fn beyond_a_limit_nothing_is_judged() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundle = sigstore.bundle(IMAGE, &image());
    let judged_bytes = |bytes: Vec<u8>| {
        judge(&Artifact::of_bytes(IMAGE.to_vec()), &[Evidence::bundle("x", bytes)], &policy(), &[&root], now()).reason
    };
    let mut padded = bundle.to_string();
    padded.insert_str(padded.len() - 1, &" ".repeat(300 * 1024));
    let mut many = bundle.clone();
    let entry = many["verificationMaterial"]["tlogEntries"][0].clone();
    many["verificationMaterial"]["tlogEntries"] = (0..5)
        .map(|i| {
            let mut e = entry.clone();
            e["logIndex"] = json!(i.to_string());
            e
        })
        .collect();
    let mut twice = bundle.to_string();
    twice.insert_str(1, r#""mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","#);
    for bytes in [
        Vec::new(),
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        "[".repeat(10_000).into_bytes(),
        padded.into_bytes(),
        many.to_string().into_bytes(),
        twice.into_bytes(),
    ] {
        assert_eq!(judged_bytes(bytes), Reason::Malformed);
    }
    let flood: Vec<Evidence> = (0..300).map(|i| Evidence::bundle(format!("{i}"), b"{}".to_vec())).collect();
    let verdict = judge(&Artifact::of_bytes(IMAGE.to_vec()), &flood, &policy(), &[&root], now());
    assert_eq!(verdict.reason, Reason::ListingTruncated);
    assert_eq!(verdict.outcome(), Outcome::Unknown);
}

#[test]
fn the_signature_predicate_is_the_one_cosign_writes() {
    assert_eq!(SIGNATURE_PREDICATE, holdfast_testpki::SIGNATURE_PREDICATE);
}
