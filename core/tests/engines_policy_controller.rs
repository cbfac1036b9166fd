//! policy-controller: complete objects for every form that was run, every loss beside them, and nothing wider than declared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;
#[path = "support/policy_controller_model.rs"]
mod model;
#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use estate::{ISSUER, KEY, Owned, SUBJECT};
use holdfast_core::engines::policy_controller::{
    CapabilityError, Contradiction, NoMatch, PolicyController, PolicyControllerCapability,
};
use holdfast_core::engines::{Effect, Engine, LossKind, Object, Rendering, Version};
use holdfast_core::trust::root::TrustRoot;
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
    rendering.objects.iter().filter(|object| object.kind() == kind).map(Object::body).collect()
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
fn what_cannot_be_expressed_does_not_warn() {
    let spec = |change: &dyn Fn(&mut Value)| {
        let mut spec = json!({ "require": require(false, true, false) });
        change(&mut spec);
        render(&Owned::new().policy("apps", &[], &spec))
    };
    assert_eq!(policies(&spec(&|_| {})).len(), 1);
    // By log under a root without one; of images that no glob names.
    for nothing in [
        spec(&|spec| spec["require"] = require(true, false, false)),
        spec(&|spec| spec["images"] = json!(["localhost/**"])),
    ] {
        assert!(policies(&nothing).is_empty() && !has(&nothing, LossKind::PolicyControllerWarnDenies), "{nothing:#?}");
    }
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
    let logs = root["spec"]["sigstoreKeys"]["ctLogs"].as_array().unwrap();
    assert!(!logs.is_empty());
    for log in logs {
        let key = String::from_utf8(STANDARD.decode(log["publicKey"].as_str().unwrap()).unwrap()).unwrap();
        assert!(
            key.starts_with("-----BEGIN PUBLIC KEY-----") && log["baseURL"].as_str().unwrap().starts_with("https://")
        );
    }
    let newer = rendering.losses.iter().find(|loss| loss.kind == LossKind::PolicyControllerNewerThanRun).unwrap();
    assert_eq!(newer.versions, "> 0.15.1");
    assert!(rendering.refused.is_empty() && has(&rendering, LossKind::PolicyControllerNewerThanRun));
}

/// A root with a log of each version of Rekor, after a change; what policy-controller is given of it, and which losses are told.
fn under(require: &Value, change: &dyn Fn(&mut Value)) -> (Vec<Value>, Rendering) {
    let of = |name: &str| serde_json::from_str::<Value>(&estate::document(name)).unwrap();
    let mut document = of("rekor1");
    document["tlogs"].as_array_mut().unwrap().extend(of("rekor2")["tlogs"].as_array().unwrap().clone());
    change(&mut document);
    let mut owned = Owned::new();
    owned.roots = vec![TrustRoot::from_json("rekor1", document.to_string().as_bytes()).unwrap()];
    let owned = owned.policy("apps", &["shop"], &json!({ "trustRoots": ["rekor1"], "require": require }));
    let rendering = render(&owned);
    let given = of_kind(&rendering, "ConfigMap").into_iter().flat_map(|map| map["data"].as_object().unwrap().values());
    let logs = given.flat_map(|text| {
        let document: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        document["tlogs"].as_array().cloned().unwrap_or_default()
    });
    (logs.collect(), rendering)
}

/// Entries made after its end would count.
#[test]
fn a_log_whose_window_has_an_end_is_not_given_to_the_engine() {
    let by_log = require(true, false, false);
    assert_eq!(under(&by_log, &|_| ()).0.len(), 2);
    let end =
        |document: &mut Value| document["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2025-01-01T00:00:00Z");
    let (logs, rendering) = under(&by_log, &end);
    assert_eq!(logs.len(), 1);
    assert!(
        rendering.losses.iter().any(|loss| loss.detail.contains("its window has an end")),
        "{:#?}",
        rendering.losses
    );
    let (logs, rendering) = under(&by_log, &|document| {
        end(document);
        document["tlogs"].as_array_mut().unwrap().truncate(1);
    });
    assert!(logs.is_empty() && rendering.refused.len() == 1, "{rendering:#?}");
}

#[test]
fn without_timestamp_authority_a_log_is_demanded_or_nothing_is_rendered() {
    let none = |document: &mut Value| document["timestampAuthorities"] = json!([]);
    let (_, demanded) = under(&require(false, false, false), &none);
    assert!(has(&demanded, LossKind::PolicyControllerLogDemanded) && demanded.refused.is_empty(), "{demanded:#?}");
    let cut = |document: &mut Value| {
        none(document);
        document["certificateAuthorities"][0]["validFor"]["end"] = json!("2030-01-01T00:00:00Z");
    };
    for change in [&none as &dyn Fn(&mut Value), &cut] {
        let (_, refused) = under(&require(false, true, false), change);
        assert!(policies(&refused).is_empty() && refused.refused.len() == 1, "{refused:#?}");
    }
}

/// A log that gives times of its own stands in for the timestamp that is required.
#[test]
fn a_log_gives_times_unless_it_is_of_version_2() {
    let both = require(true, true, false);
    let only = |at: usize| move |document: &mut Value| document["tlogs"] = json!([document["tlogs"][at]]);
    let tells = |rendering: &Rendering| has(rendering, LossKind::PolicyControllerTimestampNotChecked);
    assert!(tells(&under(&both, &only(0)).1));
    assert!(!tells(&under(&both, &only(1)).1));
    let (_, renamed) = under(&both, &|document| {
        only(0)(document);
        document["tlogs"][0]["logId"]["keyId"] = json!(STANDARD.encode([7; 32]));
    });
    assert!(tells(&renamed), "whatever it is called");
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

/// One byte more, and the engine goes on with what it had before.
#[test]
fn policies_of_the_most_bytes_are_enforced_and_none_with_one_more() {
    const LONG: usize = 3140;
    // The last six subjects have so many characters together.
    let rendered = |longer: usize| {
        let subject =
            |n: usize| "x".repeat(if n < 250 { LONG } else { longer / 6 + usize::from(n - 250 < longer % 6) });
        let identities: Vec<Value> =
            (0..256).map(|n| json!({ "name": format!("p{n}"), "issuer": ISSUER, "subject": subject(n) })).collect();
        let spec = json!({ "identities": identities, "require": require(false, true, false) });
        render(&Owned::new().policy("apps", &["shop"], &spec))
    };
    let said = |rendering: &Rendering| -> Option<usize> {
        let loss = rendering.losses.iter().find(|loss| loss.kind == LossKind::PolicyControllerTooLarge)?;
        loss.detail.split(' ').find_map(|word| word.parse().ok())
    };
    let too_long = said(&rendered(6 * LONG)).unwrap() - 900_000;
    let (fits, refused) = (rendered(6 * LONG - too_long), rendered(6 * LONG - too_long + 1));
    assert!(said(&fits).is_none() && fits.refused.is_empty() && policies(&fits)[0]["spec"]["mode"] == "enforce");
    assert_eq!((said(&refused), refused.refused.len()), (Some(900_001), 1));
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
    assert_eq!((good.version, good.trusted_root_target), (Some(RUN), true));
    assert!(good.signature_format && good.trusted_root_target && good.contradictions.is_empty());
    assert!(probe(None, &new).unwrap().signature_format);
    assert_eq!(probe(None, &new).unwrap().version, None);
    // The chart does not upgrade definitions (helm-charts issue 1015): what the API server drops is not there, whatever the version says.
    let stale = probe(Some(RUN), &old).unwrap();
    assert!(!stale.signature_format && !stale.trusted_root_target);
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

mod never_wider {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use holdfast_core::coverage::CompiledPolicy;
    use holdfast_core::engines::estate::Rollout;
    use holdfast_core::image::ImageRef;
    use holdfast_core::trust::root::{Authority, KeyAlgorithm, Log, ManagedKey, TrustRoot, Window};
    use holdfast_core::verify::{Accept, Signer};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::model::{By, Cluster, Piece};
    use super::*;
    use crate::estate::roots;

    const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn root<'a>(all: &'a [TrustRoot], name: &str) -> &'a TrustRoot {
        all.iter().find(|root| root.name == name).unwrap()
    }

    fn key() -> Vec<u8> {
        ManagedKey::from_bytes("key", KEY.as_bytes(), Window::ALWAYS).unwrap().key
    }

    /// Whether what is declared lets a piece count under one of the policy's roots.
    fn counts(policy: &CompiledPolicy, piece: &Piece, predicate: &str, all: &[TrustRoot]) -> bool {
        let required = policy.policy.evidence;
        let legacy_or_of_type = if piece.bundle { piece.predicate == predicate } else { predicate == SIGN };
        let named = policy.policy.signers.iter().any(|signer| match (signer, &piece.by) {
            (
                Signer::Certificate { subject: want_subject, issuer: want_issuer, .. },
                By::Certificate { issuer, subject, .. },
            ) => want_subject.matches(subject) && want_issuer.matches(issuer),
            (Signer::Key { key, .. }, By::Key(der)) => key.key == *der,
            _ => false,
        });
        let roots = policy.trust_roots.iter().filter_map(|name| all.iter().find(|root| root.name == *name));
        let under = |root: &TrustRoot| {
            let logged = piece.log.filter(|(id, _)| root.logs.iter().any(|log| log.log_id.as_bytes() == id));
            let stamped = piece.timestamp.as_ref().is_some_and(|signer| {
                root.timestamp_authorities.iter().any(|authority| {
                    authority.chain[0].der == *signer && authority.effective_window().unwrap().contains(piece.at)
                })
            });
            let sct = piece.sct.is_some_and(|id| root.ct_logs.iter().any(|log| log.log_id.as_bytes() == &id));
            let evidence = (!required.transparency_log || logged.is_some()) && (!required.signed_timestamp || stamped);
            match &piece.by {
                By::Key(_) => evidence,
                By::Certificate { authority: signer, .. } => {
                    let certified = root.certificate_authorities.iter().any(|authority| {
                        authority.chain[0].der == *signer && authority.effective_window().unwrap().contains(piece.at)
                    });
                    let timed = stamped || logged.is_some_and(|(_, timed)| timed);
                    evidence && certified && timed && (!required.sct || sct)
                }
            }
        };
        let bare_key = matches!(piece.by, By::Key(_)) && !required.transparency_log && !required.signed_timestamp;
        legacy_or_of_type && named && (bare_key || roots.into_iter().any(under))
    }

    fn declared_admits(policies: &[&CompiledPolicy], text: &str, pieces: &[Piece], all: &[TrustRoot]) -> bool {
        // What cannot be read is never started either.
        let Ok(image) = ImageRef::parse(text) else { return true };
        let by_digest = ImageRef::parse(&format!("{}@{DIGEST}", image.name())).unwrap();
        let matching: Vec<_> = policies.iter().filter(|p| p.matches(&image) && !p.exempts(&by_digest)).collect();
        if matching.is_empty() {
            let exempt = policies.iter().any(|policy| policy.exempts(&by_digest));
            return exempt || policies.iter().all(|p| p.other_images == holdfast_core::api::policy::OtherImages::Allow);
        }
        matching.iter().all(|policy| {
            let Accept::Signature { attestations } = &policy.policy.accept else { panic!() };
            std::iter::once(SIGN)
                .chain(attestations.iter().map(String::as_str))
                .all(|predicate| pieces.iter().any(|piece| counts(policy, piece, predicate, all)))
        })
    }

    /// Evidence that is good under the public root, mostly.
    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let all = roots();
        let (public, github) = (root(&all, "public"), root(&all, "github"));
        let signer = |authority: &Authority| authority.chain[0].der.clone();
        let authorities = [public, github].map(|root| signer(root.certificate_authorities.last().unwrap()));
        let stamps = [public, github].map(|root| Some(signer(root.timestamp_authorities.last().unwrap())));
        let log = |log: &Log| Some((*log.log_id.as_bytes(), log.algorithm != KeyAlgorithm::Ed25519));
        let (logs, scts) =
            (public.logs.iter().map(log).collect::<Vec<_>>(), public.ct_logs.last().map(|log| *log.log_id.as_bytes()));
        let mostly = |good: bool| prop::bool::weighted(if good { 0.85 } else { 0.15 });
        let one = (
            (mostly(true), mostly(true), mostly(true), mostly(true), mostly(false)),
            (mostly(true), mostly(true), mostly(true), mostly(true)),
            prop::sample::select(vec![SIGN, SIGN, SLSA, "https://example.com/scan"]),
            prop::sample::select(logs),
        )
            .prop_map(
                move |((bundle, ours, subject, issuer, by_key), (logged, stamped, sct, late), predicate, log)| {
                    // Before the window of the public timestamp authority begins, or inside everything.
                    let at: Timestamp =
                        if late { "2026-01-01T00:00:00Z" } else { "2025-05-01T00:00:00Z" }.parse().unwrap();
                    let by = By::Certificate {
                        issuer: if issuer { ISSUER } else { "https://issuer.example" }.to_owned(),
                        subject: if subject { SUBJECT } else { "xp1" }.to_owned(),
                        authority: authorities[usize::from(!ours)].clone(),
                    };
                    Piece {
                        bundle,
                        predicate: predicate.to_owned(),
                        by: if by_key { By::Key(key()) } else { by },
                        // A log holds no entry from before it began, and the newer of the two began in September 2025.
                        log: log.filter(|(_, timed)| logged && (*timed || late)),
                        timestamp: stamps[usize::from(!ours)].clone().filter(|_| stamped),
                        sct: scts.filter(|_| sct),
                        at,
                    }
                },
            );
        prop::collection::vec(one, 1..5)
    }

    fn texts() -> impl Strategy<Value = String> {
        let host = prop::sample::select(vec![
            "registry.corp.internal/",
            "registry.corp.internal/",
            "REGISTRY.corp.internal/",
            "registry.corp.internal:443/",
            "registry.corp.internal./",
            "registry.corp.internal.evil.example/",
            "",
            "docker.io/",
            "index.docker.io/",
            "localhost/",
            "localhost:5000/",
        ]);
        let path = prop::sample::select(vec![
            "apps/web",
            "apps/web",
            "apps",
            "apps/a/b/web",
            "apps-evil/web",
            "library/nginx",
            "nginx",
            "tools/x1",
            "localhost/x1",
        ]);
        let end = prop::sample::select(vec![
            String::new(),
            ":1".to_owned(),
            format!("@{DIGEST}"),
            format!(":1@{DIGEST}"),
            "@sha256:zzz".to_owned(),
        ]);
        (host, path, end).prop_map(|(host, path, end)| format!("{host}{path}{end}"))
    }

    fn specs() -> impl Strategy<Value = (Value, Vec<String>)> {
        let images = prop::sample::subsequence(
            vec![
                "registry.corp.internal/apps/**",
                "registry.corp.internal/**/web",
                "registry.corp.internal/*",
                "docker.io/**",
                "docker.io/library/*",
                "localhost/*",
                "registry.corp.internal/tools/x*",
            ],
            1..3,
        );
        let identities = prop::sample::subsequence(
            vec![
                json!({ "name": "web", "issuer": ISSUER, "subject": SUBJECT }),
                json!({ "name": "p", "issuer": ISSUER, "subjectRegExp": "p\\d|q" }),
                json!({ "name": "k", "key": { "pem": KEY } }),
            ],
            1..3,
        );
        let roots = prop::sample::subsequence(vec!["corp", "ctlogs", "github", "public", "rekor1", "rekor2"], 1..4);
        let exempt = prop::sample::subsequence(
            vec![
                "registry.corp.internal/apps/web",
                "docker.io/library/nginx",
                "docker.io/localhost/x1",
                "registry.corp.internal/tools/x1",
            ],
            0..2,
        );
        let require = [0.4, 0.3, 0.3, 0.3].map(prop::bool::weighted);
        let enforced = prop::bool::weighted(0.8).prop_map(|both| {
            let names: &[&str] = if both { &["shop", "billing"] } else { &["shop"] };
            names.iter().map(|name| (*name).to_owned()).collect()
        });
        (images, identities, roots, exempt, require, prop::bool::weighted(0.2), enforced).prop_map(
            |(images, identities, roots, exempt, [log, timestamp, sct, statements], allow, enforced)| {
                let exempt: Vec<Value> =
                    exempt.iter().map(|name| json!({ "image": format!("{name}@{DIGEST}"), "reason": "test" })).collect();
                let attestations: &[&str] = if statements { &[SLSA] } else { &[] };
                let spec = json!({
                    "images": images, "identities": identities, "trustRoots": roots, "exemptImages": exempt,
                    "require": { "attestations": attestations, "transparencyLog": log, "signedTimestamp": timestamp, "sct": sct },
                    "otherImages": if allow { "Allow" } else { "Deny" },
                });
                (spec, enforced)
            },
        )
    }

    #[test]
    fn what_the_engine_admits_is_declared() {
        let admitted = Cell::new(0_usize);
        let config = ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() };
        let strategy = (
            prop::collection::vec(specs(), 1..3),
            prop::bool::weighted(0.8),
            prop::collection::vec((texts(), pieces()), 24),
        );
        TestRunner::new(config)
            .run(&strategy, |(specs, direct, pods)| {
                let mut owned = Owned::new();
                for (at, (spec, enforced)) in specs.iter().enumerate() {
                    let enforced: Vec<&str> = enforced.iter().map(String::as_str).collect();
                    owned = owned.policy(&format!("p{at}"), &enforced, spec);
                }
                let capability = PolicyControllerCapability { direct_entries: direct, ..run() };
                let rendering = PolicyController::render(&owned.estate(), &capability);
                let cluster = Cluster { objects: rendering.objects.iter().map(Object::body).collect() };
                let refused: BTreeSet<&str> = rendering.refused.iter().map(|refused| &*refused.policy).collect();
                let enforced: Vec<(&CompiledPolicy, &Rollout)> = owned
                    .policies
                    .iter()
                    .map(|(_, compiled, rollout)| (compiled, rollout))
                    .filter(|(compiled, rollout)| !rollout.enforced.is_empty() && !refused.contains(&*compiled.name))
                    .collect();
                let labelled = cluster.labelled();
                prop_assert!(
                    enforced.iter().all(|(_, rollout)| rollout.enforced.iter().all(|name| labelled.contains(name)))
                );
                for namespace in &labelled {
                    let here: Vec<&CompiledPolicy> = enforced
                        .iter()
                        .filter(|(_, rollout)| rollout.enforced.contains(namespace))
                        .map(|(compiled, _)| *compiled)
                        .collect();
                    for (text, pieces) in pods.iter().filter(|(text, pieces)| cluster.admits(text, DIGEST, pieces)) {
                        admitted.set(admitted.get() + 1);
                        prop_assert!(
                            declared_admits(&here, text, pieces, &owned.roots),
                            "{namespace} {text} {pieces:#?} {:#?}",
                            rendering.objects
                        );
                    }
                }
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
        println!("{} pods were admitted", admitted.get());
        assert!(admitted.get() > 50, "only {} pods were admitted, which proves little", admitted.get());
    }

    /// Every trust root, requirement and piece of evidence, one at a time: what random policies seldom hit.
    #[test]
    fn every_piece_of_evidence_under_every_requirement() {
        let all = roots();
        let (public, github) = (root(&all, "public"), root(&all, "github"));
        let signer = |authority: &Authority| authority.chain[0].der.clone();
        let mut pieces = Vec::new();
        for (bundle, ours, sct, late) in all_four() {
            let of = if ours { public } else { github };
            let stamps =
                [None, Some(public), Some(github)].map(|root| root.map(|root| signer(&root.timestamp_authorities[0])));
            let logs = public.logs.iter().map(|log| (*log.log_id.as_bytes(), log.algorithm != KeyAlgorithm::Ed25519));
            for (log, timestamp) in
                std::iter::once(None).chain(logs.map(Some)).flat_map(|log| stamps.clone().map(|stamp| (log, stamp)))
            {
                pieces.push(Piece {
                    bundle,
                    predicate: SIGN.to_owned(),
                    by: By::Certificate {
                        issuer: ISSUER.to_owned(),
                        subject: SUBJECT.to_owned(),
                        authority: signer(of.certificate_authorities.last().unwrap()),
                    },
                    log: log.filter(|(_, timed)| *timed || late),
                    timestamp,
                    sct: public.ct_logs.last().map(|log| *log.log_id.as_bytes()).filter(|_| sct),
                    at: if late { "2026-01-01T00:00:00Z" } else { "2025-05-01T00:00:00Z" }.parse().unwrap(),
                });
            }
        }
        let text = format!("registry.corp.internal/apps/web@{DIGEST}");
        let mut admitted = 0;
        for name in all.iter().map(|root| root.name.as_str()) {
            for (log, timestamp, sct, direct) in all_four() {
                let spec = json!({ "trustRoots": [name], "require": require(log, timestamp, sct) });
                let owned = Owned::new().policy("apps", &["shop"], &spec);
                let capability = PolicyControllerCapability { direct_entries: direct, ..run() };
                let rendering = PolicyController::render(&owned.estate(), &capability);
                if !rendering.refused.is_empty() {
                    continue;
                }
                let cluster = Cluster { objects: rendering.objects.iter().map(Object::body).collect() };
                for piece in &pieces {
                    let one = std::slice::from_ref(piece);
                    if cluster.admits(&text, DIGEST, one) {
                        admitted += 1;
                        let declared = declared_admits(&[&owned.policies[0].1], &text, one, &all);
                        assert!(declared, "{name} {log} {timestamp} {sct} {direct}: {piece:#?}");
                    }
                }
            }
        }
        assert!(admitted > 100, "only {admitted} were admitted, which proves little");
    }

    type Four = (bool, bool, bool, bool);

    fn all_four() -> Vec<Four> {
        (0..16).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0, bits & 8 > 0)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Matched too much or too little is both wider: with another policy's globs, or without.
        #[test]
        fn globs_match_what_patterns_match(
            host in prop::sample::select(vec!["registry.corp.internal", "registry.corp.internal:5000", "docker.io"]),
            pattern in prop::collection::vec(prop::sample::select(vec!["apps", "library", "*", "**", "web-*", "w*b", "a.b", "x1"]), 1..5),
            path in prop::collection::vec(prop::sample::select(vec!["apps", "library", "web-api", "web", "a.b", "axb", "x1"]), 1..5),
            other in prop::bool::weighted(0.1),
        ) {
            let pattern = format!("{host}/{}", pattern.join("/"));
            prop_assume!(holdfast_core::image::ImagePattern::parse(&pattern).is_ok());
            let text = format!("{}/{}", if other { "registry.corp.internal" } else { host }, path.join("/"));
            let spec = json!({ "images": [pattern], "require": require(false, true, false) });
            let owned = Owned::new().policy("apps", &["shop"], &spec);
            let rendering = render(&owned);
            let name = super::model::normalised(&text, DIGEST).unwrap();
            let globbed = policies(&rendering).iter().any(|policy| policy["metadata"]["name"] == "holdfast-apps" && super::model::matches(policy, &name));
            prop_assert_eq!(globbed, owned.policies[0].1.matches(&ImageRef::parse(&text).unwrap()), "{} {}", pattern, text);
        }
    }

    /// Good evidence under the root `name`, of everything it can vouch for.
    fn piece(all: &[TrustRoot], name: &str) -> Piece {
        let root = root(all, name);
        let log = root.logs.last().map(|log| (*log.log_id.as_bytes(), false));
        Piece {
            bundle: true,
            predicate: SIGN.to_owned(),
            by: By::Certificate {
                issuer: ISSUER.to_owned(),
                subject: SUBJECT.to_owned(),
                authority: root.certificate_authorities.last().unwrap().chain[0].der.clone(),
            },
            log,
            timestamp: root.timestamp_authorities.last().map(|authority| authority.chain[0].der.clone()),
            sct: root.ct_logs.last().map(|log| *log.log_id.as_bytes()),
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// The rows of the run: what the real engine admitted is admitted, what it denied is denied.
    #[test]
    fn the_model_repeats_the_run() {
        let all = roots();
        let image = format!("registry.corp.internal/apps/web@{DIGEST}");
        let admits = |spec: &Value, image: &str, piece: Piece| {
            let rendering = render(&Owned::new().policy("apps", &["shop"], spec));
            assert!(rendering.refused.is_empty(), "{:#?}", rendering.refused);
            Cluster { objects: rendering.objects.iter().map(Object::body).collect() }.admits(image, DIGEST, &[piece])
        };
        let good = || piece(&all, "rekor2");
        let by_timestamp = json!({ "trustRoots": ["rekor2"], "require": require(false, true, false) });
        let by_log = json!({ "trustRoots": ["rekor2"], "require": require(true, false, false) });
        let by_key = json!({ "trustRoots": [], "require": require(false, false, false), "identities": [{ "name": "k", "key": { "pem": KEY } }] });
        let foreign = || {
            let mut foreign = good();
            foreign.by = piece(&all, "github").by;
            foreign
        };
        let someone =
            || By::Certificate { issuer: ISSUER.to_owned(), subject: format!("x{SUBJECT}"), authority: Vec::new() };
        for (what, spec, piece, want) in [
            ("a bundle with log and timestamp, by timestamp", &by_timestamp, good(), true),
            ("timestamp alone", &by_timestamp, Piece { log: None, ..good() }, true),
            ("no timestamp", &by_timestamp, Piece { timestamp: None, ..good() }, false),
            (
                "a foreign timestamp",
                &by_timestamp,
                Piece { timestamp: piece(&all, "github").timestamp, ..good() },
                false,
            ),
            ("another predicate type", &by_timestamp, Piece { predicate: SLSA.to_owned(), ..good() }, false),
            ("a legacy signature", &by_timestamp, Piece { bundle: false, ..good() }, false),
            ("another authority", &by_timestamp, foreign(), false),
            ("another identity", &by_timestamp, Piece { by: someone(), ..good() }, false),
            ("a key", &by_timestamp, Piece { by: By::Key(key()), ..good() }, false),
            ("a bundle with log and timestamp, by log", &by_log, good(), true),
            ("timestamp alone, by log", &by_log, Piece { log: None, ..good() }, false),
            ("another log, by log", &by_log, Piece { log: Some(([7; 32], false)), ..good() }, false),
            ("a log that gives no time, without timestamp", &by_log, Piece { timestamp: None, ..good() }, false),
            ("a legacy signature by key", &by_key, Piece { bundle: false, by: By::Key(key()), ..good() }, true),
            ("a bundle by key", &by_key, Piece { by: By::Key(key()), ..good() }, false),
            ("a certificate for a key", &by_key, Piece { bundle: false, ..good() }, false),
        ] {
            assert_eq!(admits(spec, &image, piece), want, "{what}");
        }
        assert!(!admits(&by_timestamp, &format!("other.example/apps/web@{DIGEST}"), good()), "no policy matches");
        assert!(admits(&by_timestamp, "registry.corp.internal/apps/web:1", good()), "a tag is resolved");
    }
}

#[test]
fn rendered_objects_are_what_the_real_schemas_accept() {
    let Some(schemas) = schema::Schemas::of("policy-controller-v0.15.1") else { return };
    let of_engine = |object: &&Object| object.api_version().starts_with("policy.sigstore.dev/");
    let mut checked = BTreeSet::new();
    for enforced in [&[][..], &["shop"]] {
        for required in [require(false, true, false), require(true, false, false), require(true, false, true)] {
            let identities = json!([
                { "name": "web", "issuer": ISSUER, "subject": SUBJECT },
                { "name": "vendor", "key": { "pem": KEY } },
            ]);
            let spec = json!({ "require": required, "identities": identities });
            let rendering = render(&Owned::new().policy("apps", enforced, &spec));
            for object in rendering.objects.iter().filter(of_engine) {
                assert_eq!(schemas.faults(object.body()), [] as [String; 0], "{}", object.name());
                checked.insert(object.kind().to_owned());
            }
        }
    }
    assert!(["ClusterImagePolicy", "TrustRoot"].iter().all(|kind| checked.contains(*kind)), "{checked:?}");
}
