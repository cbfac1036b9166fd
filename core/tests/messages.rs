//! What a verdict says of what was not authenticated: that it says so itself, and nothing more.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_core::trust::root::{ManagedKey, TrustRoot, Window};
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Policy, PreparedRoot, Reason, Signer, Verdict, judge,
};
use holdfast_testpki::{Flaw, LogForm, Recipe, Sigstore};
use serde_json::{Value, json};
use support::{anyone, at};

const IMAGE: &[u8] = br#"{"an":"image manifest"}"#;
const NOTHING: EvidenceRequirements =
    EvidenceRequirements { transparency_log: false, signed_timestamp: false, sct: false };

fn image() -> Recipe {
    Recipe::image("https://ci.example/release", "https://issuer.example")
}

fn root_of(document: &Value) -> PreparedRoot {
    PreparedRoot::new(TrustRoot::from_json("corp", document.to_string().as_bytes()).unwrap()).unwrap()
}

fn judged(bundle: &Value, policy: &Policy, roots: &[&PreparedRoot]) -> Verdict {
    let evidence = [Evidence::bundle("bundle.json", bundle.to_string().into_bytes())];
    judge(&Artifact::of_bytes(IMAGE.to_vec()), &evidence, policy, roots, at("2026-07-01T00:00:00Z"))
}

fn key_policy(sigstore: &Sigstore, evidence: EvidenceRequirements) -> Policy {
    let key = ManagedKey::from_bytes("release", sigstore.managed_key.pem().as_bytes(), Window::ALWAYS).unwrap();
    Policy {
        signers: vec![Signer::Key { name: "release".to_owned(), key: Box::new(key) }],
        evidence,
        accept: Accept::Either,
        limits: Limits::default(),
    }
}

/// The log is in the root; what the bundle says of it was changed, and its checkpoint still has the log's name.
#[test]
fn a_log_that_is_not_known_calls_itself_by_its_name() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let mut bundle = sigstore.bundle(IMAGE, &image());
    bundle["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] = json!("AAAA");
    let verdict = judged(&bundle, &anyone(EvidenceRequirements::DEFAULT), &[&root]);
    assert_eq!(verdict.reason, Reason::UnknownLog);
    for part in ["`000000`", "calls itself `rekor.test", "fit no log of the trust root `corp`"] {
        assert!(verdict.message.contains(part), "{part}: {}", verdict.message);
    }
}

#[test]
fn an_unknown_timestamp_authority_is_named_as_it_names_itself() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    let bundle = sigstore.bundle(IMAGE, &image().with(Flaw::UnknownTimestampAuthority));
    let verdict = judged(&bundle, &anyone(EvidenceRequirements::DEFAULT), &[&root]);
    assert_eq!(verdict.reason, Reason::UnknownTimestampAuthority);
    assert!(verdict.message.contains("names its signer itself"), "{}", verdict.message);
}

/// A key needs no trust root; what goes with the signature does.
#[test]
fn without_a_trust_root_what_cannot_be_checked_is_named() {
    let sigstore = Sigstore::new();
    let logged = EvidenceRequirements { transparency_log: true, ..NOTHING };
    let timestamped = EvidenceRequirements { signed_timestamp: true, ..NOTHING };
    let timestamp = || Recipe { log: LogForm::None, timestamp: true, ..Recipe::key() };
    for (recipe, evidence, want, words) in [
        (Recipe::key(), logged, Reason::UnknownLog, "a log entry"),
        (timestamp(), NOTHING, Reason::UnknownTimestampAuthority, "a signed timestamp"),
        (timestamp(), timestamped, Reason::UnknownTimestampAuthority, "a signed timestamp"),
    ] {
        let verdict = judged(&sigstore.bundle(IMAGE, &recipe), &key_policy(&sigstore, evidence), &[]);
        assert_eq!(verdict.reason, want, "{recipe:?}: {verdict:#?}");
        assert!(verdict.message.contains(&format!("carries {words}, and no trust root was given")), "{verdict:#?}");
    }
}

/// A signed statement that does not say what it states is none.
#[test]
fn a_statement_of_no_type_is_malformed() {
    let sigstore = Sigstore::new();
    let root = root_of(&sigstore.trusted_root());
    for predicate in ["", " "] {
        let bundle = sigstore.bundle(IMAGE, &Recipe { predicate: Some(predicate.to_owned()), ..image() });
        let verdict = judged(&bundle, &anyone(EvidenceRequirements::DEFAULT), &[&root]);
        assert_eq!(verdict.reason, Reason::Malformed, "{verdict:#?}");
        assert!(verdict.message.contains("predicate type is empty"), "{verdict:#?}");
    }
}

/// What is missed may stand in the root and be unreadable: then it is not the signer who has to act.
#[test]
fn an_unreadable_entry_of_the_root_is_named_where_it_may_be_what_is_missed() {
    let sigstore = Sigstore::new();
    let bundle = sigstore.bundle(IMAGE, &image());
    for (list, key, want) in [
        ("tlogs", "/publicKey/rawBytes", Reason::UnknownLog),
        ("ctlogs", "/publicKey/rawBytes", Reason::UnknownLog),
        ("timestampAuthorities", "/certChain/certificates/0/rawBytes", Reason::UnknownTimestampAuthority),
        ("certificateAuthorities", "/certChain/certificates/0/rawBytes", Reason::UntrustedAuthority),
    ] {
        let mut document = sigstore.trusted_root();
        *document[list][0].pointer_mut(key).unwrap() = json!("AAAA");
        let verdict = judged(&bundle, &anyone(EvidenceRequirements::DEFAULT), &[&root_of(&document)]);
        assert_eq!(verdict.reason, want, "{list}: {verdict:#?}");
        let words = format!("the trust root has an entry that cannot be read: {list}[0]");
        assert!(verdict.message.contains(&words), "{list}: {}", verdict.message);
    }
}
