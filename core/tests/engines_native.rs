//! The native engine: what it renders, and what an API server would make of that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "native/announced.rs"]
mod announced;
#[path = "native/canaries.rs"]
mod canaries;
#[path = "native/guards.rs"]
mod guards;
#[path = "native/guards_kept.rs"]
mod guards_kept;
#[path = "native/lengths.rs"]
mod lengths;
#[path = "native/model.rs"]
mod model;
#[path = "native/steps.rs"]
mod steps;
#[path = "support/vap.rs"]
mod vap;
#[path = "native/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::engines::native::cost::{Cost, Costs, EXPRESSION_LIMIT, Pod};
use holdfast_core::engines::native::shards::FULL;
use holdfast_core::engines::native::{Basis, Held, Native, NativeCapability, Observed, Proof, Shards, costs, retain};
use holdfast_core::engines::{Effect, Engine, LossKind, Object, Verified, Version};
use holdfast_core::verify::{Reason, Verdict};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::guards::settings;
use crate::vap::{Answer, Request};
use crate::world::{Case, NEW, World, case_in, cases, digest, names, noon, pod, review, world};

#[test]
fn every_case_is_decided_as_the_table_says() {
    let server = world().server();
    let mut wrong = Vec::new();
    for case in cases() {
        let server = case.missing.iter().fold(server.clone(), |server, (kind, name)| server.without(kind, name));
        let answer = server.review(&case.request());
        let said: Vec<&str> = answer.denied.iter().map(|(_, message)| message.as_str()).collect();
        let as_wanted = match case.want.as_str() {
            "admit" => said.is_empty(),
            "deny" => said.iter().any(|message| message.contains(&case.says)),
            other => panic!("{other}"),
        };
        if !as_wanted {
            wrong.push(format!("{}: wanted {} `{}`, got {said:?}", case.name, case.want, case.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn audit_reports_and_a_break_glass_is_reported_too() {
    let world = world();
    let answer = review(&world, "free", &["registry.corp.internal/apps/web:1"]);
    assert!(answer.denied.is_empty());
    assert!(answer.warned.iter().any(|(_, message)| message.contains("digest")), "{answer:?}");
    assert_eq!(answer.audited, answer.warned);
    let bad = format!("registry.corp.internal/apps/web@{}", digest("none"));
    let case = Case { images: vec![bad], created: "2026-11-25T05:00:00Z".to_owned(), ..case_in("shop") };
    let answer = world.server().review(&case.request());
    assert!(answer.denied.is_empty(), "{answer:?}");
    assert!(answer.warned.iter().any(|(_, message)| message.contains("`apps`")), "{answer:?}");
}

#[test]
fn workloads_are_warned_of_what_their_pods_will_meet() {
    let server = world().server();
    let bad = format!("registry.corp.internal/apps/web@{}", digest("none"));
    let template = |image: &str| json!({"spec": pod(&[image.to_owned()], &[], &[], &[])["spec"]});
    for (group, resource, kind, of) in [
        ("apps", "deployments", "Deployment", "spec"),
        ("apps", "statefulsets", "StatefulSet", "spec"),
        ("apps", "daemonsets", "DaemonSet", "spec"),
        ("apps", "replicasets", "ReplicaSet", "spec"),
        ("batch", "jobs", "Job", "spec"),
        ("batch", "cronjobs", "CronJob", "cron"),
        ("", "replicationcontrollers", "ReplicationController", "spec"),
        ("", "podtemplates", "PodTemplate", ""),
    ] {
        let object = |image: &str| {
            let mut object = match of {
                "cron" => json!({"spec": {"jobTemplate": {"spec": {"template": template(image)}}}}),
                "spec" => json!({"spec": {"template": template(image)}}),
                _ => json!({"template": template(image)}),
            };
            object["metadata"] = json!({"name": "w", "creationTimestamp": noon()});
            object
        };
        let request = |operation: &'static str, image: &str, old: Value| Request {
            operation,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            kind: kind.to_owned(),
            namespace: Some("billing".to_owned()),
            name: "w".to_owned(),
            object: object(image),
            old,
            user: "alice".to_owned(),
            groups: Vec::new(),
        };
        let answer = server.review(&request("CREATE", &bad, Value::Null));
        assert!(answer.denied.is_empty(), "{kind}: {answer:?}");
        assert!(answer.warned.iter().any(|(_, message)| message.contains("`apps`")), "{kind}: {answer:?}");
        let answer = server.review(&request("UPDATE", &bad, object(&bad)));
        assert_eq!(answer, Answer::default(), "{kind}: nothing new");
    }
}

#[test]
fn messages_name_only_the_images_of_their_own_shard() {
    let mut world = world();
    // More digests than one shard holds, so that there are several.
    for number in 0..30_000 {
        world.verify("apps", digest(&format!("{number}")));
    }
    let server = world.server();
    let first = |hex: fn(&str) -> bool| (0..1000).map(|n| digest(&format!("bad{n}"))).find(|d| hex(&d.hex())).unwrap();
    let (low, high) = (first(|hex| hex.starts_with('0')), first(|hex| hex.starts_with('f')));
    let image = |digest: Digest| format!("registry.corp.internal/apps/web@{digest}");
    let case = Case {
        images: vec![image(low), image(high), "registry.corp.internal/apps/tagged".to_owned()],
        ..case_in("billing")
    };
    let answer = server.review(&case.request());
    let by = |suffix: &str| -> Vec<&str> {
        let of = answer
            .denied
            .iter()
            .filter(|(binding, _)| binding.starts_with("holdfast-enforce-apps-") && binding.ends_with(suffix));
        of.map(|(_, message)| message.as_str()).collect()
    };
    let (of_low, of_high) = (by("-00-3f").join(""), by("-c0-ff").join(""));
    assert!(of_low.contains(&low.to_string()) && !of_low.contains(&high.to_string()), "{answer:?}");
    assert!(of_low.contains("apps/tagged"), "what has no digest belongs to the first shard: {answer:?}");
    assert!(of_high.contains(&high.to_string()) && !of_high.contains(&low.to_string()), "{answer:?}");
    assert!(by("-40-7f").is_empty() && by("-80-bf").is_empty(), "{answer:?}");
    let lost = server.without("VerifiedImages", "holdfast-verified-40-7f.apps");
    let good = (0..30_000).map(|n| digest(&format!("{n}"))).find(|d| d.hex().starts_with('f')).unwrap();
    let answer = lost.review(&Case { images: vec![image(good)], ..case_in("shop") }.request());
    assert!(answer.denied.iter().all(|(_, message)| message.contains("no params found")), "closed: {answer:?}");
    assert!(!answer.denied.is_empty());
}

/// Whoever can write into the shard of one policy has said nothing for another.
#[test]
fn what_an_object_of_another_policy_says_is_not_looked_at() {
    let world = world();
    let image = format!("registry.corp.internal/apps/web@{}", digest("other"));
    let request = Case { images: vec![image], ..case_in("shop") }.request();
    let hex = digest("other").hex();
    let admits = |key: String, shard: &str| {
        let mut objects: Vec<Value> = world.render().objects.iter().map(|object| object.body().clone()).collect();
        let object = objects.iter_mut().find(|object| object["metadata"]["name"] == shard).unwrap();
        object["spec"]["data"][key] = json!(hex);
        vap::ApiServer::new(&objects).review(&request).denied.is_empty()
    };
    assert!(admits(format!("{}.apps", &hex[..2]), "holdfast-verified-00-ff.apps"));
    assert!(!admits(format!("{}.apps", &hex[..2]), "holdfast-verified-00-ff.tools"));
    assert!(!admits(format!("{}.tools", &hex[..2]), "holdfast-verified-00-ff.apps"));
    assert!(!admits(hex[..2].to_owned(), "holdfast-verified-00-ff.apps"));
}

fn documents(objects: &[Object]) -> String {
    let texts: Vec<String> = objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
    format!("---\n{}", texts.join("---\n"))
}

/// Documents as a person applies them.
#[test]
fn golden_objects() {
    let mut small = World::new(&["billing", "shop", "new"]);
    small.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/**", "docker.io/library/nginx", "registry.corp.internal/*/web-*"],
                "exemptImages": [{"image": format!("registry.corp.internal/base/pause@{}", digest("exempt")), "reason": "node image"}]}),
        &["billing", "shop"],
    );
    small.verify("apps", digest("good"));
    small.verify("apps", digest("other"));
    let billing = BTreeSet::from(["billing".to_owned()]);
    small.exceptions.push(("inc-1".to_owned(), "apps".to_owned(), billing, "2026-11-25T06:00:00Z".to_owned()));
    insta::assert_snapshot!("native_objects", documents(&small.render().objects));
    insta::assert_yaml_snapshot!("native_losses", small.render().losses);
    insta::assert_snapshot!("native_guards", documents(&holdfast_core::engines::native::guards(&settings())));
    insta::assert_yaml_snapshot!("native_names", {
        let name = |object: &Object| format!("{} {}", object.kind(), object.name());
        world().render().objects.iter().map(name).collect::<Vec<_>>()
    });
}

#[test]
fn every_expression_is_written_out_for_the_real_compiler() {
    let Some(dir) = std::env::var_os("HOLDFAST_DUMP") else { return };
    let mut all = world().render().objects;
    all.extend(holdfast_core::engines::native::guards(&settings()));
    std::fs::write(std::path::Path::new(&dir).join("objects.json"), serde_json::to_string(&all).unwrap()).unwrap();
    let of = |case: &Case| {
        let request = case.request();
        json!({"name": case.name, "missing": case.missing, "want": case.want, "says": case.says, "operation": request.operation,
               "subresource": request.subresource, "namespace": request.namespace, "object": request.object, "old": request.old,
               "user": request.user, "groups": request.groups})
    };
    let rows: Vec<Value> = cases().iter().map(of).collect();
    std::fs::write(std::path::Path::new(&dir).join("cases.json"), serde_json::to_string(&rows).unwrap()).unwrap();
    let worst = two_hundred();
    let objects = serde_json::to_string(&worst.render().objects).unwrap();
    std::fs::write(std::path::Path::new(&dir).join("worst.json"), objects).unwrap();
}

#[test]
fn rendering_is_idempotent_and_free_of_order() {
    let world = world();
    let once = serde_json::to_string(&world.render()).unwrap();
    assert_eq!(once, serde_json::to_string(&world.render()).unwrap());
    let mut turned = world.clone();
    turned.policies.reverse();
    turned.exceptions.reverse();
    assert_eq!(once, serde_json::to_string(&turned.render()).unwrap());
    let keys: BTreeSet<_> = world.render().objects.iter().map(|o| (o.kind().to_owned(), o.name().to_owned())).collect();
    assert_eq!(keys.len(), world.render().objects.len(), "every name is used once");
}

#[test]
fn one_digest_rewrites_one_shard_and_another_policy_renumbers_nothing() {
    let mut world = world();
    for number in 0..30_000 {
        world.verify("apps", digest(&format!("{number}")));
    }
    let before = world.render().objects;
    world.verify("apps", digest("one more"));
    let capability = NativeCapability { shards: BTreeMap::from([("apps".to_owned(), 4)]), ..NEW };
    let after = Native::render(&world.estate(), &capability).objects;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.name().to_owned()).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    world.policy(
        "zero",
        &json!({"images": ["registry.corp.internal/zero/**"], "namespaceSelector": names(&["free"])}),
        &[],
    );
    let with = Native::render(&world.estate(), &capability).objects;
    let shards = |objects: &[Object]| -> Vec<Object> {
        objects.iter().filter(|object| object.kind() == "VerifiedImages").cloned().collect()
    };
    let (before, mut with) = (shards(&after), shards(&with));
    with.retain(|object| object.name() != "holdfast-verified-00-ff.zero");
    assert_eq!(before, with, "and it has one of its own");
    assert_eq!(shards(&Native::render(&world.estate(), &capability).objects).len(), before.len() + 1);
}

#[test]
fn shards_stay_within_their_size() {
    let mut verified = Verified::default();
    for number in 0..100_000_u32 {
        verified.admit("apps", &Verdict::without_evidence(digest(&number.to_string()), Reason::Verified, ""));
    }
    let shards = Shards::pack(&verified, "apps", None);
    assert_eq!(shards.count(), 8);
    for object in shards.objects() {
        let size = object.body().to_string().len();
        assert!(size < 1024 * 1024, "{}: {size}", object.name());
        let data = object.body()["spec"]["data"].as_object().unwrap();
        assert!(data.len() >= 32);
        assert!(data.values().all(|list| list.as_str().unwrap().len() <= holdfast_core::api::verified::MAX_LIST));
    }
    assert!(shards.largest() < 900 * 1024);
}

/// 200 policies that are all enforced in one namespace, and one of them over 100,000 digests.
fn two_hundred() -> World {
    let mut world = World::new(&["billing"]);
    for number in 0..200 {
        let images = json!([
            format!("registry.corp.internal/team-{number:03}/**"),
            format!("registry.corp.internal/shared/app-{number:03}-*")
        ]);
        world.policy(&format!("team-{number:03}"), &json!({"images": images}), &["billing"]);
    }
    for number in 0..100_000_u32 {
        world.verify("team-000", digest(&number.to_string()));
    }
    world
}

#[test]
fn two_hundred_policies_cost_less_than_the_api_server_allows() {
    let (world, worst) = (two_hundred(), Pod::WORST);
    let all = costs(&world.estate(), &NEW);
    assert!(all.len() > 200);
    for cost in &all {
        assert!(cost.is_within_limits(worst), "dearest {}, all {}", cost.dearest(worst), cost.total(worst));
    }
    assert!(!world.render().losses.iter().any(|loss| loss.kind == LossKind::CostLimit));
    let (dearest, total) = (all.iter().map(|c| c.dearest(worst)).max(), all.iter().map(|c| c.total(worst)).max());
    insta::assert_snapshot!("native_costs", format!("dearest expression {dearest:?}, dearest binding {total:?}"));
}

#[test]
fn a_policy_that_costs_too_much_says_so() {
    let mut world = World::new(&["billing"]);
    let images: Vec<String> =
        (0..120).map(|n| format!("registry.corp.internal/{}*-{n}/*/**/x-*", "a*b".repeat(60))).collect();
    world.policy("apps", &json!({"images": images}), &["billing"]);
    let losses = world.render().losses;
    let loss = losses.iter().find(|loss| loss.kind == LossKind::CostLimit).expect("a loss");
    assert_eq!(loss.effect(), Effect::Stricter);
    let of: BTreeSet<Option<&str>> =
        losses.iter().filter(|loss| loss.kind == LossKind::CostLimit).map(|loss| loss.policy.as_deref()).collect();
    assert_eq!(of, BTreeSet::from([None, Some("apps")]), "of the policy, and of all together");
}

/// Under a name of this length, a list is full to the byte.
#[test]
fn a_shard_that_is_full_is_said_to_be_and_none_that_is_exactly_so() {
    let name = "a".repeat(65);
    let full = |digests: u16| {
        let mut world = World::new(&["billing"]);
        world.policy(&name, &json!({"images": ["registry.corp.internal/apps/**"]}), &["billing"]);
        for number in 0..digests {
            let mut bytes = [0; 32];
            bytes[1..3].copy_from_slice(&(number << 2).to_be_bytes());
            world.verify(&name, Digest::from_bytes(bytes));
        }
        let shards = Shards::pack(&world.verified, &name, None);
        let losses = world.render().losses;
        let said = losses.iter().find(|loss| loss.kind == LossKind::ShardsFull).map(|loss| loss.detail.clone());
        (shards.count(), shards.largest() - FULL, said)
    };
    assert_eq!(full(14_160), (1, 0, None));
    let said = "the largest of its 256 shards has 921665 bytes".to_owned();
    assert_eq!(full(14_161), (256, 65, Some(said)), "it cannot be split any further");
}

#[test]
fn costs_grow_with_the_times_the_images_and_their_length() {
    let pod = |images, length| Pod { images, length };
    assert_eq!(Cost::of_steps(7).times(3).for_pod(pod(2, 9)), 2 * 7 * 3);
    assert_eq!(Cost::of_passes(5).times(3).for_pod(pod(2, 9)), 2 * 5 * 3);
    assert_eq!(Cost::of_passes(1).for_pod(pod(1, 10)), 2, "with its end, a text of ten is read in two parts");
    assert_eq!(Cost::of_list().times(3).for_pod(pod(5, 9)), 5 * 5 * 3);
    assert_eq!(Cost::of_expression("12345").times(3).for_pod(pod(1, 9)), (2 + 2) * 3);
    let most = |steps| Costs::new(vec![Cost::of_steps(steps)]).most_images(1);
    assert_eq!((most(EXPRESSION_LIMIT / 7), most(EXPRESSION_LIMIT + 1), most(1)), (7, 0, Pod::WORST.images));
    let exempting = |count: usize| {
        let mut world = World::new(&["billing"]);
        let image = |n| format!("registry.corp.internal/base/{n}@{}", digest("exempt"));
        let exempt: Vec<Value> = (0..count).map(|n| json!({"image": image(n), "reason": "node image"})).collect();
        world.policy(
            "apps",
            &json!({"images": ["registry.corp.internal/apps/**"], "exemptImages": exempt}),
            &["billing"],
        );
        costs(&world.estate(), &NEW).iter().map(|costs| costs.total(pod(1, 1))).sum::<u64>()
    };
    assert!(exempting(1) < exempting(2) && exempting(2) < exempting(9));
}

#[test]
fn policies_of_other_engines_are_not_judged_here() {
    let mut world = World::new(&["billing", "shop"]);
    world.policy("apps", &json!({"images": ["registry.corp.internal/apps/**"]}), &["billing"]);
    world.policy("hub", &json!({"images": ["docker.io/library/*"], "engines": {"kyverno": {}}}), &["billing", "shop"]);
    let of_hub = |object: &Object| object.body()["metadata"]["labels"]["holdfast.dev/policy"] == "hub";
    assert!(!world.render().objects.iter().any(of_hub));
    let nginx = format!("nginx@{}", digest("nginx"));
    assert!(review(&world, "billing", &[&nginx]).denied.is_empty(), "a policy names it, and another engine judges it");
    assert!(review(&world, "shop", &["quay.io/any/thing:1"]).denied.is_empty(), "nothing is enforced here by this one");
    assert!(!review(&world, "billing", &["quay.io/any/thing:1"]).denied.is_empty());
    world.policies.remove(0);
    let alone = world.render();
    assert!(alone.objects.is_empty() && alone.losses.is_empty() && alone.refused.is_empty());
}

/// Compiling them says the same, so that this takes one that was declared anew and not compiled.
#[test]
fn where_a_policy_cannot_be_read_nothing_is_rendered() {
    let mut world = world();
    world.policies[0].0.spec.images = vec![String::new()];
    let rendering = world.render();
    assert!(rendering.objects.is_empty());
    let refused: Vec<&str> = rendering.refused.iter().map(|refused| refused.policy.as_str()).collect();
    assert_eq!(refused, ["apps"]);
    assert!(costs(&world.estate(), &NEW).is_empty());
}

#[test]
fn what_is_kept_stays_verified_for_its_own_policy() {
    let at: Timestamp = noon().parse().unwrap();
    let basis = Basis { trust: BTreeMap::new(), policy: digest("policy") };
    let proof = Proof { last_seen: at, evidence: None };
    let held = Held { digest: digest("good"), policy: "apps", basis: Some(&basis), proof };
    let now = Observed {
        verdict: None,
        evidence: None,
        trust: &basis.trust,
        policy: Some(digest("policy")),
        seen: true,
        clock_sane: true,
    };
    let mut verified = Verified::default();
    verified.keep(&retain::decide(held, &now, at, retain::RETENTION).unwrap());
    assert!(verified.contains("apps", digest("good")));
    let mut proven = Verified::default();
    assert!(proven.admit("apps", &Verdict::without_evidence(digest("good"), Reason::Verified, "")));
    assert_eq!(verified, proven);
}

#[test]
fn an_api_server_that_is_too_old_gets_nothing_and_says_so() {
    let world = world();
    for version in [None, Some(Version::new(1, 29, 9))] {
        let rendering = Native::render(&world.estate(), &NativeCapability { version, ..NEW });
        assert!(rendering.objects.is_empty());
        assert_eq!(rendering.losses.len(), 4);
        assert_eq!(rendering.refused.len(), 3, "of the three that are enforced");
    }
    let old = NativeCapability { version: Some(Version::new(1, 30, 0)), ..NEW };
    let unseen = |capability| {
        Native::render(&world.estate(), &capability).losses.iter().any(|loss| loss.kind == LossKind::ImageVolumesUnseen)
    };
    assert!(unseen(old) && !unseen(NEW));
}
