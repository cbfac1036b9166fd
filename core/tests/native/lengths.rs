//! How much text is rendered: an API server takes less than 100,000 code points an expression, and etcd a mebibyte and a half an object.

use std::collections::BTreeSet;

use holdfast_core::engines::native::is_too_much;
use holdfast_core::engines::native::length::EXPRESSION_LENGTH;
use holdfast_core::engines::{Effect, LossKind, Object, Rendering};
use serde_json::{Value, json};

use crate::world::{Case, World, case_in, digest, review};

/// Every expression of an object, with where it stands.
pub(crate) fn expressions(object: &Object) -> Vec<(String, String)> {
    let spec = &object.body()["spec"];
    let of_list = |list: &str, field: &str| -> Vec<(String, String)> {
        let all = spec[list].as_array().into_iter().flatten();
        let text = |one: &Value| Some((format!("{} {list}", object.name()), one[field].as_str()?.to_owned()));
        all.filter_map(text).collect()
    };
    [
        of_list("matchConditions", "expression"),
        of_list("variables", "expression"),
        of_list("validations", "expression"),
        of_list("validations", "messageExpression"),
    ]
    .concat()
}

/// What is taken by an API server, as far as text goes.
pub(crate) fn is_taken(object: &Object) {
    for (at, expression) in expressions(object) {
        let length = expression.chars().count();
        assert!(length < EXPRESSION_LENGTH, "{at}: {length}");
    }
    let size = object.body().to_string().len();
    assert!(size < 1024 * 1024, "{}: {size}", object.name());
    let conditions = object.body()["spec"]["matchConditions"].as_array().map_or(0, Vec::len);
    assert!(conditions <= 64, "{}: {conditions} match conditions", object.name());
}

/// A pattern of this length, of the form that `of` says.
fn pattern(policy: usize, number: usize, length: usize, of: &str) -> String {
    let name = format!("r{policy}.example/{number}");
    let rest = length.saturating_sub(name.len() + of.len());
    format!("{name}{}{of}", "/abcdefgh".repeat(rest.div_ceil(9)).get(..rest).unwrap_or_default().trim_end_matches('/'))
}

fn estate(policies: usize, patterns: usize, length: usize, of: &str, enforced: &[&str]) -> World {
    let mut world = World::new(&["billing"]);
    for policy in 0..policies {
        let images: Vec<String> = (0..patterns).map(|number| pattern(policy, number, length, of)).collect();
        world.policy(&format!("p{policy:03}"), &json!({"images": images}), enforced);
    }
    world
}

fn left_out(world: &World) -> BTreeSet<String> {
    let losses = world.render().losses;
    let too_long = losses.into_iter().filter(|loss| loss.kind == LossKind::PatternsTooLong);
    too_long.filter_map(|loss| loss.policy).collect()
}

#[test]
fn an_api_server_takes_whatever_is_rendered() {
    for (policies, patterns, length, of, left_out) in [
        (1, 128, 512, "", 0),
        (1, 128, 512, "-*/x", 0),
        (1, 128, 512, "/**", 0),
        (4, 128, 450, "", 0),
        (4, 128, 450, "/**", 0),
        (200, 8, 60, "", 0),
        (200, 8, 60, "/**", 0),
        (20, 128, 450, "", 8),
        (200, 128, 450, "", 188),
        (20, 128, 450, "-*-*-*/x", 15),
    ] {
        for enforced in [&[][..], &["billing"]] {
            let world = estate(policies, patterns, length, of, enforced);
            let rendering = world.render();
            rendering.objects.iter().for_each(is_taken);
            let said = (policies, patterns, length, of);
            assert!(rendering.refused.is_empty(), "{said:?}");
            let without: BTreeSet<&String> = rendering
                .losses
                .iter()
                .filter(|loss| loss.kind == LossKind::PatternsTooLong)
                .filter_map(|loss| loss.policy.as_ref())
                .collect();
            assert_eq!(without.len(), left_out, "{said:?}");
            let judges = |object: &&Object| object.kind() == "ValidatingAdmissionPolicy";
            let rules = rendering.objects.iter().filter(judges).count();
            assert!(rules > policies, "{said:?}: every policy has its own rule all the same");
        }
    }
}

/// What is split says what the whole did: each image is told by the pure function.
#[test]
fn lists_that_are_split_decide_as_one() {
    let mut world = World::new(&["billing"]);
    for policy in 0..5 {
        let of = ["", "/**", "-*"][policy % 3];
        let images: Vec<String> = (0..128).map(|number| pattern(policy, number, 420, of)).collect();
        let exempt = |number| format!("exempt{policy}.example/{}{number}@{}", "abcdefgh/".repeat(47), digest("exempt"));
        let exempt: Vec<Value> = (0..64).map(|n| json!({"image": exempt(n), "reason": "node image"})).collect();
        world.policy(&format!("p{policy}"), &json!({"images": images, "exemptImages": exempt}), &["billing"]);
    }
    let parts = |of: &str| {
        let rendering = world.render();
        let others = rendering.objects.iter().find(|object| object.name().starts_with("holdfast-others-enforce-"));
        let variables = others.unwrap().body()["spec"]["variables"].as_array().unwrap().clone();
        variables.iter().filter(|variable| variable["name"].as_str().unwrap().starts_with(of)).count()
    };
    assert!(parts("rest") > 2 && parts("others") > 2);
    let mut images = vec!["elsewhere.example/x".to_owned(), "r0.example/128".to_owned()];
    for policy in 0..5 {
        for number in (0..128).step_by(9).chain([127]) {
            let of = ["", "/below", "-x"][policy % 3];
            let pattern = pattern(policy, number, 420, ["", "/**", "-*"][policy % 3]);
            images.push(format!("{}{of}", pattern.trim_end_matches("/**").trim_end_matches("-*")));
            images.push(format!("{pattern}x").replace('*', "/"));
        }
        for number in [0, 1, 31, 63, 64] {
            images.push(format!("exempt{policy}.example/{}{number}", "abcdefgh/".repeat(47)));
        }
    }
    let server = world.server();
    let (mut claimed, mut exempted, mut others) = (0, 0, 0);
    for name in images {
        let Ok(image) = holdfast_core::image::ImageRef::parse(&format!("{name}@{}", digest("exempt"))) else {
            continue;
        };
        let is_claimed = world.policies.iter().any(|(_, policy, _)| policy.matches(&image));
        let is_exempt = world.policies.iter().any(|(_, policy, _)| policy.exempts(&image));
        let case = Case { images: vec![image.to_string()], ..case_in("billing") };
        let denied = server.review(&case.request()).denied;
        let by = |part: &str| denied.iter().any(|(binding, _)| binding.starts_with(part));
        assert_eq!(by("holdfast-others-"), !is_claimed && !is_exempt, "{name}: {denied:?}");
        assert_eq!(by("holdfast-enforce-"), is_claimed && !is_exempt, "{name}: {denied:?}");
        *(if is_claimed {
            &mut claimed
        } else if is_exempt {
            &mut exempted
        } else {
            &mut others
        }) += 1;
    }
    assert!(claimed > 60 && exempted == 20 && others > 5, "{claimed} {exempted} {others}");
}

#[test]
fn who_lists_most_is_left_out_and_no_one_else() {
    let mut world = estate(20, 128, 450, "", &["billing"]);
    world.policy("apps", &json!({"images": ["registry.corp.internal/apps/**"]}), &["billing"]);
    // The same patterns again are no more text.
    let images: Vec<String> = (0..128).map(|number| pattern(0, number, 450, "")).collect();
    world.policy("twin", &json!({"images": images}), &["billing"]);
    assert_eq!(left_out(&world), (12..20).map(|policy| format!("p{policy:03}")).collect());
    assert!(world.render().losses.iter().all(|loss| loss.effect() != Effect::Wider));
    let denies = |image: &str| {
        let denied = review(&world, "billing", &[&format!("{image}@{}", digest("x"))]).denied;
        denied.iter().any(|(_, message)| message.contains("no policy of this namespace is about"))
    };
    assert!(!denies("registry.corp.internal/apps/web") && !denies(&pattern(11, 127, 450, "")));
    assert!(denies(&pattern(12, 0, 450, "")), "narrower than declared, never wider");
    assert!(denies("elsewhere.example/x"));
}

/// More than the definition of a policy lets anybody declare.
#[test]
fn a_policy_that_is_too_long_by_itself_is_refused_where_it_is_enforced() {
    for (enforced, refused) in [(&["billing"][..], 1), (&[], 0)] {
        let mut world = estate(1, 3_000, 450, "", enforced);
        world.policy("apps", &json!({"images": ["registry.corp.internal/apps/**"]}), &["billing"]);
        let rendering = world.render();
        assert_eq!(rendering.refused.len(), refused);
        assert!(
            rendering.refused.iter().all(|of| of.policy == "p000" && of.why.contains("fewer and shorter patterns"))
        );
        assert_eq!(left_out(&world), BTreeSet::from(["p000".to_owned()]));
        rendering.objects.iter().for_each(is_taken);
        let of_it = |object: &&Object| object.name().contains("p000") && object.kind() != "VerifiedImages";
        assert_eq!(rendering.objects.iter().filter(of_it).count(), 0);
    }
}

#[test]
fn break_glasses_over_many_namespaces_open_those_alone() {
    let names: Vec<String> = (0..3_000).map(|n| format!("{}-{n:04}", "n".repeat(58))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    world.policy("apps", &json!({"images": ["registry.corp.internal/apps/**"]}), &names);
    for (at, names) in names[..2_900].chunks(64).enumerate() {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let until = format!("2026-11-25T{:02}:00:00Z", 13 + at % 3);
        world.exceptions.push((format!("inc-{at}"), "apps".to_owned(), names, until));
    }
    world.render().objects.iter().for_each(is_taken);
    let server = world.server();
    let denied = |name: &str, created: &str| {
        let images = vec![format!("registry.corp.internal/apps/web@{}", digest("none"))];
        let case = Case { images, created: created.to_owned(), ..case_in(name) };
        !server.review(&case.request()).denied.is_empty()
    };
    for at in [0, 1, 63, 64, 1_449, 1_450, 2_899] {
        assert!(!denied(names[at], "2026-11-25T12:59:00Z"), "{at}");
        assert!(denied(names[at], "2026-11-25T15:00:00Z"), "{at}");
    }
    assert!(denied(names[2_900], "2026-11-25T12:59:00Z") && denied(names[2_999], "2026-11-25T12:59:00Z"));
}

/// Policies that list much, each about every namespace, and ones that list little, about half of them each, so that no two namespaces have the same.
fn combined(large: usize, small: usize, enforced: bool) -> World {
    let names: Vec<String> = (0..1_usize << small).map(|at| format!("n{at:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    for policy in 0..large {
        let images: Vec<String> = (0..128).map(|number| pattern(policy, number, 450, "")).collect();
        world.policy(&format!("large-{policy:02}"), &json!({"images": images}), if enforced { &names } else { &[] });
    }
    for policy in 0..small {
        let about = names.iter().enumerate().filter(|(at, _)| at >> policy & 1 == 1).map(|(_, name)| *name);
        let about: Vec<&str> = about.collect();
        let spec = json!({
            "images": [format!("small-{policy}.example/**")], "namespaceSelector": crate::world::names(&about),
        });
        world.policy(&format!("small-{policy}"), &spec, if enforced { &about } else { &[] });
    }
    world
}

fn others<'r>(rendering: &'r Rendering, tier: &str) -> Vec<&'r Object> {
    let begins = format!("holdfast-others-{tier}-");
    let of_tier = rendering.objects.iter().filter(|object| object.name().starts_with(&begins));
    of_tier.filter(|object| object.kind() == "ValidatingAdmissionPolicy").collect()
}

fn text(objects: &[&Object]) -> usize {
    objects.iter().flat_map(|object| expressions(object)).map(|(_, expression)| expression.len()).sum()
}

#[test]
fn what_only_reports_is_bounded_however_policies_are_combined() {
    const BOUND: usize = 4 * 1024 * 1024;
    let world = combined(11, 6, false);
    let rendering = world.render();
    for tier in ["audit", "warn"] {
        let others = others(&rendering, tier);
        let text = text(&others);
        assert!(
            !others.is_empty() && text < BOUND + others.len() * 20_000,
            "{tier}: {} rules, {text} bytes",
            others.len()
        );
        assert!(others.len() < 64, "{tier}: {} rules", others.len());
    }
    let told: BTreeSet<String> = rendering
        .losses
        .iter()
        .filter(|loss| loss.kind == LossKind::OthersNotReported)
        .filter_map(|loss| loss.policy.clone())
        .collect();
    assert!(told.contains("large-00") && told.contains("small-5"), "{told:?}");
    assert!(rendering.losses.iter().all(|loss| loss.effect() != Effect::Wider) && rendering.refused.is_empty());
    // Each policy has its own rule all the same, and whoever lists little has all of it.
    let own = |object: &&Object| object.name().starts_with("holdfast-audit-") && object.kind().ends_with("Policy");
    assert_eq!(rendering.objects.iter().filter(own).count(), 17);
    assert_eq!(others(&combined(0, 6, false).render(), "audit").len(), 63);
    let mut backwards = world;
    backwards.policies.reverse();
    assert_eq!(backwards.render(), rendering);
}

#[test]
fn what_denies_is_rendered_whole() {
    let world = combined(4, 6, true);
    let rendering = world.render();
    assert_eq!(others(&rendering, "enforce").len(), 64);
    assert!(text(&others(&rendering, "enforce")) > 8 * 1024 * 1024 && rendering.refused.is_empty());
    assert!(!is_too_much(&world.estate()) && is_too_much(&combined(6, 6, true).estate()));
}
