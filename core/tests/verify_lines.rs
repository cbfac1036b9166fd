//! Single lines of the verdict that no flaw of a whole bundle shows: limits to the byte, which of two faults is told, and the words for it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::Digest;
use holdfast_core::trust::root::{Certificate, ManagedKey, TrustRoot, Window};
use holdfast_core::verify::{
    Accept, Artifact, Authenticated, Evidence, EvidenceForm, EvidenceRequirements, Limits, Matcher, Outcome, Policy,
    PreparedRoot, Reason, Signer, TimeSource, Verdict, judge,
};
use holdfast_testpki::{Flaw, Key, Legacy, LogForm, Recipe, Sigstore, asn1, base64, extension, sha256};
use serde_json::{Value, json};
use sigstore_verify::crypto::ArtifactHasher;
use sigstore_verify::types::HashAlgorithm;
use support::{anyone, at};

const SUBJECT: &str = "https://ci.example/acme/web/release.yaml@refs/heads/main";
const ISSUER: &str = "https://issuer.example";
const IMAGE: &[u8] = br#"{"an":"image manifest"}"#;
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const V0_1: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";
const V0_2: &str = "application/vnd.dev.sigstore.bundle+json;version=0.2";
const NOTHING: EvidenceRequirements =
    EvidenceRequirements { transparency_log: false, signed_timestamp: false, sct: false };
const NO_LOG: EvidenceRequirements = EvidenceRequirements { transparency_log: false, ..EvidenceRequirements::DEFAULT };

fn image() -> Recipe {
    Recipe::image(SUBJECT, ISSUER)
}

fn blob() -> Recipe {
    Recipe::blob(SUBJECT, ISSUER)
}

fn policy() -> Policy {
    Policy {
        signers: vec![Signer::Certificate {
            name: "web-release".to_owned(),
            subject: Matcher::Exact(SUBJECT.to_owned()),
            issuer: Matcher::Exact(ISSUER.to_owned()),
        }],
        evidence: EvidenceRequirements::DEFAULT,
        accept: Accept::Signature { attestations: Vec::new() },
        limits: Limits::default(),
    }
}

fn requiring(evidence: EvidenceRequirements) -> Policy {
    Policy { evidence, ..policy() }
}

/// An instance whose bare signatures are by `key`.
fn signing_with(key: Key) -> Sigstore {
    let mut sigstore = Sigstore::new();
    sigstore.managed_key = key;
    sigstore
}

fn key_signer(name: &str, key: &Key) -> Signer {
    let key = ManagedKey::from_bytes(name, key.pem().as_bytes(), Window::ALWAYS).unwrap();
    Signer::Key { name: name.to_owned(), key: Box::new(key) }
}

fn key_policy(sigstore: &Sigstore, evidence: EvidenceRequirements) -> Policy {
    Policy { signers: vec![key_signer("release", &sigstore.managed_key)], ..requiring(evidence) }
}

fn root_of(document: &Value) -> PreparedRoot {
    PreparedRoot::new(TrustRoot::from_json("corp", document.to_string().as_bytes()).unwrap()).unwrap()
}

fn evidence(bundle: &Value) -> Evidence {
    Evidence::bundle("bundle.json", bundle.to_string().into_bytes())
}

fn all_judged(bundles: &[&Value], policy: &Policy, roots: &[&PreparedRoot]) -> Verdict {
    let evidence: Vec<Evidence> = bundles.iter().map(|bundle| evidence(bundle)).collect();
    judge(&Artifact::of_bytes(IMAGE.to_vec()), &evidence, policy, roots, at("2026-07-01T00:00:00Z"))
}

fn judged(bundle: &Value, policy: &Policy, root: &PreparedRoot) -> Verdict {
    all_judged(&[bundle], policy, &[root])
}

/// The image is known by its digest and nothing else, as admission knows it.
fn judged_by_digest(bundle: &Value, policy: &Policy) -> Verdict {
    let artifact = Artifact::of_digest(Digest::of(IMAGE));
    judge(&artifact, &[evidence(bundle)], policy, &[], at("2026-07-01T00:00:00Z"))
}

fn judged_legacy(legacy: Legacy, policy: &Policy, root: &PreparedRoot) -> Verdict {
    let form = EvidenceForm::LegacySignature { payload: legacy.payload, annotations: legacy.annotations };
    let evidence = [Evidence { source: "legacy".to_owned(), form }];
    judge(&Artifact::of_digest(Digest::of(IMAGE)), &evidence, policy, &[root], at("2026-07-01T00:00:00Z"))
}

fn authenticated(verdict: &Verdict) -> &Authenticated {
    verdict.evidence[0].authenticated.as_ref().unwrap()
}

fn only_entry(bundle: &mut Value) -> &mut serde_json::Map<String, Value> {
    bundle["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap()
}

#[track_caller]
fn assert_refused(verdict: &Verdict, reason: Reason, words: &str) {
    assert_eq!(verdict.reason, reason, "{verdict:#?}");
    assert!(verdict.message.contains(words), "`{words}` is not in `{}`", verdict.message);
}

#[track_caller]
fn assert_verified(verdict: &Verdict) {
    assert_eq!(verdict.reason, Reason::Verified, "{verdict:#?}");
}

// authenticate.rs

/// Whose fault an absent proof is does not depend on a root: it is told before the root is asked for anything.
#[test]
fn an_absent_proof_is_told_before_an_unknown_authority() {
    let sigstore = Sigstore::new();
    let mut bundle = sigstore.bundle(IMAGE, &image().with(Flaw::UnknownAuthority));
    only_entry(&mut bundle).remove("inclusionProof");
    let verdict = judged(&bundle, &policy(), &root_of(&sigstore.trusted_root()));
    assert_refused(&verdict, Reason::LogEntryMissing, "outside cosign's legacy form a promise of it is not enough");
}

/// Where no log entry is required, one without proof neither harms nor lends its time; in cosign's legacy form the promise is all there is.
#[test]
fn a_promise_lends_a_time_in_the_legacy_form_alone() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let mut unproven = sigstore.bundle(IMAGE, &image());
    only_entry(&mut unproven).remove("inclusionProof");
    let verdict = judged(&unproven, &requiring(NO_LOG), &root);
    assert_verified(&verdict);
    assert!(authenticated(&verdict).logs.is_empty());
    assert!(matches!(authenticated(&verdict).signed_at[0].source, TimeSource::TimestampAuthority(_)));
    assert_eq!(authenticated(&verdict).signed_at.len(), 1);

    let mut timeless = sigstore.bundle(IMAGE, &Recipe { timestamp: false, ..image() });
    only_entry(&mut timeless).remove("inclusionProof");
    assert_eq!(judged(&timeless, &requiring(NO_LOG), &root).reason, Reason::TimestampMissing);

    let legacy = sigstore.legacy_signature(&Digest::of(IMAGE).to_string(), &Recipe { timestamp: false, ..blob() });
    let verdict = judged_legacy(legacy, &requiring(NO_LOG), &root);
    assert_verified(&verdict);
    assert!(matches!(authenticated(&verdict).signed_at[0].source, TimeSource::TransparencyLog(_)));
}

/// Version 0.1 demands a promise, which a policy without log requirement does not ask for; what the other versions demand stays.
#[test]
fn only_the_promise_of_version_0_1_is_waived_without_a_log_entry() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let unlogged = Recipe { log: LogForm::None, ..image() };
    let oldest = sigstore.bundle(IMAGE, &Recipe { media_type: V0_1, ..unlogged.clone() });
    assert_verified(&judged(&oldest, &requiring(NO_LOG), &root));
    let mut chained = sigstore.bundle(IMAGE, &unlogged);
    assert_verified(&judged(&chained, &requiring(NO_LOG), &root));
    let material = chained["verificationMaterial"].as_object_mut().unwrap();
    let leaf = material.remove("certificate").unwrap();
    material.insert("x509CertificateChain".to_owned(), json!({"certificates": [leaf]}));
    assert_refused(&judged(&chained, &requiring(NO_LOG), &root), Reason::Malformed, "must use a single certificate");
}

/// Neither half of a promised time is one, and a second-generation log has none.
#[test]
fn half_a_promised_time_is_no_time() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let timeless = Recipe { timestamp: false, ..image() };
    let without = |half: &str| {
        let mut bundle = sigstore.bundle(IMAGE, &timeless);
        only_entry(&mut bundle).remove(half).unwrap();
        bundle
    };
    for bundle in [
        without("inclusionPromise"),
        without("integratedTime"),
        sigstore.bundle(IMAGE, &Recipe { log: LogForm::V2, ..timeless.clone() }),
    ] {
        let verdict = judged(&bundle, &policy(), &root);
        assert_refused(&verdict, Reason::TimestampMissing, "nothing in the bundle says when it was signed");
    }
}

/// A root may hold the top of a chain alone; the certificates between come in the bundle then, and are needed there.
#[test]
fn a_chain_in_the_bundle_leads_to_a_root_that_does_not_name_the_issuer() {
    let sigstore = Sigstore::new();
    let mut document = sigstore.trusted_root();
    let chain = &mut document["certificateAuthorities"][0]["certChain"]["certificates"];
    let between = chain.as_array_mut().unwrap().remove(0);
    let root = root_of(&document);
    let mut bundle = sigstore.bundle(IMAGE, &Recipe { media_type: V0_2, ..image() });
    assert_eq!(judged(&bundle, &policy(), &root).reason, Reason::UntrustedAuthority);
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"].as_array_mut().unwrap().push(between);
    assert_verified(&judged(&bundle, &policy(), &root));
    let stranger = root_of(&Sigstore::of("elsewhere.example", at("2026-01-01T00:00:00Z")).trusted_root());
    assert_ne!(judged(&bundle, &policy(), &stranger).outcome(), Outcome::Covered);
}

/// The time of a log entry that was not promised is not authenticated; the log never vouches for the timestamp's time in its place.
#[test]
fn each_time_is_told_with_who_vouches_for_it() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let both = EvidenceRequirements { transparency_log: true, signed_timestamp: true, sct: false };
    let mut bundle = sigstore.bundle(IMAGE, &Recipe { timestamp: true, ..Recipe::key() });
    let promised = judged(&bundle, &key_policy(&sigstore, both), &root);
    assert_verified(&promised);
    let [log, stamp] = authenticated(&promised).signed_at.as_slice() else { unreachable!("{promised:#?}") };
    assert_eq!((log.at, stamp.at), (at("2026-06-01T12:00:01Z"), at("2026-06-01T12:00:02Z")));
    assert!(matches!(
        (&log.source, &stamp.source),
        (TimeSource::TransparencyLog(_), TimeSource::TimestampAuthority(_))
    ));

    only_entry(&mut bundle).remove("inclusionPromise").unwrap();
    let unpromised = judged(&bundle, &key_policy(&sigstore, both), &root);
    assert_verified(&unpromised);
    assert_eq!(authenticated(&unpromised).signed_at, std::slice::from_ref(stamp));
}

#[test]
fn an_authority_that_stamped_twice_is_named_once() {
    // Ed25519 signs alike each time, so that the timestamps of two bundles are over one signature.
    let sigstore = signing_with(Key::ed25519());
    let root = root_of(&sigstore.trusted_root());
    let recipe = Recipe { log: LogForm::None, timestamp: true, ..Recipe::key() };
    let (mut bundle, again) = (sigstore.bundle(IMAGE, &recipe), sigstore.bundle(IMAGE, &recipe));
    let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    let second = again.pointer(stamps).unwrap()[0].clone();
    bundle.pointer_mut(stamps).unwrap().as_array_mut().unwrap().push(second);
    let verdict = judged(&bundle, &key_policy(&sigstore, NOTHING), &root);
    assert_verified(&verdict);
    assert_eq!(authenticated(&verdict).signed_at.len(), 2);
    assert_eq!(authenticated(&verdict).timestamp_authorities.len(), 1, "{verdict:#?}");
}

#[test]
fn a_signature_of_this_very_instant_does_not_lie_ahead() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundle = evidence(&sigstore.bundle(IMAGE, &image()));
    for (now, want) in [("2026-06-01T12:00:02Z", Reason::Verified), ("2026-06-01T12:00:01Z", Reason::ClockSuspect)] {
        let artifact = Artifact::of_bytes(IMAGE.to_vec());
        let verdict = judge(&artifact, std::slice::from_ref(&bundle), &policy(), &[&root], at(now));
        assert_eq!(verdict.reason, want, "{now}: {verdict:#?}");
    }
}

/// The library has one word for an authority nobody knows and for one that did not count then; a person does not do the same about the two.
#[test]
fn an_authority_that_did_not_count_is_told_apart_from_an_unknown_one() {
    let sigstore = Sigstore::new();
    let other = Sigstore::of("elsewhere.example", at("2026-01-01T00:00:00Z")).trusted_root();
    let mut beside = sigstore.trusted_root();
    beside["certificateAuthorities"][0]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
    let mut alone = beside.clone();
    beside["certificateAuthorities"].as_array_mut().unwrap().push(other["certificateAuthorities"][0].clone());
    let mut stamps = sigstore.trusted_root();
    stamps["timestampAuthorities"][0]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
    let whole = sigstore.trusted_root();
    let genuine = sigstore.bundle(IMAGE, &image());
    let forged = sigstore.bundle(IMAGE, &image().with(Flaw::UnknownAuthority));
    let expired = sigstore.bundle(IMAGE, &image().with(Flaw::ExpiredCertificate));
    for (bundle, document, reason, words) in [
        (
            &genuine,
            &beside,
            Reason::OutsideValidity,
            "the signing certificate (valid 2026-06-01T12:00:00Z to 2026-06-01T12:10:00Z) is of an authority of the trust root `corp` that did not count at the signing time",
        ),
        (
            &forged,
            &beside,
            Reason::UntrustedAuthority,
            "the signing certificate was not issued by an authority of the trust root `corp`",
        ),
        (
            &forged,
            &whole,
            Reason::UntrustedAuthority,
            "the signing certificate was not issued by an authority of the trust root `corp`",
        ),
        (
            &expired,
            &whole,
            Reason::OutsideValidity,
            "the signing certificate is valid 2026-06-01T11:00:00Z to 2026-06-01T11:10:00Z, and it was used at another time",
        ),
        (
            &genuine,
            &alone,
            Reason::OutsideValidity,
            "no trusted certificate authority is valid at 2026-06-01T12:00:02Z",
        ),
        (&genuine, &stamps, Reason::OutsideValidity, "outside the validity period of the authority that signed it"),
    ] {
        assert_refused(&judged(bundle, &policy(), &root_of(document)), reason, words);
    }
    alone["certificateAuthorities"] = json!([]);
    assert_eq!(judged(&genuine, &policy(), &root_of(&alone)).reason, Reason::UntrustedAuthority);
}

// bundle.rs

/// Every limit is the last size that is read: one more byte or piece, and the evidence is refused by that limit's own words.
#[test]
fn a_limit_is_the_last_size_that_is_read() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundle = sigstore.bundle(IMAGE, &image());
    let whole = bundle.to_string().len();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap().len();
    let material = whole - (payload * 4).div_ceil(3);
    let exact = Limits {
        payload_bytes: payload,
        material_bytes: material,
        log_entries: 1,
        timestamps: 1,
        certificates: 1,
        evidence: 1,
    };
    assert_eq!(exact.bundle_bytes(), whole);
    assert_verified(&judged(&bundle, &Policy { limits: exact, ..policy() }, &root));
    for (limits, words) in [
        (
            Limits { payload_bytes: payload - 1, material_bytes: material + 2, ..exact },
            format!("the statement has {payload} bytes, more than the {} that are read", payload - 1),
        ),
        (
            Limits { payload_bytes: payload + 3, material_bytes: material - 1, ..exact },
            format!("the verification material has {material} bytes, more than the {} that are read", material - 1),
        ),
        (
            Limits { material_bytes: material - 1, ..exact },
            format!("the bundle has more than the {} bytes that are read", whole - 1),
        ),
        (Limits { log_entries: 0, ..exact }, "the bundle has 1 log entries, more than the 0 that are read".to_owned()),
        (Limits { timestamps: 0, ..exact }, "the bundle has 1 timestamps, more than the 0 that are read".to_owned()),
        (
            Limits { certificates: 0, ..exact },
            "the bundle has 1 certificates, more than the 0 that are read".to_owned(),
        ),
    ] {
        assert_refused(&judged(&bundle, &Policy { limits, ..policy() }, &root), Reason::Malformed, &words);
    }
}

#[test]
fn every_certificate_of_a_chain_counts_towards_the_limit() {
    let sigstore = Sigstore::new();
    let mut bundle = sigstore.bundle(IMAGE, &Recipe { media_type: V0_2, ..image() });
    let chain = &mut bundle["verificationMaterial"]["x509CertificateChain"]["certificates"];
    *chain = vec![chain[0].clone(); 11].into();
    let verdict = judged(&bundle, &policy(), &root_of(&sigstore.trusted_root()));
    assert_refused(&verdict, Reason::Malformed, "the bundle has 11 certificates, more than the 10 that are read");
}

/// What nobody signed is quoted, and no longer than a line.
#[test]
fn a_media_type_that_is_not_known_is_quoted_in_short() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let mut bundle = sigstore.bundle(IMAGE, &image());
    bundle["mediaType"] = json!("text/plain");
    assert_refused(
        &judged(&bundle, &policy(), &root),
        Reason::UnsupportedFormat,
        "media type `text/plain` is not known",
    );
    bundle["mediaType"] = json!("x".repeat(150));
    let words = format!("media type `{}` is not known", "x".repeat(100));
    assert_refused(&judged(&bundle, &policy(), &root), Reason::UnsupportedFormat, &words);
}

// certificate.rs

/// A bundle whose certificate has exactly `size` bytes. Signatures vary by a byte or two, so it may take several.
fn with_certificate_of(sigstore: &Sigstore, size: usize) -> Value {
    let mut padding = size - 2048;
    for _ in 0..200 {
        let extensions = vec![extension("1.3.6.1.4.1.57264.9999", false, &vec![0; padding])];
        let bundle = sigstore.bundle(IMAGE, &Recipe { extensions, ..image() });
        let raw = bundle["verificationMaterial"]["certificate"]["rawBytes"].as_str().unwrap();
        let length = STANDARD.decode(raw).unwrap().len();
        if length == size {
            return bundle;
        }
        padding = padding + size - length;
    }
    unreachable!("no certificate of {size} bytes came about")
}

#[test]
fn the_largest_certificate_that_is_read_passes_and_one_byte_more_does_not() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    assert_verified(&judged(&with_certificate_of(&sigstore, Certificate::MAX_BYTES), &policy(), &root));
    let verdict = judged(&with_certificate_of(&sigstore, Certificate::MAX_BYTES + 1), &policy(), &root);
    let words = "the signing certificate has 16385 bytes, more than the 16384 allowed";
    assert_refused(&verdict, Reason::Malformed, words);
}

/// Whoever reads the first of two and whoever reads the last would see different identity providers.
#[test]
fn an_identity_provider_that_stands_there_twice_is_refused() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let v2 = "1.3.6.1.4.1.57264.1.8";
    for second in [ISSUER, "https://evil-issuer.example"] {
        let extensions = vec![extension(v2, false, &asn1::utf8(second))];
        let verdict = judged(&sigstore.bundle(IMAGE, &Recipe { extensions, ..image() }), &policy(), &root);
        assert_refused(&verdict, Reason::Malformed, &format!("it has the extension {v2} twice"));
    }
}

// judge.rs

/// Under roots that come equally near, and by signers that do, the first that is listed speaks.
#[test]
fn of_equally_near_attempts_the_first_speaks() {
    let sigstore = Sigstore::new();
    let named = |name: &str| {
        let document = sigstore.trusted_root().to_string();
        PreparedRoot::new(TrustRoot::from_json(name, document.as_bytes()).unwrap()).unwrap()
    };
    let (first, second) = (named("first"), named("second"));
    for recipe in [image(), image().with(Flaw::Signature)] {
        let verdict = all_judged(&[&sigstore.bundle(IMAGE, &recipe)], &policy(), &[&first, &second]);
        assert_eq!(verdict.evidence[0].trust_root.as_deref(), Some("first"), "{verdict:#?}");
    }
    let strangers = Policy {
        signers: vec![key_signer("one", &Key::p256()), key_signer("other", &Key::p256())],
        ..requiring(NOTHING)
    };
    let bundle = sigstore.bundle(IMAGE, &Recipe { log: LogForm::None, ..Recipe::key() });
    assert_refused(&all_judged(&[&bundle], &strangers, &[]), Reason::KeyMismatch, "by the key `one`");
}

#[test]
fn of_several_faults_the_nearest_to_a_pass_is_told_in_whatever_order_they_are_found() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundle = |flaw| sigstore.bundle(IMAGE, &image().with(flaw));
    let (far, near, as_near) = (bundle(Flaw::UnknownAuthority), bundle(Flaw::Signature), bundle(Flaw::OtherArtifact));
    for (bundles, want) in [
        ([&far, &near], Reason::SignatureInvalid),
        ([&near, &far], Reason::SignatureInvalid),
        ([&near, &as_near], Reason::SignatureInvalid),
        ([&as_near, &near], Reason::DigestMismatch),
    ] {
        assert_eq!(all_judged(&bundles, &policy(), &[&root]).reason, want);
    }
}

/// A stranger's statement is no signature, whoever made it: the signature is what is missing, not the stranger's identity.
#[test]
fn what_is_known_to_be_of_another_kind_is_not_told_in_place_of_what_is_missing() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let provenance =
        |subject: &str| Recipe { predicate: Some(PROVENANCE.to_owned()), ..Recipe::image(subject, ISSUER) };
    let own = sigstore.bundle(IMAGE, &provenance(SUBJECT));
    let strangers = sigstore.bundle(IMAGE, &provenance("https://evil.example"));
    for bundles in [vec![&own], vec![&strangers], vec![&own, &strangers], vec![&strangers, &own]] {
        let verdict = all_judged(&bundles, &policy(), &[&root]);
        assert_eq!(verdict.reason, Reason::PredicateMissing, "{verdict:#?}");
        assert_eq!(verdict.message, format!("signed, but no signature is among it: found {PROVENANCE}"));
    }
    let statements = Policy { accept: Accept::Statements(vec![PROVENANCE.to_owned()]), ..policy() };
    let signature = sigstore.bundle(IMAGE, &image());
    let spdx = sigstore.bundle(IMAGE, &Recipe { predicate: Some("https://spdx.dev/Document".to_owned()), ..image() });
    assert_eq!(
        all_judged(&[&spdx, &signature], &statements, &[&root]).message,
        format!(
            "signed, but no statement of type {PROVENANCE} is among it: found a signature, https://spdx.dev/Document"
        )
    );
}

#[test]
fn a_verdict_names_who_signed() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let (certified, keyed) = (sigstore.bundle(IMAGE, &image()), sigstore.bundle(IMAGE, &Recipe::key()));
    let mut both = policy();
    both.signers.push(key_signer("a-key", &sigstore.managed_key));
    let stale = root_of(&sigstore.trusted_root()).stale("no courier");
    let strangers = sigstore.bundle(IMAGE, &Recipe::image("https://evil.example", ISSUER));
    for (bundles, want) in [
        (vec![&certified], "signed by `web-release`"),
        (vec![&certified, &keyed, &certified], "signed by `a-key`, `web-release`"),
        (vec![&strangers, &certified], "signed by `web-release`"),
        (
            vec![&strangers],
            "signed by https://evil.example (identity provider https://issuer.example), whom the policy does not name",
        ),
    ] {
        assert_eq!(all_judged(&bundles, &both, &[&root]).message, want);
    }
    // Under a stale root the key's name is known, and it does not pass for one that covers.
    let keys = Policy { signers: vec![key_signer("a-key", &sigstore.managed_key)], ..policy() };
    assert_eq!(all_judged(&[&keyed], &keys, &[&stale]).reason, Reason::StaleTrustRoot);
    let mut nameless = anyone(EvidenceRequirements::DEFAULT);
    nameless.signers = policy().signers;
    let nobody = Recipe {
        signer: holdfast_testpki::SignerForm::Certificate {
            subject: holdfast_testpki::Subject::None,
            issuer: ISSUER.to_owned(),
        },
        ..image()
    };
    let verdict = judged(&sigstore.bundle(IMAGE, &nobody), &nameless, &root);
    assert_refused(&verdict, Reason::IdentityMismatch, "signed by no one (identity provider https://issuer.example)");
}

// key.rs

fn digest_of(algorithm: HashAlgorithm, bytes: &[u8]) -> String {
    let mut hasher = ArtifactHasher::new(algorithm).unwrap();
    hasher.update(bytes);
    base64(hasher.finalize().as_bytes())
}

/// A signature by a bare key over the image's bytes: no log, no timestamp, no root.
fn bare() -> Recipe {
    Recipe { log: LogForm::None, predicate: None, ..Recipe::key() }
}

/// A key's digest is the one thing that tells keys apart in a report.
#[test]
fn a_pass_by_a_key_tells_which() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let policy = key_policy(&sigstore, NOTHING);
    let key = Digest::of(&sigstore.managed_key.spki());
    let bundle = sigstore.bundle(IMAGE, &Recipe::key());
    for roots in [&[&root][..], &[]] {
        let verdict = all_judged(&[&bundle], &policy, roots);
        assert_verified(&verdict);
        assert_eq!(authenticated(&verdict).key, Some(key));
    }
}

/// A declared digest only ever narrows: it is held to the artefact by the algorithm it names, and chooses the hash that is signed over.
#[test]
fn a_bare_keys_declared_digest_is_held_to_the_artefact() {
    let p256 = Sigstore::new();
    let p384 = signing_with(Key::p384());
    let with = |sigstore: &Sigstore, algorithm: &str, digest: String| {
        let mut bundle = sigstore.bundle(IMAGE, &bare());
        bundle["messageSignature"]["messageDigest"] = json!({"algorithm": algorithm, "digest": digest});
        all_judged(&[&bundle], &key_policy(sigstore, NOTHING), &[]).reason
    };
    let (sha384, sha512) = (HashAlgorithm::Sha2384, HashAlgorithm::Sha2512);
    for (sigstore, algorithm, digest, want) in [
        (&p256, "SHA2_256", base64(&sha256(IMAGE)), Reason::Verified),
        (&p384, "SHA2_384", digest_of(sha384, IMAGE), Reason::Verified),
        (&p256, "SHA2_256", base64(&sha256(b"another")), Reason::DigestMismatch),
        (&p384, "SHA2_384", digest_of(sha384, b"another"), Reason::DigestMismatch),
        (&p256, "SHA2_512", digest_of(sha512, b"another"), Reason::DigestMismatch),
        // Right, and of a hash that the key cannot sign over, or did not.
        (&p256, "SHA2_512", digest_of(sha512, IMAGE), Reason::UnsupportedFormat),
        (&p256, "SHA2_384", digest_of(sha384, IMAGE), Reason::KeyMismatch),
    ] {
        assert_eq!(with(sigstore, algorithm, digest), want, "{algorithm} {want}");
    }
}

/// The digest of an image is its SHA-256, and stands in for the bytes where the key signs over that alone.
#[test]
fn a_bare_keys_signature_is_held_to_the_digest_where_the_bytes_are_not_at_hand() {
    let p256 = Sigstore::new();
    let policy = key_policy(&p256, NOTHING);
    let declared = p256.bundle(IMAGE, &bare());
    let mut undeclared = declared.clone();
    undeclared["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
    assert_verified(&judged_by_digest(&declared, &policy));
    assert_verified(&judged_by_digest(&undeclared, &policy));
    let other = p256.bundle(b"another", &bare());
    assert_eq!(judged_by_digest(&other, &policy).reason, Reason::DigestMismatch);
    let mut mislabelled = other;
    mislabelled["messageSignature"]["messageDigest"] = declared["messageSignature"]["messageDigest"].clone();
    assert_eq!(judged_by_digest(&mislabelled, &policy).reason, Reason::KeyMismatch);
    mislabelled["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
    assert_eq!(judged_by_digest(&mislabelled, &policy).reason, Reason::KeyMismatch);
    for key in [Key::p384(), Key::ed25519()] {
        let sigstore = signing_with(key);
        let mut bundle = sigstore.bundle(IMAGE, &bare());
        bundle["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
        assert_verified(&all_judged(&[&bundle], &key_policy(&sigstore, NOTHING), &[]));
        let verdict = judged_by_digest(&bundle, &key_policy(&sigstore, NOTHING));
        assert_refused(&verdict, Reason::UnsupportedFormat, "needs the artefact's bytes, not its digest alone");
    }
}

// legacy.rs

/// The smallest limits are cosign's own: the payload's is fixed, the annotations' is that of all verification material.
#[test]
fn the_limits_of_the_legacy_form_are_the_last_sizes_that_are_read() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let plain = Recipe { timestamp: false, ..blob() };
    let digest = Digest::of(IMAGE).to_string();
    let signed =
        |padding: usize| sigstore.legacy_signature(&format!(r#"{digest}","padding":"{}"#, "x".repeat(padding)), &plain);
    let most = 64 * 1024;
    let padding = most - signed(0).payload.len();
    assert_eq!(signed(padding).payload.len(), most);
    assert_verified(&judged_legacy(signed(padding), &policy(), &root));
    let words = "the signed payload has 65537 bytes, more than the 65536 that are read";
    assert_refused(&judged_legacy(signed(padding + 1), &policy(), &root), Reason::Malformed, words);

    let legacy = sigstore.legacy_signature(&digest, &plain);
    let size: usize = legacy.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    let within = |bytes| Policy { limits: Limits { material_bytes: bytes, ..Limits::default() }, ..policy() };
    assert_verified(&judged_legacy(legacy.clone(), &within(size), &root));
    let words = format!("the layer's annotations have {size} bytes, more than the {} that are read", size - 1);
    assert_refused(&judged_legacy(legacy, &within(size - 1), &root), Reason::Malformed, &words);
}

/// The timestamp of the legacy form is an annotation; an empty one is none, as cosign writes it.
#[test]
fn a_legacy_timestamp_counts_and_an_empty_annotation_is_none() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let stamped = requiring(EvidenceRequirements { signed_timestamp: true, ..EvidenceRequirements::DEFAULT });
    let mut legacy = sigstore.legacy_signature(&Digest::of(IMAGE).to_string(), &blob());
    let verdict = judged_legacy(legacy.clone(), &stamped, &root);
    assert_verified(&verdict);
    assert_eq!(authenticated(&verdict).timestamp_authorities.len(), 1);
    legacy.annotations.insert("dev.sigstore.cosign/rfc3161timestamp".to_owned(), " ".to_owned());
    assert_eq!(judged_legacy(legacy.clone(), &stamped, &root).reason, Reason::TimestampMissing);
    assert_verified(&judged_legacy(legacy, &policy(), &root));
}

// prepared.rs and reason.rs

/// A root is shown by its name: its keys fill pages, and an outcome by its word.
#[test]
fn roots_and_outcomes_are_shown_in_short() {
    let root = root_of(&Sigstore::new().trusted_root()).stale("no courier");
    assert_eq!(format!("{root:?}"), r#"PreparedRoot { root: "corp", stale: Some("no courier"), .. }"#);
    let shown = [Outcome::Covered, Outcome::Uncovered, Outcome::Unknown].map(|outcome| outcome.to_string());
    assert_eq!(shown, ["covered", "uncovered", "unknown"]);
}
