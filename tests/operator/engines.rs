//! Which engines are there: none, half of one, a whole one, one in mid-upgrade, and none again.

use holdfast::controller::engines::Engines;
use holdfast::controller::failure::Failed;
use holdfast_core::engines::EngineKind;
use holdfast_core::engines::Version;
use holdfast_core::engines::presence::webhooks::Request;
use holdfast_core::engines::presence::{Discovered, Presence, kyverno, policy_controller};
use serde_json::{Value, json};

use crate::coverage::published::serve;
use crate::lab::Lab;
use crate::proxy::Fate;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// What engines bring with them; it is taken away at the end.
pub(crate) struct Brought<'a>(pub(crate) &'a Lab);

impl Drop for Brought<'_> {
    fn drop(&mut self) {
        for name in [kyverno::WEBHOOKS, policy_controller::WEBHOOKS] {
            let _ = self.0.try_call("DELETE", &format!("{WEBHOOKS}/{name}"), None);
        }
        for (namespace, name) in [("kyverno", kyverno::CONTROLLER), ("cosign-system", "webhook")] {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
            let _ = self.0.try_call("DELETE", &path, None);
        }
        let [policies, roots] = policy_controller::DEFINITIONS;
        for name in [kyverno::IMAGE_VALIDATING_POLICIES, kyverno::CLUSTER_POLICIES, policies, roots] {
            let _ = self.0.try_call("DELETE", &format!("{DEFINITIONS}/{name}"), None);
        }
    }
}

fn deployment(lab: &Lab, namespace: &str, name: &str, image: &str) {
    lab.namespace(namespace, &json!({}));
    lab.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    }));
}

/// About pods of no namespace that is there.
fn webhooks(lab: &Lab, name: &str, webhook: &str, rules: &Value) {
    lab.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
        "webhooks": [{
            "name": webhook, "rules": rules, "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "no-such-namespace"}},
            "clientConfig": {"service": {"namespace": "no-such-namespace", "name": "nobody"}},
        }],
    }));
}

fn pods() -> Value {
    json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/ephemeralcontainers"]}])
}

/// All of Kyverno 1.19.1 but its definitions; its controller sleeps.
pub(crate) fn kyverno_is_there(lab: &Lab) {
    deployment(lab, "kyverno", kyverno::CONTROLLER, "registry.corp.internal/kyverno/kyverno:v1.19.1");
    let webhook = "ivpol.validate.kyverno.svc-fail-finegrained-holdfast-apps";
    webhooks(lab, kyverno::WEBHOOKS, webhook, &pods());
}

fn until(lab: &Lab, engines: &Engines, what: &str, is: impl Fn(&Discovered) -> bool) -> Discovered {
    lab.until(what, |lab| {
        let found = lab.wait(engines.look_now()).map_err(|failed| failed.to_string())?;
        if is(&found) { Ok((*found).clone()) } else { Err(format!("{:?}", found.engines)) }
    })
}

#[test]
fn without_engines_the_api_server_is_there_and_next_to_nothing_is_asked() {
    let Some(lab) = Lab::enter() else { return };
    drop(Brought(&lab));
    let engines = Engines::new(lab.as_holdfast());
    let none = |found: &Discovered| {
        EngineKind::ALL
            .iter()
            .filter(|kind| **kind != EngineKind::Native)
            .all(|kind| found.of(*kind) == Presence::default())
    };
    let found = until(&lab, &engines, "no engine is there", none);
    let native = found.of(EngineKind::Native);
    assert!(native.present && native.faults.is_empty(), "{native:?}");
    assert_eq!(native.version, found.capabilities.native.version);
    assert!(native.version.is_some_and(|version| version.is_at_least(1, 30)), "{native:?}");
    assert!(found.capabilities.native.shards.is_empty());

    lab.proxy().reset();
    lab.wait(engines.look_now()).unwrap();
    let asked = || lab.proxy().asked().into_iter().map(|asked| asked.path).collect::<Vec<String>>();
    let four = ["/apis", "/version", "/apis/admissionregistration.k8s.io/v1", "/apis/holdfast.dev/v1alpha1"];
    assert_eq!(asked(), four);
    lab.wait(engines.look()).unwrap();
    assert_eq!(asked().len(), four.len(), "it is remembered for a minute");

    // What could not be asked is not absent.
    lab.proxy().on(1, Fate::Refuse(500, None), |asked| asked.path == "/apis");
    let failed = lab.wait(engines.look_now()).unwrap_err();
    assert!(matches!(failed, Failed::Api { .. }), "{failed}");
    assert!(failed.to_string().contains("/apis"), "{failed}");
}

#[test]
fn kyverno_is_found_as_it_comes_and_goes() {
    let Some(lab) = Lab::enter() else { return };
    let brought = Brought(&lab);
    let engines = Engines::new(lab.as_holdfast());
    if serve(&lab, "kyverno-v1.19.1").is_none() {
        return;
    }
    // Its kinds alone.
    let of = |found: &Discovered| found.of(EngineKind::Kyverno);
    let found = until(&lab, &engines, "its kinds are there", |found| of(found) != Presence::default());
    let faults = of(&found).faults.join("; ");
    assert!(
        !of(&found).present && faults.contains(kyverno::CONTROLLER) && faults.contains(kyverno::WEBHOOKS),
        "{faults}"
    );
    assert!(found.capabilities.kyverno.installed.is_none());

    kyverno_is_there(&lab);
    let found = until(&lab, &engines, "it is there", |found| of(found).present);
    let presence = of(&found);
    assert_eq!(presence.version, Some(Version::new(1, 19, 1)));
    assert!(presence.faults.len() == 1 && presence.faults[0].contains("no replica"), "{presence:?}");
    let asked = kyverno::webhook_of(&presence.webhooks, "holdfast-apps").unwrap();
    assert_eq!(asked.asked.len(), Request::ALL.len());
    let installed = found.capabilities.kyverno.installed.unwrap();
    assert!(installed.inline_root && installed.cluster_policy && installed.image_validating_policy.is_some());

    // What did not change is not read again.
    lab.proxy().reset();
    lab.wait(engines.look_now()).unwrap();
    let read = lab.proxy().asked().into_iter().filter(|asked| asked.path.starts_with(DEFINITIONS)).count();
    assert_eq!(read, 2, "the metadata of each");

    // In the middle of an upgrade: its definitions are older than it is.
    serve(&lab, "kyverno-v1.18.2").unwrap();
    let old = |found: &Discovered| of(found).faults.iter().any(|fault| fault.contains("Upgrade the CRDs"));
    let found = until(&lab, &engines, "the contradiction is seen", old);
    assert!(!of(&found).present && found.capabilities.kyverno.installed.is_none());
    deployment(&lab, "kyverno", kyverno::CONTROLLER, "registry.corp.internal/kyverno/kyverno:v1.18.2");
    let found = until(&lab, &engines, "it is the older one", |found| of(found).present);
    assert!(found.capabilities.kyverno.installed.is_some_and(|installed| !installed.inline_root));

    drop(brought);
    until(&lab, &engines, "it is gone", |found| of(found) == Presence::default());
}

#[test]
fn policy_controller_is_there_once_the_api_server_asks_it() {
    let Some(lab) = Lab::enter() else { return };
    let brought = Brought(&lab);
    let engines = Engines::new(lab.as_holdfast());
    if serve(&lab, "policy-controller-v0.15.1").is_none() {
        return;
    }
    deployment(&lab, "cosign-system", "webhook", "ghcr.io/sigstore/policy-controller/policy-controller:v0.15.1");
    webhooks(&lab, policy_controller::WEBHOOKS, policy_controller::WEBHOOKS, &json!([]));
    let of = |found: &Discovered| found.of(EngineKind::PolicyController);
    let found = until(&lab, &engines, "its kinds are there", |found| of(found).version.is_some());
    let presence = of(&found);
    assert!(!presence.present, "a webhook without rules is asked nothing");
    assert!(presence.faults.iter().any(|fault| fault.contains("no rule for the creation of pods")), "{presence:?}");
    let capability = &found.capabilities.policy_controller;
    assert!(capability.present && capability.signature_format && capability.contradictions.is_empty());
    assert_eq!((capability.version, capability.disable_tuf), (Some(Version::new(0, 15, 1)), Some(false)));

    webhooks(&lab, policy_controller::WEBHOOKS, policy_controller::WEBHOOKS, &pods());
    until(&lab, &engines, "it is asked", |found| of(found).present);
    drop(brought);
    let found = until(&lab, &engines, "it is gone", |found| of(found) == Presence::default());
    assert!(!found.capabilities.policy_controller.present);
}

/// Every request that is made about engines; nothing where there are no definitions to make them with.
pub(crate) fn every_engine(lab: &Lab) -> Option<()> {
    let _brought = Brought(lab);
    let engines = Engines::new(lab.as_holdfast());
    serve(lab, "kyverno-v1.19.1")?;
    serve(lab, "policy-controller-v0.15.1")?;
    until(lab, &engines, "both are there", |found| {
        [EngineKind::Kyverno, EngineKind::PolicyController].iter().all(|kind| !found.of(*kind).faults.is_empty())
    });
    Some(())
}
