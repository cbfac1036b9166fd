//! Random policies, rollouts, digests and pods: what is rendered against what is declared.

use holdfast_core::api::policy::OtherImages;
use holdfast_core::coverage::CompiledPolicy;
use holdfast_core::image::{ImagePattern, ImageRef};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Case, World, case_in, digest, names, review};

/// What the declared policies say of an image in a namespace where something is enforced.
fn declared_admits(world: &World, namespace: &str, image: &str) -> bool {
    let Ok(image) = ImageRef::parse(image) else { return false };
    let enforced: Vec<&CompiledPolicy> = world
        .policies
        .iter()
        .filter(|(_, _, enforced)| enforced.contains(namespace) && !world.left_out.contains(namespace))
        .map(|(_, compiled, _)| compiled)
        .collect();
    let judges: Vec<_> = enforced.iter().filter(|policy| policy.matches(&image) && !policy.exempts(&image)).collect();
    let verified = judges.iter().all(|policy| image.digest().is_some_and(|d| world.verified.contains(&policy.name, d)));
    let known = enforced.iter().any(|policy| policy.matches(&image) || policy.exempts(&image));
    let denies = enforced.iter().any(|policy| policy.other_images == OtherImages::Deny);
    verified && (known || !denies)
}

fn some_policies() -> impl Strategy<Value = World> {
    let pattern = prop::sample::select(vec![
        "registry.corp.internal/apps/**",
        "registry.corp.internal/**",
        "registry.corp.internal/apps/web",
        "registry.corp.internal/*/web",
        "registry.corp.internal/apps/w*b",
        "registry.corp.internal:5000/**",
        "docker.io/library/*",
        "docker.io/**/nginx",
        "docker.io/**",
        "localhost/apps/*",
        "registry:443/apps/**",
    ]);
    let place = prop::sample::subsequence(vec!["a", "b", "kube-system"], 0..=3);
    let verified = prop::sample::subsequence(vec!["d0", "d1", "d2"], 0..=3);
    let one = (prop::collection::vec(pattern, 1..4), place.clone(), place, any::<bool>(), verified, any::<bool>());
    prop::collection::vec(one, 1..4).prop_map(|policies| {
        let mut world = World::new(&["a", "b", "kube-system"]);
        for (at, (images, selected, enforced, allow, verified, exempt)) in policies.into_iter().enumerate() {
            let name = format!("p{at}");
            let exempt: Vec<Value> = exempt
                .then(|| json!({"image": format!("registry.corp.internal/apps/web@{}", digest("d2")), "reason": "x"}))
                .into_iter()
                .collect();
            let other = if allow { "Allow" } else { "Deny" };
            let spec = json!({"images": images, "otherImages": other, "exemptImages": exempt, "namespaceSelector": names(&["none"])});
            let mut spec = spec;
            if !selected.is_empty() {
                spec["namespaceSelector"] = names(&selected);
            }
            world.policy(&name, &spec, &enforced);
            for digit in verified {
                world.verify(&name, digest(digit));
            }
        }
        world
    })
}

fn some_image() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "docker.io/",
        "Index.Docker.io./",
        "registry-1.docker.io:0443/",
        "evilindex.docker.io/",
        "localhost/",
        "localhost:443/",
        "LOCALHOST/",
        "registry/",
        "registry.:0443/",
        "registry:443/",
        "registry.corp.internal/",
        "REGISTRY.corp.internal.:00443/",
        "registry.corp.internal:05000/",
        "registry.corp.internal:0/",
        "registry.corp.internal.evil.example/",
    ]);
    let path = prop::sample::select(vec![
        "apps/web",
        "apps/wxyzb",
        "apps/a/web",
        "other/web",
        "nginx",
        "library/nginx",
        "acme/nginx",
        "web",
        "apps-evil/web",
        "Apps/web",
        "apps//web",
    ]);
    let mut ends: Vec<String> = ["", ":1", ":1@", "@sha256:zzz"].map(str::to_owned).to_vec();
    for name in ["d0", "d1", "d2", "d3"] {
        ends.push(format!("@{}", digest(name)));
        ends.push(format!(":1@{}", digest(name)));
    }
    ends.push(format!("@{}@{}", digest("d3"), digest("d0")));
    ends.push(format!("@sha256:{}", digest("d0").hex().to_uppercase()));
    (host, path, prop::sample::select(ends)).prop_map(|(host, path, end)| format!("{host}{path}{end}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never wider than declared; and not stricter than announced: what is declared good and named by digest is admitted.
    #[test]
    fn what_is_rendered_admits_what_is_declared(
        world in some_policies(),
        pods in prop::collection::vec((prop::sample::select(vec!["a", "b"]), prop::collection::vec(some_image(), 1..4)), 8),
    ) {
        let server = world.server();
        for (namespace, images) in pods {
            let is_enforced = world.policies.iter().any(|(_, _, enforced)| enforced.contains(namespace));
            let case = Case { images: images.clone(), ..case_in(namespace) };
            let answer = server.review(&case.request());
            let admitted = answer.denied.is_empty();
            let declared = images.iter().all(|image| declared_admits(&world, namespace, image));
            if is_enforced {
                prop_assert!(!admitted || declared, "wider: {images:?} in {namespace}");
                let by_digest = images.iter().all(|image| image.contains('@'));
                prop_assert!(!(declared && by_digest) || admitted, "stricter: {images:?} in {namespace}: {answer:?}");
            } else {
                prop_assert!(admitted, "not enforced: {images:?} in {namespace}: {answer:?}");
            }
        }
    }

    /// Names in one spelling are those of the pure function, and tests of them are the pattern's.
    #[test]
    fn images_are_matched_as_the_pure_function_matches_them(image in some_image()) {
        for pattern in ["registry.corp.internal/apps/**", "docker.io/library/*", "localhost/apps/*", "registry:443/apps/**", "registry.corp.internal:5000/**"] {
            let mut world = World::new(&["a"]);
            world.policy("p", &json!({"images": [pattern], "otherImages": "Allow"}), &["a"]);
            let answer = review(&world, "a", &[&image]);
            let judged = answer.denied.iter().any(|(binding, _)| binding.starts_with("holdfast-enforce-p-"));
            if let Ok(read) = ImageRef::parse(&image) {
                prop_assert_eq!(judged, ImagePattern::parse(pattern).unwrap().matches(&read), "{} {}", pattern, image);
            } else {
                prop_assert!(!answer.denied.is_empty(), "what cannot be read is denied: {}", image);
            }
        }
    }
}
