//! What is there: policies as they are declared, what is remembered of them, what engines hold and do, and what was agreed to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::CompiledPolicy;
use holdfast_core::engines::all::{Capabilities, home};
use holdfast_core::engines::denial::{Denial, denial};
use holdfast_core::engines::native::Holding;
use holdfast_core::engines::presence::Discovered;
use holdfast_core::engines::{EngineKind, LocalRepository};
use holdfast_core::gate::break_glass::ActiveBreakGlass;
use holdfast_core::gate::loosening::Approval;
use holdfast_core::gate::{Canaries, Namespace, Seen};
use holdfast_core::operate::policy::{EngineSeen, Evidence, Facts, Member, RETENTION, Remembered, Trust, lost};
use holdfast_core::trust::clock::Sanity;
use jiff::Timestamp;
use kube::core::error_boundary::InvalidObject;
use kube::{Resource, ResourceExt};

use super::super::agreements;
use super::super::context::Context;
use super::super::coverage::{Sight, compiled};
use super::super::failure::Failed;
use super::in_force::{LOOKS_AROUND, Rules};
use super::live::{Kind, There};
use super::memory::Recalled;
use super::observations::Said;

/// Everything a pass knows before anything was judged.
pub(super) struct Observed {
    /// Every policy that is declared and can be read.
    pub(super) declared: Vec<Arc<SigningIdentityPolicy>>,
    /// Those that cannot: what is enforced of them stays so.
    pub(super) unreadable: Vec<InvalidObject>,
    pub(super) members: Vec<Member>,
    pub(super) lost: BTreeSet<String>,
    pub(super) remembered: BTreeMap<String, Remembered>,
    /// What is wrong with where things are remembered.
    pub(super) faults: BTreeMap<String, String>,
    pub(super) holdings: Arc<BTreeMap<String, Holding>>,
    pub(super) trust: BTreeMap<String, Trust>,
    pub(super) repositories: BTreeMap<String, LocalRepository>,
    pub(super) namespaces: BTreeMap<String, Namespace>,
    /// Namespaces that are on their way out: nothing can be made there.
    pub(super) ending: BTreeSet<String>,
    pub(super) left_out: BTreeSet<String>,
    pub(super) discovered: Arc<Discovered>,
    pub(super) capabilities: Capabilities,
    pub(super) approvals: Vec<Approval>,
    pub(super) break_glasses: Vec<ActiveBreakGlass>,
    /// What the native engine's objects are, and what was seen of them.
    pub(super) there: BTreeMap<(Kind, String), There>,
    pub(super) said: BTreeMap<String, (Said, BTreeSet<String>)>,
    /// For how long it has been looked whether they are in force.
    pub(super) looking: Duration,
    /// What other engines hold, where they are there.
    pub(super) foreign: BTreeMap<EngineKind, Vec<Denial>>,
    pub(super) denials: Vec<Denial>,
    /// Engines whose objects could not be written at the last pass, and why.
    pub(super) unwritten: BTreeMap<EngineKind, String>,
}

/// Looks.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(super) async fn observe(context: &Context, now: Timestamp) -> Result<Observed, Failed> {
    let (mut declared, mut unreadable) = (Vec::new(), Vec::new());
    for policy in &context.caches.policies.state() {
        match &policy.0 {
            Ok(policy) => declared.push(Arc::new(policy.clone())),
            Err(invalid) => {
                unreadable.push(InvalidObject { error: invalid.error.clone(), metadata: invalid.metadata.clone() });
            }
        }
    }
    let names: BTreeSet<String> = declared.iter().map(|policy| policy.name_any()).collect();
    let there = context.policies.live.now();
    let denials: Vec<Denial> = there.values().filter_map(|there| denial(there.object.body())).collect();
    let foreign = context.policies.foreign.denials();
    let denying: BTreeSet<String> =
        denials.iter().chain(foreign.values().flatten()).map(|denial| denial.policy.clone()).collect();
    let recalled = context.policies.memory.recall(&names, &denying).await?;
    let (remembered, faults) = split(recalled);
    let reader = context.reader();
    let mut members = Vec::new();
    for policy in &declared {
        let ready = compiled(&reader, policy).await?;
        let why = |faults: &Vec<_>| faults.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ");
        let ready: Result<CompiledPolicy, String> = ready.map_err(|faults| why(&faults));
        members.push(Member::declared(policy, ready.as_ref().map_err(Clone::clone)));
    }
    let members = Member::with_remembered(members, &remembered);
    let lost = lost(&members, &remembered, denying.iter().map(String::as_str));
    let discovered = context.engines.look().await?;
    let mut capabilities = discovered.capabilities.clone();
    let holdings = context.policies.verified.recall(&context.policies.live, now).await?;
    capabilities.native.shards = context.policies.verified.shards();
    let glasses = agreements::active(context, concerns_policies).await?;
    let approvals = approvals(context, &members, &glasses).await?;
    Ok(Observed {
        members,
        lost,
        remembered,
        faults,
        holdings,
        trust: context.trusts.states(),
        repositories: BTreeMap::new(),
        namespaces: namespaces(context),
        ending: ending(context),
        left_out: left_out(&discovered),
        said: context.policies.observing.known(&there),
        looking: context.policies.observing.looking(),
        unwritten: context.policies.unwritten.lock().clone(),
        discovered,
        capabilities,
        approvals,
        break_glasses: glasses.active,
        there,
        foreign,
        denials,
        declared,
        unreadable,
    })
}

fn split(recalled: BTreeMap<String, Recalled>) -> (BTreeMap<String, Remembered>, BTreeMap<String, String>) {
    let faults = recalled.iter().filter_map(|(name, recalled)| Some((name.clone(), recalled.fault.clone()?))).collect();
    (recalled.into_iter().map(|(name, recalled)| (name, recalled.gate)).collect(), faults)
}

fn concerns_policies(loosen: &holdfast_core::api::break_glass::Loosen) -> bool {
    let of_policy = loosen
        .allow_change
        .as_ref()
        .is_some_and(|change| change.kind == SigningIdentityPolicy::kind(&()) || change.kind == "TrustRootMirror");
    let of_trust = [&loosen.accept_stale, &loosen.restore_memory, &loosen.lower_clock_floor];
    of_policy
        || loosen.return_to_audit.is_some()
        || loosen.adopt_without_approval.is_some()
        || of_trust.into_iter().any(Option::is_some)
}

/// The approvals of policies that count. The guards are asked only where somebody approved one.
async fn approvals(
    context: &Context,
    members: &[Member],
    glasses: &agreements::Glasses,
) -> Result<Vec<Approval>, Failed> {
    let kind = SigningIdentityPolicy::kind(&());
    let declared = agreements::declared_approvals(context);
    let named: BTreeSet<&str> = declared
        .iter()
        .filter(|approval| approval.spec.r#for.kind == kind)
        .map(|approval| approval.spec.r#for.name.as_str())
        .collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let guarding = match &glasses.guarding {
        Some(guarding) => guarding.clone(),
        None => context.guards.look_now().await?,
    };
    let of = members.iter().filter(|member| named.contains(member.name.as_str()));
    Ok(of.flat_map(|member| agreements::approvals(context, &kind, &member.name, &guarding)).collect())
}

fn namespaces(context: &Context) -> BTreeMap<String, Namespace> {
    let all = context.caches.namespaces.state();
    let looked = context.policies.looked.lock();
    let of = |namespace: &Arc<kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>>| {
        let name = namespace.name_any();
        let mut labels = namespace.labels().clone();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
        let created = namespace.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let seen = looked.as_ref().map_or(Seen::Unknown, |there| match there.get(&name) {
            Some(was) if *was == created => Seen::Before,
            _ => Seen::Never,
        });
        (name, Namespace { labels, created, seen })
    };
    all.iter().map(of).collect()
}

fn ending(context: &Context) -> BTreeSet<String> {
    let all = context.caches.namespaces.state();
    let of = all.iter().filter(|namespace| namespace.metadata.deletion_timestamp.is_some());
    of.map(|namespace| namespace.name_any()).collect()
}

/// Namespaces no policy comes to be enforced in: an engine that is not there has none.
fn left_out(discovered: &Discovered) -> BTreeSet<String> {
    let homes = EngineKind::ALL.iter().filter(|kind| discovered.of(**kind).present).filter_map(|kind| home(*kind));
    std::iter::once("kube-system").chain(homes).map(str::to_owned).collect()
}

impl Observed {
    /// What is decided on.
    pub(super) fn facts<'a>(
        &'a self,
        context: &'a Context,
        sight: &'a Sight,
        evidence: &'a Evidence,
        engines: &'a dyn Fn(EngineKind, &str) -> EngineSeen,
    ) -> Facts<'a> {
        Facts {
            members: &self.members,
            lost: &self.lost,
            remembered: &self.remembered,
            holdings: &self.holdings,
            trust: &self.trust,
            repositories: &self.repositories,
            inventory: &sight.snapshot.inventory,
            namespaces: &self.namespaces,
            sees_all_namespaces: true,
            left_out: &self.left_out,
            holdfast_namespace: &context.namespace,
            capabilities: &self.capabilities,
            engines,
            evidence,
            scan: sight.scan.as_ref(),
            looks_around: self.looking <= LOOKS_AROUND,
            clock: self.clock(),
            approvals: &self.approvals,
            break_glasses: &self.break_glasses,
            retention: RETENTION,
        }
    }

    /// What was seen of an engine, as far as it concerns a policy.
    pub(super) fn engine(&self, kind: EngineKind, policy: &str) -> EngineSeen {
        let presence = self.discovered.of(kind);
        let mut faults = presence.faults;
        faults.extend(self.unwritten.get(&kind).cloned());
        let mut seen = match kind {
            EngineKind::Native => self.native(policy),
            other => self.foreign(other, policy),
        };
        faults.append(&mut seen.faults);
        EngineSeen { present: presence.present, faults, ..seen }
    }

    fn native(&self, policy: &str) -> EngineSeen {
        let told: BTreeSet<String> = self
            .denials
            .iter()
            .filter(|denial| denial.policy == policy)
            .flat_map(|denial| denial.namespaces.iter().cloned())
            .collect();
        let is_of = |name: &str| {
            let binding = self.there.get(&(Kind::Binding, name.to_owned()));
            binding.is_some_and(|binding| super::policy_of(&binding.object) == Some(policy))
        };
        let of_policy: Vec<&(Said, BTreeSet<String>)> = self
            .said
            .iter()
            .filter(|(name, (said, _))| *said != Said::Excepted && is_of(name))
            .map(|(_, said)| said)
            .collect();
        let canaries = canaries(of_policy.iter().map(|(said, _)| said));
        let ready = of_policy.is_empty() || of_policy.iter().all(|(said, _)| *said == Said::InForce);
        let in_force = told.iter().filter(|namespace| self.denies_in(policy, namespace)).cloned().collect();
        EngineSeen { present: true, ready, canaries, faults: Vec::new(), told, in_force }
    }

    /// Whether every rule over a namespace that concerns the policy was seen in force. In one that is on its way out nothing can be tried.
    fn denies_in(&self, policy: &str, namespace: &str) -> bool {
        let looking = if self.ending.contains(namespace) { Duration::ZERO } else { self.looking };
        let rules = Rules { there: &self.there, said: &self.said, looking };
        rules.deny_in(policy, namespace, self.was_observed(policy, namespace))
    }

    fn was_observed(&self, policy: &str, namespace: &str) -> bool {
        let enforced = self.remembered.get(policy).and_then(|kept| kept.enforced.as_ref());
        enforced
            .and_then(|enforced| enforced.namespaces.get(namespace))
            .is_some_and(|standing| standing.observed.is_some())
    }

    fn foreign(&self, kind: EngineKind, policy: &str) -> EngineSeen {
        let told: BTreeSet<String> = self
            .foreign
            .get(&kind)
            .into_iter()
            .flatten()
            .filter(|denial| denial.policy == policy)
            .flat_map(|denial| denial.namespaces.iter().cloned())
            .collect();
        let faults =
            vec!["canaries are sent to the native engine alone, so nothing is known of what it denies".to_owned()];
        EngineSeen { present: true, ready: true, canaries: Canaries::Unknown, faults, told, in_force: BTreeSet::new() }
    }

    /// What the floors of trust say of the clock.
    pub(super) fn clock(&self) -> Sanity {
        let clocks = self.trust.values().map(|trust| trust.state.clock);
        clocks.into_iter().find(|clock| *clock != Sanity::Sane).unwrap_or(Sanity::Sane)
    }
}

fn canaries<'s>(said: impl Iterator<Item = &'s Said>) -> Canaries {
    let mut worst = None;
    for said in said {
        let canary = match said {
            Said::Open => return Canaries::UnsignedAdmitted,
            Said::Denies(_) => Canaries::SignedDenied,
            Said::Unclear(_) | Said::Excepted => Canaries::Unknown,
            Said::InForce => Canaries::Right,
        };
        worst = match (worst, canary) {
            (Some(Canaries::SignedDenied), _) => Some(Canaries::SignedDenied),
            (Some(Canaries::Unknown), Canaries::Right) => Some(Canaries::Unknown),
            (_, canary) => Some(canary),
        };
    }
    worst.unwrap_or(Canaries::Unknown)
}
