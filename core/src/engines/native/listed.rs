//! Whether a digest is listed: the other side of [`super::shards`], for whoever waits for it.

use std::collections::BTreeMap;

use crate::Digest;

/// Whether the parameter of this name is the one that lists the digest, where anything does.
pub fn is_its_shard(name: &str, digest: Digest) -> bool {
    let range = name.strip_prefix("holdfast-verified-").and_then(|range| range.split_once('-'));
    let [first, ..] = digest.as_bytes();
    let end = |text: &str| if text.len() == 2 { u8::from_str_radix(text, 16).ok() } else { None };
    range.and_then(|(from, to)| Some((end(from)?..=end(to)?).contains(first))).unwrap_or(false)
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
            let objects = Shards::pack(&verified, ["apps"], Some(4)).objects();
            for digest in digests.iter().step_by(count / 20) {
                let its: Vec<_> = objects.iter().filter(|object| is_its_shard(object.name(), *digest)).collect();
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
        assert!(is_its_shard("holdfast-verified-00-ff", digest));
        for name in ["holdfast-verified-20-ff", "holdfast-verified-0-ff", "holdfast-verified", "other-00-ff"] {
            assert!(!is_its_shard(name, digest), "{name}");
        }
    }
}
