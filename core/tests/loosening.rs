//! What is called not looser admits nothing more; every way of being looser is named, with what would allow it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value
)] // a test that cannot go on fails

#[path = "support/admission.rs"]
mod admission;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use admission::{admits, done, edits, in_force, in_scope, request};
use holdfast_core::Digest;
use holdfast_core::api::{
    SigningIdentityPolicySpec, TrustApproval, TrustBreakGlass, TrustBreakGlassSpec, TrustRootMirrorSpec,
};
use holdfast_core::gate::break_glass::{ActiveBreakGlass, Activity, Caps, activity, counted};
use holdfast_core::gate::loosening::{
    AllowedBy, Approval, Beside, Effective, Loosening, LooseningKind, Permit, PolicyForm, SecretKey, Standing,
    approval_digest, break_glass, caps, gate_weakened, held, left_scope, mirror, mirror_deletion, policy,
    policy_deletion, promotion,
};
use holdfast_core::trust::root::{ManagedKey, Window};
use holdfast_testpki::Key;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use support::at;

const NO_KEYS: &BTreeMap<String, SecretKey> = &BTreeMap::new();

fn spec(value: &Value) -> SigningIdentityPolicySpec {
    serde_json::from_value(value.clone()).unwrap()
}

fn form(spec: &SigningIdentityPolicySpec) -> PolicyForm<'_> {
    PolicyForm { name: "apps", spec, keys: NO_KEYS }
}

fn base() -> Value {
    json!({
        "images": ["r.example/apps/**"],
        "trustRoots": ["corp", "public"],
        "namespaceSelector": {"matchLabels": {"tier": "apps"}},
        "identities": [
            {"name": "web", "issuer": "https://i.example", "subject": "https://ci.example/web"},
            {"name": "tools", "issuer": "https://i.example", "subjectRegExp": "https://ci\\.example/tools-[a-z]+"},
            {"name": "vendor", "key": {"secretRef": {"name": "vendor"}}},
        ],
        "require": {"attestations": ["https://slsa.dev/provenance/v1"], "transparencyLog": true, "signedTimestamp": true, "sct": true},
        "engines": {"native": {}, "kyverno": {}},
        "exemptImages": [{"image": format!("r.example/base/pause@{}", Digest::of(b"pause")), "reason": "node image"}],
        "enforcement": {"desired": "Enforce", "waves": [{"name": "canary", "namespaceSelector": {"matchLabels": {"canary": "true"}}}, {"name": "everything"}]},
    })
}

fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match name.parse::<usize>() {
        Ok(index) if parent.is_array() => parent[index] = value,
        _ => parent[name] = value,
    }
    document
}

fn canary_done() -> Standing<'static> {
    Standing { waves: BTreeSet::from(["canary"]), ..Standing::default() }
}

fn kinds(found: &[Loosening]) -> Vec<LooseningKind> {
    found.iter().map(|loosening| loosening.kind).collect()
}

#[test]
fn every_edit_is_named_for_what_it_admits() {
    use LooseningKind as L;
    let identity =
        |name: &str, field: &str, value: &str| json!({"name": name, "issuer": "https://i.example", field: value});
    let one = |identity: Value| with(base(), "/identities", json!([identity]));
    let exempt =
        |text: &str| json!([{"image": format!("r.example/{text}@{}", Digest::of(b"pause")), "reason": "other words"}]);
    for (what, declared, want) in [
        ("nothing", base(), vec![]),
        ("Audit", with(base(), "/enforcement/desired", json!("Audit")), vec![L::ReturnToAudit]),
        ("narrower images", with(base(), "/images", json!(["r.example/apps/web"])), vec![L::ImagesNarrowed]),
        (
            "an equal pattern beside",
            with(base(), "/images", json!(["r.example/apps/**", "r.example/apps/web"])),
            vec![],
        ),
        ("wider images", with(base(), "/images", json!(["r.example/**"])), vec![L::ImagesClaimed]),
        (
            "another registry",
            with(base(), "/images", json!(["s.example/apps/**"])),
            vec![L::ImagesNarrowed, L::ImagesClaimed],
        ),
        ("others pass", with(base(), "/otherImages", json!("Allow")), vec![L::OtherImagesAllowed]),
        ("no exemption", with(base(), "/exemptImages", json!([])), vec![]),
        ("other words for an exemption", with(base(), "/exemptImages", exempt("base/pause")), vec![]),
        ("another exemption", with(base(), "/exemptImages", exempt("base/other")), vec![L::ImageExempted]),
        ("more namespaces", with(base(), "/namespaceSelector", json!({})), vec![]),
        (
            "fewer namespaces",
            with(base(), "/namespaceSelector/matchLabels/team", json!("a")),
            vec![L::NamespacesNarrowed],
        ),
        (
            "the label among several values",
            with(
                base(),
                "/namespaceSelector",
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["apps", "web"]}]}),
            ),
            vec![],
        ),
        (
            "the label at all",
            with(base(), "/namespaceSelector", json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]})),
            vec![],
        ),
        (
            "not another label",
            with(
                base(),
                "/namespaceSelector",
                json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]}),
            ),
            vec![],
        ),
        (
            "an unrelated absence",
            with(base(), "/namespaceSelector/matchExpressions", json!([{"key": "x", "operator": "DoesNotExist"}])),
            vec![L::NamespacesNarrowed],
        ),
        ("fewer roots", with(base(), "/trustRoots", json!(["corp"])), vec![]),
        ("other order of roots", with(base(), "/trustRoots", json!(["public", "corp"])), vec![]),
        ("another root", with(base(), "/trustRoots", json!(["corp", "vendor"])), vec![L::TrustRootAdded]),
        ("no root", with(base(), "/trustRoots", json!([])), vec![L::TrustRootsDropped]),
        ("one identity less", one(identity("web", "subject", "https://ci.example/web")), vec![]),
        ("another name", one(identity("site", "subject", "https://ci.example/web")), vec![]),
        ("another subject", one(identity("web", "subject", "https://ci.example/other")), vec![L::IdentityWidened]),
        (
            "exact to expression",
            one(identity("web", "subjectRegExp", "https://ci\\.example/web")),
            vec![L::IdentityWidened],
        ),
        ("expression to what it matches", one(identity("tools", "subject", "https://ci.example/tools-a")), vec![]),
        (
            "expression to what it does not match",
            one(identity("tools", "subject", "https://ci.example/tools-1")),
            vec![L::IdentityWidened],
        ),
        (
            "another expression, if narrower",
            one(identity("tools", "subjectRegExp", "https://ci\\.example/tools-[a-b]+")),
            vec![L::IdentityWidened],
        ),
        (
            "another issuer",
            one(json!({"name": "web", "issuer": "https://j.example", "subject": "https://ci.example/web"})),
            vec![L::IdentityWidened],
        ),
        (
            "another key",
            one(json!({"name": "vendor", "key": {"secretRef": {"name": "other"}}})),
            vec![L::IdentityWidened],
        ),
        ("optional", with(base(), "/identities/0/optional", json!(true)), vec![]),
        ("no attestation", with(base(), "/require/attestations", json!([])), vec![L::AttestationDropped]),
        (
            "one more attestation",
            with(base(), "/require/attestations", json!(["x", "https://slsa.dev/provenance/v1"])),
            vec![],
        ),
        ("no log", with(base(), "/require/transparencyLog", json!(false)), vec![L::EvidenceDropped]),
        ("no timestamp", with(base(), "/require/signedTimestamp", json!(false)), vec![L::EvidenceDropped]),
        ("no sct", with(base(), "/require/sct", json!(false)), vec![L::EvidenceDropped]),
        ("an engine less", with(base(), "/engines", json!({"native": {}})), vec![L::EngineDropped]),
        ("an engine more", with(base(), "/engines/policyController", json!({})), vec![LooseningKind::EngineAdded]),
        (
            "another kind of Kyverno's",
            with(base(), "/engines/kyverno/kind", json!("ClusterPolicy")),
            vec![L::EngineChanged],
        ),
        (
            "intake",
            with(
                base(),
                "/engines/native/intake",
                json!({"images": [format!("registry.corp.internal/apps/x@{}", Digest::of(b"x"))]}),
            ),
            vec![],
        ),
        (
            "a wave to come is gone",
            with(
                base(),
                "/enforcement/waves",
                json!([{"name": "canary", "namespaceSelector": {"matchLabels": {"canary": "true"}}}]),
            ),
            vec![],
        ),
        (
            "a wave in force is gone",
            with(base(), "/enforcement/waves", json!([{"name": "everything"}])),
            vec![L::WaveDropped],
        ),
        (
            "a wave in force has another place",
            with(base(), "/enforcement/waves", json!([{"name": "everything"}, {"name": "canary"}])),
            vec![L::WaveDropped],
        ),
        (
            "a wave in force is narrower",
            with(base(), "/enforcement/waves/0/namespaceSelector/matchLabels/x", json!("y")),
            vec![L::WaveDropped],
        ),
        ("a wave in force is wider", with(base(), "/enforcement/waves/0/namespaceSelector", json!({})), vec![]),
        ("less coverage", with(base(), "/enforcement/minimumCoverage", json!(50)), vec![]),
        ("less soak", with(base(), "/enforcement/soak", json!("1h")), vec![]),
    ] {
        let (enforced, declared) = (spec(&base()), spec(&declared));
        let found = policy(form(&enforced), form(&declared), &canary_done());
        let mut want = want;
        want.sort();
        assert_eq!(kinds(&found), want, "{what}: {found:#?}");
        for loosening in &found {
            assert_eq!(loosening.digest, form(&declared).change_from(form(&enforced), &BTreeSet::new()), "{what}");
            assert!(loosening.to_string().contains(&loosening.digest.to_string()), "{what}");
            assert!(!loosening.detail.is_empty() && !loosening.detail.ends_with('.'), "{what}");
        }
    }
}

#[test]
fn widening_images_admits_more_only_where_others_are_denied() {
    let enforced = spec(&with(base(), "/otherImages", json!("Allow")));
    let declared = spec(&with(with(base(), "/otherImages", json!("Allow")), "/images", json!(["r.example/**"])));
    assert!(policy(form(&enforced), form(&declared), &canary_done()).is_empty());
    let beside = Standing { others_deny: true, ..canary_done() };
    assert_eq!(kinds(&policy(form(&enforced), form(&declared), &beside)), [LooseningKind::ImagesClaimed]);
}

#[test]
fn another_key_in_the_same_secret_is_another_identity() {
    let spec = spec(&base());
    let keys = || {
        let key = ManagedKey::from_bytes("vendor", Key::p256().pem().as_bytes(), Window::ALWAYS).unwrap();
        BTreeMap::from([("vendor".to_owned(), SecretKey::from(&key))])
    };
    let (old, new) = (keys(), keys());
    let read: BTreeMap<String, SecretKey> = serde_json::from_str(&serde_json::to_string(&old).unwrap()).unwrap();
    assert_eq!(read, old, "a key is kept whole");
    let of = |keys| PolicyForm { name: "apps", spec: &spec, keys };
    assert!(policy(of(&old), of(&old), &canary_done()).is_empty());
    assert_eq!(kinds(&policy(of(&old), of(&new), &canary_done())), [LooseningKind::IdentityWidened]);
    assert_ne!(of(&old).digest(), of(&new).digest());
}

#[test]
fn a_narrower_selector_names_the_namespaces_it_leaves_out() {
    let labels = BTreeMap::from([("tier".to_owned(), "apps".to_owned())]);
    let standing = Standing { namespaces: BTreeMap::from([("shop", Some(&labels)), ("gone", None)]), ..canary_done() };
    let declared = spec(&with(base(), "/namespaceSelector/matchLabels/team", json!("a")));
    let found = policy(form(&spec(&base())), form(&declared), &standing);
    assert!(found[0].detail.contains("leaves out `shop`"), "{}", found[0].detail);
}

#[test]
fn what_weakens_the_gate_and_admits_nothing_is_said_apart() {
    let declared = spec(&with(
        with(with(base(), "/identities/0/optional", json!(true)), "/enforcement/soak", json!("1h")),
        "/enforcement/minimumCoverage",
        json!(90),
    ));
    let said = gate_weakened(&spec(&base()), &declared);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(gate_weakened(&spec(&base()), &spec(&base())).is_empty());
}

#[test]
fn a_namespace_that_lost_its_label_is_named_and_one_that_is_gone_is_not() {
    let spec = spec(&base());
    let labels = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
    let known = BTreeMap::from([("shop".to_owned(), labels("apps")), ("billing".to_owned(), labels("db"))]);
    let enforced = BTreeSet::from(["shop".to_owned(), "billing".to_owned(), "gone".to_owned()]);
    let found = left_scope(form(&spec), &enforced, &known).unwrap();
    assert_eq!(found.kind, LooseningKind::NamespaceLeft);
    assert!(found.detail.contains("`billing`") && !found.detail.contains("gone"), "{}", found.detail);
    assert_ne!(found.digest, form(&spec).digest(), "approving the policy does not let its namespaces go");
    assert!(left_scope(form(&spec), &BTreeSet::from(["shop".to_owned()]), &known).is_none());
}

#[test]
fn a_promotion_that_takes_images_out_of_anothers_denial_is_named() {
    let platform = spec(&base());
    let there = BTreeSet::from(["shop".to_owned()]);
    let beside = [Beside::new("platform", &platform, &there)];
    let vendor = |images: Value, exempt: Value| spec(&with(with(base(), "/images", images), "/exemptImages", exempt));
    let claims = vendor(json!(["v.example/**"]), json!([]));
    let within = vendor(json!(["r.example/apps/web"]), json!([]));
    let exempts = vendor(
        json!(["r.example/apps/*"]),
        json!([{"image": format!("v.example/x@{}", Digest::of(b"x")), "reason": "x"}]),
    );
    let new = |spec| PolicyForm { name: "vendor", spec, keys: NO_KEYS };
    assert_eq!(kinds(&promotion(new(&claims), &there, &beside)), [LooseningKind::PromotionClaims]);
    assert_eq!(kinds(&promotion(new(&exempts), &there, &beside)), [LooseningKind::PromotionClaims]);
    assert!(promotion(new(&within), &there, &beside).is_empty());
    assert!(promotion(new(&claims), &BTreeSet::from(["other".to_owned()]), &beside).is_empty());
    assert!(
        promotion(form(&claims), &there, &[Beside { name: "apps", ..beside[0] }]).is_empty(),
        "itself is not another one"
    );
    let open = spec(&with(base(), "/otherImages", json!("Allow")));
    assert!(promotion(new(&claims), &there, &[Beside { spec: &open, ..beside[0] }]).is_empty());
}

fn tuf() -> Value {
    json!({
        "source": {"http": {"url": "https://mirror.example/tuf/"}},
        "bootstrap": {"rootSHA256": "f".repeat(64), "configMap": {"namespace": "holdfast-system", "name": "bootstrap", "key": "root.json"}},
        "freshness": {"grace": "24h", "maxAge": "240h", "onStale": "FailClosed"},
        "rotation": {"approval": "Required", "maxNewlyFailing": 2, "removalGrace": "72h"},
        "distribution": {"tufRepository": {"timestampValidity": "24h", "rootValidity": "8760h"}},
    })
}

fn mirror_spec(value: &Value) -> TrustRootMirrorSpec {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn every_edit_of_a_mirror_is_named_for_what_it_admits() {
    use LooseningKind as L;
    for (what, declared, want) in [
        ("nothing", tuf(), vec![]),
        ("another address", with(tuf(), "/source/http/url", json!("https://other.example/")), vec![L::SourceChanged]),
        (
            "another kind of source",
            with(tuf(), "/source", json!({"volume": {"path": "/mirror"}})),
            vec![L::SourceChanged],
        ),
        (
            "keys in its place",
            with(tuf(), "/source", json!({"keys": {"publicKeys": [{"name": "a", "publicKey": "x"}]}})),
            vec![L::SourceChanged],
        ),
        ("another pin", with(tuf(), "/bootstrap/rootSHA256", json!("e".repeat(64))), vec![L::PinChanged]),
        ("the pin kept elsewhere", with(tuf(), "/bootstrap/configMap/name", json!("other")), vec![]),
        ("more grace", with(tuf(), "/freshness/grace", json!("25h")), vec![L::StaleAccepted]),
        ("less grace", with(tuf(), "/freshness/grace", json!("1h")), vec![]),
        ("more age", with(tuf(), "/freshness/maxAge", json!("241h")), vec![L::StaleAccepted]),
        (
            "any age",
            with(tuf(), "/freshness", json!({"grace": "24h", "onStale": "FailClosed"})),
            vec![L::StaleAccepted],
        ),
        ("stale is open", with(tuf(), "/freshness/onStale", json!("Alert")), vec![L::StaleOpen]),
        ("a later warning", with(tuf(), "/freshness/warnBefore", json!("1h")), vec![]),
        ("no approval", with(tuf(), "/rotation/approval", json!("Automatic")), vec![L::RotationUnapproved]),
        ("more may fail", with(tuf(), "/rotation/maxNewlyFailing", json!(3)), vec![L::MoreMayFail]),
        ("fewer may fail", with(tuf(), "/rotation/maxNewlyFailing", json!(0)), vec![]),
        ("removal takes longer", with(tuf(), "/rotation/removalGrace", json!("73h")), vec![L::RemovalDelayed]),
        ("an approval", with(tuf(), "/rotation/approvedDigest", json!(Digest::of(b"x"))), vec![]),
        (
            "longer timestamps",
            with(tuf(), "/distribution/tufRepository/timestampValidity", json!("48h")),
            vec![L::LocalValidityRaised],
        ),
        (
            "a longer root",
            with(tuf(), "/distribution/tufRepository/rootValidity", json!("8761h")),
            vec![L::LocalValidityRaised],
        ),
        ("no repository", with(tuf(), "/distribution", json!({})), vec![]),
        ("suspended", with(tuf(), "/suspend", json!(true)), vec![]),
    ] {
        let found = mirror("corp", &mirror_spec(&tuf()), &mirror_spec(&declared));
        assert_eq!(kinds(&found), want, "{what}: {found:#?}");
    }
    let deletion = mirror_deletion("corp", &mirror_spec(&tuf()));
    assert_eq!(deletion.kind.allowed_by(), AllowedBy::BreakGlass);
}

#[test]
fn whom_a_registry_is_taken_to_be_is_part_of_the_place() {
    let oci = |field: &str, value: Value| {
        mirror_spec(&with(tuf(), "/source", json!({"oci": {"ref": "r.example/root:current", field: value}})))
    };
    let plain = oci("ref", json!("r.example/root:current"));
    for (field, value) in [
        ("ref", json!("r.example/root:next")),
        ("tokenUrl", json!("https://auth.example/token")),
        ("redirectHosts", json!(["s3.example"])),
        ("plainHttp", json!(true)),
        ("caBundleRef", json!({"name": "ca", "key": "ca.crt"})),
    ] {
        let changed = oci(field, value);
        assert_eq!(kinds(&mirror("corp", &plain, &changed)), [LooseningKind::SourceChanged], "{field}");
        assert_eq!(kinds(&mirror("corp", &changed, &plain)), [LooseningKind::SourceChanged], "{field}");
    }
    assert!(mirror("corp", &plain, &oci("pullSecretRef", json!({"name": "pull"}))).is_empty());
}

#[test]
fn keys_in_a_mirror_that_cannot_be_read_are_looser_when_they_change() {
    let keys = |key: &str| mirror_spec(&json!({"source": {"keys": {"publicKeys": [{"name": "a", "publicKey": key}]}}}));
    assert!(mirror("corp", &keys("x"), &keys("x")).is_empty());
    assert_eq!(kinds(&mirror("corp", &keys("x"), &keys("y"))), [LooseningKind::SourceChanged]);
}

#[test]
fn an_authority_more_is_looser_and_one_less_is_not() {
    use holdfast_core::gate::loosening::content;
    use holdfast_core::trust::root::TrustRoot;
    let (one, other) = (holdfast_testpki::Sigstore::new(), holdfast_testpki::Sigstore::new());
    let mut both = one.trusted_root();
    for list in ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"] {
        let more = other.trusted_root()[list].as_array().cloned().unwrap_or_default();
        if let Some(entries) = both[list].as_array_mut() {
            entries.extend(more);
        }
    }
    let read = |value: &Value| TrustRoot::from_json("corp", value.to_string().as_bytes()).unwrap();
    let (small, large) = (read(&one.trusted_root()), read(&both));
    assert!(content("corp", &large, &small).is_empty());
    let found = content("corp", &small, &large);
    assert!(
        !found.is_empty() && found.iter().all(|l| l.kind == LooseningKind::AuthorityAdded && l.digest == large.digest)
    );
}

fn glass_spec(until: &str, loosen: Value) -> TrustBreakGlassSpec {
    serde_json::from_value(json!({"reason": "INC", "requestedBy": "alice", "until": until, "loosen": loosen})).unwrap()
}

#[test]
fn a_break_glass_is_judged_against_its_approved_form_and_caps_against_those_in_force() {
    let stale = |root: &str| json!({"acceptStale": {"trustRoot": root}});
    let approved = glass_spec("2026-11-25T06:00:00Z", stale("corp"));
    let of = |until: &str, loosen: Value| kinds(&break_glass("inc", &approved, &glass_spec(until, loosen)));
    assert!(of("2026-11-25T06:00:00Z", stale("corp")).is_empty());
    assert!(of("2026-11-25T05:00:00Z", stale("corp")).is_empty());
    assert_eq!(of("2026-11-25T07:00:00Z", stale("corp")), [LooseningKind::BreakGlassChanged]);
    assert_eq!(of("2026-11-25T06:00:00Z", stale("other")), [LooseningKind::BreakGlassChanged]);
    let default = Caps::default();
    let more = Caps {
        longest: SignedDuration::from_hours(100),
        approvers: 1,
        service_accounts: BTreeSet::from(["system:serviceaccount:ci:bot".to_owned()]),
    };
    assert_eq!(kinds(&caps("holdfast", &default, &more)), [LooseningKind::CapRaised; 3]);
    assert!(caps("holdfast", &more, &default).is_empty());
}

fn glass(created: Option<&str>, until: &str) -> TrustBreakGlass {
    let mut metadata = json!({"name": "inc"});
    if let Some(created) = created {
        metadata["creationTimestamp"] = json!(created);
    }
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass", "metadata": metadata,
        "spec": glass_spec(until, json!({"acceptStale": {"trustRoot": "corp"}})),
    }))
    .unwrap()
}

fn approval(by: &str, digest: Digest) -> TrustApproval {
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"name": format!("a-{}", by.len()), "creationTimestamp": "2026-11-23T06:00:00Z"},
        "spec": {"approver": by, "for": {"kind": "TrustBreakGlass", "name": "inc", "digest": digest}},
    }))
    .unwrap()
}

#[test]
fn a_break_glass_counts_with_two_other_people_behind_guards_until_its_very_end() {
    let (created, until) = ("2026-11-23T06:00:00Z", "2026-11-25T06:00:00Z");
    let declared = glass(Some(created), until);
    let digest = approval_digest("TrustBreakGlass", "inc", &declared.spec);
    let by = |who: &[&str]| who.iter().map(|who| approval(who, digest)).collect::<Vec<_>>();
    let judge = |glass: &TrustBreakGlass, approvals: &[TrustApproval], guarded: bool, now: &str| {
        activity(glass, approvals, &Caps::default(), guarded, at(now))
    };
    let now = "2026-11-24T06:00:00Z";
    let pending = |activity: Activity| matches!(activity, Activity::Pending { .. });
    assert!(
        matches!(judge(&declared, &by(&["bob", "carol"]), true, now), Activity::Active(glass) if glass.approved_by == ["bob", "carol"])
    );
    for (who, why) in [
        (&["bob"][..], "one"),
        (&["bob", "bob"], "one person twice"),
        (&["bob", "alice"], "the requester"),
        (&["bob", "system:serviceaccount:ci:bot"], "a service account"),
    ] {
        assert!(pending(judge(&declared, &by(who), true, now)), "{why}");
    }
    assert!(pending(judge(&declared, &by(&["bob", "carol"]), false, now)), "guards removed while it is open");
    assert!(pending(judge(&declared, &[approval("bob", digest), approval("carol", Digest::of(b"x"))], true, now)));
    for (kind, name) in [("TrustRootMirror", "inc"), ("TrustBreakGlass", "other")] {
        let mut other = approval("carol", digest);
        (other.spec.r#for.kind, other.spec.r#for.name) = (kind.to_owned(), name.to_owned());
        assert!(
            pending(judge(&declared, &[approval("bob", digest), other], true, now)),
            "an approval of {kind} {name}"
        );
    }
    assert!(matches!(judge(&declared, &by(&["bob", "carol"]), true, until), Activity::Expired { .. }));
    assert!(matches!(judge(&declared, &by(&["bob", "carol"]), true, "2026-11-25T05:59:59Z"), Activity::Active(_)));
    for refused in [glass(Some(created), "2026-11-26T06:00:01Z"), glass(None, until), glass(Some(created), "tomorrow")]
    {
        assert!(matches!(judge(&refused, &by(&["bob", "carol"]), true, now), Activity::Refused { .. }));
    }
    let longest = glass(Some(created), "2026-11-26T06:00:00Z");
    assert!(pending(judge(&longest, &[], true, now)), "as long as the cap, and no longer");
    assert!(counted(&by(&["bob"]), &Caps::default(), false).is_empty());
    let listed =
        Caps { service_accounts: BTreeSet::from(["system:serviceaccount:ci:bot".to_owned()]), ..Caps::default() };
    assert_eq!(counted(&by(&["system:serviceaccount:ci:bot"]), &listed, true).len(), 1);
}

fn agreed(name: &str, digest: Digest) -> Approval {
    Approval {
        kind: "SigningIdentityPolicy".to_owned(),
        name: name.to_owned(),
        digest,
        by: "bob".to_owned(),
        made: None,
    }
}

fn lends(digest: Digest) -> ActiveBreakGlass {
    let loosen = json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}});
    ActiveBreakGlass {
        name: "inc".to_owned(),
        loosen: serde_json::from_value(loosen).unwrap(),
        until: at("2026-11-25T06:00:00Z"),
        approved_by: Vec::new(),
    }
}

#[test]
fn a_looser_form_is_held_until_somebody_agreed_to_that_very_form() {
    let (enforced, declared) = (spec(&base()), spec(&with(base(), "/require/sct", json!(false))));
    let now = at("2026-11-24T06:00:00Z");
    let digest = form(&declared).change_from(form(&enforced), &BTreeSet::new());
    let judge = |approvals: &[Approval], break_glasses: &[ActiveBreakGlass], now| {
        held(form(&enforced), form(&declared), &canary_done(), Permit { approvals, break_glasses }, now).effective
    };
    assert_eq!(judge(&[], &[], now), Effective::Enforced);
    assert_eq!(judge(&[agreed("apps", form(&enforced).digest())], &[], now), Effective::Enforced);
    assert_eq!(judge(&[agreed("other", digest)], &[], now), Effective::Enforced);
    assert_eq!(judge(&[agreed("apps", digest)], &[], now), Effective::Declared);
    assert!(matches!(judge(&[], &[lends(digest)], now), Effective::Lent { .. }));
    assert_eq!(judge(&[], &[lends(digest)], at("2026-11-25T06:00:00Z")), Effective::Enforced, "its end has come");
    let audit = spec(&with(base(), "/enforcement/desired", json!("Audit")));
    let digest = form(&audit).change_from(form(&enforced), &BTreeSet::new());
    let permit = Permit { approvals: &[agreed("apps", digest)], break_glasses: &[] };
    let result = held(form(&enforced), form(&audit), &canary_done(), permit, now);
    assert!(result.is_held(), "an approval is not enough to leave enforcement");
    let lent = [lends(digest)];
    let permit = Permit { approvals: &[], break_glasses: &lent };
    assert!(!held(form(&enforced), form(&audit), &canary_done(), permit, now).is_held());
    let deletion = policy_deletion(form(&enforced));
    assert_eq!(deletion.kind.allowed_by(), AllowedBy::BreakGlass);
    assert_ne!(deletion.digest, form(&enforced).digest());
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_keys_and_changes_with_every_field() {
    let digest = form(&spec(&base())).digest();
    let reordered: Value = serde_json::from_str(&base().to_string()).unwrap();
    assert_eq!(form(&spec(&reordered)).digest(), digest);
    for (pointer, value) in
        [("/images", json!(["a.example/x"])), ("/enforcement/soak", json!("1h")), ("/otherImages", json!("Allow"))]
    {
        assert_ne!(form(&spec(&with(base(), pointer, value))).digest(), digest, "{pointer}");
    }
    let spec = spec(&base());
    assert_ne!(PolicyForm { name: "other", spec: &spec, keys: NO_KEYS }.digest(), digest);
}

#[test]
fn every_kind_has_words_and_a_way() {
    for kind in LooseningKind::ALL {
        assert!(!kind.meaning().is_empty() && !kind.of().is_empty() && !kind.allowed_by().words().is_empty());
    }
    let only_break_glass: Vec<_> =
        LooseningKind::ALL.iter().filter(|kind| kind.allowed_by() == AllowedBy::BreakGlass).collect();
    assert_eq!(
        only_break_glass,
        [&LooseningKind::PolicyDeleted, &LooseningKind::ReturnToAudit, &LooseningKind::MirrorDeleted]
    );
}

/// Another policy in force beside: it claims one repository and denies the others.
fn beside() -> SigningIdentityPolicySpec {
    spec(&json!({
        "images": ["r.example/base"], "trustRoots": ["corp"], "identities": [{"name": "x", "issuer": "https://i.example", "subject": "x"}],
        "engines": {"native": {}, "kyverno": {}, "policyController": {}}, "enforcement": {"desired": "Enforce", "waves": [{"name": "canary"}, {"name": "everything"}]},
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    /// What is called not looser admits nothing more.
    #[test]
    fn what_is_not_looser_admits_nothing_more(
        specs in edits(1), requests in prop::collection::vec(request(), 48), done in done(), others_deny: bool,
    ) {
        let [enforced, declared] = &specs[..] else { panic!("two") };
        let other = beside();
        let standing = Standing { waves: done.iter().copied().collect(), others_deny, ..Standing::default() };
        if policy(form(enforced), form(declared), &standing).is_empty() {
            // Where the policy was not in force, it comes into force by a promotion, which is asked for what it claims.
            for request in requests.iter().filter(|request| !others_deny || in_scope(enforced, request, &done)) {
                let world = |policy| if others_deny { vec![policy, &other] } else { vec![policy] };
                if admits(&world(declared), request, &done) {
                    prop_assert!(admits(&world(enforced), request, &done), "{request:#?}\n{enforced:?}\n{declared:?}");
                }
            }
        }
    }

    /// A partial order: nothing is looser than itself, and steps that are not looser do not add up to one that is.
    #[test]
    fn not_looser_is_reflexive_and_transitive(specs in edits(2), done in done(), others_deny: bool) {
        let standing = Standing { waves: done.iter().copied().collect(), others_deny, ..Standing::default() };
        let not_looser = |a: &SigningIdentityPolicySpec, b: &SigningIdentityPolicySpec| policy(form(a), form(b), &standing).is_empty();
        let [a, b, c] = &specs[..] else { panic!("three") };
        for spec in &specs {
            prop_assert!(not_looser(spec, spec));
        }
        if not_looser(a, b) && not_looser(b, c) {
            prop_assert!(not_looser(a, c));
        }
    }

    /// A promotion that is said to claim nothing admits nothing more.
    #[test]
    fn a_promotion_that_claims_nothing_admits_nothing_more(
        specs in edits(1), requests in prop::collection::vec(request(), 24),
    ) {
        let [there, new] = &specs[..] else { panic!("two") };
        let done = ["canary", "everything"];
        let namespaces = BTreeSet::from(["ns".to_owned()]);
        let beside = [Beside::new("there", there, &namespaces)];
        if promotion(PolicyForm { name: "new", spec: new, keys: NO_KEYS }, &namespaces, &beside).is_empty() {
            for request in requests.iter().filter(|request| in_force(there, request, &done)) {
                if admits(&[there, new], request, &done) {
                    prop_assert!(admits(&[there], request, &done), "{request:?}");
                }
            }
        }
    }

    /// Mirrors: the same laws, and what is not looser never keeps trust for longer.
    #[test]
    fn a_mirror_that_is_not_looser_never_trusts_for_longer(
        specs in prop::collection::vec(mirror_fields(), 3), expired in 0..60_u32, age in 0..60_u32, failing in 0..4_u32,
    ) {
        let read: Vec<TrustRootMirrorSpec> = specs.iter().map(mirror_spec).collect();
        let not_looser = |a: &TrustRootMirrorSpec, b: &TrustRootMirrorSpec| mirror("corp", a, b).is_empty();
        let [a, b, c] = &read[..] else { panic!("three") };
        prop_assert!(not_looser(a, a));
        if not_looser(a, b) && not_looser(b, c) {
            prop_assert!(not_looser(a, c));
        }
        if not_looser(a, b) {
            let hours = |d: holdfast_core::api::duration::GoDuration| d.as_secs() / 3600;
            let fresh = |m: &TrustRootMirrorSpec| expired <= hours(m.freshness.grace) && m.freshness.max_age.is_none_or(|max| age <= hours(max));
            let adopts = |m: &TrustRootMirrorSpec| m.rotation.approval == holdfast_core::api::mirror::RotationApproval::Automatic && failing <= m.rotation.max_newly_failing;
            prop_assert!(!fresh(b) || fresh(a));
            prop_assert!(!adopts(b) || adopts(a));
            prop_assert_eq!(&a.source, &b.source);
        }
    }
}

fn mirror_fields() -> impl Strategy<Value = Value> {
    let hours = || select(vec!["10h", "24h", "50h"]);
    let source = select(vec!["https://a.example/", "https://a.example/", "https://b.example/"]);
    let flags = (prop::bool::weighted(0.8), prop::bool::weighted(0.5));
    (source, hours(), prop::option::weighted(0.7, hours()), flags, 0..4_u32, hours()).prop_map(
        |(url, grace, age, (required, closed), failing, removal)| {
            let mut document = tuf();
            document["source"]["http"]["url"] = json!(url);
            document["freshness"] = json!({"grace": grace, "onStale": if closed { "FailClosed" } else { "Alert" }});
            if let Some(age) = age {
                document["freshness"]["maxAge"] = json!(age);
            }
            let approval = if required { "Required" } else { "Automatic" };
            document["rotation"] = json!({"approval": approval, "maxNewlyFailing": failing, "removalGrace": removal});
            document
        },
    )
}
