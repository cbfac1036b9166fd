//! What policies say of what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_core::Digest;

use holdfast_core::coverage::subject::{Subject, both};
use holdfast_core::coverage::{
    CompiledPolicy, Content, DeclaredRegistries, Finding, Image, Inventory, Judged, Memo, PolicyVerdict, Roots,
    find_out, in_scope,
};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::{Artifact, Evidence, Outcome, Reason};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::ledger::{Ledger, Sighting, Target};
use super::run::Want;
use crate::clock;
use crate::registry::blobs::Blobs;
use crate::registry::remote::{LIGHT, Looked, assemble};

/// Policies, trust, and what was found out before.
#[derive(Clone)]
pub struct Judge {
    /// The policies that can be used.
    pub policies: Vec<CompiledPolicy>,
    /// The trust in force.
    pub roots: Roots,
    /// Where images may be looked for.
    pub registries: DeclaredRegistries,
    /// What was found out before.
    pub memo: Arc<Mutex<Memo>>,
    /// The evidence that is kept.
    pub blobs: Arc<Blobs>,
    /// Whose turn it is to judge much evidence: one at a time, for it is all in memory then.
    pub heavy: Arc<Mutex<()>>,
    /// Who is told how long a judgement took; not of those that were remembered.
    pub timed: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Judge {
    /// What a policy says of what was seen; `None` where the evidence is no longer kept, and has to be fetched again. `along` is what a look just brought.
    pub fn finding(&self, sighting: &Sighting, policy: &CompiledPolicy, along: &[&Looked]) -> Option<Arc<Finding>> {
        let content =
            Content::of(sighting.digest, sighting.pieces.iter().map(|piece| piece.digest), policy, &self.roots);
        if let Some(known) = self.memo.lock().recall(content) {
            return Some(known);
        }
        let bytes = sighting.pieces.iter().fold(0_u64, |all, piece| all.saturating_add(piece.bytes));
        let _turn = (bytes > LIGHT).then(|| self.heavy.lock());
        // Whoever had the turn before may have found it out.
        if let Some(known) = self.memo.lock().recall(content) {
            return Some(known);
        }
        let take = |piece| along.iter().find_map(|looked| looked.take(&self.blobs, piece));
        let evidence: Vec<Evidence> = sighting
            .pieces
            .iter()
            .map(|piece| take(piece).or_else(|| assemble(&self.blobs, piece)))
            .collect::<Option<_>>()?;
        let mut artifact = Artifact::of_digest(sighting.digest);
        if !evidence.is_empty() {
            // Some signatures are over the bytes: without them, they would seem wrong.
            let bytes = along.first().map(|looked| looked.manifest.to_vec());
            artifact.bytes = Some(bytes.or_else(|| self.blobs.get(sighting.digest))?);
        }
        let start = Instant::now();
        let found = find_out(policy, &artifact, &evidence, &self.roots, clock::now());
        (self.timed)(start.elapsed());
        Some(self.memo.lock().keep(content, found))
    }

    /// Whether all of some policies pass it, so that no further evidence is needed.
    pub fn passes(&self, sighting: &Sighting, policies: &[usize], along: &[&Looked]) -> bool {
        let mut policies = policies.iter().filter_map(|at| self.policies.get(*at));
        policies.all(|policy| {
            let finding = self.finding(sighting, policy, along);
            finding
                .is_some_and(|finding| finding.certain(policy, None, &self.roots).reason.outcome() == Outcome::Covered)
        })
    }

    /// Where an image of the inventory is looked for.
    pub fn target(&self, image: &ImageRef, digest: Digest) -> Option<Target> {
        let location = self.registries.locate(image)?;
        let host = location.host.to_owned();
        Some(Target { registry: location.declared, host, repository: location.repository, digest })
    }

    /// What a policy says of an image.
    pub fn judged(&self, ledger: &Ledger, image: &Image, policy: &CompiledPolicy) -> Judged {
        let subject = Subject::of(image);
        if let Some((reason, message)) = subject.nothing() {
            return (PolicyVerdict::of(policy, reason, message), None);
        }
        match subject {
            Subject::One { image, digest } => (self.of(ledger, &image, digest, policy), Some(digest)),
            Subject::Two { image, declared, runs } => {
                let verdict = self.of(ledger, &image, declared, policy);
                let seen = self.target(&image, declared).and_then(|target| ledger.get(&target));
                let is_part = seen.is_some_and(|seen| seen.has_part(runs));
                if is_part || verdict.reason.outcome() != Outcome::Covered {
                    return (verdict, Some(declared));
                }
                (both(verdict, self.of(ledger, &image, runs, policy), runs), Some(declared))
            }
            Subject::Unreadable(_) | Subject::LeftOut | Subject::Unresolved => {
                (PolicyVerdict::of(policy, Reason::DigestUnresolved, "there is nothing to judge"), None)
            }
        }
    }

    fn of(&self, ledger: &Ledger, image: &ImageRef, digest: Digest, policy: &CompiledPolicy) -> PolicyVerdict {
        let Some(target) = self.target(image, digest) else {
            let message = format!(
                "{} is under none of the registries that are declared, so nobody was asked; declare it in `registries`",
                image.name()
            );
            return PolicyVerdict::of(policy, Reason::RegistryNotDeclared, message);
        };
        let Some(sighting) = ledger.get(&target) else {
            return PolicyVerdict::of(policy, Reason::NotScanned, "it was not looked for yet");
        };
        if let Some((reason, message)) = &sighting.failure {
            return PolicyVerdict::of(policy, unknown(*reason), message.as_str());
        }
        match self.finding(&sighting, policy, &[]) {
            Some(finding) => {
                PolicyVerdict::found(policy, finding.certain(policy, sighting.incomplete.as_ref(), &self.roots))
            }
            None => PolicyVerdict::of(
                policy,
                Reason::RegistryUnavailable,
                "its evidence is no longer kept and has to be fetched again, to be judged by what has changed",
            ),
        }
    }

    /// Whether an image can be judged by what is kept.
    pub fn is_at_hand(&self, sighting: &Sighting, policies: &[usize]) -> bool {
        let mut policies = policies.iter().filter_map(|at| self.policies.get(*at));
        sighting.failure.is_some() || policies.all(|policy| self.finding(sighting, policy, &[]).is_some())
    }

    /// What is to be looked for, and under which policies it counts: each place once.
    pub fn wants(&self, inventory: &Inventory) -> Vec<Want> {
        let mut wants: BTreeMap<Target, Want> = BTreeMap::new();
        for (at, policies) in in_scope(inventory, &self.policies) {
            let Some(image) = inventory.images().get(at) else { continue };
            let subject = Subject::of(image);
            let (Some(reference), digests) = subject.digests() else { continue };
            for target in digests.into_iter().filter_map(|digest| self.target(reference, digest)) {
                let want =
                    wants.entry(target.clone()).or_insert_with(|| Want { target, policies: Vec::new(), image: at });
                want.policies.extend_from_slice(&policies);
                want.policies.sort_unstable();
                want.policies.dedup();
            }
        }
        wants.into_values().collect()
    }

    /// Judges what was not judged before, on every processor: what follows finds it remembered. The newest time of signing that each trust root vouches for, of
    /// what passes.
    pub fn catch_up(&self, seen: &[(Arc<Sighting>, Vec<usize>)]) -> BTreeMap<String, Timestamp> {
        let (next, newest) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(seen.len());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let mut found = BTreeMap::new();
                    while let Some((sighting, policies)) = seen.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for policy in policies.iter().filter_map(|at| self.policies.get(*at)) {
                            let finding = self.finding(sighting, policy, &[]);
                            let times = finding.iter().flat_map(|finding| &finding.signed_at);
                            newer(&mut found, times.map(|(root, at)| (root, at)));
                        }
                    }
                    newer(&mut newest.lock(), &found);
                });
            }
        });
        newest.into_inner()
    }
}

/// Takes over whichever times are newer.
fn newer<'a>(newest: &mut BTreeMap<String, Timestamp>, times: impl IntoIterator<Item = (&'a String, &'a Timestamp)>) {
    for (root, at) in times {
        match newest.get_mut(root) {
            Some(known) => *known = (*at).max(*known),
            None => drop(newest.insert(root.clone(), *at)),
        }
    }
}

/// Whoever could not look knows nothing, whatever the reason given.
const fn unknown(reason: Reason) -> Reason {
    match reason.outcome() {
        Outcome::Unknown => reason,
        Outcome::Covered | Outcome::Uncovered => Reason::RegistryUnavailable,
    }
}
