//! Kubewarden, OpenShift and Flux: rendered and not run, so every loss is told, and what they let pass keeps them from enforcing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;
#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeSet;

use estate::{ISSUER, KEY, Owned, SUBJECT};
use holdfast_core::engines::flux::{Flux, FluxCapability};
use holdfast_core::engines::kubewarden::{Kubewarden, KubewardenCapability};
use holdfast_core::engines::openshift::{OpenShift, OpenShiftCapability};
use holdfast_core::engines::{Engine, LossKind, Rendering};
use holdfast_core::trust::root::TrustRoot;
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

/// What is not let in is said of the right thing: the subject, the issuer, or how much there is.
#[test]
fn openshift_says_what_of_a_policy_it_cannot_store() {
    let rendered = |change: &dyn Fn(&mut Value)| {
        let mut spec = email();
        change(&mut spec);
        let owned = Owned::new().policy("apps", &["shop", "billing"], &spec);
        OpenShift::render(&owned.estate(), &openshift(Some(&["registry.corp.internal"])))
    };
    let subject = |subject: String| {
        rendered(&|spec| {
            spec["identities"] = json!([{ "name": "ci", "issuer": "https://idp.corp.internal", "subject": subject }]);
        })
    };
    let longest = format!("{}@x", "a".repeat(318));
    assert_eq!(subject(longest.clone()).objects.len(), 1);
    for other in ["@x", "x@", "a b@x", "https://a@x", "x", &format!("a{longest}")] {
        let rendering = subject(other.to_owned());
        let details: Vec<&str> = rendering.losses.iter().map(|loss| loss.detail.as_str()).collect();
        assert!(rendering.objects.is_empty() && details.contains(&"`ci` is not an e-mail address"), "{details:?}");
    }
    let issuer = rendered(&|spec| spec["identities"][0]["issuer"] = json!("idp"));
    assert!(issuer.losses.iter().any(|loss| loss.detail.starts_with("the issuer of `ci` is not an address")));

    let scopes = |count: usize| {
        let images: Vec<String> = (0..count).map(|at| format!("registry.corp.internal/apps/{at}/**")).collect();
        rendered(&|spec| spec["images"] = json!(images))
    };
    assert_eq!(scopes(256).objects.len(), 1);
    for (rendering, count) in
        [(scopes(257), 257), (rendered(&|spec| spec["images"] = json!(["registry.corp.internal/*/web"])), 0)]
    {
        assert!(rendering.objects.is_empty());
        let said = format!("{count} patterns are scopes, and from 1 to 256 are stored");
        assert!(rendering.losses.iter().any(|loss| loss.detail == said), "{:#?}", rendering.losses);
    }

    // A key without a log needs no trust root.
    for (log, misses) in [(false, false), (true, true)] {
        let rendering = rendered(&|spec| {
            spec["trustRoots"] = json!(["gone"]);
            spec["identities"] = json!([{ "name": "vendor", "key": { "pem": KEY } }]);
            spec["require"]["transparencyLog"] = json!(log);
        });
        assert_eq!(has(&rendering, LossKind::TrustRootAbsent), misses);
    }
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

// ---------------------------------------------------------------- the real schemas

/// The specs an engine renders something for, of these.
fn variants() -> Vec<Value> {
    let key = json!([{ "name": "vendor", "key": { "pem": KEY } }]);
    let plain = json!({ "transparencyLog": false, "signedTimestamp": false, "sct": true });
    let mut all = Vec::new();
    for images in [
        json!(["registry.corp.internal/apps/**"]),
        json!(["registry.corp.internal:5000/apps/web", "quay.io/**", "docker.io/library/nginx"]),
        json!(["localhost:5000/a_b/c__d/e-f.g/**", "r.example/a/*"]),
        json!(["10.0.0.1:5000/apps/**", "registry.corp.internal/apps/**"]),
        json!(["Registry.Corp.internal/apps/**", "xn--bcher-kva.example/**"]),
    ] {
        for (identities, require, roots) in [
            (email()["identities"].clone(), email()["require"].clone(), json!(["rekor1"])),
            (email()["identities"].clone(), email()["require"].clone(), json!(["public"])),
            (key.clone(), plain.clone(), json!([])),
            (key.clone(), email()["require"].clone(), json!(["rekor1"])),
            (
                json!([{ "name": "web", "issuer": ISSUER, "subject": SUBJECT }]),
                email()["require"].clone(),
                json!(["corp"]),
            ),
            (
                json!([{ "name": "web", "issuer": ISSUER, "subjectRegExp": "https://a/.*" }]),
                email()["require"].clone(),
                json!(["corp"]),
            ),
            (
                json!([{ "name": "odd", "issuer": "not an address", "subject": "ci@example.com" }]),
                email()["require"].clone(),
                json!(["rekor1"]),
            ),
            (
                json!([{ "name": "long", "issuer": format!("https://{}", "i".repeat(2100)), "subject": "ci@example.com" }]),
                email()["require"].clone(),
                json!(["rekor1"]),
            ),
        ] {
            all.push(json!({
                "images": images, "identities": identities, "require": require, "trustRoots": roots, "otherImages": "Allow",
                "engines": { "kubewarden": { "module": MODULE }, "openShift": {}, "flux": {} },
            }));
        }
    }
    all
}

#[test]
fn openshift_objects_are_what_the_real_schemas_accept() {
    for module in ["openshift-v0.0.0-20251015095338-264e80a2b6e7", "openshift-v0.0.0-20260813212709-d4bb0b443cb8"] {
        let Some(schemas) = schema::Schemas::of(module) else { return };
        let mut rendered = 0;
        for spec in variants() {
            let rendering = OpenShift::render(
                &Owned::new().policy("apps", &["shop", "billing"], &spec).estate(),
                &openshift(Some(&["registry.corp.internal"])),
            );
            for object in &rendering.objects {
                assert_eq!(schemas.faults(object.body()), [] as [String; 0], "{module} {}", object.body());
                rendered += 1;
                if rendered > 1 {
                    continue;
                }
                for (pointer, wrong) in [
                    ("/spec/scopes/0", json!("no scope")),
                    ("/spec/policy/rootOfTrust/policyType", json!("PKI")),
                    ("/spec/policy/signedIdentity/matchPolicy", json!("ExactRepository")),
                ] {
                    let mut bent = object.body().clone();
                    *bent.pointer_mut(pointer).unwrap() = wrong;
                    assert!(!schemas.faults(&bent).is_empty(), "{module} {pointer}: its rules are judged");
                }
            }
        }
        assert!(rendered >= 10, "{module}: {rendered}");
    }
}

#[test]
fn openshift_stores_no_issuer_that_is_no_address_and_no_longer_chain() {
    let rendered = |issuer: &str| {
        let mut spec = email();
        spec["identities"] = json!([{ "name": "ci", "issuer": issuer, "subject": "ci@example.com" }]);
        let owned = Owned::new().policy("apps", &["shop", "billing"], &spec);
        OpenShift::render(&owned.estate(), &openshift(Some(&["registry.corp.internal"])))
    };
    for good in ["https://idp.corp.internal", "https://idp.corp.internal:8443/realms/a", "http://idp/"] {
        assert_eq!(rendered(good).objects.len(), 1, "{good}");
    }
    let long = format!("https://{}", "i".repeat(2041));
    for bad in
        ["idp.corp.internal", "https://", "https://a b", "https://a:port", "https://a/%zz", "ftp://a", "//a", &long]
    {
        let rendering = rendered(bad);
        assert!(rendering.objects.is_empty() && has(&rendering, LossKind::OpenShiftIdentityLeftOut), "{bad}");
    }
    // Some 6,600 characters as PEM, and 8,800 as they are written.
    let mut owned = Owned::new();
    let mut document: Value = serde_json::from_str(&estate::document("rekor1")).unwrap();
    let chain = document["certificateAuthorities"][0]["certChain"]["certificates"].as_array_mut().unwrap();
    let root = chain.last().unwrap().clone();
    while chain.len() < 9 {
        chain.push(root.clone());
    }
    let long = TrustRoot::from_json("rekor1", document.to_string().as_bytes()).unwrap();
    owned.roots = vec![long];
    let owned = owned.policy("apps", &["shop", "billing"], &email());
    let rendering = OpenShift::render(&owned.estate(), &openshift(Some(&["registry.corp.internal"])));
    assert!(rendering.objects.is_empty());
    assert!(rendering.losses.iter().any(|loss| loss.detail.contains("characters, of 8192")), "{:#?}", rendering.losses);
}

#[test]
fn kubewarden_objects_are_what_the_real_schema_accepts() {
    let Some(schemas) = schema::Schemas::of("kubewarden-v1.20.0") else { return };
    let mut rendered = 0;
    for spec in variants() {
        for enforced in [&[][..], &["shop"]] {
            let rendering = Kubewarden::render(&Owned::new().policy("apps", enforced, &spec).estate(), &KUBEWARDEN);
            for object in &rendering.objects {
                assert_eq!(schemas.faults(object.body()), [] as [String; 0], "{}", object.body());
                rendered += 1;
            }
        }
    }
    assert!(rendered >= 10, "{rendered}");
}

/// Fields of a patch over those of an object, as a merge patch.
fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (field, value) in patch {
                merge(object.entry(field).or_insert(Value::Null), value);
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

#[test]
fn sources_with_the_blocks_for_flux_are_what_the_real_schemas_accept() {
    for (module, trusted_root_ref) in [("flux-v1.8.5", false), ("flux-v1.9.6", true)] {
        let Some(schemas) = schema::Schemas::of(module) else { return };
        let source = |kind: &str| match kind {
            "ocirepository" => json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": { "name": "apps" },
                "spec": { "interval": "5m", "url": "oci://registry.corp.internal/manifests" },
            }),
            _ => json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "metadata": { "name": "apps" },
                "spec": { "interval": "5m", "chart": "web", "sourceRef": { "kind": "HelmRepository", "name": "charts" } },
            }),
        };
        let mut patched = BTreeSet::new();
        for spec in variants() {
            let owned = Owned::new().policy("apps", &[], &spec);
            let rendering = Flux::render(&owned.estate(), &FluxCapability { present: true, trusted_root_ref });
            for map in rendering.objects.iter().filter(|object| object.kind() == "ConfigMap") {
                for (file, patch) in map.body()["data"].as_object().unwrap() {
                    let mut object = source(file.split('-').next().unwrap());
                    merge(&mut object, &serde_json::from_str(patch.as_str().unwrap()).unwrap());
                    assert_eq!(schemas.faults(&object), [] as [String; 0], "{module} {file} {object}");
                    patched.insert(file.clone());
                }
            }
        }
        assert_eq!(patched.contains("ocirepository-root.corp.json"), trusted_root_ref, "{patched:?}");
        assert!(patched.contains("ocirepository-keys.json") && patched.contains("helmchart-keys.json"), "{patched:?}");
    }
    // The schema before 1.9 knows no trust root: what is rendered for it must not name one.
    let Some(old) = schema::Schemas::of("flux-v1.8.5") else { return };
    let named = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": { "name": "apps" },
        "spec": { "interval": "5m", "url": "oci://r.example/x", "verify": { "provider": "cosign", "trustedRootSecretRef": { "name": "x" } } },
    });
    assert!(!old.faults(&named).is_empty());
}
