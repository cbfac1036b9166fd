//! Transparency logs of both generations, with real Merkle trees (RFC 6962, section 2.1).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Key, base64, sha256};

/// A transparency log.
pub(crate) struct Log {
    pub(crate) key: Key,
    pub(crate) origin: String,
    pub(crate) generation: Generation,
}

/// Which protocol a log speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Signed entry timestamps, integrated times.
    V1,
    /// Tiles; no time of its own.
    V2,
}

impl Log {
    pub(crate) fn v1(host: &str) -> Self {
        Self { key: Key::p256(), origin: format!("{host} - 1193050959916656506"), generation: Generation::V1 }
    }

    pub(crate) fn v2(host: &str) -> Self {
        Self { key: Key::ed25519(), origin: host.to_owned(), generation: Generation::V2 }
    }

    fn host(&self) -> &str {
        self.origin.split(" - ").next().unwrap_or(&self.origin)
    }

    /// SHA-256 of the key for the first generation, the note key id for the second.
    pub(crate) fn id(&self) -> [u8; 32] {
        match self.generation {
            Generation::V1 => sha256(&self.key.spki()),
            Generation::V2 => sha256(&[self.origin.as_bytes(), b"\n\x01", &self.key.raw()].concat()),
        }
    }

    pub(crate) fn trusted(&self, window: &Value) -> Value {
        json!({
            "baseUrl": format!("https://{}", self.host()),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {"rawBytes": base64(&self.key.spki()), "keyDetails": self.key.details(), "validFor": window},
            "logId": {"keyId": base64(&self.id())},
        })
    }

    /// A signed tree head.
    pub(crate) fn checkpoint(&self, size: usize, root: &[u8; 32]) -> String {
        let body = format!("{}\n{size}\n{}\n", self.origin, base64(root));
        let signature = [&self.id()[..4], &self.key.sign(body.as_bytes())].concat();
        format!("{body}\n— {} {}\n", self.host(), base64(&signature))
    }

    /// An entry with its proof of inclusion, and its promise where the log makes one.
    pub(crate) fn entry(&self, kind: &str, version: &str, body: &Value, at: Timestamp) -> Value {
        let body = canonical(body);
        let leaves: Vec<[u8; 32]> = (0..LEAVES)
            .map(|index| if index == INDEX { leaf_hash(body.as_bytes()) } else { leaf_hash(&index.to_be_bytes()) })
            .collect();
        let root = root_hash(&leaves);
        let hashes: Vec<String> = path(&leaves, INDEX).iter().map(|hash| base64(hash)).collect();
        let mut entry = json!({
            "logIndex": INDEX.to_string(),
            "logId": {"keyId": base64(&self.id())},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": INDEX.to_string(),
                "rootHash": base64(&root),
                "treeSize": LEAVES.to_string(),
                "hashes": hashes,
                "checkpoint": {"envelope": self.checkpoint(LEAVES, &root)},
            },
            "canonicalizedBody": base64(body.as_bytes()),
        });
        if self.generation == Generation::V1 {
            entry["integratedTime"] = json!(at.as_second().to_string());
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": base64(&self.promise(&body, at))});
        }
        entry
    }

    pub(crate) fn promise(&self, body: &str, at: Timestamp) -> Vec<u8> {
        let payload = format!(
            r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{INDEX}}}"#,
            base64(body.as_bytes()),
            at.as_second(),
            hex::encode(self.id()),
        );
        self.key.sign(payload.as_bytes())
    }
}

/// Where in its tree every entry stands, and how large the tree is.
pub(crate) const INDEX: usize = 3;
const LEAVES: usize = 7;

/// Canonical JSON of values without floats, as logs sign it (RFC 8785): sorted names, no white space.
pub(crate) fn canonical(value: &Value) -> String {
    canonical_with(value, &|text| Value::from(text).to_string())
}

/// Canonical JSON with a way of one's own to write text.
pub(crate) fn canonical_with(value: &Value, text: &dyn Fn(&str) -> String) -> String {
    match value {
        Value::Object(object) => {
            let mut names: Vec<&String> = object.keys().collect();
            names.sort();
            let member = |name: &String| format!("{}:{}", text(name), canonical_with(&object[name.as_str()], text));
            format!("{{{}}}", names.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| canonical_with(item, text)).collect::<Vec<_>>().join(","))
        }
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

fn leaf_hash(data: &[u8]) -> [u8; 32] {
    sha256(&[&[0], data].concat())
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[1], left.as_slice(), right].concat())
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

fn root_hash(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [leaf] = leaves {
        *leaf
    } else {
        let (left, right) = leaves.split_at(split(leaves.len()));
        node_hash(&root_hash(left), &root_hash(right))
    }
}

fn path(leaves: &[[u8; 32]], index: usize) -> Vec<[u8; 32]> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut hashes, sibling) =
        if index < at { (path(left, index), root_hash(right)) } else { (path(right, index - at), root_hash(left)) };
    hashes.push(sibling);
    hashes
}
