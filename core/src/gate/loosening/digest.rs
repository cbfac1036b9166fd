//! The digests that approvals are bound to.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::Digest;

/// The digest of an object in one very form: of its kind, name and whole spec, in one spelling (sorted keys, no white space), defaults filled in.
pub fn approval_digest<T: Serialize>(kind: &str, name: &str, spec: &T) -> Digest {
    of(&json!({"kind": kind, "name": name, "spec": spec}))
}

/// The digest that allows one form of an object to follow another. It says nothing of a third: what was approved once is not approved for ever.
pub fn change_digest(kind: &str, name: &str, from: Digest, to: Digest) -> Digest {
    of(&json!({"kind": kind, "name": name, "from": from, "to": to}))
}

/// The digest that allows a form of a policy to follow another one, and lets these namespaces go by that: no others, whatever the labels say by then.
pub fn narrowing_digest(policy: &str, from: Digest, to: Digest, released: &BTreeSet<&str>) -> Digest {
    of(&json!({"kind": "SigningIdentityPolicy", "name": policy, "from": from, "to": to, "released": released}))
}

/// The digest that makes the declared form the one in force where nobody knows which is, bound to the history as it stands.
pub fn recovery_digest(policy: &str, declared: Digest, head: Option<Digest>) -> Digest {
    of(&json!({"kind": "SigningIdentityPolicy", "name": policy, "recover": declared, "after": head}))
}

/// The digest that allows an object to go, bound to the form it has in force.
pub fn deletion_digest(kind: &str, name: &str, enforced: Digest) -> Digest {
    of(&json!({"kind": kind, "name": name, "deleted": enforced}))
}

/// The digest that lets namespaces go that are enforced and are no longer selected, bound to the policy's form in force.
pub fn release_digest(policy: &str, enforced: Digest, namespaces: &BTreeSet<&str>) -> Digest {
    of(&json!({"kind": "SigningIdentityPolicy", "name": policy, "in": enforced, "released": namespaces}))
}

/// The digest of a value in one spelling.
pub(crate) fn of(value: &Value) -> Digest {
    let mut text = String::new();
    write(value, &mut text);
    Digest::of(text.as_bytes())
}

/// Sorted keys, whatever the map type of the JSON library keeps: two builds have to give one digest.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(&Value::String(key.clone()), out);
                out.push(':');
                write(map.get(key).unwrap_or(&Value::Null), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}
