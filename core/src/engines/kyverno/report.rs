//! What is said of a policy: every loss with what it means for this very one.

use std::collections::{BTreeMap, BTreeSet};

use super::Task;
use super::attestors::Attestor;
use super::capability::Installed;
use super::evidence::{Beside, Run};
use super::mirror::{self, Mirror};
use crate::api::policy::OtherImages;
use crate::engines::all::home;
use crate::engines::loss::Effect;
use crate::engines::{EngineKind, LocalRepository, Loss, LossKind, Refused, Rendering};
use crate::verify::Signer;

/// A policy needs a TUF repository and cannot have one; why, is a loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoRepository;

/// Objects, losses and refusals as they come up.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rendering: Rendering,
}

impl Report {
    pub(super) fn loss(&mut self, policy: &str, kind: LossKind, field: &str, detail: String) {
        self.rendering.losses.push(loss(Some(policy), kind, field, detail));
    }

    /// Says that the policy is not rendered for enforcement, where it is enforced.
    pub(super) fn refuse(&mut self, task: &Task<'_>, why: &str) {
        if task.is_enforced() {
            self.rendering.refused.push(Refused { policy: task.name.to_owned(), why: why.to_owned() });
        }
    }

    /// Refuses where the policy is enforced in a namespace that Kyverno never judges: it would be open there.
    pub(super) fn refuse_for_places(&mut self, task: &Task<'_>) {
        if !task.unjudged.is_empty() {
            let names: Vec<&str> = task.unjudged.iter().copied().collect();
            let why = format!(
                "it is enforced in `{}`, where Kyverno judges nothing, so that it and the repository it asks can start; enforce there with the native engine",
                names.join("`, `")
            );
            self.refuse(task, &why);
        }
    }

    /// Refuses for every loss that would widen, if there is any.
    pub(super) fn refuse_for_losses(&mut self, task: &Task<'_>) {
        let why: Vec<String> = self
            .rendering
            .losses
            .iter()
            .filter(|loss| loss.policy.as_deref() == Some(task.name) && loss.effect() == Effect::Wider)
            .map(ToString::to_string)
            .collect();
        if !why.is_empty() {
            self.refuse(task, &why.join("; also "));
        }
    }

    /// What holds of every ImageValidatingPolicy alike; said once.
    pub(super) fn of_the_engine(&mut self, installed: &Installed) {
        let mut say =
            |kind, field: &str, detail: &str| self.rendering.losses.push(loss(None, kind, field, detail.to_owned()));
        say(LossKind::KyvernoReadsStatementsOnly, "identities", "plain and legacy signatures are denied");
        say(LossKind::KyvernoDeniesImageVolumes, "images", "an image volume that a policy is about is denied");
        say(
            LossKind::KyvernoDeniesTags,
            "images",
            "where a policy is enforced, a pod that names its image by tag alone is denied",
        );
        say(
            LossKind::KyvernoJudgesEveryUpdate,
            "enforcement",
            "where a policy is enforced, a new label or a removed finalizer on a pod whose image no longer passes is denied",
        );
        say(
            LossKind::KyvernoHidesCause,
            "enforcement",
            "a denial says that the image is not signed, whatever the cause",
        );
        say(
            LossKind::KyvernoCachesVerdicts,
            "trustRoots",
            "an image that passed goes on passing for up to an hour while the repository is down or stale; a new trust root counts at once",
        );
        say(
            LossKind::KyvernoExceptions,
            "enforcement",
            "Kyverno's own exceptions and settings are not holdfast's to see",
        );
        let version = installed.version;
        if version.is_at_least(1, 20) {
            say(LossKind::KyvernoNewerThanRun, "engines.kyverno", &format!("Kyverno is {version}"));
        }
    }

    /// What holds of one ImageValidatingPolicy, whatever it is verified with.
    pub(super) fn of_the_policy(&mut self, task: &Task<'_>, installed: &Installed) {
        let name = task.name;
        let compiled = task.policy.compiled;
        if compiled.policy.signers.iter().any(|signer| matches!(signer, Signer::Certificate { .. })) {
            let detail = "its certificate identities are compared by Kyverno, with the first name of a certificate";
            self.loss(name, LossKind::KyvernoReadsNamesItself, "identities", detail.to_owned());
        }
        if compiled.other_images == OtherImages::Deny {
            let detail = "other images are denied where the policy is enforced, by one object for all policies";
            self.loss(name, LossKind::KyvernoOtherImagesNotAudited, "otherImages", detail.to_owned());
        }
        for root in compiled.trust_roots.iter().filter(|root| !task.estate.roots.contains_key(root.as_str())) {
            let detail = format!("the trust root `{root}` is not at hand, so what only it verifies is denied");
            self.loss(name, LossKind::TrustRootAbsent, "trustRoots", detail);
        }
        if !installed.version.is_at_least(1, 19) {
            let detail = format!(
                "Kyverno is {}: trust comes from the TUF repository alone, and digests are not checked by itself",
                installed.version
            );
            self.loss(name, LossKind::KyvernoNotRunOnThisVersion, "engines.kyverno", detail);
        }
        self.of_the_namespaces(task);
    }

    fn of_the_namespaces(&mut self, task: &Task<'_>) {
        let (estate, policy) = (task.estate, task.policy);
        let own_home = home(EngineKind::Kyverno).filter(|home| policy.rollout.enforced.contains(*home));
        let left_out: BTreeSet<&str> = estate.left_out_of(policy).into_iter().chain(own_home).collect();
        if !left_out.is_empty() {
            let left_out: Vec<&str> = left_out.into_iter().collect();
            let detail = format!("these are selected and left out: {}", left_out.join(", "));
            self.loss(task.name, LossKind::NamespacesLeftOut, "namespaceSelector", detail);
        }
        let own = estate.holdfast_namespace;
        let by_name = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), own.to_owned())]);
        let selected = policy.compiled.selects(estate.namespaces.get(own).unwrap_or(&by_name));
        if selected || policy.rollout.enforced.contains(own) {
            let detail = format!("`{own}` is selected and left out");
            self.loss(task.name, LossKind::KyvernoLeavesOutHoldfast, "namespaceSelector", detail);
        }
        for exception in estate.exceptions.iter().filter(|exception| exception.policy == task.name) {
            let namespaces: Vec<&str> = exception.namespaces.iter().map(String::as_str).collect();
            let detail = format!(
                "TrustBreakGlass `{}` takes the policy back to audit in {} until {}",
                exception.break_glass,
                namespaces.join(", "),
                exception.until
            );
            self.loss(task.name, LossKind::KyvernoBreakGlassNeedsHoldfast, "enforcement", detail);
        }
    }

    /// What holds of the repository. Gives it where one is needed.
    ///
    /// # Errors
    /// [`NoRepository`], where one is needed and this policy cannot have it: it is not rendered at all.
    pub(super) fn of_the_mirror<'a>(
        &mut self,
        task: &Task<'_>,
        mirror: Option<Mirror<'a>>,
        installed: &Installed,
    ) -> Result<Option<&'a LocalRepository>, NoRepository> {
        let name = task.name;
        match mirror {
            None => Ok(None),
            Some(Mirror::Absent) => {
                let roots: Vec<&str> = task.asked.iter().copied().collect();
                let detail = format!("no TUF repository serves {}, so nothing is rendered", roots.join(", "));
                self.loss(name, LossKind::KyvernoMirrorAbsent, "trustRoots", detail);
                Err(NoRepository)
            }
            Some(Mirror::Clash { with }) => {
                let detail = if with == name {
                    format!("`{name}` accepts several trust roots, and Kyverno {} holds one", installed.version)
                } else {
                    format!(
                        "`{name}` needs another repository than `{with}`, and the first one used would stay in use: `{name}` is not rendered"
                    )
                };
                self.loss(name, LossKind::KyvernoMirrorClash, "trustRoots", detail);
                Err(NoRepository)
            }
            Some(Mirror::Of(root, repository)) => {
                let detail = format!("it asks {}, the repository of `{root}`", repository.url);
                self.loss(name, LossKind::KyvernoMirrorOnAdmissionPath, "trustRoots", detail);
                if task.estate.roots.get(root).is_some_and(|root| !mirror::is_complete(root)) {
                    let detail = format!("the repository of `{root}` lacks one of the three, so every check fails");
                    self.loss(name, LossKind::KyvernoMirrorIncomplete, "trustRoots", detail);
                }
                Ok(Some(repository))
            }
        }
    }

    /// What the `ctlog` blocks of these attestors check, and what they do besides.
    pub(super) fn of_the_evidence(&mut self, task: &Task<'_>, attestors: &[Attestor<'_>]) {
        let mut by_checks: BTreeMap<&str, Vec<&Attestor<'_>>> = BTreeMap::new();
        for attestor in attestors {
            by_checks.entry(attestor.row.checks).or_default().push(attestor);
        }
        for (checks, attestors) in by_checks {
            let Some(row) = attestors.first().map(|attestor| attestor.row) else { continue };
            let detail = format!("{}: {checks}", super::identities(&attestors));
            if row.run != Run::Yes {
                self.loss(task.name, LossKind::KyvernoEvidenceNotRun, "require", detail.clone());
            }
            match row.beside {
                Beside::Nothing => {}
                Beside::RequiresTimestamp => {
                    self.loss(task.name, LossKind::KyvernoTimestampAlwaysRequired, "require.signedTimestamp", detail);
                }
                Beside::DeniesAll => {
                    self.loss(task.name, LossKind::KyvernoEvidenceImpossible, "require", detail);
                }
            }
        }
        if attestors.is_empty() {
            let detail = "no identity can be verified without a trust root, so everything is denied".to_owned();
            self.loss(task.name, LossKind::KyvernoEvidenceImpossible, "trustRoots", detail);
        }
    }
}

fn loss(policy: Option<&str>, kind: LossKind, field: &str, detail: String) -> Loss {
    Loss {
        policy: policy.map(str::to_owned),
        engine: EngineKind::Kyverno,
        kind,
        field: field.to_owned(),
        versions: versions(kind),
        detail,
    }
}

/// The versions of Kyverno a loss is known of.
const fn versions(kind: LossKind) -> &'static str {
    match kind {
        LossKind::KyvernoTooOld => "< 1.18",
        LossKind::KyvernoNotRunOnThisVersion => ">= 1.18, < 1.19",
        LossKind::KyvernoNewerThanRun | LossKind::ClusterPolicyRemoved => ">= 1.20",
        LossKind::ClusterPolicyNotRun
        | LossKind::ClusterPolicyLosesWindows
        | LossKind::ClusterPolicySeesNoBundles
        | LossKind::ClusterPolicyReadsEcdsaLogsOnly
        | LossKind::ClusterPolicyReadsWildcards => "< 1.20",
        LossKind::KyvernoCachesVerdicts => ">= 1.19",
        LossKind::EngineAbsent | LossKind::TrustRootAbsent | LossKind::NamespacesLeftOut => "all",
        _ => ">= 1.18",
    }
}
