//! Canaries: pods that are only ever made in a dry run, and show whether a rule is in force.
//!
//! Nothing else says so: what is written is in force a little later, at each API server on its own. Of several rules that deny, the API server names one;
//! so a canary says which rule it is for, and every other rule lets it pass. That is only for dry runs: nobody brings in an image by saying so.
//!
//! What a rule has to deny is an image that no policy can claim and none can exempt: [`crate::coverage::compile`] refuses those that try.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::objects::BINDING_KIND;
use super::retain::Holding;
use super::shards::{Range, lists};
use crate::Digest;
use crate::engines::Object;
use crate::engines::object::POLICY;
use crate::image::ImagePattern;
use crate::image::canary::{CANARY_REGISTRY, digest_beginning};

/// The annotation by which a canary says which rule it is for.
pub const CANARY: &str = "holdfast.dev/canary";

/// The name of every canary.
pub const NAME: &str = crate::image::canary::CANARY;

/// How many digests are looked at for one that every rule lets through.
const TRIED: usize = 256;

/// What is tried of one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The binding.
    pub binding: String,
    /// The admission policy it binds.
    pub rule: String,
    /// Whether it denies; else it reports, as a warning.
    pub denies: bool,
    /// An image it has to deny, or report.
    pub bad: String,
    /// An image it has to let through, where there is one.
    pub good: Option<String>,
    /// The namespaces the binding is about.
    pub namespaces: Vec<String>,
}

/// The condition under which a rule looks at a request at all: it is no canary of another one.
pub(super) fn condition(rule: &str) -> (&'static str, String) {
    let says = format!("object.metadata.annotations['{CANARY}']");
    let expression = format!(
        "!(has(request.dryRun) && request.dryRun && has(object.metadata.annotations) && '{CANARY}' in object.metadata.annotations && {says} != '{rule}')"
    );
    ("no-canary-of-another-rule", expression)
}

/// What is tried of a binding; none of one that is not about pods. `patterns` are the images of a policy, `holdings` what is verified for it, and `shards` the
/// parameters that are there: while one is split, the binding of the old one denies what is only in the new ones.
pub fn canary<'p, 's>(
    binding: &Object,
    patterns: impl Fn(&str) -> Option<&'p [String]>,
    holdings: &BTreeMap<String, Holding>,
    shards: impl Iterator<Item = &'s Object> + Clone,
) -> Option<Canary> {
    let spec = binding.body().get("spec").filter(|_| binding.kind() == BINDING_KIND)?;
    let actions = spec.get("validationActions")?.as_array()?;
    let acts = |action: &str| actions.iter().any(|said| said == action);
    // Whoever applies a workload is only warned, and pods are not judged at all.
    let (denies, reports) = (acts("Deny"), acts("Audit") && acts("Warn"));
    let rule = spec.get("policyName")?.as_str().filter(|_| denies || reports)?;
    let namespaces = namespaces(spec);
    let policy = binding.body().pointer("/metadata/labels").and_then(|labels| labels.get(POLICY)?.as_str());
    let (bad, good) = match policy {
        Some(policy) => {
            let own = spec.pointer("/paramRef/name")?.as_str()?;
            let (range, _) = Range::of(own).filter(|(_, of)| *of == policy)?;
            let others = shards.filter(|shard| shard.name() != own);
            let others: Vec<(Range, &Object)> = others
                .filter_map(|shard| Some((Range::of(shard.name()).filter(|(_, of)| *of == policy)?.0, shard)))
                .collect();
            let passes = |digest: &Digest| {
                others.iter().all(|(range, shard)| !range.holds(*digest) || lists(shard, policy, *digest))
            };
            let name =
                patterns(policy)?.iter().find_map(|pattern| Some(ImagePattern::parse(pattern).ok()?.example()))?;
            of_shard(&name, range, holdings.get(policy), passes)?
        }
        None if rule.starts_with("holdfast-form-open-") => {
            let good = format!("{CANARY_REGISTRY}/canary:any");
            (format!("{good}@{good}@"), Some(good))
        }
        None => {
            let by_digest = format!("{CANARY_REGISTRY}/canary@{}", Digest::of(NAME.as_bytes()));
            if rule.starts_with("holdfast-form-") {
                (format!("{CANARY_REGISTRY}/canary:any"), Some(by_digest))
            } else {
                (by_digest, None)
            }
        }
    };
    Some(Canary { binding: binding.name().to_owned(), rule: rule.to_owned(), denies, bad, good, namespaces })
}

/// An image of a shard that nobody verified, and one that somebody did.
fn of_shard(
    name: &str,
    range: Range,
    holding: Option<&Holding>,
    passes: impl Fn(&Digest) -> bool,
) -> Option<(String, Option<String>)> {
    let unverified = digest_beginning(&range.first_digits())?;
    let verified = holding.into_iter().flat_map(|holding| holding.digests.keys());
    let good = verified.filter(|digest| range.holds(**digest)).take(TRIED).find(|digest| passes(digest));
    Some((format!("{name}@{unverified}"), good.map(|digest| format!("{name}@{digest}"))))
}

fn namespaces(spec: &Value) -> Vec<String> {
    let values = spec.pointer("/matchResources/namespaceSelector/matchExpressions/0/values").and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The pod of a canary: what most other rules of a cluster let through, too. What it would take is left to the namespace's defaults; quotas come later.
pub fn pod(namespace: &str, rule: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "annotations": {CANARY: rule}},
        "spec": {
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "canary",
                "image": image,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::native::{Proof, Shards};
    use crate::engines::{EngineKind, Verified};
    use crate::verify::{Reason, Verdict};

    #[test]
    fn a_canary_is_of_the_shard_of_its_binding() {
        let patterns = ["registry.corp/apps/**".to_owned()];
        let digest = Digest::from_hex(&"8f".repeat(32)).unwrap();
        let proof = Proof { last_seen: jiff::Timestamp::UNIX_EPOCH, evidence: None };
        let holding = Holding { basis: None, digests: BTreeMap::from([(digest, proof)]) };
        for (shard, good) in [("holdfast-verified-00-7f.apps", false), ("holdfast-verified-80-ff.apps", true)] {
            let (range, _) = Range::of(shard).unwrap();
            let (bad, found) = of_shard("registry.corp/apps/holdfast-canary", range, Some(&holding), |_| true).unwrap();
            let (_, hex) = bad.split_once("@sha256:").unwrap();
            assert!(shard.contains(&hex[..2]), "{bad}");
            assert_eq!(found.is_some(), good, "{shard}");
            assert!(found.is_none_or(|found| found.ends_with(&digest.hex())));
        }
        let example = ImagePattern::parse(&patterns[0]).unwrap().example();
        assert!(ImagePattern::parse(&patterns[0]).unwrap().matches(&crate::image::ImageRef::parse(&example).unwrap()));
    }

    #[test]
    fn while_a_parameter_is_split_what_the_old_one_lacks_is_no_canary() {
        let [old, new] = ["10", "20"].map(|begins| Digest::from_hex(&begins.repeat(32)).unwrap());
        let mut before = Verified::default();
        before.admit("apps", &Verdict::without_evidence(old, Reason::Verified, ""));
        let whole: Vec<Object> = Shards::pack(&before, "apps", None).objects().collect();
        let proof = Proof { last_seen: jiff::Timestamp::UNIX_EPOCH, evidence: None };
        let patterns = ["registry.corp/apps/**".to_owned()];
        let binding = |shard: &str| {
            let body = json!({
                "kind": BINDING_KIND, "metadata": {"name": "b", "labels": {POLICY: "apps"}},
                "spec": {"policyName": "holdfast-enforce-apps", "validationActions": ["Deny"], "paramRef": {"name": shard}},
            });
            Object::found(EngineKind::Native, body)
        };
        let good = |digests: &[Digest], shard: &str| {
            let digests = digests.iter().map(|digest| (*digest, proof)).collect();
            let holdings = BTreeMap::from([("apps".to_owned(), Holding { basis: None, digests })]);
            canary(&binding(shard), |_| Some(&patterns[..]), &holdings, whole.iter()).unwrap().good
        };
        let half = "holdfast-verified-00-7f.apps";
        assert_eq!(good(&[new], half), None);
        assert!(good(&[new, old], half).unwrap().ends_with(&old.hex()));
        // Its own parameter has no say: one that lost a digest denies it, and that is to be seen.
        assert!(good(&[new], "holdfast-verified-00-ff.apps").unwrap().ends_with(&new.hex()));
    }
}
