//! A small estate: a registry, a trust root, a policy, and pods whose status is written as a node would.

use holdfast_core::Digest;
use holdfast_testpki::{Recipe, SIGNATURE_PREDICATE, Sigstore};
use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, Status};
use crate::proxy::Proxy;
use crate::registry_support::Registry;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const SUBJECT: &str = "https://ci.example/web";
const GROUP: &str = "/apis/holdfast.dev/v1alpha1";

/// The estate.
pub(crate) struct Shop<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) registry: Registry,
    /// What stands between the operator and the registry, and does what networks do.
    pub(crate) network: Proxy,
    pub(crate) sigstore: Sigstore,
}

impl<'a> Shop<'a> {
    /// One whose trust is in force, with a policy about everything in its registry.
    pub(crate) fn open(lab: &'a Lab, registry: Registry) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let network = lab.wait(Proxy::before(format!("http://{}", registry.host()), client));
        let shop = Self { lab, registry, network, sigstore: Sigstore::new() };
        shop.trust("corp", &shop.sigstore);
        shop.policy("apps", &json!({}));
        lab.namespace("shop", &json!({"tier": "apps"}));
        shop
    }

    /// The registry, as pods and reports name it.
    pub(crate) fn host(&self) -> &str {
        self.network.address().trim_start_matches("http://")
    }

    /// Declares the trust of a Sigstore.
    pub(crate) fn trust(&self, name: &str, sigstore: &Sigstore) {
        self.trust_root(name, &sigstore.trusted_root().to_string());
    }

    /// Declares the trust of a file.
    pub(crate) fn trust_root(&self, name: &str, root: &str) {
        self.lab.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-root"), "namespace": NAMESPACE},
            "data": {"trusted_root.json": root},
        }));
        self.lab.apply(&json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name},
            "spec": {"source": {"trustedRoot": {
                "configMap": {"namespace": NAMESPACE, "name": format!("{name}-root")}, "sha256": Digest::of(root.as_bytes()).hex(),
            }}, "rotation": {"approval": "Automatic"}},
        }));
    }

    /// Declares a policy; `more` is laid over its spec.
    pub(crate) fn policy(&self, name: &str, more: &Value) {
        let mut spec = json!({
            "images": [format!("{}/**", self.host())], "otherImages": "Allow", "trustRoots": ["corp"],
            "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}], "engines": {"native": {}},
        });
        lay_over(&mut spec, more);
        self.lab.apply(&json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": spec,
        }));
    }

    /// Declares the report; `more` is laid over its spec.
    pub(crate) fn report(&self, more: &Value) {
        let mut spec = json!({
            "interval": "1h", "publish": {"openReports": false}, "namespaceSelector": {"matchLabels": {"tier": "apps"}},
            "registries": [{"prefix": self.host(), "plainHttp": true}],
        });
        lay_over(&mut spec, more);
        self.lab.apply(&json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport", "metadata": {"name": "cluster"}, "spec": spec,
        }));
    }

    /// Pushes an image that nobody signed.
    pub(crate) fn unsigned(&self, name: &str) -> Digest {
        self.registry.push_image(&format!("apps/{name}"), "1", name.as_bytes())
    }

    /// Pushes an image and signs it.
    pub(crate) fn signed(&self, name: &str) -> Digest {
        let digest = self.unsigned(name);
        self.sign(name, digest, SUBJECT);
        digest
    }

    /// Signs an image that is there.
    pub(crate) fn sign(&self, name: &str, digest: Digest, subject: &str) -> Digest {
        self.sign_by(&self.sigstore, name, digest, &Recipe::image(subject, ISSUER))
    }

    pub(crate) fn sign_by(&self, sigstore: &Sigstore, name: &str, digest: Digest, recipe: &Recipe) -> Digest {
        let repository = format!("apps/{name}");
        let manifest = self.registry.manifest(&repository, &digest.to_string()).unwrap();
        let bundle = sigstore.bundle(&manifest, recipe).to_string();
        self.registry.attach(&repository, digest, bundle.as_bytes(), SIGNATURE_PREDICATE)
    }

    /// `HOST/apps/NAME@DIGEST`.
    pub(crate) fn image(&self, name: &str, digest: Digest) -> String {
        format!("{}/apps/{name}@{digest}", self.host())
    }

    /// A pod of one container that runs what it declares.
    pub(crate) fn pod(&self, name: &str, image: &str) {
        self.pod_that_runs(name, image, None);
    }

    /// A pod of one container, of which a node says what it runs.
    pub(crate) fn pod_that_runs(&self, name: &str, image: &str, image_id: Option<&str>) {
        self.pod_of(name, &json!({"containers": [{"name": "main", "image": image}]}));
        if let Some(image_id) = image_id {
            let status = json!([{
                "name": "main", "image": image, "imageID": image_id, "ready": true, "restartCount": 0, "state": {"running": {}},
            }]);
            self.lab.patch(
                &format!("/api/v1/namespaces/shop/pods/{name}/status"),
                &json!({"status": {"phase": "Running", "containerStatuses": status}}),
            );
        }
    }

    /// A pod of this specification.
    pub(crate) fn pod_of(&self, name: &str, spec: &Value) {
        self.lab.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": spec,
        }));
    }

    /// What the report says.
    pub(crate) fn status(&self) -> Status {
        Status::of(self.lab.get(&format!("{GROUP}/bundlecoveragereports/cluster")).expect("there is a report"))
    }

    /// Asks for a scan over everything.
    pub(crate) fn scan_now(&self, why: &str) {
        self.lab.patch(
            &format!("{GROUP}/bundlecoveragereports/cluster"),
            &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": why}}}),
        );
    }

    /// Waits until the report says so many covered, uncovered, unknown.
    #[track_caller]
    pub(crate) fn until(&self, covered: u64, uncovered: u64, unknown: u64) -> Status {
        self.lab.until(&format!("{covered} covered, {uncovered} uncovered, {unknown} unknown"), |_| {
            let status = self.status();
            let is = |field: &str, want: u64| status.at(&format!("/totals/{field}")) == &json!(want);
            if is("covered", covered) && is("uncovered", uncovered) && is("unknown", unknown) {
                Ok(status)
            } else {
                Err(status.text())
            }
        })
    }

    /// Waits until a condition has a reason.
    #[track_caller]
    pub(crate) fn until_reason(&self, condition: &str, reason: &str) -> Status {
        self.lab.until(&format!("{condition} is {reason}"), |_| {
            let status = self.status();
            if status.reason(condition) == reason { Ok(status) } else { Err(status.text()) }
        })
    }
}

/// How many images have a reason.
pub(crate) fn of_reason(status: &Status, reason: &str) -> u64 {
    let reasons = status.at("/byReason").as_array().cloned().unwrap_or_default();
    reasons.iter().find(|of| of["reason"] == reason).and_then(|of| of["images"].as_u64()).unwrap_or(0)
}

fn lay_over(onto: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        onto[key] = value.clone();
    }
}
