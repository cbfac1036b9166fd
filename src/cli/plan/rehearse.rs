//! What each rotation that waits would change for the images in scope. What comes into force by itself does once that is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::{Coverage, Roots};
use holdfast_core::operate::mirror::{Impact, InForce, Record, Rehearsal};
use holdfast_core::verify::PreparedRoot;
use jiff::Timestamp;

use super::super::output::CliError;
use super::memory::GateMemory;
use super::trust::{Places, TrustView};

/// What each candidate would change, where that was judged.
pub(super) type Impacts = BTreeMap<String, (Digest, Impact)>;

/// Trust, and what it says of the images.
pub(super) struct Rehearsed {
    pub(super) trust: Vec<TrustView>,
    pub(super) roots: Roots,
    pub(super) coverage: Coverage,
}

/// Judges by what is in force, then by each candidate, and then by what comes into force on that: one after another, since what one rotation takes away may be
/// what lets another pass.
pub(super) fn rehearse(
    mut trust: Vec<TrustView>,
    in_force: impl Fn(&Impacts) -> Result<Vec<TrustView>, CliError>,
    accepts: impl Fn(&str, &str) -> bool,
    mut assess: impl FnMut(&Roots) -> Coverage,
) -> Result<Rehearsed, CliError> {
    let mut roots = prepared(&trust, None)?;
    let mut coverage = assess(&roots);
    let mut impacts = Impacts::new();
    while let Some(adopted) = next(&trust, &coverage, &mut impacts, &in_force, &accepts, &mut assess)? {
        trust = adopted;
        roots = prepared(&trust, None)?;
        coverage = assess(&roots);
    }
    // Why each of the others waits is known now.
    trust = in_force(&impacts)?;
    for view in &mut trust {
        if let (Some(candidate), Some((_, impact))) = (&mut view.candidate, impacts.get(&view.name)) {
            candidate.impact = Some(impact.clone());
        }
    }
    name_cures(&trust, &mut coverage);
    Ok(Rehearsed { trust, roots, coverage })
}

/// Judges by each candidate, until one comes into force on that: the trust of every mirror then.
fn next(
    trust: &[TrustView],
    coverage: &Coverage,
    impacts: &mut Impacts,
    in_force: &impl Fn(&Impacts) -> Result<Vec<TrustView>, CliError>,
    accepts: &impl Fn(&str, &str) -> bool,
    assess: &mut impl FnMut(&Roots) -> Coverage,
) -> Result<Option<Vec<TrustView>>, CliError> {
    for (at, view) in trust.iter().enumerate() {
        let Some(candidate) = &view.candidate else { continue };
        let by_candidate = assess(&prepared(trust, Some(at))?);
        let impact = Impact::between(coverage, &by_candidate, |policy| accepts(policy, &view.name));
        impacts.insert(view.name.clone(), (candidate.root.digest, impact));
        let then = in_force(impacts)?;
        if then.iter().any(|then| then.name == view.name && then.candidate.is_none()) {
            return Ok(Some(then));
        }
    }
    Ok(None)
}

/// The trust of every mirror, as it is in force or would be; `rehearsed` says what each candidate would change, where that was judged.
pub(super) fn in_force(
    places: &Places<'_>,
    memory: &GateMemory,
    approved: &[Digest],
    rehearsed: &Impacts,
    now: Timestamp,
) -> Result<Vec<TrustView>, CliError> {
    let view = |name: &str, in_force: InForce, kept: Option<&Record>| {
        let rehearsal =
            rehearsed.get(name).map_or(Rehearsal::Awaited, |(digest, impact)| Rehearsal::Of(*digest, impact));
        TrustView::of(in_force, places, kept, approved, rehearsal, now)
    };
    let mut trust = Vec::new();
    for (_, object) in &places.gitops.objects {
        if let Object::TrustRootMirror(mirror) = object {
            let name = mirror.metadata.name.as_deref().unwrap_or_default();
            let kept = memory.trust_of(name);
            trust.push(view(name, InForce::of(mirror, kept, approved), kept)?);
        }
    }
    for name in memory.trust.keys() {
        if let Some(kept) = memory.trust_of(name).filter(|_| !trust.iter().any(|view| view.name == *name)) {
            trust.push(view(name, InForce::gone(name, kept), Some(kept))?);
        }
    }
    trust.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(trust)
}

/// Says of an image that a waiting rotation would cure it.
fn name_cures(trust: &[TrustView], coverage: &mut Coverage) {
    for view in trust {
        let Some(impact) = view.candidate.as_ref().and_then(|candidate| candidate.impact.as_ref()) else { continue };
        for image in coverage.images.iter_mut().filter(|image| impact.newly_passing.contains(&image.named())) {
            image.message =
                format!("{}; the rotation of `{}` that awaits approval would cure it", image.message, view.name);
        }
    }
}

/// The trust roots in force, ready to verify with; that of `candidate` as it would be.
pub(super) fn prepared(trust: &[TrustView], candidate: Option<usize>) -> Result<Roots, CliError> {
    let mut roots = Roots::new();
    for (at, view) in trust.iter().enumerate() {
        let waiting = view.candidate.as_ref().filter(|_| candidate == Some(at)).map(|candidate| &candidate.root);
        let Some(root) = waiting.or(view.adopted.as_ref()) else { continue };
        let ready = PreparedRoot::new(root.clone()).map_err(|e| CliError::usage(e.to_string()))?;
        let ready = match view.staleness() {
            Some(why) => ready.stale(why),
            None => ready,
        };
        roots.insert(view.name.clone(), Arc::new(ready));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use holdfast_core::coverage::{ImageResult, PolicyVerdict};
    use holdfast_core::operate::mirror::Candidate;
    use holdfast_core::trust::budget::Budget;
    use holdfast_core::trust::clock::Sanity;
    use holdfast_core::trust::diff::RootDiff;
    use holdfast_core::trust::root::TrustRoot;
    use holdfast_core::verify::Reason;
    use holdfast_testpki::Sigstore;

    use super::*;

    fn root(mirror: &str, domain: &str) -> TrustRoot {
        let sigstore = Sigstore::of(domain, "2026-01-01T00:00:00Z".parse().unwrap());
        TrustRoot::from_json(mirror, sigstore.trusted_root().to_string().as_bytes()).unwrap()
    }

    fn rotating(mirror: &str, [adopted, next]: [TrustRoot; 2]) -> TrustView {
        let changes = RootDiff::between(&adopted, &next);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let expiry_budget = Budget::of(&[], Some(&adopted), now);
        TrustView {
            name: mirror.to_owned(),
            roles: Vec::new(),
            notes: Vec::new(),
            freshness: None,
            clock: Sanity::Sane,
            adopted: Some(adopted),
            candidate: Some(Candidate { root: next, changes, impact: None, not_yet: None }),
            held: Vec::new(),
            asks_for: Vec::new(),
            kept: None,
            expiry_budget,
            refused: None,
            unseen: None,
        }
    }

    /// One image, verified while either mirror has the old trust.
    fn judged(roots: &Roots, old: &[Digest]) -> Coverage {
        let verifies = roots.values().any(|ready| old.contains(&ready.root().digest));
        let reason = if verifies { Reason::Verified } else { Reason::UntrustedAuthority };
        let verdict = PolicyVerdict { policy: "apps".to_owned(), reason, message: String::new(), signers: Vec::new() };
        let image = ImageResult {
            image: "image".to_owned(),
            runs: None,
            digest: None,
            outcome: reason.outcome(),
            reason,
            message: String::new(),
            owner: reason.owner(),
            policies: vec![verdict],
            workloads: Vec::new(),
            by_tag: false,
        };
        Coverage { images: vec![image], ..Coverage::default() }
    }

    #[test]
    fn of_two_rotations_that_break_nothing_alone_one_waits() {
        let roots = ["one", "other"].map(|name| (name, [root(name, "old.example"), root(name, "new.example")]));
        let trust = || -> Vec<TrustView> { roots.iter().map(|(name, roots)| rotating(name, roots.clone())).collect() };
        let old: Vec<Digest> = roots.iter().map(|(_, [old, _])| old.digest).collect();
        let in_force = |impacts: &Impacts| {
            let mut then = trust();
            for view in &mut then {
                if impacts.get(&view.name).is_some_and(|(_, impact)| impact.may_fail() == 0) {
                    view.adopted = view.candidate.take().map(|candidate| candidate.root);
                }
            }
            Ok(then)
        };
        let rehearsed = rehearse(trust(), in_force, |_, _| true, |roots| judged(roots, &old)).unwrap();
        let waits = |at: usize| rehearsed.trust.get(at).unwrap().candidate.as_ref();
        assert!(waits(0).is_none(), "the first comes into force");
        assert_eq!(waits(1).unwrap().impact.as_ref().unwrap().newly_failing, ["image"]);
        assert_eq!(rehearsed.coverage.images.first().unwrap().reason, Reason::Verified);
    }
}
