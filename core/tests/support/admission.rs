//! Random policies and requests, and an evaluation of admission that knows nothing of how loosening is decided.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)] // each file uses its part; a test that cannot go on fails

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicySpec;
use holdfast_core::api::common::NamespaceSelector;
use holdfast_core::api::policy::{Desired, OtherImages, Wave};
use holdfast_core::image::{ImagePattern, ImageRef};
use holdfast_core::verify::pattern::IdentityPattern;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) issuer: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) key: Option<&'static str>,
    pub(crate) root: &'static str,
    pub(crate) log: bool,
    pub(crate) timestamp: bool,
    pub(crate) sct: bool,
    pub(crate) statement: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) engine: usize,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) image: String,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stale: Option<&'static str>,
}

pub(crate) fn counts(policy: &SigningIdentityPolicySpec, piece: &Piece, stale: Option<&str>) -> bool {
    let require = &policy.require;
    if require.transparency_log && !piece.log || require.signed_timestamp && !piece.timestamp {
        return false;
    }
    let good = |root: &str| policy.trust_roots.iter().any(|r| r == root) && stale != Some(root);
    match piece.key {
        Some(pem) => {
            let named = policy.identities.iter().any(|i| i.key.as_ref().is_some_and(|k| k.pem.as_deref() == Some(pem)));
            let evidence = require.transparency_log || require.signed_timestamp;
            named
                && match (policy.trust_roots.is_empty(), evidence) {
                    (true, evidence) => !evidence,
                    (false, true) => good(piece.root),
                    (false, false) => policy.trust_roots.iter().any(|root| good(root)),
                }
        }
        None => {
            good(piece.root)
                && (!require.sct || piece.sct)
                && policy.identities.iter().any(|i| {
                    let subject = match (&i.subject, &i.subject_reg_exp) {
                        (Some(exact), _) => exact == piece.subject,
                        (None, Some(pattern)) => IdentityPattern::new(pattern).unwrap().matches(piece.subject),
                        (None, None) => false,
                    };
                    i.issuer.as_deref() == Some(piece.issuer) && subject
                })
        }
    }
}

pub(crate) fn in_force(policy: &SigningIdentityPolicySpec, request: &Request, done: &[&str]) -> bool {
    let engines = &policy.engines;
    let declared = [engines.native.is_some(), engines.kyverno.is_some(), engines.policy_controller.is_some()];
    declared[request.engine] && in_scope(policy, request, done)
}

/// Whether the namespace is one the policy is in force in, in whatever engine.
pub(crate) fn in_scope(policy: &SigningIdentityPolicySpec, request: &Request, done: &[&str]) -> bool {
    let everything =
        Wave { name: "everything".to_owned(), namespace_selector: NamespaceSelector::default(), soak: None };
    let waves = if policy.enforcement.waves.is_empty() { vec![everything] } else { policy.enforcement.waves.clone() };
    policy.enforcement.desired == Desired::Enforce
        && policy.namespace_selector.matches(&request.labels)
        && waves.iter().any(|w| done.contains(&w.name.as_str()) && w.namespace_selector.matches(&request.labels))
}

pub(crate) fn about(policy: &SigningIdentityPolicySpec, image: &ImageRef) -> (bool, bool) {
    let exempt = policy.exempt_images.iter().any(|e| {
        let e = ImageRef::parse(&e.image).unwrap();
        e.name() == image.name() && e.digest() == image.digest() && image.digest().is_some()
    });
    (policy.images.iter().any(|p| ImagePattern::parse(p).unwrap().matches(image)), exempt)
}

/// Whether a policy that is in force denies this image with this evidence.
pub(crate) fn refuses(policy: &SigningIdentityPolicySpec, request: &Request) -> bool {
    let image = ImageRef::parse(&request.image).unwrap();
    match about(policy, &image) {
        (_, true) => false,
        (false, false) => policy.other_images == OtherImages::Deny,
        (true, false) => !satisfies(policy, request),
    }
}

fn satisfies(policy: &SigningIdentityPolicySpec, request: &Request) -> bool {
    let good: Vec<&Piece> = request.pieces.iter().filter(|piece| counts(policy, piece, request.stale)).collect();
    let signed = good.iter().any(|piece| piece.statement.is_none());
    let stated = policy.require.attestations.iter().all(|t| good.iter().any(|p| p.statement == Some(t.as_str())));
    signed && stated
}

/// Whether a pod with this image gets in, past all policies in force.
pub(crate) fn admits(policies: &[&SigningIdentityPolicySpec], request: &Request, done: &[&str]) -> bool {
    let image = ImageRef::parse(&request.image).unwrap();
    let there: Vec<_> = policies.iter().filter(|policy| in_force(policy, request, done)).collect();
    for policy in &there {
        let (matches, exempt) = about(policy, &image);
        if !matches || exempt {
            continue;
        }
        if !satisfies(policy, request) {
            return false;
        }
    }
    let claimed = there.iter().any(|policy| matches!(about(policy, &image), (true, _) | (_, true)));
    claimed || there.iter().all(|policy| policy.other_images == OtherImages::Allow)
}

pub(crate) const PATTERNS: [&str; 9] = [
    "r.example/**",
    "r.example/apps/**",
    "r.example/apps/*",
    "r.example/apps/web",
    "r.example/apps/web-*",
    "r.example/*/web",
    "r.example/**/web",
    "docker.io/library/*",
    "r.example/ap*/**",
];
pub(crate) const REPOSITORIES: [&str; 8] = [
    "r.example/apps/web",
    "r.example/apps/web-a",
    "r.example/apps/x/web",
    "r.example/base",
    "nginx",
    "r.example/apps",
    "r.example/apes/web",
    "s.example/apps/web",
];
pub(crate) const ISSUERS: [&str; 2] = ["https://i.example", "https://j.example"];
pub(crate) const SUBJECTS: [&str; 3] = ["https://ci/a", "https://ci/b", "https://ci/ab"];
pub(crate) const EXPRESSIONS: [&str; 4] =
    ["https://ci/.*", "https://ci/[ab]", "https://ci/a|https://ci/b", "https://ci/a.*"];
pub(crate) const ROOTS: [&str; 2] = ["corp", "public"];
pub(crate) const TYPES: [&str; 2] = ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"];

pub(crate) fn selector() -> impl Strategy<Value = Value> {
    let requirement =
        |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
    select(vec![
        json!({}),
        json!({"matchLabels": {"tier": "apps"}}),
        json!({"matchLabels": {"tier": "apps", "canary": "true"}}),
        json!({"matchExpressions": [requirement("tier", "In", json!(["apps", "db"]))]}),
        json!({"matchExpressions": [requirement("tier", "NotIn", json!(["db"]))]}),
        json!({"matchExpressions": [requirement("tier", "NotIn", json!(["db", "web"]))]}),
        json!({"matchExpressions": [requirement("tier", "Exists", json!([]))]}),
        json!({"matchExpressions": [requirement("canary", "DoesNotExist", json!([]))]}),
    ])
}

pub(crate) fn image() -> impl Strategy<Value = String> {
    (select(REPOSITORIES.to_vec()), 0..2_u8).prop_map(|(name, n)| format!("{name}@{}", Digest::of(&[n])))
}

pub(crate) fn identity() -> impl Strategy<Value = Value> {
    prop_oneof![
        (select(ISSUERS.to_vec()), select(SUBJECTS.to_vec())).prop_map(|(i, s)| json!({"issuer": i, "subject": s})),
        (select(ISSUERS.to_vec()), select(EXPRESSIONS.to_vec()))
            .prop_map(|(i, s)| json!({"issuer": i, "subjectRegExp": s})),
        select(vec!["K1", "K2"]).prop_map(|pem| json!({"key": {"pem": pem}})),
    ]
}

pub(crate) fn named(list: Vec<Value>) -> Value {
    list.into_iter()
        .enumerate()
        .map(|(at, mut entry)| {
            entry["name"] = json!(format!("n{at}"));
            entry
        })
        .collect()
}

pub(crate) fn waves() -> impl Strategy<Value = Value> {
    let wave = |name: &'static str| selector().prop_map(move |s| json!({"name": name, "namespaceSelector": s}));
    prop_oneof![
        2 => Just(json!([])),
        1 => wave("canary").prop_map(|w| json!([w])),
        2 => (wave("canary"), wave("everything")).prop_map(|(a, b)| json!([a, b])),
        1 => (wave("canary"), wave("everything")).prop_map(|(a, b)| json!([b, a])),
    ]
}

/// Every field of a policy, at random.
pub(crate) fn fields() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let evidence = (any::<bool>(), any::<bool>(), any::<bool>(), subsequence(TYPES.to_vec(), 0..=2));
    let engines = subsequence(vec!["native", "kyverno", "policyController"], 0..=3);
    (
        (subsequence(PATTERNS.to_vec(), 1..=3), any::<bool>(), prop::collection::vec(image(), 0..2), selector()),
        (subsequence(ROOTS.to_vec(), 0..=2), prop::collection::vec(identity(), 1..4), evidence, engines),
        (prop::bool::weighted(0.9), waves()),
    )
        .prop_map(|((images, deny, exempt, selector), (roots, identities, evidence, engines), (enforce, waves))| {
            let (log, timestamp, sct, types) = evidence;
            let exempt: Vec<Value> = exempt.into_iter().map(|image| json!({"image": image, "reason": "x"})).collect();
            let engines: serde_json::Map<String, Value> = engines.into_iter().map(|e| (e.to_owned(), json!({}))).collect();
            BTreeMap::from([
                ("images", json!(images)),
                ("otherImages", json!(if deny { "Deny" } else { "Allow" })),
                ("exemptImages", json!(exempt)),
                ("namespaceSelector", selector),
                ("trustRoots", json!(roots)),
                ("identities", named(identities)),
                ("require", json!({"attestations": types, "transparencyLog": log, "signedTimestamp": timestamp, "sct": sct})),
                ("engines", Value::Object(engines)),
                ("enforcement", json!({"desired": if enforce { "Enforce" } else { "Audit" }, "waves": waves})),
            ])
        })
}

/// A policy, and edits of it: mostly one field is taken from another policy, so that a single oversight shows.
pub(crate) fn edits(count: usize) -> impl Strategy<Value = Vec<SigningIdentityPolicySpec>> {
    let edit = (prop::collection::vec((0..9_usize, fields()), 2), prop::bool::weighted(0.8))
        .prop_map(|(fields, one)| fields.into_iter().take(if one { 1 } else { 2 }).collect::<Vec<_>>());
    (fields(), prop::collection::vec(edit, count)).prop_map(|(first, edits)| {
        let mut current = first;
        let read = |fields: &BTreeMap<&str, Value>| serde_json::from_value(json!(fields)).unwrap();
        let mut all = vec![read(&current)];
        for edit in edits {
            for (at, other) in edit {
                let name = *current.keys().nth(at).unwrap();
                current.insert(name, other[name].clone());
            }
            all.push(read(&current));
        }
        all
    })
}

/// What one signer left, under one root: a signature and statements, or some of them.
pub(crate) fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let key = prop::option::weighted(0.3, select(vec!["K1", "K2"]));
    let who = (select(ISSUERS.to_vec()), select(SUBJECTS.to_vec()), key, select(ROOTS.to_vec()));
    let evidence = (prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.8));
    let contents = prop_oneof![
        2 => Just(vec![None, Some(TYPES[0]), Some(TYPES[1])]),
        1 => subsequence(vec![None, Some(TYPES[0]), Some(TYPES[1])], 0..=3),
    ];
    (who, evidence, contents).prop_map(|((issuer, subject, key, root), (log, timestamp, sct), contents)| {
        contents
            .into_iter()
            .map(|statement| Piece { issuer, subject, key, root, log, timestamp, sct, statement })
            .collect()
    })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let label = |key: &'static str, values: Vec<&'static str>| {
        prop::option::weighted(0.8, select(values)).prop_map(move |v| v.map(|v| (key.to_owned(), v.to_owned())))
    };
    let labels = (label("tier", vec!["apps", "db", "web"]), label("canary", vec!["true"]))
        .prop_map(|(a, b)| a.into_iter().chain(b).collect::<BTreeMap<_, _>>());
    let stale = prop::option::weighted(0.2, select(ROOTS.to_vec()));
    let all = prop::collection::vec(pieces(), 0..3).prop_map(|pieces| pieces.concat());
    (0..3_usize, labels, image(), all, stale).prop_map(|(engine, labels, image, pieces, stale)| Request {
        engine,
        labels,
        image,
        pieces,
        stale,
    })
}

pub(crate) fn done() -> impl Strategy<Value = Vec<&'static str>> {
    select(vec![vec!["canary"], vec!["canary", "everything"], vec!["everything"]])
}
