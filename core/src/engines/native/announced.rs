//! What the parameters may hold, written down before they are: so that after a crash between any two writes each digest that is there is known to rest on
//! what it was decided on, and on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::objects::SHARD_KIND;
use super::retain::{Basis, Holding};
use super::shards::{Range, counts};
use crate::Digest;
use crate::engines::Object;

/// How many digests are named one by one that were decided against: what is written down has to fit into one object. Beyond that, what is there proves nothing
/// but what it was decided on before.
const MOST: usize = 10_000;
/// Hex digits of a digest that is named.
const SHORT: usize = 12;

/// The forms of every parameter that may be there, and what their digests rest on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Announced {
    /// Of each parameter that is wanted; the last is the form that was wanted last.
    shards: BTreeMap<String, Vec<Form>>,
    /// Of those that are there and no longer wanted: what they list is known by them until others list it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    leaving: BTreeMap<String, Vec<Form>>,
    /// What the digests of each policy rest on, in one form or another; the last is what was decided last.
    bases: BTreeMap<String, Vec<Basis>>,
}

/// One form of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    /// Of the whole object.
    object: Digest,
    /// Of the basis that its digests were decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basis: Option<Digest>,
    /// The digests in it that were decided against, shortened.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    but: BTreeSet<String>,
}

/// The digests of one policy that parameters hold, and what they were verified on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// What all of them were decided on.
    pub basis: Basis,
    /// Each of them.
    pub digests: BTreeSet<Digest>,
}

/// A parameter that is there, in a form that was announced: the digests that it proves, for each basis.
struct Written {
    range: Range,
    /// Whether it is in the form that was wanted last.
    is_last: bool,
    proves: BTreeMap<Digest, BTreeSet<Digest>>,
}

/// What is to be announced, as it is put together.
struct Announcing<'a> {
    before: &'a Announced,
    holdings: &'a BTreeMap<String, Holding>,
    is_there: &'a dyn Fn(&str) -> Option<&'a Object>,
    /// How many more digests may be named one by one.
    left: usize,
}

impl Announcing<'_> {
    /// The forms of a parameter: as it is there, with what was decided of that now; as it was wanted last; and as it is to be.
    fn forms(&mut self, name: &str, wanted: Option<&Object>) -> Vec<Form> {
        let known =
            self.before.shards.get(name).or_else(|| self.before.leaving.get(name)).map_or(&[][..], Vec::as_slice);
        let policy = Range::of(name).map_or("", |(_, policy)| policy);
        let basis = basis(self.holdings, policy).map(mark);
        let next = wanted.map(|wanted| Form { object: wanted.digest(), basis, but: BTreeSet::new() });
        let there = (self.is_there)(name).map(|there| (there, there.digest()));
        let is_next = |object: Digest| next.as_ref().is_some_and(|next| next.object == object);
        let mut forms: Vec<Form> = Vec::new();
        if let Some((there, object)) = there.filter(|(_, object)| known.iter().any(|form| form.object == *object)) {
            match self.decided_against(there, policy) {
                _ if is_next(object) => {}
                Some(but) if basis.is_some() => forms.push(Form { object, basis, but }),
                _ => forms.extend(known.iter().filter(|form| form.object == object).cloned()),
            }
        }
        let last = known.last().filter(|last| wanted.is_some() && there.is_none_or(|(_, there)| there != last.object));
        forms.extend(last.filter(|last| !is_next(last.object)).cloned());
        forms.extend(next);
        forms
    }

    /// What a parameter lists that is not to be listed any more; nothing where that is too much to name.
    fn decided_against(&mut self, there: &Object, policy: &str) -> Option<BTreeSet<String>> {
        let stays = self.holdings.get(policy).map(|holding| &holding.digests);
        let goes = |digest: &Digest| stays.is_none_or(|stays| !stays.contains_key(digest));
        let against: BTreeSet<String> = digests(there, policy).filter(goes).map(|digest| short(&digest)).collect();
        self.left = self.left.checked_sub(against.len())?;
        Some(against)
    }
}

impl Announced {
    /// What to announce once this is wanted. A write that is cut off leaves each parameter in one of the forms that are named, however often that happens.
    #[must_use]
    pub fn followed_by<'a>(
        &'a self,
        wanted: &[Object],
        holdings: &'a BTreeMap<String, Holding>,
        is_there: &'a dyn Fn(&str) -> Option<&'a Object>,
    ) -> Self {
        let mut announcing = Announcing { before: self, holdings, is_there, left: MOST };
        let wanted = wanted.iter().filter(|object| object.kind() == SHARD_KIND);
        let shards: BTreeMap<String, Vec<Form>> =
            wanted.map(|object| (object.name().to_owned(), announcing.forms(object.name(), Some(object)))).collect();
        let known = self.shards.keys().chain(self.leaving.keys()).filter(|name| !shards.contains_key(*name));
        let known: BTreeSet<&String> = known.filter(|name| is_there(name).is_some()).collect();
        let leaving = known.into_iter().map(|name| (name.clone(), announcing.forms(name, None)));
        let leaving = leaving.filter(|(_, forms)| !forms.is_empty()).collect();
        let mut next = Self { shards, leaving, bases: BTreeMap::new() };
        next.bases = next.bases_after(&self.bases, holdings);
        next
    }

    /// What is decided now, after what other forms still rest on.
    fn bases_after(
        &self,
        before: &BTreeMap<String, Vec<Basis>>,
        holdings: &BTreeMap<String, Holding>,
    ) -> BTreeMap<String, Vec<Basis>> {
        let mut marks: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        for (name, forms) in self.shards.iter().chain(&self.leaving) {
            let Some((_, policy)) = Range::of(name) else { continue };
            marks.entry(policy).or_default().extend(forms.iter().filter_map(|form| form.basis));
        }
        let policies: BTreeSet<&String> = before.keys().chain(holdings.keys()).collect();
        let bases = policies.into_iter().map(|policy| {
            let now = basis(holdings, policy);
            let is_used = |basis: &&Basis| marks.get(policy.as_str()).is_some_and(|marks| marks.contains(&mark(basis)));
            let known = before.get(policy).into_iter().flatten();
            let still = known.filter(|basis| Some(*basis) != now).filter(is_used);
            (policy.clone(), still.chain(now).cloned().collect::<Vec<Basis>>())
        });
        bases.filter(|(_, bases)| !bases.is_empty()).collect()
    }

    /// Whether this wants what the other one does: what may be there besides is no news.
    pub fn wants_the_same(&self, other: &Self) -> bool {
        fn last<T: Clone>(of: &BTreeMap<String, Vec<T>>) -> BTreeMap<&String, Option<&T>> {
            of.iter().map(|(name, all)| (name, all.last())).collect()
        }
        last(&self.shards) == last(&other.shards)
            && self.leaving == other.leaving
            && last(&self.bases) == last(&other.bases)
    }

    /// How many parameters each policy is to have.
    pub fn counts(&self) -> BTreeMap<String, u16> {
        counts(self.shards.keys().map(String::as_str))
    }

    /// What the parameters that are there prove, for each policy: nothing where they are in no form that was announced.
    pub fn recall<'o>(&self, there: impl IntoIterator<Item = &'o Object>) -> BTreeMap<String, Recalled> {
        let there: Vec<&Object> = there.into_iter().filter(|object| object.kind() == SHARD_KIND).collect();
        let of_policy = self.written(&there).into_iter().filter_map(|(policy, written)| {
            let basis = self.basis_of(policy, &written)?.clone();
            let mark = mark(&basis);
            let digests =
                written.into_iter().filter_map(|mut written| written.proves.remove(&mark)).flatten().collect();
            Some((policy.to_owned(), Recalled { basis, digests }))
        });
        of_policy.collect()
    }

    /// The parameters of each policy in a form that was announced. Of one that is leaving counts what none that is written as it is wanted is there to list.
    fn written<'o>(&self, there: &[&'o Object]) -> BTreeMap<&'o str, Vec<Written>> {
        let of = |announced: &BTreeMap<String, Vec<Form>>| -> Vec<(&'o str, Written)> {
            there.iter().filter_map(|object| written(announced.get(object.name())?, object)).collect()
        };
        let (wanted, mut leaving) = (of(&self.shards), of(&self.leaving));
        for (policy, leaving) in &mut leaving {
            let lists = |other: &Written, digest| other.is_last && other.range.holds(digest);
            let listed = |digest: &Digest| wanted.iter().any(|(of, other)| of == policy && lists(other, *digest));
            leaving.proves.values_mut().for_each(|digests| digests.retain(|digest| !listed(digest)));
        }
        let mut all: BTreeMap<&str, Vec<Written>> = BTreeMap::new();
        for (policy, written) in wanted.into_iter().chain(leaving) {
            all.entry(policy).or_default().push(written);
        }
        all
    }

    /// The last basis that all of these rest on; where they were decided on different ones, the last that any of them does.
    fn basis_of(&self, policy: &str, written: &[Written]) -> Option<&Basis> {
        let bases = self.bases.get(policy)?;
        let last = |is_it: &dyn Fn(&Digest) -> bool| bases.iter().rev().find(|basis| is_it(&mark(basis)));
        last(&|mark| written.iter().all(|of| of.proves.contains_key(mark)))
            .or_else(|| last(&|mark| written.iter().any(|of| of.proves.contains_key(mark))))
    }
}

/// What a parameter proves in the form it is there, and for which policy; nothing where it is in none of these.
fn written<'o>(forms: &[Form], object: &'o Object) -> Option<(&'o str, Written)> {
    let (range, policy) = Range::of(object.name())?;
    let form = object.digest();
    let proves = forms.iter().filter(|known| known.object == form).filter_map(|known| {
        let counts = |digest: &Digest| known.but.is_empty() || !known.but.contains(&short(digest));
        Some((known.basis?, digests(object, policy).filter(counts).collect()))
    });
    let proves: BTreeMap<Digest, BTreeSet<Digest>> = proves.collect();
    let is_last = forms.last().is_some_and(|last| last.object == form);
    (!proves.is_empty()).then_some((policy, Written { range, is_last, proves }))
}

fn basis<'h>(holdings: &'h BTreeMap<String, Holding>, policy: &str) -> Option<&'h Basis> {
    holdings.get(policy).and_then(|holding| holding.basis.as_ref())
}

/// Enough of a digest to tell it from the others of a policy; where two are alike, both are out.
fn short(digest: &Digest) -> String {
    let mut hex = digest.hex();
    hex.truncate(SHORT);
    hex
}

fn mark(basis: &Basis) -> Digest {
    Digest::of(&serde_json::to_vec(basis).unwrap_or_default())
}

/// The digests in a parameter. What it says of another policy than its own is never looked at.
fn digests<'o>(shard: &'o Object, policy: &'o str) -> impl Iterator<Item = Digest> + 'o {
    let lists = shard.body().pointer("/spec/data").and_then(Value::as_object);
    let of_policy = lists.into_iter().flatten().filter_map(move |(key, list)| {
        let is_of_policy = key.split_once('.').is_some_and(|(_, of)| of == policy);
        list.as_str().filter(|_| is_of_policy)
    });
    of_policy.flat_map(|list| list.split(';')).filter_map(|hex| Digest::from_hex(hex).ok())
}
