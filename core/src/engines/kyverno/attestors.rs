//! The attestors of a policy: one for every identity under every accepted root.
//!
//! A v0.3 bundle is refused by an attestor with two identities, a trust root is a field of the attestor, and a passed check is remembered only where every
//! attestor of the call passed. So each stands alone, and is called alone.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::evidence::{self, By, Holds, Logs, Row};
use super::mirror;
use crate::engines::object::fields;
use crate::engines::{EstateRoot, LocalRepository};
use crate::trust::root::ManagedKey;
use crate::verify::{EvidenceRequirements, Matcher, Signer};

/// One attestor.
#[derive(Debug, Clone)]
pub(super) struct Attestor<'a> {
    /// Its name in expressions: letters, digits and `_`, which need no quotes and are no word of the language.
    pub(super) name: String,
    /// The identity it is for.
    pub(super) identity: &'a str,
    /// The trust root it verifies with; a key whose log entry is not looked at needs none.
    pub(super) root: Option<&'a str>,
    /// What its `ctlog` block checks.
    pub(super) row: Row,
    /// As it stands in the policy.
    pub(super) body: Value,
}

/// What attestors are made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct With<'a> {
    /// What each signature has to carry.
    pub(super) required: EvidenceRequirements,
    /// The repository, where one is at hand.
    pub(super) repository: Option<&'a LocalRepository>,
    /// Whether the root goes inline.
    pub(super) inline: bool,
}

/// Whether a signer is verified with a trust root, and so with the TUF repository.
pub(super) fn needs_root(signer: &Signer, required: EvidenceRequirements) -> bool {
    matches!(signer, Signer::Certificate { .. }) || required.transparency_log
}

/// The attestors for these signers and roots, in the order of the signers.
pub(super) fn attestors<'a>(
    signers: &'a [Signer],
    roots: &[(&'a str, &'a EstateRoot<'a>)],
    with: With<'_>,
) -> Vec<Attestor<'a>> {
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for signer in signers {
        let mut add = |root: Option<(&'a str, &'a EstateRoot<'a>)>| {
            let holds = root
                .map_or(Holds { logs: Logs::None, ct_logs: false, timestamp_authorities: false }, |(_, root)| {
                    Holds::of(root.root)
                });
            let row = evidence::row(by(signer), with.required, holds);
            let name = unique(&mut taken, signer.name(), root.map(|(name, _)| name));
            let cosign = cosign(signer, root.map(|(_, root)| root), row, with);
            let body = fields([("name", json!(name)), ("cosign", cosign)]);
            found.push(Attestor { name, identity: signer.name(), root: root.map(|(name, _)| name), row, body });
        };
        if needs_root(signer, with.required) {
            for root in roots {
                add(Some(*root));
            }
        } else {
            add(None);
        }
    }
    found
}

const fn by(signer: &Signer) -> By {
    match signer {
        Signer::Certificate { .. } => By::Certificate,
        Signer::Key { .. } => By::Key,
    }
}

fn cosign(signer: &Signer, root: Option<&EstateRoot<'_>>, row: Row, with: With<'_>) -> Value {
    let mut cosign = Map::new();
    match signer {
        Signer::Certificate { subject, issuer, .. } => {
            let mut identity = Map::new();
            criterion(&mut identity, "issuer", "issuerRegExp", issuer);
            criterion(&mut identity, "subject", "subjectRegExp", subject);
            cosign.insert("keyless".to_owned(), json!({ "identities": [identity] }));
        }
        Signer::Key { key, .. } => {
            cosign.insert("key".to_owned(), json!({ "data": pem(key) }));
        }
    }
    if let Some(block) = row.block.render() {
        cosign.insert("ctlog".to_owned(), block);
    }
    if let Some(root) = root {
        if with.inline {
            cosign.insert("trustedRoot".to_owned(), json!({ "value": root.document }));
        }
        if let Some(repository) = with.repository {
            cosign.insert("tuf".to_owned(), mirror::block(repository));
        }
    }
    Value::Object(cosign)
}

/// Plain names are compared as they are; expressions are not anchored by Kyverno, so they come anchored.
fn criterion(identity: &mut Map<String, Value>, plain: &str, expression: &str, matcher: &Matcher) {
    match matcher {
        Matcher::Exact(name) => identity.insert(plain.to_owned(), json!(name)),
        Matcher::Pattern(pattern) => identity.insert(expression.to_owned(), json!(pattern.anchored())),
    };
}

fn unique(taken: &mut BTreeSet<String>, identity: &str, root: Option<&str>) -> String {
    let plain =
        |text: &str| -> String { text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect() };
    let readable = match root {
        Some(root) => format!("by_{}_under_{}", plain(identity), plain(root)),
        None => format!("by_{}", plain(identity)),
    };
    let mut name = readable.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{readable}_{number}");
        number += 1;
    }
    name
}

/// A public key as PEM.
pub(super) fn pem(key: &ManagedKey) -> String {
    armoured("PUBLIC KEY", &key.key)
}

/// DER as PEM, 64 characters a line (RFC 7468).
pub(super) fn armoured(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}
