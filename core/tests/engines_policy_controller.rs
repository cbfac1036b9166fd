//! policy-controller: complete objects for every form that was run, every loss beside them, and nothing wider than declared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use estate::{ISSUER, KEY, Owned, SUBJECT};
use holdfast_core::engines::policy_controller::{
    CapabilityError, Contradiction, NoMatch, PolicyController, PolicyControllerCapability,
};
use holdfast_core::engines::{Effect, Engine, LossKind, Rendering, Version};
use insta::assert_yaml_snapshot;
use serde_json::{Value, json};

const RUN: Version = Version::new(0, 15, 1);
const SLSA: &str = "https://slsa.dev/provenance/v1";

/// policy-controller as it was run: settings as they have to be.
fn run() -> PolicyControllerCapability {
    let mut capability = PolicyControllerCapability::assumed(RUN).with_settings(&BTreeMap::new());
    capability.disable_tuf = Some(true);
    capability
}

fn render(owned: &Owned) -> Rendering {
    PolicyController::render(&owned.estate(), &run())
}

fn require(log: bool, timestamp: bool, sct: bool) -> Value {
    json!({ "transparencyLog": log, "signedTimestamp": timestamp, "sct": sct })
}

fn has(rendering: &Rendering, kind: LossKind) -> bool {
    rendering.losses.iter().any(|loss| loss.kind == kind)
}

fn of_kind<'a>(rendering: &'a Rendering, kind: &str) -> Vec<&'a Value> {
    rendering.objects.iter().filter(|object| object.kind() == kind).map(|object| object.body()).collect()
}

fn policies(rendering: &Rendering) -> Vec<&Value> {
    of_kind(rendering, "ClusterImagePolicy")
}

#[test]
fn by_timestamp_under_a_trust_root_object() {
    let owned = Owned::new().policy(
        "apps",
        &["shop", "billing"],
        &json!({
            "require": require(false, true, false),
            "identities": [
                { "name": "web", "issuer": ISSUER, "subject": SUBJECT },
                { "name": "tools", "issuer": "https://gitlab.corp.internal", "subjectRegExp": "https://gitlab\\.corp\\.internal/tools/[^/]+//\\.gitlab-ci\\.yml@refs/tags/v.*" },
            ],
        }),
    );
    assert_yaml_snapshot!(render(&owned));
}

#[test]
fn by_log_under_a_direct_entry() {
    let owned = Owned::new().policy("apps", &["shop"], &json!({ "trustRoots": ["public"] }));
    assert_yaml_snapshot!(render(&owned));
}

#[test]
fn statements_of_one_identity_are_asked_for_together() {
    let spec = json!({ "require": { "attestations": [SLSA], "transparencyLog": false, "signedTimestamp": true, "sct": false } });
    let rendering = render(&Owned::new().policy("apps", &["shop"], &spec));
    let [policy] = policies(&rendering)[..] else { panic!("{rendering:?}") };
    let types: Vec<&Value> = policy["spec"]["authorities"][0]["attestations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["predicateType"])
        .collect();
    assert_eq!(types, ["https://sigstore.dev/cosign/sign/v1", SLSA]);
}

#[test]
fn statements_of_several_identities_get_policies_of_their_own() {
    let owned = Owned::new().policy(
        "apps",
        &["shop"],
        &json!({
            "trustRoots": ["corp", "rekor2"],
            "require": { "attestations": [SLSA], "transparencyLog": false, "signedTimestamp": true, "sct": false },
        }),
    );
    assert_yaml_snapshot!(render(&owned));
}

#[test]
fn keys_are_legacy_and_need_no_trust_root() {
    let owned = Owned::new().policy(
        "vendor",
        &["shop"],
        &json!({ "trustRoots": [], "require": require(false, false, true), "identities": [{ "name": "vendor", "key": { "pem": KEY } }] }),
    );
    assert_yaml_snapshot!(render(&owned));
}

#[test]
fn audit_warns_and_says_that_it_denies_all_the_same() {
    let spec = json!({ "require": require(false, true, false) });
    let rendering = PolicyController::render(
        &Owned::new().policy("apps", &[], &spec).estate(),
        &PolicyControllerCapability::assumed(RUN),
    );
    assert_yaml_snapshot!(rendering);
}

#[test]
fn without_signature_format_there_is_only_a_legacy_audit() {
    let owned = Owned::new().policy("apps", &["shop"], &json!({ "require": require(false, true, false) }));
    let rendering =
        PolicyController::render(&owned.estate(), &PolicyControllerCapability::assumed(Version::new(0, 12, 0)));
    assert_yaml_snapshot!(rendering);
}

#[test]
fn docker_hub_exempt_images_and_localhost() {
    let pause = format!("registry.corp.internal/base/pause@sha256:{}", "0".repeat(64));
    let inside = format!("docker.io/library/nginx@sha256:{}", "1".repeat(64));
    let owned = Owned::new().policy(
        "hub",
        &["shop"],
        &json!({
            "images": ["docker.io/**", "localhost/apps/*"],
            "require": require(false, true, false),
            "exemptImages": [{ "image": pause, "reason": "node image" }, { "image": inside, "reason": "unsigned upstream" }],
        }),
    );
    assert_yaml_snapshot!(render(&owned));
}

#[test]
fn namespaces_of_their_own_are_refused_where_they_would_let_in() {
    let spec = json!({ "require": require(false, true, false) });
    let tools = json!({ "images": ["registry.corp.internal/tools/**"], "require": require(false, true, false) });
    let owned = Owned::new().policy("apps", &["shop", "billing"], &spec).policy("tools", &["shop"], &tools);
    let rendering = render(&owned);
    // Images of `tools` would pass in billing, where only `apps` is enforced; nothing of `apps` is let in anywhere it should not be.
    assert!(rendering.widens("apps") && !rendering.widens("tools"));
    assert_eq!(rendering.refused.iter().map(|refused| &*refused.policy).collect::<Vec<_>>(), ["apps"]);
    assert!(rendering.refused[0].why.contains("`billing`") && rendering.refused[0].why.contains("native engine"));
    // What is left is enforced, and no policy in warn mode stands beside it.
    let modes: Vec<&Value> = policies(&rendering).iter().map(|policy| &policy["spec"]["mode"]).collect();
    assert_eq!(modes, ["enforce"]);
    assert!(has(&rendering, LossKind::PolicyControllerAuditLeftOut));
}

#[test]
fn what_the_trust_root_cannot_hold_decides_the_form() {
    use LossKind as L;
    // Root, requirements (log, timestamp, SCT), direct entries allowed; rendered to enforce, by timestamp, under a direct entry; a loss that says so.
    let cases = [
        ("corp", (false, true, false), true, Some((true, false)), None),
        ("corp", (false, false, false), true, Some((true, false)), Some(L::PolicyControllerTimestampDemanded)),
        ("corp", (true, false, false), true, None, Some(L::PolicyControllerNoIdentity)),
        ("ctlogs", (false, true, true), true, Some((true, true)), Some(L::PolicyControllerSctNotRun)),
        ("ctlogs", (false, true, true), false, None, Some(L::PolicyControllerSctNotChecked)),
        ("rekor2", (true, false, false), true, Some((false, true)), Some(L::PolicyControllerDirectEntry)),
        ("rekor2", (true, false, false), false, None, Some(L::PolicyControllerLogNotChecked)),
        // Rekor v2 gives no times, so a timestamp is asked for besides.
        ("rekor2", (true, true, true), true, Some((false, true)), None),
        ("public", (true, true, true), true, None, Some(L::PolicyControllerTimestampNotChecked)),
        ("public", (false, true, false), true, Some((true, true)), Some(L::PolicyControllerDirectEntry)),
        ("public", (false, true, false), false, None, None),
        ("github", (true, false, false), true, None, Some(L::PolicyControllerNoIdentity)),
    ];
    for (root, (log, timestamp, sct), direct, want, loss) in cases {
        let case = format!("{root} {log} {timestamp} {sct} {direct}");
        let owned = Owned::new().policy(
            "apps",
            &["shop"],
            &json!({ "trustRoots": [root], "require": require(log, timestamp, sct) }),
        );
        let rendering =
            PolicyController::render(&owned.estate(), &PolicyControllerCapability { direct_entries: direct, ..run() });
        let enforced = policies(&rendering).into_iter().find(|policy| policy["spec"]["mode"] == "enforce");
        let got = enforced.map(|policy| {
            let authority = &policy["spec"]["authorities"][0];
            let place = authority["keyless"]["trustRootRef"].as_str().unwrap();
            assert_eq!(authority["keyless"].get("insecureIgnoreSCT").is_none(), sct, "{case}");
            (authority.get("rfc3161timestamp").is_some(), place.ends_with("_direct"))
        });
        assert_eq!(got, want, "{case}: {:#?}", rendering.losses);
        assert_eq!(rendering.refused.is_empty(), want.is_some(), "{case}");
        assert!(loss.is_none_or(|loss| has(&rendering, loss)), "{case}: {:#?}", rendering.losses);
    }
}

#[test]
fn a_trust_root_object_holds_no_log_and_no_authority_with_a_window_of_its_own() {
    let owned = Owned::new().policy(
        "apps",
        &[],
        &json!({ "trustRoots": ["public", "rekor2"], "require": require(false, true, false) }),
    );
    let rendering =
        PolicyController::render(&owned.estate(), &PolicyControllerCapability { direct_entries: false, ..run() });
    for root in of_kind(&rendering, "TrustRoot") {
        let keys = root["spec"]["sigstoreKeys"].as_object().unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["certificateAuthorities", "timestampAuthorities"]);
        for authority in keys.values().flat_map(|all| all.as_array().unwrap()) {
            let pem = String::from_utf8(STANDARD.decode(authority["certChain"].as_str().unwrap()).unwrap()).unwrap();
            assert!(pem.ends_with("-----END CERTIFICATE-----\n") && !pem.contains("\n\n"), "{pem}");
            assert!(authority["subject"]["organization"].as_str().is_some_and(|text| !text.is_empty()));
            assert!(authority["subject"]["commonName"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
    assert!(has(&rendering, LossKind::PolicyControllerAuthorityLeftOut));
}

#[test]
fn raw_log_ids_let_a_trust_root_object_hold_ecdsa_logs() {
    let owned = Owned::new().policy(
        "apps",
        &["shop"],
        &json!({ "trustRoots": ["ctlogs"], "require": require(false, true, true) }),
    );
    let stored = |id: Vec<u8>| {
        let entry = json!({ "ctlogs": [{ "logId": { "keyId": STANDARD.encode(id) } }] }).to_string();
        BTreeMap::from([("lab".to_owned(), entry), ("lab_direct".to_owned(), "{".to_owned())])
    };
    let closed = PolicyControllerCapability { direct_entries: false, ..run() };
    assert!(!closed.clone().with_stored_keys(&stored(vec![b'a'; 64]), &["lab"]).raw_log_ids);
    assert!(!closed.clone().with_stored_keys(&BTreeMap::new(), &["lab"]).raw_log_ids);
    let fixed = closed.with_stored_keys(&stored(vec![7; 32]), &["lab"]);
    assert!(fixed.raw_log_ids);
    let rendering = PolicyController::render(&owned.estate(), &fixed);
    let [root] = of_kind(&rendering, "TrustRoot")[..] else { panic!("{rendering:?}") };
    assert!(!root["spec"]["sigstoreKeys"]["ctLogs"].as_array().unwrap().is_empty());
    assert!(rendering.refused.is_empty() && has(&rendering, LossKind::PolicyControllerNewerThanRun));
}

#[test]
fn every_identity_has_an_authority_of_its_own_and_expressions_are_anchored() {
    let identities: Vec<Value> = (0..5)
        .map(|n| json!({ "name": format!("p{n}"), "issuer": ISSUER, "subjectRegExp": format!("p{n}|q{n}") }))
        .collect();
    let spec = json!({ "identities": identities, "require": require(false, true, false) });
    let rendering = render(&Owned::new().policy("apps", &["shop"], &spec));
    let authorities = policies(&rendering)[0]["spec"]["authorities"].as_array().unwrap();
    assert_eq!(authorities.len(), 5);
    for (at, authority) in authorities.iter().enumerate() {
        let [identity] = &authority["keyless"]["identities"].as_array().unwrap()[..] else { panic!("{authority}") };
        assert_eq!(identity["subjectRegExp"], format!("^(?:p{at}|q{at})$"));
        assert!(authority["keyless"]["url"].as_str().is_some_and(|url| url.starts_with("http")));
        assert_eq!(authority["signatureFormat"], "bundle");
    }
}

#[test]
fn settings_that_let_in_are_refused() {
    let owned = Owned::new().policy("apps", &["shop"], &json!({ "require": require(false, true, false) }));
    let with = |key: &str, value: &str| {
        let settings = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let rendering = PolicyController::render(&owned.estate(), &run().with_settings(&settings));
        (rendering.refused.len(), policies(&rendering).iter().all(|policy| policy["spec"]["mode"] == "warn"))
    };
    assert_eq!(with("enable-oci11", "true"), (1, true));
    assert_eq!(with("no-match-policy", "allow"), (1, true));
    assert_eq!(with("no-match-policy", "warn"), (1, true));
    for (key, value) in [("enable-oci11", "false"), ("no-match-policy", "deny"), ("no-match-policy", "odd")] {
        assert_eq!(with(key, value), (0, false), "{key} {value}");
    }
    assert_eq!(run().no_match, Some(NoMatch::Deny));
}

#[test]
fn what_is_refused_keeps_no_object_of_the_name_that_enforces() {
    let owned = |enforced: &[&str], name| {
        Owned::new().policy("apps", enforced, &json!({ "require": require(false, true, name) }))
    };
    let names = |rendering: &Rendering| {
        policies(rendering)
            .iter()
            .map(|policy| policy["metadata"]["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let enforced = names(&render(&owned(&["shop"], false)));
    let closed = PolicyControllerCapability { direct_entries: false, ..run() };
    let refused = names(&PolicyController::render(&owned(&["shop"], true).estate(), &closed));
    assert!(!refused.is_empty() && refused.iter().all(|name| !enforced.contains(name)), "{enforced:?} {refused:?}");
}

#[test]
fn what_cannot_be_said_is_named() {
    use LossKind as L;
    let base = || json!({ "require": require(false, true, false) });
    let with = |key: &str, value: Value| {
        let mut spec = base();
        spec[key] = value;
        render(&Owned::new().policy("apps", &["shop"], &spec))
    };
    let deep = format!("registry.corp.internal/{}x", "**/a/".repeat(6));
    for (key, value, kind, refused) in [
        ("otherImages", json!("Allow"), L::PolicyControllerDeniesOthers, false),
        ("images", json!([deep]), L::PolicyControllerPatternTooLarge, true),
        ("images", json!(["localhost/a"]), L::PolicyControllerLocalhost, true),
        ("trustRoots", json!(["corp", "gone"]), L::TrustRootAbsent, true),
        (
            "require",
            json!({ "attestations": ["slsaprovenance"], "transparencyLog": false, "signedTimestamp": true, "sct": false }),
            L::PolicyControllerShortPredicate,
            true,
        ),
        (
            "identities",
            json!([{ "name": "k", "key": { "pem": KEY } }, { "name": "w", "issuer": ISSUER, "subject": SUBJECT }]),
            L::PolicyControllerKeyLeftOut,
            false,
        ),
        ("identities", json!([{ "name": "k", "key": { "pem": KEY } }]), L::PolicyControllerNoIdentity, true),
        ("namespaceSelector", json!({}), L::NamespacesLeftOut, false),
    ] {
        let rendering = with(key, value.clone());
        assert!(has(&rendering, kind), "{key} {value}: {:#?}", rendering.losses);
        assert_eq!(!rendering.refused.is_empty(), refused, "{key} {value}");
        assert!(
            !refused || policies(&rendering).iter().all(|policy| policy["spec"]["mode"] == "warn"),
            "{key} {value}"
        );
    }
    let mut owned = Owned::new().policy("apps", &["shop"], &base());
    owned.exceptions.push(("inc-1".to_owned(), "apps".to_owned(), vec!["shop".to_owned()]));
    assert!(has(&render(&owned), L::PolicyControllerNoException));
    let absent = PolicyController::render(&owned.estate(), &PolicyControllerCapability::absent());
    assert!(absent.objects.is_empty() && has(&absent, L::EngineAbsent) && absent.refused.len() == 1);
    let newer = PolicyController::render(
        &owned.estate(),
        &PolicyControllerCapability { version: Some(Version::new(0, 16, 0)), ..run() },
    );
    assert!(has(&newer, L::PolicyControllerNewerThanRun));
}

#[test]
fn too_many_identities_are_refused() {
    let identities: Vec<Value> =
        (0..256).map(|n| json!({ "name": format!("p{n}"), "issuer": ISSUER, "subject": "x".repeat(1000) })).collect();
    let spec = json!({ "identities": identities, "trustRoots": ["corp", "rekor2", "ctlogs"], "require": require(false, true, false) });
    let rendering = render(&Owned::new().policy("apps", &["shop"], &spec));
    assert!(has(&rendering, LossKind::PolicyControllerTooLarge) && rendering.refused.len() == 1);
}

#[test]
fn rendering_does_not_depend_on_order() {
    let other = json!({ "images": ["registry.corp.internal/tools/**"], "trustRoots": ["public"] });
    let one =
        Owned::new().policy("apps", &["shop"], &json!({ "trustRoots": ["public"] })).policy("tools", &["shop"], &other);
    let mut turned =
        Owned::new().policy("tools", &["shop"], &other).policy("apps", &["shop"], &json!({ "trustRoots": ["public"] }));
    turned.roots.reverse();
    let text = |owned: &Owned| serde_json::to_string(&render(owned)).unwrap();
    assert_eq!(text(&one), text(&turned));
}

#[test]
fn the_schema_is_believed_before_the_version_and_both_are_told() {
    let definitions = |policy: Value, root: Value| {
        let definition = |kind: &str, version: &str, spec: Value| {
            json!({ "spec": { "group": "policy.sigstore.dev", "names": { "kind": kind }, "versions": [
                { "name": version, "served": true, "schema": { "openAPIV3Schema": { "properties": { "spec": { "properties": spec } } } } },
            ]}})
        };
        [
            definition(
                "ClusterImagePolicy",
                "v1beta1",
                json!({ "authorities": { "items": { "properties": policy } } }),
            ),
            definition("TrustRoot", "v1alpha1", json!({ "repository": { "properties": root } })),
        ]
    };
    let new = definitions(json!({ "signatureFormat": {} }), json!({ "trustedRootTarget": {} }));
    let old = definitions(json!({}), json!({}));
    let probe = |version, definitions: &[Value]| PolicyControllerCapability::probe(version, definitions);
    let good = probe(Some(RUN), &new).unwrap();
    assert!(good.signature_format && good.trusted_root_target && good.contradictions.is_empty());
    assert!(probe(None, &new).unwrap().signature_format);
    // The chart does not upgrade definitions (helm-charts issue 1015): what the API server drops is not there, whatever the version says.
    let stale = probe(Some(RUN), &old).unwrap();
    assert!(!stale.signature_format);
    assert!(matches!(
        stale.contradictions[..],
        [Contradiction::SchemaLacks { field: "signatureFormat", .. }, Contradiction::SchemaLacks { .. }]
    ));
    let ahead = probe(Some(Version::new(0, 12, 0)), &new).unwrap();
    assert!(!ahead.signature_format);
    assert!(matches!(ahead.contradictions[0], Contradiction::VersionLacks { field: "signatureFormat", .. }));
    let owned = Owned::new().policy("apps", &[], &json!({ "require": require(false, true, false) }));
    assert!(has(&PolicyController::render(&owned.estate(), &stale), LossKind::PolicyControllerContradicts));
    assert!(matches!(probe(None, &[]), Err(CapabilityError::Missing { kind: "ClusterImagePolicy" })));
    assert!(matches!(probe(None, &new[..1]), Err(CapabilityError::Missing { kind: "TrustRoot" })));
    let mut unserved = new.clone();
    unserved[0]["spec"]["versions"][0]["served"] = json!(false);
    assert!(matches!(probe(None, &unserved), Err(CapabilityError::NotServed { .. })));
    let empty = definitions(json!({}), json!({})).map(|mut definition| {
        definition["spec"]["versions"][0]["schema"] = json!({});
        definition
    });
    assert!(matches!(probe(None, &empty), Err(CapabilityError::NoSchema { field: "authorities", .. })));
}

#[test]
fn a_direct_entry_has_known_fields_only_and_every_window_a_start() {
    let rendering = render(&Owned::new().policy("apps", &["shop"], &json!({ "trustRoots": ["public"] })));
    let [entries] = of_kind(&rendering, "ConfigMap")[..] else { panic!("{rendering:?}") };
    let entry: Value = serde_json::from_str(entries["data"]["holdfast-public_direct"].as_str().unwrap()).unwrap();
    assert_eq!(entry["mediaType"], "application/vnd.dev.sigstore.trustedroot+json;version=0.1");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&entry), ["certificateAuthorities", "ctlogs", "mediaType", "timestampAuthorities", "tlogs"]);
    for log in entry["tlogs"].as_array().unwrap().iter().chain(entry["ctlogs"].as_array().unwrap()) {
        assert_eq!(keys(log), ["baseUrl", "hashAlgorithm", "logId", "publicKey"]);
        assert_eq!(STANDARD.decode(log["logId"]["keyId"].as_str().unwrap()).unwrap().len(), 32);
        assert!(log["publicKey"]["validFor"]["start"].is_string());
    }
    assert!(entry["tlogs"].as_array().unwrap().iter().any(|log| log["publicKey"]["keyDetails"] == "PKIX_ED25519"));
    let strict: sigstore_verify::trust_root::TrustedRoot = serde_json::from_value(entry).unwrap();
    assert_eq!(strict.certificate_authorities.len(), 2);
}

#[test]
fn every_widening_loss_is_never_enforced() {
    for kind in LossKind::ALL.iter().filter(|kind| kind.effect() == Effect::Wider) {
        assert!(!kind.cure().is_empty() && !kind.meaning().ends_with('.'), "{kind}");
    }
}

#[test]
fn the_engines_own_config_map_is_only_added_to() {
    let rendering = render(&Owned::new().policy("apps", &["shop"], &json!({ "trustRoots": ["public"] })));
    for object in &rendering.objects {
        assert_eq!(object.is_part(), object.kind() == "ConfigMap");
        assert_eq!(object.body()["metadata"].get("labels").is_none(), object.is_part());
    }
}
