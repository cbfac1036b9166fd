//! The verified digests of a policy, packed into few objects of its own.
//!
//! A key is the first two hex digits and the policy's name, as `ab.apps`; its value the digests, in order. A list that gets too long for what a look into it
//! may cost is split by the third digit, into `ab0.apps` to `abf.apps`: that concerns no other list, and policies look for both.
//! The name, not a number, tells policies apart: a number would move when a policy is added, and a digest of the name could be made to collide, so that
//! proof for one policy counted for another.
//!
//! Every shard of a policy costs each pod that the policy judges one more evaluation, so a policy has one shard until that is full. Shards are ranges of the
//! first two digits, equally wide, and their number is a power of two that changes only when it has to: so a changed digest rewrites one object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::objects::SHARD_KIND;
use crate::Digest;
use crate::api::{GROUP, VERSION};
use crate::engines::names::{MAX_NAME, name};
use crate::engines::object::{For, Type, fields};
use crate::engines::{EngineKind, Object, Verified};

/// The size a shard grows to before it is split, in bytes: etcd takes 1.5 MiB by default, and an object is also read and copied as a whole.
pub const FULL: usize = 900 * 1024;
/// How many values the first two hex digits have.
const BUCKETS: usize = 256;
/// 64 hex digits and a separator.
const ENTRY: usize = 65;
/// The longest list that is not split, in digests: fifty looks into it still cost less than an expression may.
const LONGEST: usize = 400;
/// What the name of every shard begins with.
const PREFIX: &str = "holdfast-verified-";

/// A range of first two hex digits, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    from: u8,
    to: u8,
}

impl Range {
    /// The name of a policy's shard. Admission policies read the range from it: a name cannot be changed, as what an object holds can.
    pub fn name(self, policy: &str) -> String {
        name(&format!("verified{}.{policy}", self.suffix()), MAX_NAME)
    }

    /// The range and the policy that the name of a shard says.
    pub fn of(name: &str) -> Option<(Self, &str)> {
        let (range, policy) = name.strip_prefix(PREFIX)?.split_once('.')?;
        let (from, to) = range.split_once('-')?;
        let end = |digits: &str| u8::from_str_radix(digits, 16).ok();
        let range = Self { from: end(from)?, to: end(to)? };
        (range.name(policy) == name).then_some((range, policy))
    }

    /// Whether a digest belongs to it.
    pub fn holds(self, digest: Digest) -> bool {
        (self.from..=self.to).contains(&first(digest))
    }

    /// The first two hex digits it begins with.
    pub(super) fn first_digits(self) -> String {
        format!("{:02x}", self.from)
    }

    /// The end of the name of a binding to it.
    pub(super) fn suffix(self) -> String {
        format!("-{:02x}-{:02x}", self.from, self.to)
    }
}

/// How many shards each policy has, by the names of all there are.
pub fn counts<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<String, u16> {
    let mut counts: BTreeMap<String, u16> = BTreeMap::new();
    for (_, policy) in names.into_iter().filter_map(Range::of) {
        let count = counts.entry(policy.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

/// Whether shards of these names hold every digest of a policy, whatever it is.
pub fn hold_all<'n>(names: impl IntoIterator<Item = &'n str>, policy: &str) -> bool {
    let of_policy = names.into_iter().filter_map(Range::of).filter(|(_, of)| *of == policy);
    let ranges: BTreeSet<Range> = of_policy.map(|(range, _)| range).collect();
    // In order, so that what none of them holds is a gap before the next.
    let end = ranges
        .into_iter()
        .fold(0, |end, range| if u16::from(range.from) <= end { end.max(u16::from(range.to) + 1) } else { end });
    end > u16::from(u8::MAX)
}

/// The verified digests of one policy.
#[derive(Debug, Clone)]
pub struct Shards<'a> {
    policy: &'a str,
    /// In order.
    digests: Vec<Digest>,
    /// What the digests with the same first two digits take, by the value of those.
    sizes: Vec<usize>,
    /// The length of the longest list, in bytes.
    longest: usize,
    count: usize,
}

impl<'a> Shards<'a> {
    /// Packs what is verified for a policy. `current` is how many shards it has now, if any.
    pub fn pack(verified: &Verified, policy: &'a str, current: Option<u16>) -> Self {
        let digests: Vec<Digest> = verified.of(policy).collect();
        let (mut sizes, mut longest) = (vec![0; BUCKETS], 0);
        for bucket in buckets(&digests) {
            if let Some(of_bucket) = bucket.first().and_then(|digest| sizes.get_mut(usize::from(first(*digest)))) {
                *of_bucket = size(policy, bucket);
            }
            let list = split(bucket).map(|(_, list)| list.len() * ENTRY).max();
            longest = longest.max(list.unwrap_or_default());
        }
        Self { policy, count: count(&sizes, current.map(usize::from)), digests, sizes, longest }
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
        largest(&self.sizes, self.count)
    }

    /// The length of the longest list, in bytes.
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// The objects, one for each range, also where it holds nothing: a shard that is missing denies, and says less.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.ranges().into_iter().map(|range| self.object(range))
    }

    fn object(&self, range: Range) -> Object {
        let before = |end: &dyn Fn(u8) -> bool| self.digests.partition_point(|digest| end(first(*digest)));
        let place = before(&|first| first < range.from)..before(&|first| first <= range.to);
        let lists = buckets(self.digests.get(place).unwrap_or_default()).flat_map(split).map(|(shared, digests)| {
            let list = list(digests);
            let key = [list.get(..shared).unwrap_or_default(), ".", self.policy].concat();
            (key, Value::String(list))
        });
        let rest = fields([("spec", fields([("data", Value::Object(lists.collect()))]))]);
        let of = Type { api_version: &format!("{GROUP}/{VERSION}"), kind: SHARD_KIND };
        Object::new(EngineKind::Native, of, None, &range.name(self.policy), For::Policy(self.policy), rest)
    }
}

/// Whether a parameter of a policy lists a digest.
pub(super) fn lists(shard: &Object, policy: &str, digest: Digest) -> bool {
    let hex = digest.hex();
    let lists = shard.body().pointer("/spec/data").and_then(Value::as_object);
    lists.into_iter().flatten().any(|(key, list)| {
        let is_it = key.split_once('.').is_some_and(|(begins, of)| of == policy && hex.starts_with(begins));
        is_it && list.as_str().is_some_and(|list| list.split(';').any(|listed| listed == hex))
    })
}

fn first(digest: Digest) -> u8 {
    let [first, ..] = digest.as_bytes();
    *first
}

/// The digests by their first two digits.
fn buckets(digests: &[Digest]) -> impl Iterator<Item = &[Digest]> {
    digests.chunk_by(|one, other| first(*one) == first(*other))
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

/// What digests with the same first two digits take in an object: keys with quotes and separators, and lists.
fn size(policy: &str, digests: &[Digest]) -> usize {
    let keys = if digests.len() <= LONGEST { 1 } else { 16 };
    keys * (policy.len() + 10) + digests.len() * ENTRY
}

/// The size of the largest of so many shards.
fn largest(sizes: &[usize], count: usize) -> usize {
    sizes.chunks(BUCKETS / count.max(1)).map(|shard| shard.iter().sum()).max().unwrap_or_default()
}

/// The number of shards: what there is, while nothing is full and half as many would not be half empty; else the fewest that hold everything.
fn count(sizes: &[usize], current: Option<usize>) -> usize {
    let kept = current.filter(|current| {
        current.is_power_of_two()
            && *current <= BUCKETS
            && largest(sizes, *current) <= FULL
            && (*current == 1 || largest(sizes, current / 2) > FULL / 2)
    });
    let fits = |count: &usize| largest(sizes, *count) <= FULL;
    kept.unwrap_or_else(|| (0..8).map(|power| 1 << power).find(fits).unwrap_or(BUCKETS))
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

    #[test]
    fn a_name_says_the_range_and_the_policy_and_nothing_else_does() {
        let range = Range { from: 0x40, to: 0x7f };
        for policy in ["apps", "a-b", "a.b", "00-ff", "0", &"p".repeat(63)] {
            let name = range.name(policy);
            assert_eq!(Range::of(&name), Some((range, policy)), "{name}");
            assert_eq!(
                name.split('.').next(),
                Some("holdfast-verified-40-7f"),
                "what is before the first dot is no policy's"
            );
        }
        for other in [
            "holdfast-verified-00-ff",
            "holdfast-verified-0-ff.apps",
            "holdfast-verified-00-FF.apps",
            "holdfast-verified-00-+f.apps",
            "holdfast-verified-00-ff-11.apps",
            "holdfast-verified-gg-ff.apps",
            "holdfast-enforce-00-ff.apps",
            "",
        ] {
            assert_eq!(Range::of(other), None, "{other}");
        }
        let names =
            ["holdfast-verified-00-7f.apps", "holdfast-verified-80-ff.apps", "holdfast-verified-00-ff.tools", "x"];
        assert_eq!(counts(names), BTreeMap::from([("apps".to_owned(), 2), ("tools".to_owned(), 1)]));
    }
}
