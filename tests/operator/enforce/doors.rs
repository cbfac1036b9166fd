//! Every way an image comes in, once a policy is enforced.

use serde_json::{Value, json};

use super::estate::Estate;
use crate::coverage::shop::SUBJECT;
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn nothing_comes_in_by_another_spelling_or_another_door() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let (host, rogue) = (estate.host().to_owned(), estate.unsigned("rogue"));
    let (good, bad) = (estate.image("web", web), estate.image("rogue", rogue));
    let hex = rogue.hex();
    let spellings = [
        format!("{host}/apps/rogue:1"),
        format!("{host}/apps/rogue"),
        format!("{host}/apps/web:1"),
        bad.clone(),
        format!("{host}/apps/rogue:1@sha256:{hex}"),
        format!("{}/apps/rogue@sha256:{hex}", host.to_uppercase()),
        format!("{host}/apps/rogue@sha256:{}", hex.to_uppercase()),
        format!("{host}/apps/rogue@sha256:"),
        format!("{host}/apps/rogue@sha256:zzz"),
        format!("{good}@sha256:{hex}"),
        format!("{host}./apps/rogue@sha256:{hex}"),
        format!("{host}:443/apps/rogue@sha256:{hex}"),
        format!("{host}.evil.example/apps/web@{web}"),
        format!("evil.example/{host}/apps/web@{web}"),
        format!("web@{web}"),
        format!("docker.io/library/web@{web}"),
        format!("{host}/apps/../apps/web@{web}"),
        format!("{host}//apps/web@{web}"),
        format!(" {good}"),
        format!("{good} "),
        String::new(),
    ];
    for image in &spellings {
        let denied = estate.try_pod("shop", "spelled", image);
        assert!(denied.is_err(), "`{image}` was admitted");
    }
    let one = |image: &str| json!([{"name": "a", "image": image}]);
    let many: Vec<Value> =
        (0..50).map(|at| json!({"name": format!("c{at}"), "image": if at == 49 { &bad } else { &good }})).collect();
    let volume = |image: &str| json!([{"name": "v", "image": {"reference": image}}]);
    for (door, spec) in [
        ("containers", json!({"containers": one(&bad)})),
        ("initContainers", json!({"initContainers": one(&bad), "containers": [{"name": "b", "image": good}]})),
        ("the last of fifty", json!({"containers": many})),
        ("an image volume", json!({"containers": one(&good), "volumes": volume(&bad)})),
    ] {
        let said = estate.try_pod_of("shop", "door", &spec).expect_err(door);
        assert!(said.contains("is not verified for the policy `apps`"), "{door}: {said}");
    }
    assert!(estate.try_pod_of("shop", "all-good", &json!({"containers": one(&good), "initContainers": [{"name": "i", "image": good}], "volumes": volume(&good)})).is_ok());

    // An annotation alone makes no mirror pod; nor does it make a canary of a pod that is to be.
    for (key, value) in [("kubernetes.io/config.mirror", "x"), ("holdfast.dev/canary", "holdfast-enforce-other")] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "forged", "namespace": "shop", "annotations": {key: value}},
            "spec": {"containers": one(&bad), "nodeName": "node-1"},
        });
        let said = lab.try_call("POST", "/api/v1/namespaces/shop/pods", Some(&pod)).expect_err(key);
        assert!(said.contains("denied"), "{key}: {said}");
    }
    // The mirror pod that a node makes of a static one is there whatever the API server says.
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "nodes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    for (mirror, admitted) in [(true, true), (false, false)] {
        let annotations = if mirror { json!({"kubernetes.io/config.mirror": "x"}) } else { json!({}) };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("of-node-{mirror}"), "namespace": "shop", "annotations": annotations},
            "spec": {"containers": one(&bad), "nodeName": "node-1"},
        });
        let answer = lab.until("nodes may make pods", |lab| {
            match lab.call_as_one_of("system:node:node-1", "system:nodes", "POST", "/api/v1/namespaces/shop/pods", &pod)
            {
                Err(said) if said.contains("cannot create") => Err(said),
                answer => Ok(answer),
            }
        });
        assert_eq!(answer.is_ok(), admitted, "{mirror}: {answer:?}");
    }
}

#[test]
fn what_is_there_may_be_changed_in_everything_but_its_images() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let (good, bad) = (estate.image("web", web), estate.image("rogue", estate.unsigned("rogue")));
    let part = estate.unsigned("many");
    let index = estate.registry.push_index("apps/many", "2", &[part]);
    estate.sign("many", index, SUBJECT);
    let other = estate.image("other", estate.signed("other"));
    let many_platforms = estate.image("many", index);
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [many_platforms, other]}}}}));
    lab.until("the index is admitted by its digest", |_| estate.would_admit("shop", &many_platforms));
    lab.until("so is another image", |_| estate.would_admit("shop", &other));
    estate.denied("shop", &estate.image("many", part), "is not verified for the policy `apps`");
    let small = json!([{"name": "a", "image": good, "resources": {"requests": {"cpu": "10m"}}}]);
    assert!(estate.try_pod_of("shop", "all-good", &json!({"containers": small})).is_ok());
    let path = "/api/v1/namespaces/shop/pods/all-good";
    lab.patch(path, &json!({"metadata": {"labels": {"a": "b"}}}));
    let said =
        lab.try_patch(path, &json!({"spec": {"containers": [{"name": "a", "image": bad}]}})).expect_err("an image");
    assert!(said.contains("is not verified for the policy `apps`"), "{said}");
    lab.try_patch(path, &json!({"spec": {"containers": [{"name": "a", "image": other}]}})).expect("a verified one");
    let more = json!({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "20m"}}}]}});
    let resized = lab.try_patch(&format!("{path}/resize"), &more).expect("a resize");
    assert_eq!(resized.pointer("/spec/containers/0/resources/requests/cpu"), Some(&json!("20m")));
    let said =
        lab.try_patch(&format!("{path}/resize"), &json!({"spec": {"containers": [{"name": "a", "image": bad}]}}));
    assert_ne!(said.ok().map(|pod| pod["spec"]["containers"][0]["image"].clone()), Some(json!(bad)));
    let ephemeral =
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": bad, "targetContainerName": "a"}]}});
    let said = lab.try_patch(&format!("{path}/ephemeralcontainers"), &ephemeral).expect_err("an ephemeral container");
    assert!(said.contains("is not verified for the policy `apps`"), "{said}");
    let ephemeral =
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": good, "targetContainerName": "a"}]}});
    lab.try_patch(&format!("{path}/ephemeralcontainers"), &ephemeral).expect("a verified one");
}

#[test]
fn who_applies_a_workload_is_warned_and_a_template_is_verified_before_its_pods() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let template = |image: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "api"}},
                "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": image}]}},
            },
        })
    };
    let (bad, good) = (estate.image("rogue", estate.unsigned("rogue")), estate.image("api", estate.signed("api")));
    let warned = lab.warnings(&template(&bad));
    assert!(warned.iter().any(|said| said.contains("is not verified for the policy `apps`")), "{warned:?}");
    lab.apply(&template(&good));
    lab.until("its pod is admitted", |_| estate.try_pod("shop", "api", &good));
    // Nobody who runs a pod by hand is let in by that.
    estate.denied("shop", &bad, "is not verified");
    // Taken back, it stays verified: somebody may want to go back to it.
    lab.delete("/apis/apps/v1/namespaces/shop/deployments/api");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(estate.try_pod("shop", "api-again", &good).is_ok());
}

#[test]
fn what_no_template_names_is_taken_in_by_name() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let (task, rogue) = (estate.image("task", estate.signed("task")), estate.image("rogue", estate.unsigned("rogue")));
    estate.denied("shop", &task, "is not verified");
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [task, rogue]}}}}));
    lab.until("its pod is admitted", |_| estate.try_pod("shop", "task", &task));
    estate.denied("shop", &rogue, "is not verified");
}

#[test]
fn what_no_policy_is_about_is_denied_and_what_is_exempt_is_not() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let pause = format!("registry.k8s.io/pause@sha256:{}", "7".repeat(64));
    estate.enforce(&json!({"exemptImages": [{"image": pause, "reason": "node image"}]}));
    let web = estate.signed("web");
    estate.pod("web", &estate.image("web", web));
    estate.until_phase("Enforcing");
    estate.denied(
        "shop",
        &format!("docker.io/library/nginx@sha256:{}", "1".repeat(64)),
        "no policy of this namespace is about",
    );
    assert!(estate.try_pod("shop", "pause", &pause).is_ok());
    // A policy that only reports, and is about everything, switches nothing off.
    estate.policy(
        "audits",
        &json!({"images": ["docker.io/**", format!("{}/**", estate.host())], "otherImages": "Allow"}),
    );
    std::thread::sleep(std::time::Duration::from_secs(3));
    estate.denied(
        "shop",
        &format!("docker.io/library/nginx@sha256:{}", "1".repeat(64)),
        "no policy of this namespace is about",
    );
}
