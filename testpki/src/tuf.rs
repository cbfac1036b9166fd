//! Signed TUF repositories whose every file can be bent before and after signing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::log::canonical_with;
use crate::{Key, sha256};

/// The keys of one role, and how many of them have to sign.
#[derive(Clone)]
pub struct RoleKeys {
    /// The keys.
    pub keys: Vec<Key>,
    /// How many have to sign.
    pub threshold: usize,
}

impl RoleKeys {
    /// So many new P-256 keys, of which `threshold` have to sign.
    pub fn new(count: usize, threshold: usize) -> Self {
        Self { keys: (0..count).map(|_| Key::p256()).collect(), threshold }
    }
}

/// A delegated role.
#[derive(Clone)]
pub struct Delegated {
    /// Its keys.
    pub keys: RoleKeys,
    /// What it signs.
    pub signed: Value,
}

/// A repository in the making. The signed parts are plain JSON: bend them, then take the [files](Repository::files).
#[derive(Clone)]
pub struct Repository {
    /// The keys of the current root, by role.
    pub keys: BTreeMap<String, RoleKeys>,
    /// The roots that were published, signed.
    pub roots: Vec<Value>,
    /// What the timestamp signs; its pin is made by [`Repository::files`].
    pub timestamp: Value,
    /// What the snapshot signs; its pins are made by [`Repository::files`].
    pub snapshot: Value,
    /// What the top-level targets sign; targets are filled in by [`Repository::files`].
    pub targets: Value,
    /// Delegated roles by name.
    pub delegated: BTreeMap<String, Delegated>,
    /// The target files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

impl Repository {
    /// A repository made at `at`: root (2 of 3 keys), snapshot and targets valid for a year, the timestamp for a week.
    pub fn new(at: Timestamp) -> Self {
        let keys = TOP
            .iter()
            .map(|role| ((*role).to_owned(), if *role == "root" { RoleKeys::new(3, 2) } else { RoleKeys::new(1, 1) }))
            .collect();
        let role = |kind: &str, days: i64| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": after(at, days)});
        let mut repository = Self {
            keys,
            roots: Vec::new(),
            timestamp: role("timestamp", 7),
            snapshot: role("snapshot", 365),
            targets: role("targets", 365),
            delegated: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let root = repository.root(1, &after(at, 365));
        repository.roots.push(repository.signed_root(&root, &[]));
        repository
    }

    /// What the next root would sign, with the current keys.
    pub fn root(&self, version: u64, expires: &str) -> Value {
        let all = self.keys.values().flat_map(|role| &role.keys);
        let keys: serde_json::Map<String, Value> = all.map(|key| (key_id(key), key_object(key))).collect();
        let roles: serde_json::Map<String, Value> = self
            .keys
            .iter()
            .map(|(name, role)| {
                (
                    name.clone(),
                    json!({"keyids": role.keys.iter().map(key_id).collect::<Vec<_>>(), "threshold": role.threshold}),
                )
            })
            .collect();
        json!({
            "_type": "root", "spec_version": "1.0.31", "version": version, "expires": expires,
            "consistent_snapshot": true, "keys": keys, "roles": roles,
        })
    }

    /// A root signed by the current keys and by `others`.
    pub fn signed_root(&self, signed: &Value, others: &[Key]) -> Value {
        let signers: Vec<&Key> = self.keys["root"].keys.iter().chain(others).collect();
        sign(signed, &signers)
    }

    /// Publishes a new root after `change` was made to the keys; signed by old and new keys.
    pub fn rotate(&mut self, at: Timestamp, change: impl FnOnce(&mut BTreeMap<String, RoleKeys>)) {
        let old = self.keys["root"].keys.clone();
        change(&mut self.keys);
        let version = u64::try_from(self.roots.len()).expect("few roots") + 1;
        let signed = self.root(version, &after(at, 365));
        let own: Vec<String> = self.keys["root"].keys.iter().map(key_id).collect();
        let others: Vec<Key> = old.into_iter().filter(|key| !own.contains(&key_id(key))).collect();
        self.roots.push(self.signed_root(&signed, &others));
    }

    /// Raises the versions of timestamp, snapshot and targets, and makes the timestamp valid for another week.
    pub fn publish(&mut self, at: Timestamp) {
        for role in [&mut self.timestamp, &mut self.snapshot, &mut self.targets] {
            role["version"] = json!(role["version"].as_u64().unwrap_or_default() + 1);
        }
        self.timestamp["expires"] = json!(after(at, 7));
    }

    /// Delegates `paths` of the top-level targets to a new role.
    pub fn delegate(&mut self, name: &str, paths: &[&str], at: Timestamp) {
        let keys = RoleKeys::new(1, 1);
        let role = json!({"name": name, "keyids": keys.keys.iter().map(key_id).collect::<Vec<_>>(), "threshold": 1, "terminating": true, "paths": paths});
        let delegations = &mut self.targets["delegations"];
        if delegations.is_null() {
            *delegations = json!({"keys": {}, "roles": []});
        }
        for key in &keys.keys {
            delegations["keys"][key_id(key)] = key_object(key);
        }
        delegations["roles"].as_array_mut().expect("a list").push(role);
        let signed = json!({"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": after(at, 180), "targets": {}});
        self.delegated.insert(name.to_owned(), Delegated { keys, signed });
    }

    /// Every file of the repository, by its name: hashes, lengths and versions are pinned here.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (index, root) in self.roots.iter().enumerate() {
            files.insert(format!("{}.root.json", index + 1), bytes(root));
        }
        let mut pins = serde_json::Map::new();
        for (name, delegated) in &self.delegated {
            let signed = with_targets(
                &delegated.signed,
                self.files.iter().filter(|(target, _)| owner(target, &self.delegated) == Some(name)),
            );
            let file = bytes(&sign(&signed, &delegated.keys.keys.iter().collect::<Vec<_>>()));
            pins.insert(format!("{name}.json"), pin(&signed["version"], &file));
            files.insert(format!("{}.{name}.json", signed["version"]), file);
        }
        let targets = with_targets(
            &self.targets,
            self.files.iter().filter(|(target, _)| owner(target, &self.delegated).is_none()),
        );
        let targets_file = self.signed("targets", &targets);
        pins.insert("targets.json".to_owned(), pin(&targets["version"], &targets_file));
        files.insert(format!("{}.targets.json", targets["version"]), targets_file);
        let mut snapshot = self.snapshot.clone();
        default_to(&mut snapshot, "meta", &Value::Object(pins));
        let snapshot_file = self.signed("snapshot", &snapshot);
        let mut timestamp = self.timestamp.clone();
        default_to(&mut timestamp, "meta", &json!({"snapshot.json": pin(&snapshot["version"], &snapshot_file)}));
        files.insert(format!("{}.snapshot.json", snapshot["version"]), snapshot_file);
        files.insert("timestamp.json".to_owned(), self.signed("timestamp", &timestamp));
        for (name, content) in &self.files {
            let hash = hex::encode(sha256(content));
            let path = match name.rsplit_once('/') {
                Some((dir, file)) => format!("targets/{dir}/{hash}.{file}"),
                None => format!("targets/{hash}.{name}"),
            };
            files.insert(path, content.clone());
        }
        files
    }

    fn signed(&self, role: &str, signed: &Value) -> Vec<u8> {
        bytes(&sign(signed, &self.keys[role].keys.iter().collect::<Vec<_>>()))
    }

    /// Writes every file below `dir`.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_all(dir, &self.files())
    }
}

/// Writes files below `dir`, making directories as needed.
///
/// # Errors
/// What the system says.
pub fn write_all(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, content)?;
    }
    Ok(())
}

/// Signs `signed` with every key.
pub fn sign(signed: &Value, keys: &[&Key]) -> Value {
    let message = canonical(signed);
    let signatures: Vec<Value> = keys
        .iter()
        .map(|key| json!({"keyid": key_id(key), "sig": hex::encode(key.sign(message.as_bytes()))}))
        .collect();
    json!({"signed": signed, "signatures": signatures})
}

/// A key as it stands in a root.
pub fn key_object(key: &Key) -> Value {
    json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": key.pem()}})
}

/// The hash of a key, which is its id.
pub fn key_id(key: &Key) -> String {
    hex::encode(sha256(canonical(&key_object(key)).as_bytes()))
}

/// Canonical JSON as TUF signs it (OLPC): in text, only quotes and backslashes are escaped.
fn canonical(value: &Value) -> String {
    canonical_with(value, &|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn after(at: Timestamp, days: i64) -> String {
    (at + SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("JSON")
}

fn pin(version: &Value, file: &[u8]) -> Value {
    json!({"version": version, "length": file.len(), "hashes": {"sha256": hex::encode(sha256(file))}})
}

fn default_to(value: &mut Value, name: &str, default: &Value) {
    if value[name].is_null() {
        value[name] = default.clone();
    }
}

fn with_targets<'a>(signed: &Value, files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> Value {
    let targets: serde_json::Map<String, Value> = files
        .map(|(name, content)| {
            (name.clone(), json!({"length": content.len(), "hashes": {"sha256": hex::encode(sha256(content))}}))
        })
        .collect();
    let mut signed = signed.clone();
    if signed["targets"].as_object().is_none_or(serde_json::Map::is_empty) {
        signed["targets"] = Value::Object(targets);
    }
    signed
}

/// The delegated role whose name begins the target's.
fn owner<'a>(target: &str, delegated: &'a BTreeMap<String, Delegated>) -> Option<&'a String> {
    delegated.keys().find(|name| target.starts_with(&format!("{name}/")))
}
