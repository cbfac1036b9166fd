//! The verified digests, packed into few objects.
//!
//! A key is the first two hex digits and the policy's name, as `ab.apps`; its value the digests, in order. A list that gets too long for what a look into it
//! may cost is split by the third digit, into `ab0.apps` to `abf.apps`: that concerns no other list, and policies look for both.
//! The name, not a number, tells policies apart: a
//! number would move when a policy is added, and a digest of the name could be made to collide, so that proof for one policy counted for another.
//!
//! Every policy looks into the same shards, because each shard costs every pod one more evaluation for every policy about it. Shards are ranges of the
//! first two digits, equally wide, and their number is a power of two that changes only when it has to: so a changed digest rewrites one object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::objects::SHARD_KIND;
use crate::Digest;
use crate::api::{GROUP, VERSION};
use crate::engines::object::{For, Type, fields};
use crate::engines::{EngineKind, Object, Verified};

/// The size a shard grows to before all are split, in bytes: etcd takes 1.5 MiB by default, and an object is also read and copied as a whole.
pub const FULL: usize = 900 * 1024;
/// How many values the first two hex digits have.
const BUCKETS: usize = 256;
/// 64 hex digits and a separator.
const ENTRY: usize = 65;
/// The longest list that is not split, in digests: fifty looks into it still cost less than an expression may.
const LONGEST: usize = 400;

/// A range of first two hex digits, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    from: u8,
    to: u8,
}

impl Range {
    /// The name of the shard. Admission policies read the range from it: a name cannot be changed, as what an object holds can.
    pub fn name(self) -> String {
        format!("holdfast-verified-{:02x}-{:02x}", self.from, self.to)
    }

    /// The end of the name of a binding to it.
    pub(super) fn suffix(self) -> String {
        format!("-{:02x}-{:02x}", self.from, self.to)
    }
}

/// The digests that begin with the same two digits: each policy with its own, both in order.
type Bucket<'a> = Vec<(&'a str, Vec<Digest>)>;

/// Verified digests by first two digits and policy.
#[derive(Debug, Clone)]
pub struct Shards<'a> {
    /// By the value of the first two digits.
    buckets: Vec<Bucket<'a>>,
    /// The length of each policy's longest list, in bytes.
    longest: BTreeMap<&'a str, usize>,
    count: usize,
}

impl<'a> Shards<'a> {
    /// Packs what is verified for these policies. `current` is how many shards there are now, if any.
    pub fn pack(verified: &Verified, policies: impl IntoIterator<Item = &'a str>, current: Option<u16>) -> Self {
        let mut buckets: Vec<Bucket<'_>> = vec![Vec::new(); BUCKETS];
        for policy in policies.into_iter().collect::<BTreeSet<&str>>() {
            for digest in verified.of(policy) {
                let [first, ..] = digest.as_bytes();
                let Some(bucket) = buckets.get_mut(usize::from(*first)) else { continue };
                match bucket.last_mut() {
                    Some((last, digests)) if *last == policy => digests.push(digest),
                    _ => bucket.push((policy, vec![digest])),
                }
            }
        }
        let sizes: Vec<usize> = buckets.iter().map(|bucket| size(bucket)).collect();
        let mut longest: BTreeMap<&str, usize> = BTreeMap::new();
        for (policy, digests) in buckets.iter().flatten() {
            let length = split(digests).map(|(_, list)| list.len() * ENTRY).max().unwrap_or_default();
            let so_far = longest.entry(policy).or_default();
            *so_far = length.max(*so_far);
        }
        Self { count: count(&sizes, current.map(usize::from)), longest, buckets }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Their ranges, in order.
    pub fn ranges(&self) -> Vec<Range> {
        let width = BUCKETS / self.count.max(1);
        let end = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
        (0..self.count).map(|at| Range { from: end(at * width), to: end((at + 1) * width - 1) }).collect()
    }

    /// The size of the largest shard, in bytes.
    pub fn largest(&self) -> usize {
        let sizes: Vec<usize> = self.buckets.iter().map(|bucket| size(bucket)).collect();
        sizes.chunks(BUCKETS / self.count.max(1)).map(|shard| shard.iter().sum()).max().unwrap_or_default()
    }

    /// The length of the longest list of a policy, in bytes.
    pub fn longest(&self, policy: &str) -> usize {
        self.longest.get(policy).copied().unwrap_or_default()
    }

    /// The objects, one for each range, also where it holds nothing: a shard that is missing denies.
    pub fn objects(&self) -> Vec<Object> {
        self.ranges().into_iter().map(|range| self.object(range)).collect()
    }

    fn object(&self, range: Range) -> Object {
        let buckets = self.buckets.get(usize::from(range.from)..=usize::from(range.to));
        let lists = buckets.into_iter().flatten().flatten().flat_map(|(policy, digests)| {
            split(digests).map(move |(shared, digests)| {
                let list = list(digests);
                let key = [list.get(..shared).unwrap_or_default(), ".", policy].concat();
                (key, Value::String(list))
            })
        });
        let rest = fields([("spec", fields([("data", Value::Object(lists.collect()))]))]);
        let of = Type { api_version: &format!("{GROUP}/{VERSION}"), kind: SHARD_KIND };
        Object::new(EngineKind::Native, of, None, &range.name(), For::Cluster, rest)
    }
}

/// A list as it is, or by the third digit where it is too long, with the number of digits its digests share. They are in order.
fn split(digests: &[Digest]) -> impl Iterator<Item = (usize, &[Digest])> {
    let third = |digest: &Digest| digest.as_bytes().get(1).map(|byte| byte >> 4);
    let whole = digests.len() <= LONGEST;
    digests
        .chunk_by(move |one, other| whole || third(one) == third(other))
        .map(move |list| (if whole { 2 } else { 3 }, list))
}

fn list(digests: &[Digest]) -> String {
    let mut text = String::with_capacity(digests.len() * ENTRY);
    for digest in digests {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(&digest.hex());
    }
    text
}

/// What a bucket takes in an object: keys with quotes and separators, and lists.
fn size(bucket: &[(&str, Vec<Digest>)]) -> usize {
    let keys = |digests: &[Digest]| if digests.len() <= LONGEST { 1 } else { 16 };
    bucket.iter().map(|(policy, digests)| keys(digests) * (policy.len() + 10) + digests.len() * ENTRY).sum()
}

/// The number of shards: what there is, while nothing is full and half as many would not be half empty; else the fewest that hold everything.
fn count(sizes: &[usize], current: Option<usize>) -> usize {
    let largest = |count: usize| -> usize {
        sizes.chunks(BUCKETS / count).map(|shard| shard.iter().sum()).max().unwrap_or_default()
    };
    let kept = current.filter(|current| {
        current.is_power_of_two()
            && *current <= BUCKETS
            && largest(*current) <= FULL
            && (*current == 1 || largest(current / 2) > FULL / 2)
    });
    kept.unwrap_or_else(|| (0..8).map(|power| 1 << power).find(|count| largest(*count) <= FULL).unwrap_or(BUCKETS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_split_when_one_is_full_and_joined_when_half_would_do() {
        let even = |each: usize| vec![each; BUCKETS];
        let all = |total: usize| count(&even(total / BUCKETS), None);
        assert_eq!((all(0), all(FULL), all(FULL + 4096), all(7 * FULL), all(1000 * FULL)), (1, 1, 2, 8, BUCKETS));
        assert_eq!(count(&even(FULL / BUCKETS), Some(2)), 2, "one would hold it, but be full");
        assert_eq!(count(&even(FULL / BUCKETS / 2), Some(2)), 1);
        assert_eq!(count(&even(FULL / BUCKETS), Some(3)), 1, "not a number of ours");
        let mut uneven = even(0);
        uneven.extend_from_slice(&[]);
        uneven.iter_mut().take(2).for_each(|bucket| *bucket = FULL);
        assert_eq!(count(&uneven, None), BUCKETS);
    }
}
