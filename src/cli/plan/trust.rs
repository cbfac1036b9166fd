//! The trust half of a plan: every declared mirror, as it would be operated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_core::api::{TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::gate::loosening::Loosening;
use holdfast_core::operate::mirror::{Candidate, Decision, Facts, InForce, ReadRoot, Record, Rehearsal, decide};
use holdfast_core::trust::budget::Budget;
use holdfast_core::trust::clock::Sanity;
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::trust::held::{Held, TRUSTED_ROOT};
use holdfast_core::trust::keys;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::{Grace, Note, RoleSummary, State};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::CliError;
use crate::inventory::GitOps;
use crate::sources::import::Imported;
use crate::sources::memory::Files;
use crate::sources::state::StateDir;
use crate::sources::{self, Directory, ImportError, Source};

/// One mirror, as it would be operated.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrustView {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<RoleSummary>,
    #[serde(skip)]
    pub(super) notes: Vec<Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) freshness: Option<Freshness>,
    /// What the newest authenticated time says of the clock.
    #[serde(skip)]
    pub(super) clock: Sanity,
    /// The trust in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) adopted: Option<TrustRoot>,
    /// Verified, and waiting for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) candidate: Option<Candidate>,
    /// Every way in which the mirror as declared is looser than the one in force, and waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<Loosening>,
    /// Digests that an approval may name.
    #[serde(skip)]
    pub(super) asks_for: Vec<Digest>,
    /// What to remember of it.
    #[serde(skip)]
    pub(super) kept: Option<Record>,
    pub(super) expiry_budget: Budget,
    /// Why nothing newer came into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    /// What a plan cannot see of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unseen: Option<String>,
}

/// Where a plan looks for trust.
pub(super) struct Places<'a> {
    pub(super) gitops: &'a GitOps,
    /// State directories, by the mirror they hold.
    pub(super) states: BTreeMap<String, PathBuf>,
    /// Directories that stand for paths in the operator.
    pub(super) volumes: &'a [(String, PathBuf)],
}

/// What was found for one mirror.
#[derive(Default)]
struct Seen {
    held: Option<Held>,
    notes: Vec<Note>,
    adopted: Option<ReadRoot>,
    offered: Option<ReadRoot>,
    refused: Option<String>,
    unseen: Option<String>,
}

impl TrustView {
    /// `kept` is what is remembered of the mirror, where a policy that is enforced accepts it.
    pub(super) fn of(
        in_force: InForce,
        places: &Places<'_>,
        kept: Option<&Record>,
        approved: &[Digest],
        rehearsal: Rehearsal<'_>,
        now: Timestamp,
    ) -> Result<Self, CliError> {
        let InForce { mirror, held, mut asks_for } = in_force;
        let name = mirror.metadata.name.clone().unwrap_or_default();
        let spec = &mirror.spec;
        let grace = Grace::new(spec.freshness.grace.signed()).unwrap_or_default();
        let seen = look(&name, &mirror, places, grace, now)?;
        let in_state = seen.adopted.as_ref().map(|root| as_record(spec, root));
        let record = kept.or(in_state.as_ref());
        let offered = seen.offered.or(seen.adopted);
        asks_for.extend(offered.iter().map(|offered| offered.root.digest));
        // What was in force and was replaced is brought back by no agreement from before, and a manifest does not say when it was written.
        let is_spent = |digest: &Digest| {
            record.is_some_and(|record| record.replaced.iter().any(|replaced| replaced.digest == *digest))
        };
        let declared = spec.rotation.approved_digest.filter(|digest| !is_spent(digest));
        let agreed: Vec<(Digest, String)> =
            declared.iter().chain(approved).map(|digest| (*digest, "the plan".to_owned())).collect();
        let facts = Facts {
            name: &name,
            spec,
            held: seen.held.as_ref(),
            record,
            offered: offered.as_ref().filter(|_| !spec.suspend),
            agreed: &agreed,
            last_agreed: None,
            declaration_counts: true,
            judged: &[],
            rehearsal,
            consumers_current: false,
        };
        let Decision { roles, freshness, clock, adopted, candidate, record, budget, unreadable } = decide(&facts, now);
        Ok(Self {
            name,
            roles,
            notes: seen.notes,
            freshness,
            clock,
            kept: record,
            adopted: adopted.map(|read| read.root),
            candidate,
            held,
            asks_for,
            expiry_budget: budget,
            refused: unreadable.or(seen.refused),
            unseen: seen.unseen,
        })
    }

    /// Why the trust in force is past its limit, if it is.
    pub(super) fn staleness(&self) -> Option<String> {
        self.freshness.as_ref().and_then(Freshness::staleness)
    }
}

fn look(
    name: &str,
    mirror: &TrustRootMirror,
    places: &Places<'_>,
    grace: Grace,
    now: Timestamp,
) -> Result<Seen, CliError> {
    let source = &mirror.spec.source;
    let held = places.states.get(name).map(|path| StateDir::look(path)).transpose()?;
    if let (Some(held), Some(bootstrap)) = (&held, &mirror.spec.bootstrap) {
        let (pinned, declared) = (held.state.memory().pin, bootstrap.root_sha256.0);
        if pinned != declared {
            let refused = format!(
                "the state given for it started from the root {pinned}, and {declared} is declared: it is the state of another trust"
            );
            return Ok(Seen { refused: Some(refused), ..Seen::default() });
        }
    }
    if let Some(keys) = &source.keys {
        let root =
            keys::trust_root(name, keys).map_err(|e| CliError::usage(format!("TrustRootMirror `{name}`: {e}")))?;
        return Ok(Seen { offered: Some(ReadRoot { root, text: None }), ..Seen::default() });
    }
    if let Some(bare) = &source.trusted_root {
        return Ok(bare_root(name, &bare.config_map, bare.sha256.0, places));
    }
    let repository: Option<Box<dyn Source + '_>> = match (&source.config_map, &source.volume) {
        (Some(reference), _) => places
            .config_map(&reference.namespace, &reference.name)
            .map(|files| Box::new(Files(files)) as Box<dyn Source>),
        (None, Some(volume)) => match places.volume(&volume.path) {
            Some(dir) => Some(Box::new(Directory::open(&dir, None).map_err(ImportError::from)?)),
            None => None,
        },
        (None, None) => None,
    };
    let Some(repository) = repository else {
        let unseen = "its source is not read by a plan: give `--volume PATH=DIR` for a volume, the ConfigMap beside it, or `--state DIR` for what is held";
        return Ok(match held {
            Some(held) => {
                let offered = "what its source offers now is not read by a plan: give `--volume PATH=DIR` for a volume, or the ConfigMap beside it; a rotation that waits there is not seen";
                Seen { unseen: Some(offered.to_owned()), ..from_held(name, &held, None)? }
            }
            None => Seen { unseen: Some(unseen.to_owned()), ..Seen::default() },
        });
    };
    let held = match held {
        Some(held) => held,
        None => match bootstrap(mirror, places, now) {
            Ok(state) => Held { state, trusted_root: None },
            Err(refused) => return Ok(Seen { refused: Some(refused), ..Seen::default() }),
        },
    };
    import(name, &held, repository.as_ref(), grace, now)
}

/// Imports on top of what is held, as the operator would; nothing is stored.
fn import(name: &str, held: &Held, repository: &dyn Source, grace: Grace, now: Timestamp) -> Result<Seen, CliError> {
    let Imported { held: after, notes, offered } = sources::import::import(name, held, repository, grace, now);
    let refused = offered.as_ref().err().map(ToString::to_string);
    Ok(Seen { held: Some(after), notes, offered: offered.ok(), ..from_held(name, held, refused)? })
}

fn from_held(name: &str, held: &Held, refused: Option<String>) -> Result<Seen, CliError> {
    let adopted = held
        .trusted_root
        .as_ref()
        .map(|root| {
            TrustRoot::from_json(name, &root.bytes)
                .map(|read| ReadRoot { root: read, text: text(&root.bytes) })
                .map_err(|e| CliError::usage(format!("TrustRootMirror `{name}`: {e}")))
        })
        .transpose()?;
    Ok(Seen { held: Some(held.clone()), adopted, refused, ..Seen::default() })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// A state directory holds what is in force.
fn as_record(spec: &TrustRootMirrorSpec, root: &ReadRoot) -> Record {
    Record {
        spec: spec.clone(),
        root: root.text.clone(),
        adopted: None,
        leaving: Vec::new(),
        replaced: Vec::new(),
        forgotten: None,
        judged: Vec::new(),
        memory: None,
    }
}

fn bootstrap(mirror: &TrustRootMirror, places: &Places<'_>, now: Timestamp) -> Result<State, String> {
    let Some(bootstrap) = &mirror.spec.bootstrap else { return Err("it has no bootstrap root".to_owned()) };
    let reference = &bootstrap.config_map;
    let place = format!("ConfigMap {}/{}", reference.namespace, reference.name);
    let files = places
        .config_map(&reference.namespace, &reference.name)
        .ok_or_else(|| format!("the bootstrap {place} is not among the manifests"))?;
    let key = reference.key.as_deref().unwrap_or("root.json");
    let root = files.get(key).ok_or_else(|| format!("the bootstrap {place} has no key `{key}`"))?;
    State::bootstrap(root, Some(bootstrap.root_sha256.0), now).map_err(|e| e.to_string())
}

fn bare_root(
    name: &str,
    reference: &holdfast_core::api::common::ConfigMapRef,
    want: holdfast_core::Digest,
    places: &Places<'_>,
) -> Seen {
    let refused = |text: String| Seen { refused: Some(text), ..Seen::default() };
    let place = format!("ConfigMap {}/{}", reference.namespace, reference.name);
    let Some(files) = places.config_map(&reference.namespace, &reference.name) else {
        return refused(format!("{place} is not among the manifests"));
    };
    let key = reference.key.as_deref().unwrap_or(TRUSTED_ROOT);
    let Some(bytes) = files.get(key) else { return refused(format!("{place} has no key `{key}`")) };
    let got = holdfast_core::Digest::of(bytes);
    if got != want {
        return refused(format!("{place} holds {got}, and {want} is declared"));
    }
    match TrustRoot::from_json(name, bytes) {
        Ok(root) => Seen { offered: Some(ReadRoot { root, text: text(bytes) }), ..Seen::default() },
        Err(error) => refused(error.to_string()),
    }
}

impl Places<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Option<&BTreeMap<String, Vec<u8>>> {
        self.gitops.config_maps.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The directory that stands for a path in the operator: the longest declared prefix wins.
    fn volume(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let matching = self
            .volumes
            .iter()
            .filter_map(|(mount, dir)| Some((mount.len(), dir.join(path.strip_prefix(mount).ok()?))));
        matching.max_by_key(|(len, _)| *len).map(|(_, dir)| dir)
    }
}
