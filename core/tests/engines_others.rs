//! Kubewarden, OpenShift and Flux: rendered and not run, so every loss is told, and what they let pass keeps them from enforcing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;

use std::collections::BTreeSet;

use estate::{ISSUER, KEY, Owned, SUBJECT};
use holdfast_core::engines::flux::{Flux, FluxCapability};
use holdfast_core::engines::kubewarden::{Kubewarden, KubewardenCapability};
use holdfast_core::engines::openshift::{OpenShift, OpenShiftCapability};
use holdfast_core::engines::{Engine, LossKind, Rendering};
use insta::assert_yaml_snapshot;
use serde_json::{Value, json};

const KUBEWARDEN: KubewardenCapability = KubewardenCapability { present: true };
const FLUX: FluxCapability = FluxCapability { present: true, trusted_root_ref: true };
const MODULE: &str = "registry://registry.corp.internal/kubewarden/verify-image-signatures:v0.3.0";

fn has(rendering: &Rendering, kind: LossKind) -> bool {
    rendering.losses.iter().any(|loss| loss.kind == kind)
}

fn openshift(allowed: Option<&[&str]>) -> OpenShiftCapability {
    let allowed_registries = allowed.map(|all| all.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    OpenShiftCapability { present: true, allowed_registries }
}

fn kubewarden(spec: &mut Value) -> Value {
    spec["engines"] = json!({ "kubewarden": { "module": MODULE } });
    spec.take()
}

/// A policy nodes can be held to: an e-mail address, one authority, one log of version 1, and others allowed.
fn email() -> Value {
    json!({
        "trustRoots": ["rekor1"],
        "otherImages": "Allow",
        "identities": [{ "name": "ci", "issuer": "https://idp.corp.internal", "subject": "ci@example.com" }],
        "require": { "transparencyLog": true, "signedTimestamp": false, "sct": false },
    })
}

#[test]
fn kubewarden_monitors() {
    let spec =
        kubewarden(&mut json!({ "require": { "transparencyLog": true, "signedTimestamp": false, "sct": false } }));
    assert_yaml_snapshot!(Kubewarden::render(&Owned::new().policy("apps", &[], &spec).estate(), &KUBEWARDEN));
}

#[test]
fn kubewarden_never_protects() {
    let rendering =
        Kubewarden::render(&Owned::new().policy("apps", &["shop"], &kubewarden(&mut json!({}))).estate(), &KUBEWARDEN);
    let [object] = &rendering.objects[..] else { panic!("{rendering:?}") };
    assert_eq!(object.body()["spec"]["mode"], "monitor");
    assert_eq!(rendering.refused.len(), 1);
    assert!(rendering.refused[0].why.contains("native engine"));
}

#[test]
fn kubewarden_takes_one_identity_and_an_address_of_its_module() {
    let two = json!([
        { "name": "k", "key": { "pem": KEY } },
        { "name": "w", "issuer": ISSUER, "subject": SUBJECT },
    ]);
    let expression =
        json!([{ "name": "w", "issuer": ISSUER, "subjectRegExp": "web|api" }, { "name": "k", "key": { "pem": KEY } }]);
    for (mut spec, kind, objects) in [
        (json!({ "identities": two }), LossKind::KubewardenOneIdentity, 0),
        (json!({ "identities": expression }), LossKind::KubewardenExactSubjects, 1),
        (
            json!({ "require": { "attestations": ["https://slsa.dev/provenance/v1"] } }),
            LossKind::KubewardenStatementsNotChecked,
            1,
        ),
        (json!({}), LossKind::KubewardenEvidenceNotChecked, 1),
    ] {
        let rendering =
            Kubewarden::render(&Owned::new().policy("apps", &[], &kubewarden(&mut spec)).estate(), &KUBEWARDEN);
        assert!(has(&rendering, kind), "{kind}: {:#?}", rendering.losses);
        assert_eq!(rendering.objects.len(), objects, "{kind}");
    }
    let bare = Kubewarden::render(&Owned::new().policy("apps", &[], &json!({})).estate(), &KUBEWARDEN);
    assert!(bare.objects.is_empty() && has(&bare, LossKind::KubewardenModuleAbsent));
}

#[test]
fn openshift_by_e_mail() {
    let owned = Owned::new().policy("apps", &["shop", "billing"], &email());
    assert_yaml_snapshot!(OpenShift::render(&owned.estate(), &openshift(Some(&["registry.corp.internal", "quay.io"]))));
}

#[test]
fn openshift_by_key() {
    let mut spec = email();
    spec["trustRoots"] = json!([]);
    spec["identities"] = json!([{ "name": "vendor", "key": { "pem": KEY } }]);
    spec["require"] = json!({ "transparencyLog": false, "signedTimestamp": false, "sct": true });
    spec["otherImages"] = json!("Deny");
    let owned = Owned::new().policy("vendor", &["shop", "billing"], &spec);
    assert_yaml_snapshot!(OpenShift::render(&owned.estate(), &openshift(Some(&["registry.corp.internal/apps"]))));
}

#[test]
fn openshift_is_refused_where_it_would_let_in() {
    let all = Some(&["registry.corp.internal"][..]);
    let cases = [
        ("otherImages", json!("Deny"), all, LossKind::OpenShiftAdmitsUnmatched),
        ("otherImages", json!("Allow"), None, LossKind::OpenShiftAdmitsUnmatched),
        ("images", json!(["registry.corp.internal/*/web"]), all, LossKind::OpenShiftScopesOnly),
        ("require", json!({ "transparencyLog": true, "sct": true }), all, LossKind::OpenShiftEvidenceNotChecked),
        ("require", json!({ "signedTimestamp": true, "sct": false }), all, LossKind::OpenShiftEvidenceNotChecked),
        (
            "require",
            json!({ "attestations": ["https://slsa.dev/provenance/v1"], "sct": false }),
            all,
            LossKind::OpenShiftStatementsNotChecked,
        ),
        (
            "identities",
            json!([{ "name": "w", "issuer": ISSUER, "subject": SUBJECT }]),
            all,
            LossKind::OpenShiftIdentityLeftOut,
        ),
        ("trustRoots", json!(["rekor2"]), all, LossKind::OpenShiftLogUnusable),
        ("trustRoots", json!(["public"]), all, LossKind::OpenShiftLogUnusable),
        ("trustRoots", json!(["gone"]), all, LossKind::TrustRootAbsent),
    ];
    for (key, value, allowed, kind) in cases {
        let mut spec = email();
        spec[key] = value.clone();
        let rendering = OpenShift::render(&Owned::new().policy("apps", &["shop"], &spec).estate(), &openshift(allowed));
        assert!(has(&rendering, kind), "{key} {value}: {:#?}", rendering.losses);
        assert!(rendering.objects.is_empty() && rendering.refused.len() == 1, "{key} {value}");
    }
    let mut inner = email();
    inner["images"] = json!(["registry.corp.internal/apps/web/**"]);
    let nested = Owned::new().policy("apps", &["shop"], &email()).policy("web", &["shop"], &inner);
    let rendering = OpenShift::render(&nested.estate(), &openshift(all));
    assert!(
        rendering.objects.is_empty()
            && rendering.refused.len() == 2
            && has(&rendering, LossKind::OpenShiftMostSpecificScope)
    );
}

#[test]
fn openshift_has_nothing_for_audit() {
    let rendering = OpenShift::render(&Owned::new().policy("apps", &[], &email()).estate(), &openshift(None));
    assert!(
        rendering.objects.is_empty() && rendering.refused.is_empty() && has(&rendering, LossKind::OpenShiftNoAudit)
    );
}

#[test]
fn flux_gets_blocks_and_the_trust_they_name() {
    let identities = json!([
        { "name": "web", "issuer": ISSUER, "subject": SUBJECT },
        { "name": "tools", "issuer": ISSUER, "subjectRegExp": "tools|lib" },
        { "name": "vendor", "key": { "pem": KEY } },
    ]);
    let owned = Owned::new().policy("apps", &[], &json!({ "identities": identities, "require": { "sct": false } }));
    assert_yaml_snapshot!(Flux::render(&owned.estate(), &FLUX));
}

#[test]
fn flux_never_enforces_and_says_what_it_lacks() {
    let spec = json!({ "trustRoots": ["corp", "public", "gone"] });
    let owned = Owned::new().policy("apps", &["shop"], &spec).policy("tools", &[], &spec);
    let rendering = Flux::render(&owned.estate(), &FLUX);
    assert_eq!(rendering.refused.len(), 1);
    for kind in [
        LossKind::FluxGuardsSources,
        LossKind::FluxOneRoot,
        LossKind::TrustRootAbsent,
        LossKind::FluxEvidenceNotChecked,
    ] {
        assert!(has(&rendering, kind), "{kind}");
    }
    // Two policies, two namespaces, two trust roots at hand: a block each, and every trust root once a namespace.
    let count = |kind: &str| rendering.objects.iter().filter(|object| object.kind() == kind).count();
    assert_eq!((count("ConfigMap"), count("Secret")), (4, 4));
    let old = Flux::render(&owned.estate(), &FluxCapability { trusted_root_ref: false, ..FLUX });
    assert!(old.objects.is_empty() && has(&old, LossKind::FluxNoTrustRoot));
}

#[test]
fn absent_engines_get_nothing() {
    let owned = Owned::new().policy("apps", &["shop"], &email());
    for rendering in [
        Kubewarden::render(&owned.estate(), &KubewardenCapability { present: false }),
        OpenShift::render(&owned.estate(), &OpenShiftCapability { present: false, allowed_registries: None }),
        Flux::render(&owned.estate(), &FluxCapability { present: false, ..FLUX }),
    ] {
        assert!(
            rendering.objects.is_empty() && has(&rendering, LossKind::EngineAbsent) && rendering.refused.len() == 1
        );
    }
}
