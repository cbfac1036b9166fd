//! What `approval: Automatic` lets come into force: whatever comes from this source, on this pin, as long as no more than so many images stop verifying.

use serde_json::{Value, json};

use crate::Digest;
use crate::api::TrustRootMirrorSpec;
use crate::gate::loosening::value_digest;

/// What whoever lets a mirror adopt by itself agrees to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pin: Option<Digest>,
    source: Value,
    most: u32,
}

impl Terms {
    /// Those of a mirror.
    pub fn of(spec: &TrustRootMirrorSpec) -> Self {
        let mut source = spec.source.clone();
        if let Some(oci) = &mut source.oci {
            // With which credentials it is read lets nothing else in.
            oci.pull_secret_ref = None;
        }
        Self {
            pin: spec.bootstrap.as_ref().map(|bootstrap| bootstrap.root_sha256.0),
            source: json!(source),
            most: spec.rotation.max_newly_failing,
        }
    }

    /// By which they are known again.
    pub fn digest(&self) -> Digest {
        value_digest(&json!({"pin": self.pin, "source": self.source, "most": self.most}))
    }

    /// The paths below `spec` of what may let more in than those before did.
    pub fn beyond(&self, before: &Self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        if self.pin != before.pin {
            paths.push(path(&["bootstrap", "rootSHA256"]));
        }
        differ(&before.source, &self.source, &path(&["source"]), &mut paths);
        if self.most > before.most {
            paths.push(path(&["rotation", "maxNewlyFailing"]));
        }
        paths
    }
}

fn path(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}

/// Where two values differ: as far down as there are objects on both sides.
fn differ(before: &Value, now: &Value, at: &[String], paths: &mut Vec<Vec<String>>) {
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        if before != now {
            paths.push(at.to_vec());
        }
        return;
    };
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone) {
        let below = [at, std::slice::from_ref(key)].concat();
        differ(old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), &below, paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(pin: &str, oci: &Value, most: u32) -> Terms {
        let map = json!({"namespace": "n", "name": "m"});
        let bootstrap = json!({"rootSHA256": Digest::of(pin.as_bytes()).hex(), "configMap": map});
        let spec = json!({"source": {"oci": oci}, "bootstrap": bootstrap, "rotation": {"maxNewlyFailing": most}});
        Terms::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn whatever_may_let_more_in_is_named() {
        let source = json!({"ref": "r.example/trust:1", "tokenUrl": "https://a.example"});
        let before = terms("a", &source, 2);
        let beyond = |now: Terms| {
            assert_eq!(now == before, now.digest() == before.digest());
            now.beyond(&before).iter().map(|path| path.join(".")).collect::<Vec<_>>()
        };
        assert!(beyond(terms("a", &source, 2)).is_empty());
        assert!(beyond(terms("a", &source, 1)).is_empty(), "fewer may fail");
        let secret =
            json!({"ref": "r.example/trust:1", "tokenUrl": "https://a.example", "pullSecretRef": {"name": "s"}});
        assert!(beyond(terms("a", &secret, 2)).is_empty(), "the same is read with other credentials");
        let other = json!({"ref": "r.example/evil:1", "plainHttp": true});
        let all = ["bootstrap.rootSHA256", "source.oci.plainHttp", "source.oci.ref", "source.oci.tokenUrl"];
        let mut found = beyond(terms("b", &other, 3));
        found.sort();
        assert_eq!(found, [&["bootstrap.rootSHA256", "rotation.maxNewlyFailing"][..], &all[1..]].concat());
    }
}
