//! A small place to plan: one policy, one namespace, one workload whose image is signed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_testpki::layout::Layout;
use holdfast_testpki::{Recipe, Sigstore};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, holdfast_in};

pub(crate) const ISSUER: &str = "https://issuer.example";
const SUBJECT: &str = "https://ci.example/web";

/// A directory with one policy, one namespace, one deployment whose image is signed, and the trust to judge it by.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) image: String,
    sigstore: Sigstore,
    layout: RefCell<Layout>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sigstore = Sigstore::new();
        let mut place = Self { dir, image: String::new(), sigstore, layout: RefCell::new(Layout::new()) };
        place.image = place.image("web", SUBJECT).0;
        fs::create_dir(place.path("git")).unwrap();
        let root = place.sigstore.trusted_root().to_string();
        place.declare(
            "root",
            &json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "root", "namespace": "holdfast-system"},
                "data": {"trusted_root.json": root},
            }),
        );
        place.declare(
            "mirror",
            &json!({
                "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "corp"},
                "spec": {"source": {"trustedRoot": {
                    "configMap": {"namespace": "holdfast-system", "name": "root"}, "sha256": Digest::of(root.as_bytes()).hex(),
                }}},
            }),
        );
        place.declare(
            "namespace",
            &json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "apps"}},
            }),
        );
        place.workload_in("web", "shop", &place.image);
        place.policy(&json!({}));
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn declare(&self, name: &str, manifest: &Value) {
        fs::write(self.path("git").join(format!("{name}.json")), manifest.to_string()).unwrap();
    }

    /// Puts an image that this subject signed beside the others: its reference, and the digits of its digest.
    pub(crate) fn image(&self, name: &str, subject: &str) -> (String, String) {
        let mut layout = self.layout.borrow_mut();
        let image = layout.image(name, &format!("registry.corp.internal/apps/{name}:1"));
        layout.attach(&image, &self.sigstore.bundle(&image.manifest, &Recipe::image(subject, ISSUER)));
        layout.write(&self.path("images")).unwrap();
        let digest = image.digest.clone();
        let digits = digest.trim_start_matches("sha256:").to_owned();
        (format!("registry.corp.internal/apps/{name}@sha256:{digits}"), digits)
    }

    /// Writes the image without what signed it.
    pub(crate) fn unsign(&self) {
        self.signed_by(&[]);
    }

    /// Writes the image with nothing but what this subject signed.
    pub(crate) fn sign_as(&self, subject: &str) {
        self.signed_by(&[subject]);
    }

    fn signed_by(&self, subjects: &[&str]) {
        let mut layout = Layout::new();
        let image = layout.image("web", "registry.corp.internal/apps/web:1");
        for subject in subjects {
            layout.attach(&image, &self.sigstore.bundle(&image.manifest, &Recipe::image(subject, ISSUER)));
        }
        fs::remove_dir_all(self.path("images")).unwrap();
        layout.write(&self.path("images")).unwrap();
    }

    pub(crate) fn workload(&self, name: &str, image: &str) {
        self.workload_in(name, "shop", image);
    }

    pub(crate) fn workload_in(&self, name: &str, namespace: &str, image: &str) {
        self.declare(
            name,
            &json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
                "spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}},
            }),
        );
    }

    /// Declares the policy; `spec` overrides what is usual.
    pub(crate) fn policy(&self, spec: &Value) {
        let mut whole = json!({
            "images": ["registry.corp.internal/apps/**"],
            "namespaceSelector": {"matchLabels": {"tier": "apps"}},
            "trustRoots": ["corp"],
            "identities": [{"name": "web", "issuer": ISSUER, "subject": SUBJECT}],
            "engines": {"native": {}},
            "enforcement": {"desired": "Enforce", "soak": "3h"},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.declare("policy", &json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": whole,
        }));
    }

    pub(crate) fn plan(&self, args: &[&str]) -> Answer {
        holdfast_in(self.dir.path(), &[&["plan", "git", "--images", "oci:images"], args].concat())
    }

    /// Plans an hour of a day, continuing from what the plan before remembered.
    pub(crate) fn plan_hour(&self, hour: u32, args: &[&str]) -> Value {
        let answer = self.answer(hour, args);
        assert_eq!(answer.code, 0, "{answer:?}");
        serde_json::from_str(&answer.out).unwrap()
    }

    /// The same, however it ends.
    pub(crate) fn plan_hour_any(&self, hour: u32, args: &[&str]) -> Value {
        let answer = self.answer(hour, args);
        serde_json::from_str(&answer.out).unwrap()
    }

    fn answer(&self, hour: u32, args: &[&str]) -> Answer {
        let now = format!("2026-07-01T{hour:02}:00:00Z");
        let remembered = ["--as-of", "gate.json"];
        let continued: &[&str] = if self.path("gate.json").exists() { &remembered } else { &[] };
        let usual = ["--now", &now, "--assume-ready", "--remember", "gate.json", "-o", "json"];
        self.plan(&[continued, &usual[..], args].concat())
    }
}

pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}
