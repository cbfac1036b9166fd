//! A small estate to plan: a trust root, a policy, pods and an image layout.

use std::path::PathBuf;

use holdfast_core::Digest;
use holdfast_testpki::layout::{Image, Layout};
use holdfast_testpki::{Recipe, Sigstore};
use serde_json::{Value, json};

use super::holdfast_in;

pub(crate) const SUBJECT: &str = "https://ci.example/release";
pub(crate) const ISSUER: &str = "https://issuer.example";

/// A directory of manifests, and the instance that signs for it.
pub(crate) struct Estate {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) sigstore: Sigstore,
}

impl Estate {
    /// An estate whose one policy is changed by `policy`.
    pub(crate) fn new(policy: Value) -> Self {
        let estate = Self { dir: tempfile::tempdir().unwrap(), sigstore: Sigstore::new() };
        estate.trust("trust.json", "corp", &estate.sigstore);
        let mut spec = json!({
            "images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "otherImages": "Allow",
            "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}],
        });
        spec.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        let policy = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": spec});
        estate.write("policy.json", &policy.to_string());
        estate
    }

    /// Declares the trust root of an instance.
    pub(crate) fn trust(&self, file: &str, name: &str, sigstore: &Sigstore) {
        let root = sigstore.trusted_root().to_string();
        let map = format!("root-{file}");
        let sha256 = Digest::of(root.as_bytes()).hex();
        let items = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map, "namespace": "holdfast-system"}, "data": {"trusted_root.json": root}},
            {"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name}, "spec": {
                "source": {"trustedRoot": {"configMap": {"namespace": "holdfast-system", "name": map}, "sha256": sha256}},
            }},
        ]});
        self.write(file, &items.to_string());
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join("git").join(file)
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Declares a pod of the namespace `shop`, named as the file is.
    pub(crate) fn pod(&self, file: &str, images: &[&str]) {
        self.write(file, &pod(file, images).to_string());
    }

    /// Adds an image that the policy's identity has signed; gives its digest.
    pub(crate) fn signed(&self, layout: &mut Layout, text: &str, name: &str) -> String {
        let image = layout.image(text, name);
        layout.attach(&image, &self.bundle(&image));
        image.digest
    }

    /// A bundle by the policy's identity.
    pub(crate) fn bundle(&self, image: &Image) -> Value {
        self.sigstore.bundle(&image.manifest, &Recipe::image(SUBJECT, ISSUER))
    }

    /// Plans against one layout; gives the exit code and the plan.
    pub(crate) fn plan(&self, layout: &Layout) -> (i32, Value) {
        let images = self.dir.path().join("images");
        let _ = std::fs::remove_dir_all(&images);
        layout.write(&images).unwrap();
        self.plan_with(&["--images", "oci:images"])
    }

    /// Plans with these arguments; gives the exit code and the plan.
    pub(crate) fn plan_with(&self, args: &[&str]) -> (i32, Value) {
        let always = ["plan", "git", "-o", "json", "--exit-code", "--now", "2026-06-15T12:00:00Z"];
        let answer = holdfast_in(self.dir.path(), &[&always[..], args].concat());
        let plan = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        (answer.code, plan)
    }
}

/// A pod of the namespace `shop`.
pub(crate) fn pod(name: &str, images: &[&str]) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {"containers": containers}})
}

/// The reason of the first image of a plan, and the exit code.
pub(crate) fn first((code, plan): &(i32, Value)) -> (i32, &str) {
    (*code, plan["coverage"]["images"][0]["reason"].as_str().unwrap_or("none in scope"))
}
