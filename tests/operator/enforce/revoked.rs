//! What runs and is verified no longer: it may end in every way there is, and not begin again.

use serde_json::{Value, json};

use super::estate::Estate;
use crate::coverage::shop::{ISSUER, SUBJECT};
use crate::lab::Lab;
use crate::registry_support::Registry;

const OTHER: &str = "https://ci.example/other";

fn identities(of: &[&str]) -> Value {
    let one = |subject: &&str| json!({"name": subject.rsplit('/').next(), "issuer": ISSUER, "subject": subject, "optional": *subject == OTHER});
    json!({"identities": of.iter().map(one).collect::<Vec<Value>>()})
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "api"}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

fn job(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"backoffLimit": 0, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]},
        }},
    })
}

/// The pods of an application, in the namespace `shop`.
fn pods(lab: &Lab, app: &str) -> Vec<Value> {
    let all = lab.call("GET", &format!("/api/v1/namespaces/shop/pods?labelSelector=app={app}"), None);
    all["items"].as_array().cloned().unwrap_or_default()
}

fn until_runs(lab: &Lab, app: &str, image: &str) -> String {
    lab.until(&format!("{app} has a pod of its image"), |lab| {
        let pods = pods(lab, app);
        let found = pods.iter().find(|pod| pod["spec"]["containers"][0]["image"] == image);
        found.and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).ok_or_else(|| format!("{pods:?}"))
    })
}

fn until_none(lab: &Lab, app: &str) {
    lab.until(&format!("the pods of {app} are gone"), |lab| {
        let pods = pods(lab, app);
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    });
}

#[test]
fn what_is_verified_no_longer_may_end_and_not_begin_again() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let (web, old) = (estate.signed("web"), estate.unsigned("old"));
    estate.sign("old", old, OTHER);
    let (web, old) = (estate.image("web", web), estate.image("old", old));
    lab.namespace("leaving", &json!({"tier": "apps"}));
    estate.pod("web", &web);
    // A workload that was rolled out once more since, a job that will end, one that will be cut off, and pods of nobody.
    lab.apply(&deployment(&old));
    until_runs(&lab, "api", &old);
    lab.apply(&deployment(&web));
    until_runs(&lab, "api", &web);
    for name in ["ends", "is-cut-off"] {
        lab.apply(&job(name, &old));
    }
    let [ends, cut_off] = ["ends", "is-cut-off"].map(|name| until_runs(&lab, name, &old));
    estate.pod("drained", &old);
    estate.try_pod("leaving", "stays", &old).unwrap();
    estate.enforce(&identities(&[SUBJECT, OTHER]));
    estate.until_phase("Enforcing");
    assert!(estate.would_admit("shop", &old).is_ok(), "it is verified");

    estate.enforce(&identities(&[SUBJECT]));
    for namespace in ["shop", "leaving"] {
        lab.until("it is verified no longer", |_| match estate.would_admit(namespace, &old) {
            Err(said) if said.contains("is not verified for the policy `apps`") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    assert!(estate.would_admit("shop", &web).is_ok());

    // The job that ends: its controller takes the finalizer off a pod whose image nobody verifies.
    let finalizers = |pod: &Value| pod["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
    assert!(pods(&lab, "ends").iter().all(|pod| finalizers(pod) == 1));
    let ended = json!({"status": {"phase": "Succeeded"}});
    lab.patch(&format!("/api/v1/namespaces/shop/pods/{ends}/status"), &ended);
    lab.until("the job is complete", |lab| {
        let job = lab.call("GET", "/apis/batch/v1/namespaces/shop/jobs/ends", None);
        let held = pods(lab, "ends").iter().map(finalizers).sum::<usize>();
        if job["status"]["succeeded"] == 1 && held == 0 { Ok(()) } else { Err(job["status"].to_string()) }
    });
    lab.call("DELETE", "/apis/batch/v1/namespaces/shop/jobs/ends?propagationPolicy=Background", None);
    until_none(&lab, "ends");
    // The one that is cut off: its pod goes, and no other one comes.
    lab.call("DELETE", &format!("/api/v1/namespaces/shop/pods/{cut_off}?gracePeriodSeconds=0"), None);
    until_none(&lab, "is-cut-off");
    // A node that is drained asks for an eviction.
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "drained", "namespace": "shop"}});
    lab.call("POST", "/api/v1/namespaces/shop/pods/drained/eviction", Some(&eviction));
    lab.until("it is evicted", |lab| match lab.get("/api/v1/namespaces/shop/pods/drained") {
        None => Ok(()),
        Some(pod) => Err(pod.to_string()),
    });
    // Rolled back to the replica set there was: who does it is warned, and the replica set says why it has no pod.
    let warned = lab.warnings(&deployment(&old));
    assert!(warned.iter().any(|said| said.contains("is not verified for the policy `apps`")), "{warned:?}");
    lab.until("the old replica set says why", |lab| {
        let all = lab.call("GET", "/apis/apps/v1/namespaces/shop/replicasets", None).to_string();
        if all.contains("ReplicaFailure") && all.contains("is not verified for the policy `apps`") {
            Ok(())
        } else {
            Err(all)
        }
    });
    assert!(pods(&lab, "api").iter().all(|pod| pod["spec"]["containers"][0]["image"] == web));
    lab.apply(&deployment(&web));
    until_runs(&lab, "api", &web);
    // A namespace goes with everything in it.
    lab.call("DELETE", "/api/v1/namespaces/leaving", None);
    lab.until("the namespace is gone", |lab| match lab.get("/api/v1/namespaces/leaving") {
        None => Ok(()),
        Some(namespace) => Err(namespace["status"].to_string()),
    });
    let status = estate.until_phase("Enforcing");
    assert_ne!(status.is("LooseningHeld"), "True", "{}", status.text());
    // Its name stays enforced, for whoever makes it anew and forgets its label.
    lab.namespace("leaving", &json!({}));
    lab.until("it is enforced again", |_| match estate.would_admit("leaving", &old) {
        Err(said) if said.contains("is not verified for the policy `apps`") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    estate.denied("shop", &old, "is not verified for the policy `apps`");
}
