//! Whether a digest is listed: the other side of [`super::shards`], for whoever waits for it.

use std::collections::BTreeMap;

use super::shards::Range;
use crate::Digest;

/// Whether the parameter of this name is the one that lists the digest for the policy, where anything does.
pub fn is_its_shard(name: &str, policy: &str, digest: Digest) -> bool {
    Range::of(name).is_some_and(|(range, of)| of == policy && range.holds(digest))
}

/// Whether the lists of a parameter have the digest, verified for this policy.
pub fn is_listed(data: &BTreeMap<String, String>, policy: &str, digest: Digest) -> bool {
    let hex = digest.hex();
    [2, 3].into_iter().filter_map(|shared| hex.get(..shared)).any(|shared| {
        let list = data.get(&format!("{shared}.{policy}"));
        list.is_some_and(|list| list.split(';').any(|one| one == hex))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::Verified;
    use crate::engines::native::Shards;
    use crate::verify::{Reason, Verdict};

    /// Digests that begin with the same two digits, as many as there are third digits many times over.
    fn digests(count: usize) -> Vec<Digest> {
        let of = |number: usize| {
            let mut bytes = *Digest::of(&number.to_be_bytes()).as_bytes();
            bytes[0] = 0xab;
            Digest::from_bytes(bytes)
        };
        (0..count).map(of).collect()
    }

    /// Lists that are split are found, too.
    #[test]
    fn what_is_packed_is_found_in_its_shard_and_in_no_other_and_for_no_other_policy() {
        for count in [20, 2_000] {
            let digests = digests(count);
            let mut verified = Verified::default();
            for digest in &digests {
                assert!(verified.admit("apps", &Verdict::without_evidence(*digest, Reason::Verified, String::new())));
            }
            let objects: Vec<_> = Shards::pack(&verified, "apps", Some(4)).objects().collect();
            for digest in digests.iter().step_by(count / 20) {
                let its: Vec<_> =
                    objects.iter().filter(|object| is_its_shard(object.name(), "apps", *digest)).collect();
                assert_eq!(its.len(), 1);
                let lists = its[0].body()["spec"]["data"].clone();
                let lists: BTreeMap<String, String> = serde_json::from_value(lists).unwrap();
                assert!(is_listed(&lists, "apps", *digest));
                assert!(!is_listed(&lists, "pps", *digest) && !is_listed(&lists, "other", *digest));
                assert!(!is_listed(&lists, "apps", Digest::of(digest.as_bytes())));
            }
        }
    }

    #[test]
    fn what_is_no_shard_is_none() {
        let digest = Digest::from_bytes([0x10; 32]);
        assert!(is_its_shard("holdfast-verified-00-ff.apps", "apps", digest));
        for name in [
            "holdfast-verified-20-ff.apps",
            "holdfast-verified-00-ff.pps",
            "holdfast-verified-00-ff",
            "holdfast-verified-0-ff.apps",
            "holdfast-verified",
            "other-00-ff.apps",
        ] {
            assert!(!is_its_shard(name, "apps", digest), "{name}");
        }
    }
}
