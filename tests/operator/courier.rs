//! What a courier brings: repositories, newer ones, older ones, bent ones.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::Digest;
use holdfast_testpki::Sigstore;
use holdfast_testpki::tuf::Repository;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, NAME, mirror_path};

/// A repository, and how it reaches the cluster.
pub(crate) struct Courier {
    pub(crate) repository: Repository,
    pub(crate) bootstrap: Vec<u8>,
    /// The ConfigMap it is brought in.
    pub(crate) config_map: String,
    pub(crate) now: Timestamp,
}

#[allow(clippy::disallowed_methods)] // a repository is made now
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

impl Courier {
    /// A repository that was made an hour ago.
    pub(crate) fn new(name: &str) -> Self {
        Self::made(name, now() - SignedDuration::from_hours(1))
    }

    pub(crate) fn made(name: &str, at: Timestamp) -> Self {
        let mut repository = Repository::new(at);
        repository
            .files
            .insert("trusted_root.json".to_owned(), Sigstore::new().trusted_root().to_string().into_bytes());
        let bootstrap = repository.files()["1.root.json"].clone();
        Self { repository, bootstrap, config_map: format!("tuf-{name}"), now: at }
    }

    pub(crate) fn pin(&self) -> String {
        Digest::of(&self.bootstrap).hex()
    }

    /// Newer metadata, and the same trust.
    pub(crate) fn refresh(&mut self) {
        self.repository.publish(self.now);
    }

    /// Other key material.
    pub(crate) fn rotate(&mut self) -> Digest {
        let root = Sigstore::new().trusted_root().to_string().into_bytes();
        self.publish_root(root)
    }

    /// The trust there is and further trust.
    pub(crate) fn extend(&mut self) -> Digest {
        let mut root: Value = serde_json::from_slice(&self.repository.files["trusted_root.json"]).unwrap();
        let other = Sigstore::of("second.example", self.now).trusted_root();
        for list in ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"] {
            let more = other[list].as_array().cloned().unwrap_or_default();
            root[list].as_array_mut().unwrap().extend(more);
        }
        self.publish_root(root.to_string().into_bytes())
    }

    fn publish_root(&mut self, root: Vec<u8>) -> Digest {
        let digest = Digest::of(&root);
        self.repository.files.insert("trusted_root.json".to_owned(), root);
        self.repository.publish(self.now);
        digest
    }

    pub(crate) fn root(&self) -> Digest {
        Digest::of(&self.repository.files["trusted_root.json"])
    }

    /// The ConfigMap as it is now.
    pub(crate) fn object(&self) -> Value {
        as_config_map(&self.config_map, &self.repository.files())
    }

    /// Brings it in.
    pub(crate) fn deliver(&self, lab: &Lab) {
        let object = self.object();
        let path = crate::lab::config_map_path(NAMESPACE, &self.config_map);
        // Replaced as a whole: what is not in it any more is gone.
        match lab.get(&path) {
            Some(_) => lab.call("PUT", &path, Some(&object)),
            None => lab.call("POST", &format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), Some(&object)),
        };
        self.deliver_bootstrap(lab);
    }

    /// Brings in the root that everything starts from, alone.
    pub(crate) fn deliver_bootstrap(&self, lab: &Lab) {
        let bootstrap = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{}-bootstrap", self.config_map), "namespace": NAMESPACE},
            "binaryData": {"root.json": STANDARD.encode(&self.bootstrap)},
        });
        lab.apply(&bootstrap);
    }

    /// The mirror that is read from it.
    pub(crate) fn mirror(&self, name: &str) -> Value {
        self.mirror_from(name, &json!({"configMap": {"namespace": NAMESPACE, "name": self.config_map}}))
    }

    pub(crate) fn mirror_from(&self, name: &str, source: &Value) -> Value {
        json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name},
            "spec": {
                "source": source,
                "bootstrap": {"rootSHA256": self.pin(), "configMap": {"namespace": NAMESPACE, "name": format!("{}-bootstrap", self.config_map)}},
                "interval": "1m",
            },
        })
    }
}

pub(crate) fn as_config_map(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Value {
    let data: serde_json::Map<String, Value> = files
        .iter()
        .map(|(path, bytes)| (path.rsplit('/').next().unwrap().to_owned(), json!(STANDARD.encode(bytes))))
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "binaryData": data})
}

/// A mirror that is distributed to the namespaces with the label `trust: NAME`.
pub(crate) fn distributed(mut mirror: Value, label: &str, removal_grace: &str) -> Value {
    mirror["spec"]["distribution"] =
        json!({"configMaps": {"namespaceSelector": {"matchLabels": {"trust": label}}, "name": NAME}});
    mirror["spec"]["rotation"] = json!({"removalGrace": removal_grace});
    mirror
}

/// An approval by somebody, of a digest.
pub(crate) fn approve(lab: &Lab, user: &str, mirror: &str, digest: Digest) -> Result<Value, String> {
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "approval-"},
        "spec": {"approver": user, "for": {"kind": "TrustRootMirror", "name": mirror, "digest": digest}},
    });
    lab.call_as(user, "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval)
}

/// Asks for a pass now, as a person does.
pub(crate) fn ask_now(lab: &Lab, mirror: &str) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let asked = format!("now-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    lab.patch(&mirror_path(mirror), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": asked}}}));
    lab.until("the pass was made", |lab| {
        let status = lab.status(mirror);
        if status.at("/lastHandledReconcileAt") == &json!(asked) { Ok(()) } else { Err(status.text()) }
    });
}
