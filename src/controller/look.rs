//! What a person sees of a cluster, in their own right: for commands that explain what the operator said, by looking again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::break_glass::BreakGlassPhase;
use holdfast_core::api::common::Condition;
use holdfast_core::api::{BundleCoverageReport, SigningIdentityPolicy, TrustBreakGlass, TrustRootMirror};
use holdfast_core::coverage::{CompiledPolicy, DeclaredRegistries, Found, Roots};
use holdfast_core::image::ImageRef;
use holdfast_core::operate::mirror::MirrorReason;
use holdfast_core::verify::{Artifact, PreparedRoot, Reason};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::client::{self, ClientError};
use super::coverage::{Registries, policies, registries};
use super::failure::{Failed, within};
use super::secrets::Reader;
use super::store::{Lookup, Store};
use crate::clock;
use crate::inventory::live::{Kind, Live, SlimPod, SlimTemplate, Snapshot};
use crate::registry::blobs::Blobs;
use crate::registry::remote::{Stage, unobserved};

/// Objects a page.
const PAGE: u32 = 250;
/// Bytes of one image's evidence.
const MAX_EVIDENCE: u64 = 128 * 1024 * 1024;
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Why a cluster was not seen.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server did not say.
    #[error("{0}")]
    Unseen(String),
    /// There is no such report, or none that is meant.
    #[error("{0}")]
    Report(String),
}

impl From<Failed> for LookError {
    fn from(failed: Failed) -> Self {
        Self::Unseen(failed.to_string())
    }
}

/// A cluster, as a person sees it.
pub struct Sight {
    /// The report whose registries are asked.
    pub report: BundleCoverageReport,
    /// The policies that can be used.
    pub policies: Vec<CompiledPolicy>,
    /// The trust in force.
    pub roots: Roots,
    /// What runs, and what would.
    pub snapshot: Snapshot,
    /// What could not be seen, and what that means.
    pub notes: Vec<String>,
    /// Whether some policies cannot be used.
    pub policies_unusable: bool,
    registries: Registries,
}

/// Looks at a cluster, for judgements at `now`; `report` is the report that is meant, where there are several.
///
/// # Errors
/// [`LookError`].
pub async fn look(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    namespace: &str,
    report: Option<&str>,
    now: Timestamp,
) -> Result<Sight, LookError> {
    let client = client::plain(kubeconfig, context).await?;
    let reader = Reader { client: client.clone(), own: namespace.to_owned() };
    let report = the_report(&client, report).await?;
    let mut notes = Vec::new();
    let declared: Vec<_> = list::<DeserializeGuard<SigningIdentityPolicy>>(&client).await?;
    let policies = policies(&reader, declared.into_iter().map(Arc::new).collect()).await?;
    notes.extend(policies.unusable.iter().map(|why| format!("a policy cannot be used: {why}")));
    let roots = roots(&client, namespace, now, &mut notes).await?;
    let problems = |problems: Vec<_>| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        LookError::Report(format!("BundleCoverageReport `{}`: {}", report.name_any(), said.join("; ")))
    };
    let declared = DeclaredRegistries::new(&report.spec.registries).map_err(problems)?;
    let registries = registries(&reader, &unobserved(), &report, declared, None).await?;
    let snapshot = snapshot(&client, &report, &mut notes).await?;
    let policies_unusable = !policies.unusable.is_empty();
    Ok(Sight { report, policies: policies.usable, roots, snapshot, notes, policies_unusable, registries })
}

async fn the_report(client: &Client, wanted: Option<&str>) -> Result<BundleCoverageReport, LookError> {
    let reports: Vec<DeserializeGuard<BundleCoverageReport>> = list(client).await?;
    let names: BTreeSet<String> = reports.iter().map(ResourceExt::name_any).collect();
    let mut meant: Vec<_> =
        reports.into_iter().filter(|report| wanted.is_none_or(|wanted| report.name_any() == wanted)).collect();
    let names = names.into_iter().collect::<Vec<_>>().join("`, `");
    match (meant.pop(), meant.is_empty()) {
        (Some(report), true) => {
            report.0.map_err(|error| LookError::Report(format!("the report cannot be read: {}", error.error)))
        }
        (None, _) if names.is_empty() => Err(LookError::Report(
            "no BundleCoverageReport is declared: it says which registries may be asked".to_owned(),
        )),
        (None, _) => Err(LookError::Report(format!("there is no such BundleCoverageReport; there are `{names}`"))),
        (Some(_), false) => Err(LookError::Report(format!(
            "there are several BundleCoverageReports: say which with --report (`{names}`)"
        ))),
    }
}

async fn list<K>(client: &Client) -> Result<Vec<K>, LookError>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let plural = K::plural(&()).into_owned();
    Ok(within("list", &plural, api.list(&ListParams::default())).await?.items)
}

/// The trust in force of every mirror, as holdfast remembers it.
async fn roots(client: &Client, namespace: &str, now: Timestamp, notes: &mut Vec<String>) -> Result<Roots, LookError> {
    let store = Store::new(client.clone(), namespace);
    let mut roots = Roots::new();
    let mirrors = list::<DeserializeGuard<TrustRootMirror>>(client).await?;
    let accepted = if mirrors.iter().any(|mirror| stale(mirror).is_some()) {
        // A break-glass that has ended meanwhile says nothing of any other instant, either.
        accepted(client, now.max(clock::now()), notes).await
    } else {
        BTreeMap::new()
    };
    for mirror in mirrors {
        let name = mirror.name_any();
        let record = match store.record(&name).await? {
            Lookup::There(kept) => kept.value,
            Lookup::Absent | Lookup::Foreign { .. } => {
                notes.push(format!("no trust of TrustRootMirror `{name}` is in force"));
                continue;
            }
            Lookup::Damaged { detail, .. } => {
                notes.push(format!("what is remembered of TrustRootMirror `{name}` cannot be read: {detail}"));
                continue;
            }
        };
        let stale = stale(&mirror);
        // By a clock that is behind, nothing is accepted.
        let accepted = accepted
            .get(&name)
            .filter(|_| stale.is_some_and(|stale| stale.reason != MirrorReason::ClockBehind.as_str()));
        if let Some((until, glass)) = accepted {
            notes.push(format!(
                "the trust of TrustRootMirror `{name}` is past its limit; break-glass `{glass}` lets it count as fresh until {until}"
            ));
        }
        let ready = record
            .read(&name)
            .map_err(|error| error.to_string())
            .and_then(|read| PreparedRoot::new(read.root).map_err(|error| error.to_string()));
        match (ready, stale.filter(|_| accepted.is_none())) {
            (Ok(ready), Some(stale)) => drop(roots.insert(name, Arc::new(ready.stale(stale.message.clone())))),
            (Ok(ready), None) => drop(roots.insert(name, Arc::new(ready))),
            (Err(error), _) => notes.push(format!("the trust of TrustRootMirror `{name}` cannot be used: {error}")),
        }
    }
    Ok(roots)
}

/// Why the trust of a mirror is past its limit, by what its status says.
fn stale(mirror: &DeserializeGuard<TrustRootMirror>) -> Option<&Condition> {
    let conditions = &mirror.0.as_ref().ok()?.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == "Fresh" && condition.status == "False")
}

/// The mirrors whose trust counts past its limit at `now`: until when, and by which break-glass, by what statuses say. Nobody but holdfast writes those.
async fn accepted(client: &Client, now: Timestamp, notes: &mut Vec<String>) -> BTreeMap<String, (Timestamp, String)> {
    let glasses = match list::<DeserializeGuard<TrustBreakGlass>>(client).await {
        Ok(glasses) => glasses,
        Err(error) => {
            notes.push(format!("whether a break-glass lets trust count past its limit is not known: {error}"));
            Vec::new()
        }
    };
    let mut accepted: BTreeMap<String, (Timestamp, String)> = BTreeMap::new();
    for glass in glasses.iter().filter_map(|glass| glass.0.as_ref().ok()) {
        let is_active = glass.status.as_ref().is_some_and(|status| status.phase == Some(BreakGlassPhase::Active))
            && glass.metadata.deletion_timestamp.is_none();
        let (Some(of), Ok(until)) = (&glass.spec.loosen.accept_stale, glass.spec.until.parse::<Timestamp>()) else {
            continue;
        };
        if is_active && until > now {
            let this = (until, glass.name_any());
            let last = accepted.entry(of.trust_root.clone()).or_insert_with(|| this.clone());
            *last = this.max(last.clone());
        }
    }
    accepted
}

/// What runs; what may not be listed is said.
async fn snapshot(
    client: &Client,
    report: &BundleCoverageReport,
    notes: &mut Vec<String>,
) -> Result<Snapshot, LookError> {
    let mut live = Live::new();
    let pods = Api::<SlimPod>::all(client.clone());
    if let Err(failed) = feed(&pods, "pods", NOT_ENDED, |event| live.pod(event)).await {
        notes.push(format!("who uses it is not known: {failed}"));
    }
    for kind in Kind::ALL {
        let api = Api::<SlimTemplate>::all_with(client.clone(), &kind.resource());
        if let Err(failed) = feed(&api, kind.plural, "", |event| live.template(kind, event)).await {
            notes.push(format!("which workloads use it is not all known: {failed}"));
        }
    }
    let mut snapshot = live.snapshot(report.spec.include_templates, &|_| true);
    for namespace in list::<PartialObjectMeta<Namespace>>(client).await? {
        snapshot.inventory.add_namespace(&namespace.name_any(), namespace.labels().clone());
    }
    Ok(snapshot)
}

async fn feed<K>(api: &Api<K>, what: &str, fields: &str, mut take: impl FnMut(Event<K>)) -> Result<(), Failed>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut page = ListParams::default().limit(PAGE);
    if !fields.is_empty() {
        page = page.fields(fields);
    }
    take(Event::Init);
    loop {
        let found = within("list", what, api.list(&page)).await?;
        for object in found.items {
            take(Event::InitApply(object));
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    take(Event::InitDone);
    Ok(())
}

impl Sight {
    /// Looks for all that is stored for an image in its declared registry.
    ///
    /// # Errors
    /// Why nothing can be said of it.
    pub async fn find(&self, image: &ImageRef, digest: Digest) -> Result<Found, (Reason, String)> {
        let location = self.registries.declared.locate(image).ok_or_else(|| {
            let message = format!(
                "{} is under none of the registries of BundleCoverageReport `{}`, so nobody was asked",
                image.name(),
                self.report.name_any()
            );
            (Reason::RegistryNotDeclared, message)
        })?;
        let remote = match self.registries.remotes.get(location.declared) {
            Some(Ok(remote)) => remote,
            Some(Err(why)) => return Err(why.clone()),
            None => return Err((Reason::RegistryNotDeclared, "its registry is not declared".to_owned())),
        };
        let blobs = Blobs::in_memory(MAX_EVIDENCE);
        let (mut evidence, mut incomplete, mut bytes) = (Vec::new(), None, None);
        for stage in [Stage::Bundles, Stage::Legacy] {
            match remote.look(&location.repository, digest, &blobs, stage, &[]).await {
                Ok(looked) => {
                    evidence.extend(looked.pieces.iter().filter_map(|piece| looked.take(&blobs, piece)));
                    incomplete = incomplete.or(looked.incomplete);
                    bytes = Some(looked.manifest.to_vec());
                }
                Err(failure) if bytes.is_none() => return Err((failure.reason(), failure.to_string())),
                Err(failure) => incomplete = incomplete.or(Some((failure.reason(), failure.to_string()))),
            }
        }
        Ok(Found::Image { artifact: Artifact { digest, bytes }, evidence, incomplete })
    }
}
