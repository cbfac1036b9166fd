//! What is rendered for Kyverno: complete objects, every loss by name, and nothing wider than declared.
//!
//! The snapshots are files a person can apply; the losses stand in them as comments.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)] // a test that cannot go on fails

#[path = "engines_support/kyverno_estate.rs"]
mod estate;
#[path = "engines_support/kyverno_model.rs"]
mod model;
#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use estate::{ISSUER, ROOTS, SUBJECT, World};
use holdfast_core::coverage::CompiledPolicy;
use holdfast_core::engines::kyverno::evidence::{self, Beside, By as Signs, Holds, Logs, ROWS, Run};
use holdfast_core::engines::kyverno::{CapabilityError, Kyverno, KyvernoCapability, ServedVersion};
use holdfast_core::engines::{Effect, Engine, LossKind, Object, Rendering, Version};
use holdfast_core::image::ImageRef;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{EvidenceRequirements, Signer};
use model::{By, Entry, Model, Pod, Signed, Stored};
use proptest::prelude::*;
use serde_json::{Value, json};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const SLSA: &str = "https://slsa.dev/provenance/v1";
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6QsNef3SKYhJVYSVj+ZfbPwJd0pv
DLYNHXITZkhIzfE+apcxDjCCkDPcJ3A3zvhPATYOIsCxYPch7Q2JdJLsDQ==
-----END PUBLIC KEY-----
";

fn kyverno(minor: u16) -> KyvernoCapability {
    KyvernoCapability::assumed(Version::new(1, minor, 1))
}

fn render(world: &World, minor: u16) -> Rendering {
    Kyverno::render(&world.estate(), &kyverno(minor))
}

/// A file a person can apply.
fn file(rendering: &Rendering) -> String {
    let mut text = String::new();
    for loss in &rendering.losses {
        let policy = loss.policy.as_deref().unwrap_or("every policy");
        writeln!(text, "# loss of {policy}, Kyverno {}: {loss}", loss.versions).unwrap();
    }
    for refused in &rendering.refused {
        writeln!(text, "# refused for enforcement, {}: {}", refused.policy, refused.why).unwrap();
    }
    for object in &rendering.objects {
        let yaml = serde_saphyr::to_string(object.body()).unwrap();
        assert_eq!(
            &serde_saphyr::from_str::<Value>(&yaml).unwrap(),
            object.body(),
            "the file says what the object does"
        );
        write!(text, "---\n{yaml}").unwrap();
    }
    text
}

fn names(rendering: &Rendering) -> Vec<&str> {
    rendering.objects.iter().map(holdfast_core::engines::Object::name).collect()
}

fn body<'a>(rendering: &'a Rendering, name: &str) -> &'a Value {
    rendering.objects.iter().find(|object| object.name() == name).unwrap().body()
}

fn kinds(rendering: &Rendering, policy: &str) -> BTreeSet<LossKind> {
    rendering.losses.iter().filter(|loss| loss.policy.as_deref() == Some(policy)).map(|loss| loss.kind).collect()
}

// ---------------------------------------------------------------- complete objects

#[test]
fn a_policy_in_audit_and_in_enforcement() {
    let mut world = World::new(&["v2"]);
    let (root, document, _) = world.roots.get_mut("v2").unwrap();
    *document = {
        let production = sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
        let mut whole: Value = serde_json::from_str(production).unwrap();
        whole["tlogs"].as_array_mut().unwrap().remove(0);
        assert_eq!(root.logs.len(), 1);
        whole.to_string()
    };
    world.policy(
        "apps",
        json!({
            "identities": [
                { "name": "web-release", "issuer": ISSUER, "subject": SUBJECT },
                { "name": "tools", "issuer": "https://gitlab.corp.internal", "subjectRegExp": "https://gitlab\\.corp\\.internal/tools/[^/]+//\\.gitlab-ci\\.yml@refs/tags/v.*" },
            ],
            "namespaceSelector": { "matchLabels": { "tier": "apps" } },
            "exemptImages": [{ "image": format!("registry.corp.internal/apps/pause@sha256:{HEX}"), "reason": "node image" }],
            "require": { "sct": false, "signedTimestamp": true, "attestations": [SLSA] },
        }),
        &["shop"],
    );
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-apps", "holdfast-enforce-apps", "holdfast-other-images"]);
    assert_eq!(rendering.refused, []);
    insta::assert_snapshot!(file(&rendering));
}

#[test]
fn two_roots_are_two_attestors_and_one_repository() {
    let mut world = World::new(&["v2", "untimed"]);
    world.policy("apps", json!({ "trustRoots": ["untimed", "v2"], "otherImages": "Allow" }), &["shop"]);
    world.policy("hub", json!({ "images": ["docker.io/library/*"], "otherImages": "Allow" }), &[]);
    insta::assert_snapshot!(file(&render(&world, 19)));
}

#[test]
fn a_key_is_an_attestor_without_a_repository() {
    let mut world = World::new(&[]);
    let identities = json!([{ "name": "vendor", "key": { "pem": KEY } }]);
    let require = json!({ "sct": false, "transparencyLog": false });
    world.policy("vendor", json!({ "identities": identities, "trustRoots": [], "require": require }), &["shop"]);
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-vendor"], "keys were not run");
    insta::assert_snapshot!(file(&rendering));
}

#[test]
fn on_1_18_the_repository_is_the_trust() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["shop"]);
    let rendering = render(&world, 18);
    let cosign = &body(&rendering, "holdfast-audit-apps")["spec"]["attestors"][0]["cosign"];
    assert!(cosign.get("trustedRoot").is_none(), "1.18 would drop it in silence");
    assert_eq!(cosign["tuf"]["mirror"], "http://holdfast-tuf.holdfast-system.svc/v2/");
    insta::assert_snapshot!(file(&rendering));
}

#[test]
fn a_cluster_policy_on_request() {
    let mut world = World::new(&[]);
    world.policy(
        "legacy",
        json!({
            "engines": { "kyverno": { "kind": "ClusterPolicy" } }, "trustRoots": ["v1"],
            "identities": [{ "name": "web", "issuer": ISSUER, "subject": "https://ci.example/a*b?c" }],
            "require": { "attestations": [SLSA] },
        }),
        &["shop"],
    );
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-legacy"]);
    insta::assert_snapshot!(file(&rendering));
    let removed = render(&world, 20);
    assert_eq!((removed.objects.len(), removed.refused.len()), (0, 1));
    assert_eq!(kinds(&removed, "legacy"), [LossKind::ClusterPolicyRemoved].into());
    insta::assert_snapshot!("a_cluster_policy_on_1_20", file(&removed));
}

/// A log is ignored where none is required and nowhere else; a key is looked for under each log it may be in.
#[test]
fn a_cluster_policy_looks_for_a_key_in_the_logs_that_are_required() {
    let entries = |roots: &[&str], log: bool| {
        let mut world = World::new(&[]);
        let identities = json!([{ "name": "vendor", "key": { "pem": KEY } }]);
        let require = json!({ "transparencyLog": log, "sct": false });
        world.policy(
            "legacy",
            json!({ "engines": { "kyverno": { "kind": "ClusterPolicy" } }, "trustRoots": roots, "identities": identities, "require": require }),
            &[],
        );
        let rendering = render(&world, 19);
        let rule = &body(&rendering, "holdfast-audit-legacy")["spec"]["rules"][0]["verifyImages"][0];
        let rekor = |entry: &Value| entry["keys"]["rekor"].clone();
        let rekor: Vec<Value> = rule["attestors"][0]["entries"].as_array().unwrap().iter().map(rekor).collect();
        (rekor, kinds(&rendering, "legacy").contains(&LossKind::ClusterPolicyReadsEcdsaLogsOnly))
    };
    for roots in [&[][..], &["v1"], &["v1", "v2"]] {
        assert_eq!(entries(roots, false).0, [json!({ "ignoreTlog": true })], "{roots:?}");
    }
    let (of_v1, _) = entries(&["v1"], true);
    assert_eq!(of_v1.len(), 1, "one of the logs has a key on P-256");
    assert!(of_v1[0]["pubkey"].is_string() && of_v1[0].get("ignoreTlog").is_none(), "{of_v1:?}");
    // Nothing is accepted that only other logs hold, and that is said.
    assert_eq!(entries(&["v2"], true), (Vec::new(), true));
    assert!(entries(&["v1"], true).1 && !entries(&["logless"], true).1);
}

// ---------------------------------------------------------------- the table of evidence

#[test]
fn every_cell_of_the_evidence_table() {
    let mut grid = String::new();
    let mut used = BTreeSet::new();
    let bools = [false, true];
    for by in [Signs::Certificate, Signs::Key] {
        for sct in bools {
            for transparency_log in bools {
                for signed_timestamp in bools {
                    for logs in [Logs::None, Logs::V2, Logs::V1] {
                        for (ct_logs, timestamp_authorities) in
                            [(false, false), (false, true), (true, false), (true, true)]
                        {
                            let required = EvidenceRequirements { transparency_log, signed_timestamp, sct };
                            let row = evidence::row(by, required, Holds { logs, ct_logs, timestamp_authorities });
                            let at = ROWS
                                .iter()
                                .position(|other| other.checks == row.checks && other.block == row.block)
                                .expect("a row");
                            used.insert(at);
                            // What is required is never switched off because the root lacks it.
                            let block = row.block.render().unwrap_or_default();
                            assert_eq!(block["insecureIgnoreTlog"] == true, !transparency_log);
                            assert_eq!(block["insecureIgnoreSCT"] == true, by == Signs::Key || !sct);
                            writeln!(
                                grid,
                                "{by:?} sct={sct} log={transparency_log} timestamp={signed_timestamp} | logs={logs:?} ctLogs={ct_logs} authorities={timestamp_authorities} | {:?} {:?} {:?}",
                                row.block, row.run, row.beside
                            )
                            .unwrap();
                        }
                    }
                }
            }
        }
    }
    assert_eq!(used.len(), ROWS.len(), "every row is of use");
    insta::assert_snapshot!(grid);
}

#[test]
fn what_was_not_run_is_reported_and_not_enforced() {
    let mut world = World::new(&["v2", "v1"]);
    world.policy("default", json!({ "require": {} }), &["shop"]);
    world.policy("public", json!({ "trustRoots": ["v1"] }), &[]);
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-default", "holdfast-audit-public"]);
    assert!(rendering.widens("default") && rendering.widens("public"));
    assert_eq!(rendering.refused.len(), 1, "only what is enforced is refused");
    assert!(rendering.refused[0].why.contains("enforce with the native engine"), "{}", rendering.refused[0].why);
    let row = evidence::row(
        Signs::Certificate,
        EvidenceRequirements::DEFAULT,
        Holds { logs: Logs::V2, ct_logs: true, timestamp_authorities: true },
    );
    assert_eq!((row.run, row.beside), (Run::DenialOnly, Beside::Nothing));
    // Where the enforcement is refused, the report covers those namespaces as well.
    let not_in = &body(&rendering, "holdfast-audit-default")["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"]
        [0];
    assert_eq!(not_in["values"], json!(["holdfast-system", "kube-system", "kyverno"]));
}

// ---------------------------------------------------------------- the rules of the research

#[test]
fn nothing_is_left_to_a_default() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["shop"]);
    let rendering = render(&world, 19);
    for object in &rendering.objects {
        let spec = &object.body()["spec"];
        let denies = object.name() != "holdfast-audit-apps";
        assert_eq!(spec["validationActions"], if denies { json!(["Deny"]) } else { json!(["Audit"]) });
        assert_eq!(spec["failurePolicy"], if denies { "Fail" } else { "Ignore" });
        assert!((1..=30).contains(&spec["webhookConfiguration"]["timeoutSeconds"].as_i64().unwrap()));
        assert_eq!(spec["autogen"]["podControllers"]["controllers"], json!([]));
        assert_eq!(spec["evaluation"]["background"]["enabled"], false);
        let digests = spec["validationConfigurations"].as_object().unwrap();
        assert_eq!(digests.keys().collect::<Vec<_>>(), ["mutateDigest", "required", "verifyDigest"]);
        assert_eq!(digests["mutateDigest"], false, "{} rewrites no pods", object.name());
        assert_eq!(
            spec["matchConstraints"]["resourceRules"][0]["resources"],
            json!(["pods", "pods/ephemeralcontainers"]),
            "subresources are not implied"
        );
    }
    let enforce = body(&rendering, "holdfast-enforce-apps");
    assert_eq!(
        enforce["spec"]["matchConstraints"]["namespaceSelector"],
        json!({ "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"] }] })
    );
    assert_eq!(enforce["spec"]["validationConfigurations"]["verifyDigest"], true);
}

#[test]
fn an_attestor_has_one_identity_with_both_criteria_anchored() {
    let mut world = World::new(&["v2"]);
    let identities = json!([
        { "name": "web", "issuer": ISSUER, "subject": SUBJECT },
        { "name": "in", "issuer": ISSUER, "subjectRegExp": "a|b" },
        { "name": "in_", "issuer": ISSUER, "subjectRegExp": "c" },
        { "name": "in-", "issuer": ISSUER, "subjectRegExp": "d" },
        { "name": "in.", "issuer": ISSUER, "subjectRegExp": "e" },
    ]);
    world.policy("apps", json!({ "identities": identities }), &["shop"]);
    let rendering = render(&world, 19);
    let spec = &body(&rendering, "holdfast-enforce-apps")["spec"];
    let mut names = BTreeSet::new();
    for attestor in spec["attestors"].as_array().unwrap() {
        let name = attestor["name"].as_str().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && names.insert(name), "{name}");
        let identities = attestor["cosign"]["keyless"]["identities"].as_array().unwrap();
        assert_eq!(identities.len(), 1);
        assert!(identities[0]["issuer"] == ISSUER && identities[0].as_object().unwrap().len() == 2);
        assert_eq!(attestor["cosign"]["tuf"]["root"]["data"], "eyJyb290IjoidjIifQ==");
        let url = attestor["cosign"]["ctlog"]["url"].as_str().unwrap();
        assert!(world.roots["v2"].0.logs.iter().all(|log| log.base_url != url), "a placeholder is nobody's log");
    }
    let signed = spec["validations"][3]["expression"].as_str().unwrap();
    assert_eq!(signed.matches("verifyAttestationSignatures(i, attestations.signature, [attestors.by_").count(), 5);
    assert!(!signed.contains(", attestors."), "each attestor alone in its call: {signed}");
    let anchored = |at: usize| &spec["attestors"][at]["cosign"]["keyless"]["identities"][0]["subjectRegExp"];
    assert_eq!(anchored(1), "^(?:a|b)$");
    let alike: Vec<&str> = names.iter().copied().filter(|name| name.starts_with("by_in_")).collect();
    assert_eq!(alike, ["by_in__under_v2", "by_in__under_v2_2", "by_in__under_v2_3", "by_in_under_v2"]);
}

#[test]
fn a_signature_is_a_statement_of_its_own_type() {
    let mut world = World::new(&["v2"]);
    world.policy(
        "apps",
        json!({ "require": { "sct": false, "signedTimestamp": true, "attestations": [SLSA] } }),
        &["shop"],
    );
    for object in render(&world, 19).objects.iter().filter(|object| object.name() != "holdfast-other-images") {
        let spec = &object.body()["spec"];
        let types: Vec<&str> =
            spec["attestations"].as_array().unwrap().iter().map(|a| a["intoto"]["type"].as_str().unwrap()).collect();
        assert_eq!(types, [SIGN, SLSA]);
        assert!(!spec.to_string().contains("verifyImageSignatures"));
    }
}

#[test]
fn one_repository_serves_every_policy() {
    let mut world = World::new(&["v1", "v2"]);
    world.policy("a", json!({}), &["shop"]);
    world.policy("b", json!({ "trustRoots": ["v1"] }), &[]);
    world.policy("c", json!({ "trustRoots": ["logless"] }), &[]);
    let rendering = render(&world, 19);
    let mut mirrors = BTreeSet::new();
    for object in rendering.objects.iter().filter(|object| object.name() != "holdfast-other-images") {
        for attestor in object.body()["spec"]["attestors"].as_array().unwrap() {
            mirrors.insert(attestor["cosign"]["tuf"]["mirror"].to_string());
        }
    }
    assert_eq!(mirrors.len(), 1, "{mirrors:?}");
    assert!(rendering.losses.iter().all(|loss| loss.kind != LossKind::KyvernoMirrorClash));
}

/// A repository that lacks something fails every check, and one of a root nobody accepts is nobody's.
#[test]
fn a_complete_repository_is_chosen_and_then_one_that_is_accepted() {
    for (served, accepted, chosen) in
        [(["logless", "v2"], "logless", "v2"), (["v1", "v2"], "v2", "v2"), (["v1", "v2"], "untimed", "v1")]
    {
        let mut world = World::new(&served);
        world.policy("apps", json!({ "trustRoots": [accepted] }), &[]);
        let rendering = render(&world, 19);
        let asked = format!("the repository of `{chosen}`");
        let losses: Vec<&str> = rendering.losses.iter().map(|loss| loss.detail.as_str()).collect();
        assert!(losses.iter().any(|detail| detail.contains(&asked)), "{served:?} for {accepted}: {losses:#?}");
    }
}

#[test]
fn without_a_repository_nothing_is_rendered() {
    let mut world = World::new(&[]);
    world.policy("apps", json!({}), &["shop"]);
    let rendering = render(&world, 19);
    assert!(rendering.objects.is_empty(), "an attestor without the block would pin the public repository");
    assert!(rendering.widens("apps") && rendering.refused[0].why.contains("distribution.tufRepository"));
}

#[test]
fn a_repository_kyverno_cannot_start_from_is_said() {
    let mut world = World::new(&["logless"]);
    world.policy("apps", json!({}), &[]);
    assert!(kinds(&render(&world, 19), "apps").contains(&LossKind::KyvernoMirrorIncomplete));
    let production: Value =
        serde_json::from_str(sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    for lacking in ["certificateAuthorities", "tlogs", "ctlogs", ""] {
        let mut document = production.clone();
        if !lacking.is_empty() {
            document[lacking] = json!([]);
        }
        let mut world = World::new(&["v1"]);
        world.roots.get_mut("v1").unwrap().0 = TrustRoot::from_json("v1", document.to_string().as_bytes()).unwrap();
        world.policy("apps", json!({ "trustRoots": ["v1"] }), &[]);
        let is_said = kinds(&render(&world, 19), "apps").contains(&LossKind::KyvernoMirrorIncomplete);
        assert_eq!(is_said, !lacking.is_empty(), "{lacking}");
        assert_eq!(Holds::of(&world.roots["v1"].0).ct_logs, lacking != "ctlogs");
    }
}

#[test]
fn on_1_18_policies_with_different_roots_clash_and_the_enforced_one_stays() {
    let mut world = World::new(&["v1", "v2"]);
    world.policy("a", json!({ "trustRoots": ["v1"] }), &[]);
    world.policy("z", json!({}), &["shop"]);
    world.policy("both", json!({ "trustRoots": ["v1", "v2"] }), &[]);
    let rendering = render(&world, 18);
    assert_eq!(names(&rendering), ["holdfast-audit-z"]);
    let clash: Vec<&str> = rendering
        .losses
        .iter()
        .filter(|loss| loss.kind == LossKind::KyvernoMirrorClash)
        .map(|loss| loss.detail.as_str())
        .collect();
    assert_eq!(clash.len(), 2);
    assert!(clash[0].contains("`a`") && clash[0].contains("`z`"), "both are named: {}", clash[0]);
    assert!(rendering.widens("z"), "1.18 was not run");
}

/// The one repository would be the trust of all the roots.
#[test]
fn on_1_18_a_policy_of_several_roots_is_not_rendered() {
    let mut world = World::new(&["v1", "v2"]);
    world.policy("both", json!({ "trustRoots": ["v1", "v2"] }), &["shop"]);
    let rendering = render(&world, 18);
    assert!(rendering.objects.is_empty());
    assert!(rendering.losses.iter().any(|loss| loss.detail.contains("accepts several trust roots")), "{rendering:#?}");
    assert_eq!(rendering.refused.len(), 1);
}

#[test]
fn a_policy_too_large_to_store_is_not_rendered() {
    let mut world = World::new(&["v2"]);
    world.roots.get_mut("v2").unwrap().1 = json!({ "trustRoot": "v2", "padding": "x".repeat(20_000) }).to_string();
    let identities: Vec<Value> = (0..100)
        .map(|at| json!({ "name": format!("i{at}"), "issuer": ISSUER, "subject": format!("{SUBJECT}{at}") }))
        .collect();
    world.policy("apps", json!({ "identities": identities }), &["shop"]);
    let rendering = render(&world, 19);
    assert!(rendering.objects.is_empty());
    assert!(rendering.refused[0].why.contains("KyvernoPolicyTooLarge"));
}

#[test]
fn an_object_of_a_million_bytes_is_stored_and_none_with_one_more() {
    let rendered = |padding: usize| {
        let mut world = World::new(&["v2"]);
        world.roots.get_mut("v2").unwrap().1 = "x".repeat(padding);
        world.policy("apps", json!({}), &[]);
        render(&world, 19)
    };
    let [object] = &rendered(900_000).objects[..] else { unreachable!("one that reports") };
    let padding = 900_000 + 1_000_000 - object.size();
    for (padding, is_rendered) in [(padding, true), (padding + 1, false)] {
        let rendering = rendered(padding);
        assert_eq!(
            rendering.objects.iter().map(Object::size).collect::<Vec<_>>(),
            [1_000_000][..usize::from(is_rendered)]
        );
        assert_eq!(kinds(&rendering, "apps").contains(&LossKind::KyvernoPolicyTooLarge), !is_rendered);
    }
}

#[test]
fn a_loss_names_three_identities_and_counts_the_others() {
    for (count, end) in [(3, "`i2` under `v1`: "), (5, "`i2` under `v1` and 2 more: ")] {
        let mut world = World::new(&["v1"]);
        let identity = |at| json!({ "name": format!("i{at}"), "issuer": ISSUER, "subject": format!("{SUBJECT}{at}") });
        let identities: Vec<Value> = (0..count).map(identity).collect();
        world.policy("apps", json!({ "trustRoots": ["v1"], "identities": identities }), &["shop"]);
        let losses = render(&world, 19).losses;
        assert!(losses.iter().any(|loss| loss.detail.contains(end)), "{losses:#?}");
    }
}

#[test]
fn where_other_images_cannot_be_denied_nothing_is_enforced() {
    let mut world = World::new(&["v2"]);
    let images: Vec<String> =
        (0..128).map(|at| format!("registry.corp.internal/{at}/{}/**", "x".repeat(480))).collect();
    let engines = json!({ "native": {} });
    for at in 0..8 {
        world.policy(&format!("wide-{at}"), json!({ "images": images, "engines": engines }), &["shop"]);
    }
    world.policy("apps", json!({}), &["shop"]);
    world.policy("open", json!({ "otherImages": "Allow" }), &["shop"]);
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-apps", "holdfast-audit-open", "holdfast-enforce-open"]);
    assert_eq!(rendering.refused.len(), 1);
    assert!(rendering.widens("apps") && !rendering.widens("open"));
}

#[test]
fn a_break_glass_takes_a_namespace_back_to_audit() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["shop", "billing"]);
    world.exceptions.push(("apps", "billing"));
    let rendering = render(&world, 19);
    let values = |name: &str| {
        body(&rendering, name)["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"][0]["values"].clone()
    };
    assert_eq!(values("holdfast-enforce-apps"), json!(["shop"]));
    assert_eq!(values("holdfast-other-images"), json!(["shop"]));
    assert_eq!(values("holdfast-audit-apps"), json!(["holdfast-system", "kube-system", "kyverno", "shop"]));
    assert!(kinds(&rendering, "apps").contains(&LossKind::KyvernoBreakGlassNeedsHoldfast));
}

#[test]
fn namespaces_of_engines_and_of_holdfast_are_never_judged() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["kyverno", "holdfast-system"]);
    let rendering = render(&world, 19);
    assert_eq!(names(&rendering), ["holdfast-audit-apps"]);
    let kinds = kinds(&rendering, "apps");
    assert!(kinds.contains(&LossKind::NamespacesLeftOut) && kinds.contains(&LossKind::KyvernoLeavesOutHoldfast));
    // The policy would be open there, also where it is enforced elsewhere as well.
    for (enforced, open) in [
        (&["kyverno", "holdfast-system"][..], "`holdfast-system`, `kyverno`"),
        (&["shop", "kube-system"], "`kube-system`"),
    ] {
        let mut world = World::new(&["v2"]);
        world.policy("apps", json!({}), enforced);
        let refused = render(&world, 19).refused;
        assert_eq!(refused.len(), 1, "{enforced:?}");
        assert!(refused[0].why.starts_with(&format!("it is enforced in {open}, where Kyverno judges nothing")));
    }
}

#[test]
fn versions_that_enforce_less_are_refused() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["shop"]);
    for (minor, objects, loss, versions) in [
        (15, 0, LossKind::KyvernoTooOld, "< 1.18"),
        (17, 0, LossKind::KyvernoTooOld, "< 1.18"),
        (18, 1, LossKind::KyvernoNotRunOnThisVersion, ">= 1.18, < 1.19"),
        (20, 3, LossKind::KyvernoNewerThanRun, ">= 1.20"),
    ] {
        let rendering = render(&world, minor);
        assert_eq!(rendering.objects.len(), objects, "1.{minor}");
        let said: Vec<&str> =
            rendering.losses.iter().filter(|other| other.kind == loss).map(|other| other.versions).collect();
        assert_eq!(said, [versions], "1.{minor}");
        assert_eq!(rendering.refused.is_empty(), minor == 20, "1.{minor}");
    }
    let absent = Kyverno::render(&world.estate(), &KyvernoCapability::ABSENT);
    assert_eq!((absent.objects.len(), absent.refused.len()), (0, 1));
    assert_eq!(kinds(&absent, "apps"), [LossKind::EngineAbsent].into());
}

#[test]
fn the_order_of_declarations_does_not_show() {
    let specs =
        [("a", json!({})), ("b", json!({ "images": ["docker.io/**"] })), ("c", json!({ "trustRoots": ["untimed"] }))];
    let rendered = |order: &[usize]| {
        let mut world = World::new(&["v2", "untimed"]);
        for at in order {
            world.policy(specs[*at].0, specs[*at].1.clone(), &["shop"]);
        }
        file(&render(&world, 19))
    };
    assert_eq!(rendered(&[0, 1, 2]), rendered(&[2, 0, 1]));
    assert_eq!(rendered(&[0, 1, 2]), rendered(&[0, 1, 2]));
}

#[test]
fn every_loss_of_kyverno_says_what_and_how_to_cure_it() {
    for kind in LossKind::ALL {
        assert!(!kind.meaning().is_empty() && !kind.meaning().ends_with('.'), "{kind}");
        assert!(kind.cure().len() > 10, "{kind}");
    }
}

// ---------------------------------------------------------------- capability

/// A definition with just the fields that are looked at.
fn definition(versions: &[(&str, bool, bool)]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(name, served, inline)| {
            let mut cosign = json!({ "keyless": {}, "key": {}, "tuf": {}, "ctlog": {} });
            if *inline {
                cosign["trustedRoot"] = json!({});
            }
            json!({ "name": name, "served": served, "schema": { "openAPIV3Schema": { "properties": { "spec": { "properties": {
                "validationActions": {}, "failurePolicy": {}, "evaluation": {}, "autogen": {},
                "webhookConfiguration": { "properties": { "timeoutSeconds": {} } },
                "matchConstraints": { "properties": { "namespaceSelector": {} } },
                "matchImageReferences": { "items": { "properties": { "expression": {} } } },
                "validationConfigurations": { "properties": { "verifyDigest": {} } },
                "attestors": { "items": { "properties": { "cosign": { "properties": cosign } } } },
                "attestations": { "items": { "properties": { "intoto": {} } } },
                "validations": { "items": { "properties": { "expression": {} } } },
            } } } } } })
        })
        .collect();
    json!({
        "kind": "CustomResourceDefinition", "metadata": { "name": "imagevalidatingpolicies.policies.kyverno.io" },
        "spec": { "versions": versions },
    })
}

#[test]
fn the_schema_says_what_is_rendered() {
    let read = |minor, definitions: &[Value]| KyvernoCapability::read(Version::new(1, minor, 0), definitions);
    let installed = |capability: KyvernoCapability| capability.installed.unwrap();
    let both = installed(read(19, &[definition(&[("v1beta1", true, true), ("v1", true, true)])]).unwrap());
    assert_eq!((both.image_validating_policy, both.inline_root), (Some(ServedVersion::V1), true));
    let older = installed(read(19, &[definition(&[("v1beta1", true, true), ("v1", false, true)])]).unwrap());
    assert_eq!(older.image_validating_policy, Some(ServedVersion::V1Beta1));
    let none = installed(read(19, &[]).unwrap());
    assert_eq!((none.image_validating_policy, none.cluster_policy), (None, false));
    let alpha = installed(read(19, &[definition(&[("v1alpha1", true, true)])]).unwrap());
    assert_eq!(alpha.image_validating_policy, None);
}

#[test]
fn capability_data_that_lies_is_refused() {
    let read =
        |minor, definitions: &[Value]| KyvernoCapability::read(Version::new(1, minor, 0), definitions).unwrap_err();
    let (old, new) = (definition(&[("v1", true, false)]), definition(&[("v1", true, true)]));
    assert!(matches!(read(19, std::slice::from_ref(&old)), CapabilityError::SchemaOlderThanVersion { .. }));
    assert!(matches!(read(18, std::slice::from_ref(&new)), CapabilityError::SchemaNewerThanVersion { .. }));
    assert!(matches!(read(19, &[new.clone(), old]), CapabilityError::Twice { .. }));
    assert!(matches!(read(19, &[json!({ "kind": "ConfigMap" })]), CapabilityError::NotOfKyverno { .. }));
    // Somebody else's definition, and what has the name of Kyverno's and is none.
    let (mut others, mut named) = (new.clone(), new.clone());
    others["metadata"]["name"] = json!("policies.example.com");
    named["kind"] = json!("ConfigMap");
    for wrong in [others, named] {
        assert!(matches!(read(19, std::slice::from_ref(&wrong)), CapabilityError::NotOfKyverno { .. }), "{wrong}");
    }
    // One that is given twice says the same twice.
    let mut again = new.clone();
    again["metadata"]["resourceVersion"] = json!("2");
    assert_eq!(
        KyvernoCapability::read(Version::new(1, 19, 0), &[new.clone(), again]),
        KyvernoCapability::read(Version::new(1, 19, 0), std::slice::from_ref(&new))
    );
    let mut pruned = new;
    pruned["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["attestations"] =
        json!({});
    let error = read(19, &[pruned]);
    assert!(
        matches!(error, CapabilityError::FieldMissing { .. }) && error.to_string().contains("attestations[].intoto")
    );
}

// ---------------------------------------------------------------- the real schemas

#[test]
fn rendered_objects_are_what_the_real_schemas_accept() {
    for (module, minor) in [("kyverno-v1.19.1", 19), ("kyverno-v1.18.2", 18)] {
        let Some(schemas) = schema::Schemas::of(module) else { return };
        let version = Version::new(1, minor, 1);
        let capability = KyvernoCapability::read(version, schemas.definitions()).unwrap();
        assert_eq!(capability, KyvernoCapability::assumed(version), "{module}");
        let mut world = World::new(&["v2"]);
        let identities = json!([
            { "name": "web", "issuer": ISSUER, "subject": SUBJECT },
            { "name": "tools", "issuer": ISSUER, "subjectRegExp": "x.*" },
            { "name": "vendor", "key": { "pem": KEY } },
        ]);
        let selector =
            json!({ "matchLabels": { "tier": "apps" }, "matchExpressions": [{ "key": "a", "operator": "Exists" }] });
        world.policy("apps", json!({ "namespaceSelector": selector }), &["shop"]);
        world.policy("mixed", json!({ "identities": identities, "require": { "attestations": [SLSA] } }), &[]);
        world.policy(
            "legacy",
            json!({ "engines": { "kyverno": { "kind": "ClusterPolicy" } }, "identities": identities, "trustRoots": ["v1"] }),
            &[],
        );
        let rendering = Kyverno::render(&world.estate(), &capability);
        assert!(rendering.objects.len() >= 3, "{module}");
        for object in &rendering.objects {
            assert_eq!(schemas.faults(object.body()), [] as [String; 0], "{module} {}", object.name());
        }
        let mut misspelt = rendering.objects[0].body().clone();
        misspelt["spec"]["attestor"] = json!([]);
        misspelt["spec"]["background"] = json!("no");
        assert_eq!(schemas.faults(&misspelt).len(), 2, "unknown fields are faults, each");
    }
}

// ---------------------------------------------------------------- never wider

/// Whether the declared policy admits an image: what it is about has to be signed, and what cannot be read is denied.
fn declares_good(policy: &CompiledPolicy, text: &str, stored: &Stored, holds: &dyn Fn(&str) -> Holds) -> bool {
    let Ok(image) = ImageRef::parse(text) else { return false };
    if !policy.matches(&image) || policy.exempts(&image) {
        return true;
    }
    let required = policy.policy.evidence;
    let evidence = stored.get(text).map(Vec::as_slice).unwrap_or_default();
    let counts = |signed: &Signed| {
        let by = policy.policy.signers.iter().any(|signer| match (signer, &signed.by) {
            (Signer::Certificate { subject, issuer, .. }, By::Certificate { issuer: i, subject: s }) => {
                issuer.matches(i) && subject.matches(s)
            }
            (Signer::Key { .. }, By::Key { pem }) => pem == KEY,
            _ => false,
        });
        let is_certificate = matches!(signed.by, By::Certificate { .. });
        let holds = holds(signed.root);
        let logged = match signed.entry {
            Entry::None => false,
            Entry::V1 => holds.logs == Logs::V1,
            Entry::V2 => holds.logs != Logs::None,
        };
        let timestamped = signed.timestamp && holds.timestamp_authorities;
        let timed = timestamped || signed.entry == Entry::V1 && logged;
        by && policy.trust_roots.iter().any(|root| root == signed.root)
            && (!required.transparency_log || logged)
            && (!required.signed_timestamp || timestamped)
            && (!is_certificate || !required.sct || signed.sct && holds.ct_logs)
            && (!is_certificate || timed)
    };
    let states =
        |wanted: &str| evidence.iter().any(|signed| counts(signed) && signed.predicate.as_deref() == Some(wanted));
    let signed = evidence.iter().any(|signed| counts(signed) && signed.predicate.as_deref().is_none_or(|p| p == SIGN));
    let holdfast_core::verify::Accept::Signature { attestations } = &policy.policy.accept else { return false };
    image.digest().is_some() && signed && attestations.iter().all(|wanted| states(wanted))
}

/// What the policies that are enforced in a namespace declare of images none of them names.
fn other_images_are_good(world: &World, namespace: &str, text: &str) -> bool {
    let here =
        || world.policies.iter().filter(|(_, _, enforced)| enforced.contains(namespace)).map(|(_, policy, _)| policy);
    let denies = here().any(|policy| policy.other_images == holdfast_core::api::policy::OtherImages::Deny);
    match ImageRef::parse(text) {
        Err(_) => !denies,
        Ok(image) => !denies || here().any(|policy| policy.matches(&image) || policy.exempts(&image)),
    }
}

/// Mostly texts that policies are about, by digest; and whatever is near them.
fn texts() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "REGISTRY.Corp.internal./",
        "registry.corp.internal:443/",
        "registry.corp.internal:0443/",
        "registry.corp.internal.evil.example/",
        "registry.corp.internal:5000/",
        "10.0.0.1/",
        "[::1]:5000/",
        "docker.io/",
        "index.docker.io/",
        "",
    ]);
    let host = prop_oneof![2 => Just("registry.corp.internal/"), 1 => odd];
    let path = prop_oneof![
        3 => Just("apps/web"),
        2 => prop::sample::select(vec!["apps/pause", "apps", "apps-evil/web", "Apps/web", "library/nginx", "nginx", "base/os"]),
    ];
    let digest = format!("@sha256:{HEX}");
    let odd = prop::sample::select(vec![
        format!(":1{digest}"),
        ":1".to_owned(),
        String::new(),
        format!("@sha256:{}", HEX.to_uppercase()),
        "@sha256:zzz".to_owned(),
        format!("{digest}{digest}"),
        format!("@sha512:{HEX}{HEX}"),
    ]);
    let end = prop_oneof![3 => Just(digest), 2 => odd];
    (host, path, end).prop_map(|(host, path, end)| format!("{host}{path}{end}"))
}

/// Mostly statements that pass, so that what is wrong with the others is mostly one thing.
fn signed() -> impl Strategy<Value = Signed> {
    let certificate =
        |issuer: &str, subject: &str| By::Certificate { issuer: issuer.to_owned(), subject: subject.to_owned() };
    let near: Vec<By> = vec![
        certificate("https://evil.example", SUBJECT),
        certificate(ISSUER, &format!("{SUBJECT}x")),
        certificate(ISSUER, &format!("https://evil.example/{SUBJECT}")),
        certificate(ISSUER, "tools-7x"),
        certificate(ISSUER, "xtools-7"),
        By::Key { pem: "other".to_owned() },
    ];
    let by = prop_oneof![
        8 => Just(certificate(ISSUER, SUBJECT)),
        4 => Just(certificate(ISSUER, "tools-7")),
        3 => Just(By::Key { pem: KEY.to_owned() }),
        4 => prop::sample::select(near),
    ];
    let predicate = prop_oneof![
        4 => Just(Some(SIGN)), 3 => Just(Some(SLSA)), 1 => Just(Some("https://scan.example/failed")), 1 => Just(None),
    ];
    let root = prop_oneof![6 => Just("v2"), 3 => prop::sample::select(ROOTS.to_vec())];
    let entry = prop_oneof![7 => Just(Entry::V2), 2 => Just(Entry::V1), 1 => Just(Entry::None)];
    (predicate, by, root, entry, prop::bool::weighted(0.8), prop::bool::weighted(0.6), prop::bool::weighted(0.1))
        .prop_map(|(predicate, by, root, entry, timestamp, sct, legacy)| Signed {
            predicate: predicate.map(str::to_owned),
            by,
            root,
            entry,
            timestamp,
            sct,
            legacy,
        })
}

fn spec() -> impl Strategy<Value = (Value, Vec<&'static str>)> {
    let images = prop_oneof![
        2 => Just(vec!["registry.corp.internal/apps/**"]),
        1 => prop::sample::subsequence(
            vec!["registry.corp.internal/apps/**", "registry.corp.internal/**", "docker.io/library/*", "10.0.0.1/*", "docker.io/**"],
            1..3,
        ),
    ];
    let web = json!({ "name": "web", "issuer": ISSUER, "subject": SUBJECT });
    let tools = json!({ "name": "tools", "issuer": ISSUER, "subjectRegExp": "tools-[0-9]|x" });
    let vendor = json!({ "name": "vendor", "key": { "pem": KEY } });
    let identities = prop_oneof![
        2 => Just(vec![web.clone(), tools.clone()]),
        2 => Just(vec![web.clone()]),
        1 => Just(vec![tools.clone()]),
        1 => prop::sample::subsequence(vec![web, tools, vendor.clone()], 1..3),
        1 => Just(vec![vendor]),
    ];
    let roots = prop_oneof![4 => Just(vec!["v2"]), 2 => Just(vec!["v2", "untimed"]), 1 => Just(vec!["v1"]), 1 => prop::sample::subsequence(ROOTS.to_vec(), 1..3)];
    let require = (prop::bool::weighted(0.15), prop::bool::weighted(0.7), any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(sct, log, timestamp, slsa)| {
        json!({ "sct": sct, "transparencyLog": log, "signedTimestamp": timestamp, "attestations": if slsa { json!([SLSA]) } else { json!([]) } })
    });
    let exempt = prop::sample::select(vec![
        json!([]),
        json!([{ "image": format!("registry.corp.internal/apps/pause@sha256:{HEX}"), "reason": "node image" }]),
        json!([{ "image": format!("docker.io/library/nginx@sha256:{HEX}"), "reason": "node image" }]),
    ]);
    let others = prop::sample::select(vec!["Deny", "Allow"]);
    let enforced = prop_oneof![
        3 => Just(vec!["shop"]), 2 => Just(vec!["shop", "billing"]), 1 => Just(vec!["billing"]), 1 => Just(vec![]),
    ];
    (images, identities, roots, require, exempt, others, enforced).prop_map(
        |(images, identities, roots, require, exempt, others, enforced)| {
            let spec = json!({
                "images": images, "identities": identities, "trustRoots": roots, "require": require,
                "exemptImages": exempt, "otherImages": others,
            });
            (spec, enforced)
        },
    )
}

fn documents(world: &World) -> BTreeMap<String, &'static str> {
    world.roots.iter().map(|(name, (_, document, _))| (document.clone(), *name)).collect()
}

/// The true evidence there can be: a root that holds no such authority vouches for nothing.
fn possible(world: &World, mut signed: Signed) -> Signed {
    let holds = Holds::of(&world.roots[signed.root].0);
    signed.timestamp &= holds.timestamp_authorities;
    signed.sct &= holds.ct_logs;
    signed.entry = match (signed.entry, holds.logs) {
        (_, Logs::None) | (Entry::None, _) => Entry::None,
        (Entry::V1, Logs::V1) => Entry::V1,
        _ => Entry::V2,
    };
    signed
}

/// Every requirement, root, signer and piece of evidence there can be: what is admitted is declared good, and what is declared good is denied only where a
/// loss says so.
#[test]
fn evidence_is_never_judged_wider_than_declared() {
    let bools = [false, true];
    let image = format!("registry.corp.internal/apps/web@sha256:{HEX}");
    let pod = Pod { containers: vec![image.clone()], ..Pod::default() };
    let certificate = By::Certificate { issuer: ISSUER.to_owned(), subject: SUBJECT.to_owned() };
    let mut enforced = 0;
    for root in ROOTS {
        for by in [certificate.clone(), By::Key { pem: KEY.to_owned() }] {
            for (sct, log, timestamp) in
                bools.iter().flat_map(|a| bools.iter().flat_map(move |b| bools.map(|c| (*a, *b, c))))
            {
                let mut world = World::new(&["v2"]);
                let identity = match &by {
                    By::Key { pem } => json!({ "name": "vendor", "key": { "pem": pem } }),
                    By::Certificate { issuer, subject } => {
                        json!({ "name": "web", "issuer": issuer, "subject": subject })
                    }
                };
                let require = json!({ "sct": sct, "transparencyLog": log, "signedTimestamp": timestamp });
                world.policy(
                    "apps",
                    json!({ "identities": [identity], "trustRoots": [root], "require": require }),
                    &["shop"],
                );
                let rendering = render(&world, 19);
                if rendering.widens("apps") {
                    assert_eq!(rendering.objects.len(), 1, "for reports only");
                    continue;
                }
                enforced += 1;
                let model = Model::new(body(&rendering, "holdfast-enforce-apps"), documents(&world));
                let holds = |name: &str| Holds::of(&world.roots[name].0);
                for entry in [Entry::None, Entry::V1, Entry::V2] {
                    for (timestamp, sct, legacy) in
                        bools.iter().flat_map(|a| bools.iter().flat_map(move |b| bools.map(|c| (*a, *b, c))))
                    {
                        let signed = possible(
                            &world,
                            Signed {
                                predicate: Some(SIGN.to_owned()),
                                by: by.clone(),
                                root,
                                entry,
                                timestamp,
                                sct,
                                legacy,
                            },
                        );
                        let explained = signed.legacy || !signed.timestamp;
                        let stored = Stored::from([(image.clone(), vec![signed])]);
                        let good = declares_good(&world.policies[0].1, &image, &stored, &holds);
                        let admitted = model.admits("shop", &pod, &stored);
                        assert!(!admitted || good, "{root} {require} admits {stored:?}");
                        assert!(!good || admitted || explained, "{root} {require} denies {stored:?}");
                    }
                }
            }
        }
    }
    // Two roots with Rekor v2 alone, log and timestamp required or not.
    assert_eq!(enforced, 8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the model of a rendered object admits, the declared policy admits.
    #[test]
    fn never_wider(
        specs in prop::collection::vec(spec(), 1..3),
        served in prop::sample::subsequence(ROOTS.to_vec(), 1..4),
        evidence in prop::collection::vec(prop::collection::vec(signed(), 0..4), 16),
        images in prop::collection::vec(texts(), 16),
        minor in prop::sample::select(vec![18, 19, 19, 19, 19, 20]),
    ) {
        let mut world = World::new(&served);
        for (at, (spec, enforced)) in specs.iter().enumerate() {
            world.policy(["alpha", "beta", "gamma"][at], spec.clone(), enforced);
        }
        let rendering = render(&world, minor);
        let holds = |name: &str| Holds::of(&world.roots[name].0);
        for object in &rendering.objects {
            let model = Model::new(object.body(), documents(&world));
            let policy = object.body()["metadata"]["labels"]["holdfast.dev/policy"].as_str();
            for (text, evidence) in images.iter().zip(&evidence) {
                let evidence: Vec<Signed> = evidence.iter().map(|signed| possible(&world, signed.clone())).collect();
                let stored = Stored::from([(text.clone(), evidence)]);
                for is_volume in [false, true] {
                    let list = vec![text.clone()];
                    let pod = if is_volume { Pod { volumes: list, ..Pod::default() } } else { Pod { containers: list, ..Pod::default() } };
                    for namespace in ["shop", "billing", "tools"] {
                        if !model.admits(namespace, &pod, &stored) {
                            continue;
                        }
                        let enforces_here = object.name() == "holdfast-other-images"
                            || policy.is_some_and(|name| object.name() == format!("holdfast-enforce-{name}"));
                        let declared = world.policies.iter().find(|(_, compiled, _)| Some(compiled.name.as_str()) == policy);
                        if let (true, Some((_, compiled, enforced))) = (enforces_here, declared) {
                            prop_assert!(
                                !enforced.contains(namespace) || declares_good(compiled, text, &stored, &holds),
                                "{} admits {text} (volume: {is_volume}) in {namespace} with {stored:?}", object.name()
                            );
                        }
                        if object.name() == "holdfast-other-images" {
                            let judged = model.selects(&BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]));
                            prop_assert!(!judged || other_images_are_good(&world, namespace, text), "{text} in {namespace}");
                        }
                    }
                }
            }
        }
        for refused in &rendering.refused {
            let name = format!("holdfast-enforce-{}", refused.policy);
            prop_assert!(names(&rendering).iter().all(|other| *other != name), "{refused:?}");
        }
        for (_, compiled, enforced) in &world.policies {
            let is_rendered = names(&rendering).contains(&format!("holdfast-enforce-{}", compiled.name).as_str());
            prop_assert!(!is_rendered || !rendering.widens(&compiled.name));
            prop_assert!(is_rendered || enforced.is_empty() || rendering.refused.iter().any(|r| r.policy == compiled.name));
        }
    }
}

#[test]
fn what_is_declared_good_passes_and_what_is_not_does_not() {
    let mut world = World::new(&["v2"]);
    let exempt =
        json!([{ "image": format!("registry.corp.internal/apps/pause@sha256:{HEX}"), "reason": "node image" }]);
    world.policy(
        "apps",
        json!({ "exemptImages": exempt, "require": { "sct": false, "signedTimestamp": true, "attestations": [SLSA] } }),
        &["shop"],
    );
    world.policy("everything", json!({ "images": ["docker.io/**"] }), &[]);
    let rendering = render(&world, 19);
    let (enforce, others) = (body(&rendering, "holdfast-enforce-apps"), body(&rendering, "holdfast-other-images"));
    let (enforce, others) = (Model::new(enforce, documents(&world)), Model::new(others, documents(&world)));
    let by = |subject: &str| By::Certificate { issuer: ISSUER.to_owned(), subject: subject.to_owned() };
    let good = |predicate: &str| Signed {
        predicate: Some(predicate.to_owned()),
        by: by(SUBJECT),
        root: "v2",
        entry: Entry::V2,
        timestamp: true,
        sct: false,
        legacy: false,
    };
    let image = format!("registry.corp.internal/apps/web@sha256:{HEX}");
    let admits = |text: &str, evidence: Vec<Signed>| {
        let pod = Pod { containers: vec![text.to_owned()], ..Pod::default() };
        let stored = Stored::from([(text.to_owned(), evidence)]);
        enforce.admits("shop", &pod, &stored) && others.admits("shop", &pod, &stored)
    };
    let both = || vec![good(SIGN), good(SLSA)];
    assert!(admits(&image, both()));
    assert!(admits(&format!("REGISTRY.corp.internal.:443/apps/web:1@sha256:{HEX}"), both()));
    assert!(admits(&format!("registry.corp.internal/apps/pause@sha256:{HEX}"), vec![]), "an exception");
    assert!(!admits(&image, vec![]));
    assert!(!admits(&image, vec![good(SIGN)]), "a statement is missing");
    assert!(!admits(&image, vec![good(SLSA)]), "a statement is no signature");
    assert!(!admits(&image, vec![Signed { by: by("evil@example.com"), ..good(SIGN) }, good(SLSA)]));
    assert!(!admits(&image, vec![Signed { entry: Entry::None, ..good(SIGN) }, good(SLSA)]));
    assert!(!admits(&image, vec![Signed { timestamp: false, ..good(SIGN) }, good(SLSA)]));
    assert!(!admits(&image, vec![Signed { root: "v1", ..good(SIGN) }, good(SLSA)]));
    assert!(!admits("registry.corp.internal/apps/web:1", both()), "a tag");
    assert!(!admits(&format!("REGISTRY.corp.internal.:443/apps/web@sha256:{HEX}"), vec![]), "another spelling");
    assert!(
        !admits(&format!("nginx@sha256:{HEX}"), vec![]),
        "an audit policy over docker.io/** switches no denial off"
    );
    assert!(
        !admits(&format!("registry.corp.internal/apps/web@sha512:{HEX}{HEX}"), both()),
        "a text with no one reading"
    );
    let volume = |text: &str| {
        let pod = Pod { volumes: vec![text.to_owned()], ..Pod::default() };
        let stored = Stored::from([(text.to_owned(), both())]);
        enforce.admits("shop", &pod, &stored) && others.admits("shop", &pod, &stored)
    };
    assert!(!volume(&image), "a volume cannot be verified");
    assert!(!volume(&format!("nginx@sha256:{HEX}")), "nor be another image");
    assert!(volume(&format!("registry.corp.internal/apps/pause@sha256:{HEX}")), "an exception");
    assert!(
        enforce.admits("tools", &Pod { containers: vec!["x".to_owned()], ..Pod::default() }, &Stored::new()),
        "not enforced there"
    );
}

#[test]
fn policies_that_match_one_image_all_have_to_hold() {
    let mut world = World::new(&["v2"]);
    world.policy("a", json!({}), &["shop"]);
    world.policy(
        "b",
        json!({ "identities": [{ "name": "other", "issuer": ISSUER, "subject": "b" }], "otherImages": "Allow" }),
        &["shop", "billing"],
    );
    let rendering = render(&world, 19);
    assert_eq!(
        names(&rendering),
        ["holdfast-audit-a", "holdfast-audit-b", "holdfast-enforce-a", "holdfast-enforce-b", "holdfast-other-images"]
    );
    // `billing` has only the policy that lets other images pass.
    let others = body(&rendering, "holdfast-other-images");
    assert_eq!(
        others["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"][0]["values"],
        json!(["shop"])
    );
    let effects: BTreeSet<Effect> = rendering.losses.iter().map(holdfast_core::engines::Loss::effect).collect();
    assert!(!effects.contains(&Effect::Wider));
}

#[test]
fn other_images_are_judged_by_what_is_enforced_in_their_namespace() {
    let mut world = World::new(&["v2"]);
    world.policy("apps", json!({}), &["shop", "billing"]);
    world.policy("hub", json!({ "images": ["docker.io/library/*"], "engines": {} }), &["billing"]);
    let rendering = render(&world, 19);
    let others = Model::new(body(&rendering, "holdfast-other-images"), documents(&world));
    let pod = Pod { containers: vec![format!("nginx@sha256:{HEX}")], ..Pod::default() };
    assert!(!others.admits("shop", &pod, &Stored::new()));
    assert!(others.admits("billing", &pod, &Stored::new()), "another engine enforces `hub` there");
    insta::assert_snapshot!(file(&rendering));
}
