//! Declared policies that do not go together: what one says, another takes back.
//!
//! Every policy about an image has to hold, and an image may carry several signatures. So no two policies are impossible together; but what a person meant by
//! one of them may come to nothing. Only what is proven is said: of two expressions that may name the same, nothing is.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::CompiledPolicy;
use crate::api::policy::OtherImages;
use crate::verify::{Matcher, Signer};

/// A policy, and where it judges.
#[derive(Debug, Clone)]
pub struct Judging<'a> {
    /// The policy.
    pub policy: &'a CompiledPolicy,
    /// The namespaces it is about, reported or denied, by name.
    pub namespaces: BTreeSet<&'a str>,
    /// Those of them in which it denies.
    pub enforced: BTreeSet<&'a str>,
}

/// What sort of contradiction it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ConflictKind {
    /// No identity is one of both: only an image that is signed twice passes.
    TwoSignaturesNeeded,
    /// One exempts an image that the other demands a signature of.
    ExemptionWithoutEffect,
    /// One denies other images, and what the other is about counts as other, since it only reports there.
    DeniedAsOther,
    /// One allows other images, and the other denies them.
    AllowanceWithoutEffect,
}

impl ConflictKind {
    /// Every kind.
    pub const ALL: &[Self] =
        &[Self::TwoSignaturesNeeded, Self::ExemptionWithoutEffect, Self::DeniedAsOther, Self::AllowanceWithoutEffect];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TwoSignaturesNeeded => "TwoSignaturesNeeded",
            Self::ExemptionWithoutEffect => "ExemptionWithoutEffect",
            Self::DeniedAsOther => "DeniedAsOther",
            Self::AllowanceWithoutEffect => "AllowanceWithoutEffect",
        }
    }

    /// What it means, in a sentence without an end.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::TwoSignaturesNeeded => {
                "two policies are about the same images and share no identity: only what is signed twice passes"
            }
            Self::ExemptionWithoutEffect => "one policy exempts an image that another one demands a signature of",
            Self::DeniedAsOther => {
                "one policy denies other images, and what another one is about counts as other where that one only reports"
            }
            Self::AllowanceWithoutEffect => "one policy allows other images where another one denies them",
        }
    }

    /// What to do.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::TwoSignaturesNeeded => {
                "where one signature should do, declare the identity in both policies, or give them other images or namespaces; where both should sign, nothing"
            }
            Self::ExemptionWithoutEffect => {
                "exempt the image in both policies, or take it out of the other's images; or drop the exemption"
            }
            Self::DeniedAsOther => {
                "enforce both in the same waves, or name the images in the enforced policy, or let that one allow other images until both are enforced"
            }
            Self::AllowanceWithoutEffect => {
                "say the same of `otherImages` in both policies, or give them other namespaces"
            }
        }
    }
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Two policies that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// What sort it is.
    pub kind: ConflictKind,
    /// The policy whose word comes to nothing; of two that are alike, the first by name.
    pub policy: String,
    /// The policy that it comes to nothing by.
    pub by: String,
    /// Where.
    pub namespaces: BTreeSet<String>,
    /// Those of them in which pods are denied by it now; in the others they will be once both are enforced.
    pub in_force: BTreeSet<String>,
    /// What it is about: patterns, or images.
    pub about: BTreeSet<String>,
}

/// How many names a sentence lists.
const LISTED: usize = 4;

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (policy, by, about) = (&self.policy, &self.by, listed(&self.about));
        match self.kind {
            ConflictKind::TwoSignaturesNeeded => write!(
                f,
                "`{policy}` and `{by}` are both about {about} and have no identity in common under one trust root: only what both sign passes"
            )?,
            ConflictKind::ExemptionWithoutEffect => {
                write!(f, "`{policy}` exempts {about}, and `{by}` demands a signature of it all the same")?;
            }
            ConflictKind::DeniedAsOther => write!(
                f,
                "`{by}` denies other images, and what `{policy}` alone is about ({about}) counts as other where `{policy}` only reports"
            )?,
            ConflictKind::AllowanceWithoutEffect => {
                write!(f, "`{policy}` allows other images, and `{by}` denies them in the same namespaces")?;
            }
        }
        write!(f, ", in {}", listed(&self.namespaces))?;
        if self.in_force != self.namespaces {
            if self.in_force.is_empty() {
                write!(f, " (once both are enforced)")?;
            } else {
                write!(f, " (now in {})", listed(&self.in_force))?;
            }
        }
        write!(f, "; {}", self.kind.cure())
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Every two policies that do not go together, in one order whatever that of the policies.
pub fn conflicts(policies: &[Judging<'_>]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (at, one) in policies.iter().enumerate() {
        for (other_at, other) in policies.iter().enumerate().filter(|(other_at, _)| *other_at != at) {
            let shared: BTreeSet<&str> = one.namespaces.intersection(&other.namespaces).copied().collect();
            if shared.is_empty() {
                continue;
            }
            let both: BTreeSet<&str> = one.enforced.intersection(&other.enforced).copied().collect();
            let mut add = |kind, namespaces: &BTreeSet<&str>, in_force: &BTreeSet<&str>, about: BTreeSet<String>| {
                found.push(Conflict {
                    kind,
                    policy: one.policy.name.clone(),
                    by: other.policy.name.clone(),
                    namespaces: owned(namespaces.iter().copied()),
                    in_force: owned(namespaces.intersection(in_force).copied()),
                    about,
                });
            };
            // Told once of two that are alike.
            if (&one.policy.name, at) < (&other.policy.name, other_at) {
                let about = in_common(one.policy, other.policy);
                if !about.is_empty() && strangers(one.policy, other.policy) {
                    add(ConflictKind::TwoSignaturesNeeded, &shared, &both, about);
                }
            }
            let undone: BTreeSet<String> = one
                .policy
                .exempt()
                .iter()
                .filter(|image| other.policy.matches(image) && !other.policy.exempts(image))
                .map(ToString::to_string)
                .collect();
            if !undone.is_empty() {
                add(ConflictKind::ExemptionWithoutEffect, &shared, &other.enforced, undone);
            }
            if one.policy.other_images == OtherImages::Allow && other.policy.other_images == OtherImages::Deny {
                add(ConflictKind::AllowanceWithoutEffect, &shared, &other.enforced, BTreeSet::new());
            }
            if other.policy.other_images == OtherImages::Deny {
                let reported: BTreeSet<&str> = shared
                    .iter()
                    .copied()
                    .filter(|at| other.enforced.contains(at) && !one.enforced.contains(at))
                    .collect();
                // Namespaces may have other policies that are enforced, so each is looked at.
                for namespace in reported {
                    let alone = alone_about(one, namespace, policies);
                    if !alone.is_empty() {
                        let here = BTreeSet::from([namespace]);
                        add(ConflictKind::DeniedAsOther, &here, &here, alone);
                    }
                }
            }
        }
    }
    joined(found)
}

/// One entry for what is the same in several namespaces.
fn joined(mut found: Vec<Conflict>) -> Vec<Conflict> {
    found.sort_by(|a, b| (a.kind, &a.policy, &a.by, &a.about).cmp(&(b.kind, &b.policy, &b.by, &b.about)));
    found.dedup_by(|next, kept| {
        let same = (next.kind, &next.policy, &next.by, &next.about) == (kept.kind, &kept.policy, &kept.by, &kept.about);
        if same {
            kept.namespaces.append(&mut next.namespaces);
            kept.in_force.append(&mut next.in_force);
        }
        same
    });
    found
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_owned).collect()
}

/// The narrower of any two patterns of which one covers the other: images that both are about.
fn in_common(one: &CompiledPolicy, other: &CompiledPolicy) -> BTreeSet<String> {
    let mut common = BTreeSet::new();
    for a in one.images() {
        for b in other.images() {
            if b.covers(a) {
                common.insert(a.as_str().to_owned());
            } else if a.covers(b) {
                common.insert(b.as_str().to_owned());
            }
        }
    }
    common
}

/// The patterns of a policy that no policy which is enforced in this namespace covers.
fn alone_about(one: &Judging<'_>, namespace: &str, policies: &[Judging<'_>]) -> BTreeSet<String> {
    let enforced: Vec<&Judging<'_>> = policies.iter().filter(|policy| policy.enforced.contains(namespace)).collect();
    let is_named = |pattern: &&crate::image::ImagePattern| {
        enforced.iter().any(|policy| policy.policy.images().iter().any(|wide| wide.covers(pattern)))
    };
    let alone = one.policy.images().iter().filter(|pattern| !is_named(pattern));
    alone.map(|pattern| pattern.as_str().to_owned()).collect()
}

/// Whether no one signature can be good for both.
fn strangers(one: &CompiledPolicy, other: &CompiledPolicy) -> bool {
    let share_a_root = one.trust_roots.iter().any(|root| other.trust_roots.contains(root));
    !one.policy.signers.iter().any(|a| other.policy.signers.iter().any(|b| may_be_one(a, b, share_a_root)))
}

fn may_be_one(one: &Signer, other: &Signer, share_a_root: bool) -> bool {
    match (one, other) {
        (Signer::Key { key: one, .. }, Signer::Key { key: other, .. }) => one.key_digest == other.key_digest,
        (
            Signer::Certificate { subject, issuer, .. },
            Signer::Certificate { subject: other_subject, issuer: other_issuer, .. },
        ) => share_a_root && may_name_one(subject, other_subject) && may_name_one(issuer, other_issuer),
        _ => false,
    }
}

fn may_name_one(one: &Matcher, other: &Matcher) -> bool {
    match (one, other) {
        (Matcher::Exact(name), other) | (other, Matcher::Exact(name)) => other.matches(name),
        // Whether two expressions have a name in common is not worked out.
        (Matcher::Pattern(_), Matcher::Pattern(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::SigningIdentityPolicy;
    use crate::coverage::compile;

    fn policy(name: &str, change: &Value) -> CompiledPolicy {
        let mut spec = json!({
            "images": ["r.example/apps/**"], "trustRoots": ["corp"], "otherImages": "Allow",
            "identities": [{ "name": "ci", "issuer": "https://i.example", "subject": "https://ci.example/a" }],
        });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let declared: SigningIdentityPolicy = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": { "name": name }, "spec": spec,
        }))
        .unwrap();
        compile(&declared, &|_| Err("none".to_owned())).unwrap()
    }

    fn judging<'a>(policy: &'a CompiledPolicy, namespaces: &[&'a str], enforced: &[&'a str]) -> Judging<'a> {
        Judging {
            policy,
            namespaces: namespaces.iter().copied().collect(),
            enforced: enforced.iter().copied().collect(),
        }
    }

    /// What is found of two policies, the first of which is as given; both deny in `shop`.
    fn of(one: &Value, other: &Value) -> Vec<Conflict> {
        let (one, other) = (policy("a", one), policy("b", other));
        conflicts(&[judging(&one, &["shop"], &["shop"]), judging(&other, &["shop"], &["shop"])])
    }

    fn kinds(found: &[Conflict]) -> Vec<ConflictKind> {
        found.iter().map(|conflict| conflict.kind).collect()
    }

    fn by(subject: &str) -> Value {
        json!([{ "name": "ci", "issuer": "https://i.example", "subject": subject }])
    }

    #[test]
    fn policies_that_say_the_same_go_together() {
        assert_eq!(of(&json!({}), &json!({})), []);
        assert_eq!(
            of(&json!({}), &json!({ "images": ["r.example/other/**"], "identities": by("https://x.example/x") })),
            []
        );
        assert_eq!(conflicts(&[]), []);
    }

    #[test]
    fn identities_that_are_nobody_together_need_two_signatures() {
        let found =
            of(&json!({}), &json!({ "images": ["r.example/apps/web"], "identities": by("https://ci.example/b") }));
        assert_eq!(kinds(&found), [ConflictKind::TwoSignaturesNeeded]);
        let text = found[0].to_string();
        assert!(
            text.contains("`a` and `b`") && text.contains("r.example/apps/web") && text.contains("`shop`"),
            "{text}"
        );
        assert_eq!(found[0].in_force, BTreeSet::from(["shop".to_owned()]));
        // Another trust root is another authority's word for the same name.
        assert_eq!(kinds(&of(&json!({}), &json!({ "trustRoots": ["public"] }))), [ConflictKind::TwoSignaturesNeeded]);
        let issuer = json!([{ "name": "ci", "issuer": "https://j.example", "subject": "https://ci.example/a" }]);
        assert_eq!(kinds(&of(&json!({}), &json!({ "identities": issuer }))), [ConflictKind::TwoSignaturesNeeded]);
        // What may be the same is not called a contradiction.
        let expression = |text: &str| json!({ "identities": [{ "name": "ci", "issuer": "https://i.example", "subjectRegExp": text }] });
        assert_eq!(of(&json!({}), &expression("https://ci\\.example/.*")), []);
        assert_eq!(of(&expression("https://ci\\.example/x.*"), &expression("https://ci\\.example/.*y")), []);
        assert_eq!(
            kinds(&of(&json!({}), &expression("https://ci\\.example/x.*"))),
            [ConflictKind::TwoSignaturesNeeded]
        );
        let also = json!([by("https://ci.example/b")[0], { "name": "x", "issuer": "https://i.example", "subject": "https://ci.example/a" }]);
        assert_eq!(of(&json!({}), &json!({ "identities": also })), []);
    }

    #[test]
    fn keys_are_told_apart_by_what_they_are() {
        let key = |name: &str, pem: &str| json!({ "trustRoots": [], "identities": [{ "name": name, "key": { "pem": pem } }] });
        let one = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+BRpI7CqWLf76nc6wMrTUypFsq/t\n1Fs75MwEHl5cG7oF/hkPJwiFHUHG8sZ4YpAqJxmhbS9Zjwn81C4l7e0fQQ==\n-----END PUBLIC KEY-----\n";
        assert_eq!(of(&key("a", one), &key("b", one)), []);
        assert_eq!(kinds(&of(&key("a", one), &json!({}))), [ConflictKind::TwoSignaturesNeeded]);
    }

    #[test]
    fn an_exemption_counts_only_where_all_exempt() {
        let image = format!("r.example/apps/pause@sha256:{}", "0".repeat(64));
        let exempt = json!({ "exemptImages": [{ "image": image, "reason": "node" }] });
        let found = of(&exempt, &json!({}));
        assert_eq!(kinds(&found), [ConflictKind::ExemptionWithoutEffect]);
        assert!(found[0].to_string().contains(&image), "{}", found[0]);
        assert_eq!(of(&exempt, &exempt), []);
        assert_eq!(of(&exempt, &json!({ "images": ["r.example/other/**"] })), []);
        // It comes to nothing where the other denies, whether or not its own policy does.
        let (one, other) = (policy("a", &exempt), policy("b", &json!({})));
        let places = ["shop", "billing"];
        let found = conflicts(&[judging(&one, &places, &[]), judging(&other, &places, &["shop"])]);
        let found: Vec<&Conflict> = found.iter().filter(|c| c.kind == ConflictKind::ExemptionWithoutEffect).collect();
        assert_eq!(found[0].in_force, BTreeSet::from(["shop".to_owned()]));
        assert_eq!(found[0].namespaces.len(), 2);
        assert!(found[0].to_string().contains("(now in `shop`)"), "{}", found[0]);
    }

    #[test]
    fn what_only_reports_makes_nothing_known_to_what_denies() {
        let one = policy("a", &json!({ "images": ["r.example/tools/**", "r.example/apps/web"] }));
        let other = policy("b", &json!({ "otherImages": "Deny" }));
        let places = ["shop", "billing", "elsewhere"];
        let found = conflicts(&[
            judging(&one, &["shop", "billing", "tools"], &["billing"]),
            judging(&other, &places, &["shop", "billing"]),
        ]);
        let denied: Vec<&Conflict> = found.iter().filter(|c| c.kind == ConflictKind::DeniedAsOther).collect();
        let [denied] = denied[..] else { panic!("{found:?}") };
        assert_eq!((denied.policy.as_str(), denied.by.as_str()), ("a", "b"));
        assert_eq!(denied.namespaces, BTreeSet::from(["shop".to_owned()]));
        assert_eq!(denied.about, BTreeSet::from(["r.example/tools/**".to_owned()]), "the other is about `apps` itself");
        // A third one that is enforced there makes them known.
        let third = policy("c", &json!({ "images": ["r.example/**"] }));
        let found = conflicts(&[
            judging(&one, &["shop"], &[]),
            judging(&other, &["shop"], &["shop"]),
            judging(&third, &["shop"], &["shop"]),
        ]);
        assert!(!kinds(&found).contains(&ConflictKind::DeniedAsOther), "{found:?}");
    }

    #[test]
    fn one_allows_what_another_denies() {
        let found = of(&json!({}), &json!({ "otherImages": "Deny" }));
        assert_eq!(kinds(&found), [ConflictKind::AllowanceWithoutEffect]);
        assert_eq!((found[0].policy.as_str(), found[0].by.as_str()), ("a", "b"));
        let found = of(&json!({ "otherImages": "Deny" }), &json!({}));
        assert_eq!((found[0].policy.as_str(), found[0].by.as_str()), ("b", "a"));
    }

    #[test]
    fn order_decides_nothing_and_other_places_are_other_places() {
        let all: Vec<CompiledPolicy> = [
            json!({}),
            json!({ "identities": by("https://ci.example/b"), "otherImages": "Deny" }),
            json!({ "trustRoots": ["public"], "images": ["r.example/**"] }),
        ]
        .iter()
        .enumerate()
        .map(|(at, spec)| policy(&format!("p{at}"), spec))
        .collect();
        let mut judged: Vec<Judging<'_>> = all.iter().map(|policy| judging(policy, &["shop", "x"], &["x"])).collect();
        let found = conflicts(&judged);
        assert!(found.len() >= 4, "{found:?}");
        judged.reverse();
        assert_eq!(conflicts(&judged), found);
        let apart = [judging(&all[0], &["shop"], &["shop"]), judging(&all[1], &["billing"], &["billing"])];
        assert_eq!(conflicts(&apart), []);
        assert!(found.iter().all(|conflict| conflict.to_string().ends_with(conflict.kind.cure())));
    }
}
