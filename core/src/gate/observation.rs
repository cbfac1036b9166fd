//! Everything the checks look at, as one value.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::break_glass::ActiveBreakGlass;
use super::check::Check;
use super::evaluate::declared_engines;
use super::loosening::{self, PolicyForm};
use super::rollout::Namespace;
use super::soak::ScanTime;
use crate::Digest;
use crate::api::policy::Enforcement;
use crate::engines::{EngineKind, Loss};
use crate::trust::clock::Sanity;
use crate::trust::freshness::Freshness;
use crate::verify::{Outcome, Reason};

/// What was observed at one instant, for one policy.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The trust roots there are, by the name of their TrustRootMirror.
    pub trust_roots: BTreeMap<String, TrustRootState>,
    /// The last scan, where there was one.
    pub scan: Option<Scan>,
    /// Why there was none, where that is known.
    pub unscanned: Option<Unscanned>,
    /// Whether whoever looks has just begun to: what is not known yet is found out in a moment.
    pub looks_around: bool,
    /// The engines.
    pub engines: Vec<EngineState>,
    /// What is known of the clock; none where it was not judged, which is no pass.
    pub clock: Option<Sanity>,
    /// Break-glasses in force.
    pub break_glasses: Vec<ActiveBreakGlass>,
    /// The namespaces that are known.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Whether these are all there are: one that is not among them is gone.
    pub sees_all_namespaces: bool,
    /// Namespaces nothing is ever enforced in: kube-system, and those of engines that are there.
    pub left_out: BTreeSet<String>,
}

impl Observation {
    /// Whether what a check looks at was not looked at yet: since whoever looks began to, or because it is new. What was looked at and fails is no such thing.
    pub(super) fn not_looked_at(&self, check: Check, form: PolicyForm<'_>, in_scope: &dyn Fn(&str) -> bool) -> bool {
        let of_scan = |so_far: &dyn Fn(&Scan) -> bool| match &self.scan {
            None => matches!(self.unscanned, Some(Unscanned::NotYet(_))),
            Some(scan) => so_far(scan),
        };
        match check {
            Check::ScanComplete => of_scan(&Scan::begins),
            Check::CoverageMet => of_scan(&|scan| scan.may_be_met(form.spec.enforcement.minimum_coverage, in_scope)),
            Check::EveryIdentitySeen => of_scan(&|scan| scan.begins() || scan.not_scanned(in_scope) > 0),
            Check::ScanFresh | Check::AdmissibleAsDeclared => of_scan(&|_| false),
            Check::EngineReady => {
                let declared = declared_engines(form);
                let mut engines = self.engines.iter().filter(|engine| declared.contains(&engine.kind));
                self.looks_around && !declared.is_empty() && engines.all(EngineState::may_be_ready)
            }
            Check::TrustRootReady => self.waits_for_trust(form, TrustRootState::is_ready),
            Check::TrustRootFresh => self.waits_for_trust(form, TrustRootState::is_fresh),
            Check::NoPendingRotation | Check::NoWideningLoss | Check::ClockSane | Check::NoBreakGlass => false,
        }
    }

    /// Whether a trust root was not looked at yet, and the others are as they should be.
    fn waits_for_trust(&self, form: PolicyForm<'_>, is_good: fn(&TrustRootState) -> bool) -> bool {
        let mut known = form.spec.trust_roots.iter().filter_map(|root| self.trust_roots.get(root));
        self.looks_around && known.all(is_good)
    }
}

/// Why there was no scan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unscanned {
    /// None will be made.
    #[error("{0}")]
    Never(String),
    /// None was finished yet since whoever looks began to. What was proven before stays so: nothing speaks against it.
    #[error("{0}")]
    NotYet(String),
}

/// A trust root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustRootState {
    /// Why nothing of it is in force, if so.
    pub unready: Option<String>,
    /// How old it is; none where its source says nothing of that.
    pub freshness: Option<Freshness>,
    /// The digest of a candidate that waits.
    pub pending: Option<Digest>,
    /// Whether its memory is what it was.
    pub memory_intact: bool,
    /// What its floor says of the clock.
    pub clock: Sanity,
}

impl TrustRootState {
    /// Whether it is in force, with memory.
    const fn is_ready(&self) -> bool {
        self.unready.is_none() && self.memory_intact
    }

    /// Whether it is not past its limit.
    fn is_fresh(&self) -> bool {
        self.freshness.as_ref().is_none_or(|freshness| freshness.staleness().is_none())
    }
}

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// Which.
    pub kind: EngineKind,
    /// Whether its kinds, its controller and its webhook rules are there.
    pub present: bool,
    /// Whether it acts on this generation of the policy.
    pub ready: bool,
    /// What the canaries said: a dry run with an image known to be signed, and one known not to be.
    pub canaries: Canaries,
    /// What else is wrong with it: subjects that may rewrite its objects, foreign edits.
    pub faults: Vec<String>,
    /// What it cannot express of this policy.
    pub losses: Vec<Loss>,
    /// Why it could not be given the policy as declared for enforcement where it is enforced now, if so.
    pub refuses: Option<String>,
    /// The namespaces it is told to deny in, by objects that are there. Whether it does is another question.
    pub told: BTreeSet<String>,
    /// The namespaces it was observed to deny in.
    pub in_force: BTreeSet<String>,
}

impl EngineState {
    /// Whether nothing that is known speaks against it.
    fn may_be_ready(&self) -> bool {
        self.present && self.faults.is_empty() && matches!(self.canaries, Canaries::Right | Canaries::Unknown)
    }
}

/// What canaries said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Canaries {
    /// None was sent, or none was answered.
    Unknown,
    /// The signed one was admitted and the other one was not.
    Right,
    /// The signed one was denied.
    SignedDenied,
    /// The unsigned one was admitted.
    UnsignedAdmitted,
}

/// A scan, as far as it concerns one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scan {
    /// When it was made.
    pub time: ScanTime,
    /// Why it is not complete, if so.
    pub incomplete: Option<String>,
    /// Whether none was complete yet since whoever looks began to list what runs.
    pub is_early: bool,
    /// What of the policy it judged by.
    pub subject: Digest,
    /// The images the policy is about.
    pub images: Vec<ScannedImage>,
    /// Images that no policy in force at their place is about, and this policy would deny.
    pub others: Vec<OtherImage>,
    /// The identities of which a verified bundle was seen, by name.
    pub identities_seen: BTreeSet<String>,
}

/// One image the policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScannedImage {
    /// As it is declared.
    pub image: String,
    /// What the policy says of it.
    pub reason: Reason,
    /// Why engines could not admit it as it is declared, whatever is stored for it.
    pub inadmissible: Option<&'static str>,
    /// Who uses it, by namespace: `Kind/name`.
    pub users: BTreeMap<String, BTreeSet<String>>,
}

/// One image no policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherImage {
    /// As it is declared.
    pub image: String,
    /// Who uses it, by namespace: `Kind/name`.
    pub users: BTreeMap<String, BTreeSet<String>>,
}

/// Images by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Proven to pass.
    pub covered: usize,
    /// Proven not to pass.
    pub uncovered: usize,
    /// Not judged.
    pub unknown: usize,
}

impl Tally {
    /// All of them.
    pub const fn total(&self) -> usize {
        self.covered + self.uncovered + self.unknown
    }
}

impl Scan {
    /// The images of namespaces in scope, by outcome; each image once.
    pub fn tally(&self, in_scope: &dyn Fn(&str) -> bool) -> Tally {
        let mut tally = Tally::default();
        for image in self.images.iter().filter(|image| used_in(&image.users, in_scope)) {
            match image.reason.outcome() {
                Outcome::Covered => tally.covered += 1,
                Outcome::Uncovered => tally.uncovered += 1,
                Outcome::Unknown => tally.unknown += 1,
            }
        }
        tally
    }

    /// Whether what runs is still being listed for the first time.
    pub(super) fn begins(&self) -> bool {
        self.is_early && self.incomplete.is_some()
    }

    /// How many images of namespaces in scope no scan has come to.
    pub(super) fn not_scanned(&self, in_scope: &dyn Fn(&str) -> bool) -> usize {
        let new = self.images.iter().filter(|image| image.reason == Reason::NotScanned);
        new.filter(|image| used_in(&image.users, in_scope)).count()
    }

    /// Whether so many per cent may be covered once what no scan has come to is looked at.
    fn may_be_met(&self, wanted: u8, in_scope: &dyn Fn(&str) -> bool) -> bool {
        let (new, tally) = (self.not_scanned(in_scope), self.tally(in_scope));
        let may_pass = (tally.covered + new).saturating_mul(100) >= usize::from(wanted).saturating_mul(tally.total());
        // Of what is not listed yet, any may be covered.
        let is_open = if self.begins() { wanted < 100 || tally.uncovered == 0 } else { new > 0 && may_pass };
        is_open && tally.unknown == new
    }

    /// Whoever has most of the images that meet a condition, and how many; the first by name of several.
    pub(super) fn worst<'s>(
        users: impl Iterator<Item = &'s BTreeMap<String, BTreeSet<String>>>,
        in_scope: &dyn Fn(&str) -> bool,
    ) -> Option<(&'s str, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for namespace in users.flat_map(BTreeMap::keys).filter(|namespace| in_scope(namespace)) {
            *counts.entry(namespace).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)))
    }

    /// What enforcement would deny in the namespaces in scope: workload, image, why.
    pub(super) fn would_deny(&self, in_scope: &dyn Fn(&str) -> bool) -> Vec<(String, String, String)> {
        let mut denied = Vec::new();
        let mut add = |image: &str, users: &BTreeMap<String, BTreeSet<String>>, why: &str| {
            for (namespace, workloads) in users.iter().filter(|(namespace, _)| in_scope(namespace)) {
                let entries = workloads
                    .iter()
                    .map(|workload| (format!("{namespace}/{workload}"), image.to_owned(), why.to_owned()));
                denied.extend(entries);
            }
        };
        for image in &self.images {
            match (image.inadmissible, image.reason.outcome()) {
                (Some(why), _) => add(&image.image, &image.users, why),
                (None, Outcome::Covered) => {}
                (None, _) => add(&image.image, &image.users, &format!("{}: {}", image.reason, image.reason.meaning())),
            }
        }
        for other in &self.others {
            add(&other.image, &other.users, "no policy in force there is about it");
        }
        denied
    }
}

pub(super) fn used_in(users: &BTreeMap<String, BTreeSet<String>>, in_scope: &dyn Fn(&str) -> bool) -> bool {
    users.keys().any(|namespace| in_scope(namespace))
}

/// The digest of those parts of a policy that decide what passes and where: all but how far and when it is enforced, and what is verified ahead. What a soak
/// proved, it proved of this.
pub fn subject_digest(form: PolicyForm<'_>) -> Digest {
    let mut spec = form.spec_without_intake();
    spec.enforcement = Enforcement { waves: spec.enforcement.waves, ..Enforcement::default() };
    loosening::approval_digest("Subject", form.name, &(spec, form.keys))
}
