//! Real trusted roots read right, and what producers get wrong is set right, left out aloud, or refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_core::trust::diff::{Kind, RootDiff};
use holdfast_core::trust::root::{KeyAlgorithm, Log, RootError, RootNote, TrustRoot};
use serde_json::{Value, json};
use sigstore_verify::trust_root::{
    SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT,
};

fn read(document: &Value) -> Result<TrustRoot, RootError> {
    TrustRoot::from_json("test", document.to_string().as_bytes())
}

fn production() -> Value {
    serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap()
}

#[test]
fn the_real_roots_are_read_whole() {
    let counts = |text: &str| {
        let root = TrustRoot::from_json("real", text.as_bytes()).unwrap();
        assert_eq!(root.notes, [], "{text}");
        [root.certificate_authorities.len(), root.logs.len(), root.ct_logs.len(), root.timestamp_authorities.len()]
    };
    assert_eq!(counts(SIGSTORE_PRODUCTION_TRUSTED_ROOT), [2, 2, 2, 1]);
    assert_eq!(counts(SIGSTORE_STAGING_TRUSTED_ROOT), [2, 5, 5, 2]);
    let github = counts(SIGSTORE_GITHUB_TRUSTED_ROOT);
    assert_eq!(github[1], 0, "GitHub's instance has no transparency log");
    assert!(github[3] > 0);
}

#[test]
fn one_unusable_key_does_not_cost_the_others() {
    let mut document = production();
    document["tlogs"][0]["publicKey"]["rawBytes"] = json!(STANDARD.encode(b"not a key"));
    let root = read(&document).unwrap();
    assert_eq!(root.logs.len(), 1);
    let [RootNote::Dropped { kind: Kind::TransparencyLog, entry, .. }] = &root.notes[..] else {
        panic!("{:?}", root.notes)
    };
    assert_eq!(entry, "tlogs[0] (rekor.sigstore.dev)");
}

/// An entry that cannot be read has not been taken away: whoever compares two roots is told of both.
#[test]
fn an_entry_that_cannot_be_read_is_told_beside_what_it_removes() {
    let mut document = production();
    document["timestampAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = json!("AAAA");
    let diff = RootDiff::between(&read(&production()).unwrap(), &read(&document).unwrap());
    assert_eq!(diff.changes.len(), 1);
    let [RootNote::Dropped { kind: Kind::TimestampAuthority, entry, .. }] = &diff.left_out[..] else {
        panic!("{:?}", diff.left_out)
    };
    assert_eq!(entry, "timestampAuthorities[0] (timestamp.sigstore.dev/api/v1/timestamp)");
}

#[test]
fn log_ids_are_set_right_where_they_can_be() {
    let want = read(&production()).unwrap().logs[0].log_id;
    let mut twice = production();
    twice["tlogs"][0]["logId"]["keyId"] = json!(STANDARD.encode(want.to_string()));
    let mut absent = production();
    absent["tlogs"][0].as_object_mut().unwrap().remove("logId");
    absent["tlogs"][0].as_object_mut().unwrap().remove("baseUrl");
    for document in [twice, absent] {
        let root = read(&document).unwrap();
        assert_eq!(root.logs[0].log_id, want);
        assert!(matches!(root.notes[..], [RootNote::LogIdSetRight { .. }]), "{:?}", root.notes);
    }
}

#[test]
fn the_log_id_of_a_rekor_v2_log_is_not_guessed() {
    let mut document = production();
    let ed25519 = read(&document).unwrap().logs.iter().position(|l| l.algorithm == KeyAlgorithm::Ed25519).unwrap();
    document["tlogs"][ed25519].as_object_mut().unwrap().remove("logId");
    let root = read(&document).unwrap();
    assert_eq!(root.logs.len(), 1);
    assert!(matches!(root.notes[..], [RootNote::Dropped { .. }]));
}

#[test]
fn an_unclear_window_refuses_the_root() {
    let mut no_start = production();
    no_start["tlogs"][0]["publicKey"]["validFor"] = json!({"end": "2030-01-01T00:00:00Z"});
    let mut backwards = production();
    backwards["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2030-01-01T00:00:00Z", "end": "2029-01-01T00:00:00Z"});
    for document in [no_start, backwards] {
        assert!(matches!(read(&document), Err(RootError::Window { .. })));
    }
}

#[test]
fn one_log_id_names_one_key() {
    let mut repeated = production();
    let log = repeated["tlogs"][0].clone();
    repeated["tlogs"].as_array_mut().unwrap().push(log);
    let root = read(&repeated).unwrap();
    assert_eq!(root.logs.len(), 2);
    assert!(matches!(root.notes[..], [RootNote::Duplicate { .. }]));

    let mut ambiguous = production();
    ambiguous["tlogs"][1]["logId"] = ambiguous["tlogs"][0]["logId"].clone();
    assert!(matches!(read(&ambiguous), Err(RootError::AmbiguousLogId { .. })));
}

#[test]
fn a_window_wider_than_its_certificates_is_narrowed_and_said() {
    let mut document = production();
    document["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2021-03-07T03:20:29Z", "end": "2099-01-01T00:00:00Z"});
    let root = read(&document).unwrap();
    let authority = &root.certificate_authorities[0];
    assert!(authority.effective_window().unwrap().end() < authority.window.end());
    assert!(matches!(root.notes[..], [RootNote::WindowNarrowed { .. }]));
}

#[test]
fn other_documents_are_named_for_what_they_are() {
    assert!(matches!(
        read(&json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"})),
        Err(RootError::MediaType { .. })
    ));
    assert!(matches!(read(&json!({"mediaType": production()["mediaType"]})), Err(RootError::Empty { .. })));
    assert!(matches!(TrustRoot::from_json("x", b""), Err(RootError::Malformed { .. })));
    assert!(matches!(TrustRoot::from_json("x", &vec![b' '; 2 << 20]), Err(RootError::TooLarge { .. })));
}

#[test]
fn what_engines_get_reads_back_as_what_is_verified_under() {
    for text in [SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, SIGSTORE_GITHUB_TRUSTED_ROOT] {
        let root = TrustRoot::from_json("real", text.as_bytes()).unwrap();
        let written = root.document();
        let again = TrustRoot::from_json("real", written.as_bytes()).unwrap();
        assert_eq!(again.document(), written);
        // A retired CT log of the staging instance has a key in PKCS #1, which engines are not given.
        let known = |logs: &[Log]| {
            logs.iter().filter(|log| log.algorithm != KeyAlgorithm::Unknown).cloned().collect::<Vec<_>>()
        };
        assert!(again.logs == root.logs && again.ct_logs == known(&root.ct_logs));
        let windows = |root: &TrustRoot| {
            let all = root.certificate_authorities.iter().chain(&root.timestamp_authorities);
            all.map(|authority| (authority.chain_digest(), authority.effective_window())).collect::<Vec<_>>()
        };
        assert_eq!(windows(&again), windows(&root));
        // The names of algorithms are those that the publishers give.
        let (published, written): (Value, Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_str(&written).unwrap());
        for list in ["tlogs", "ctlogs"] {
            let details = |document: &Value| -> Vec<Value> {
                let logs = document[list].as_array().cloned().unwrap_or_default();
                let all = logs.iter().map(|log| log["publicKey"]["keyDetails"].clone());
                all.filter(|details| details != "PKCS1_RSA_PKCS1V5").collect()
            };
            assert_eq!(details(&written), details(&published), "{list}");
        }
    }
}

/// Derived readers take an array for an object, its fields in order; and a name twice has two readings.
#[test]
fn a_root_of_another_shape_is_refused() {
    let production: Value = production();
    let as_array = json!([production["mediaType"], production["tlogs"], production["certificateAuthorities"]]);
    let mut nested = production.clone();
    nested["tlogs"][0] = json!(["https://rekor.sigstore.dev", "SHA2_256", production["tlogs"][0]["publicKey"]]);
    for document in
        [as_array.to_string(), nested.to_string(), production.to_string().replacen('{', r#"{"tlogs":[],"#, 1)]
    {
        let read = TrustRoot::from_json("bent", document.as_bytes());
        assert!(matches!(read, Err(RootError::Malformed { .. })), "{read:?}");
    }
}
