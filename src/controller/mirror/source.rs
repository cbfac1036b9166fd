//! The source of a mirror, read and verified on top of what is held.

use std::path::Path;

use holdfast_core::Digest;
use holdfast_core::api::TrustRootMirror;
use holdfast_core::api::common::{CaBundleRef, ConfigMapRef};
use holdfast_core::api::mirror::{Bootstrap, HttpSource, OciSource, TrustedRootSource};
use holdfast_core::operate::mirror::status::{Failure, Import};
use holdfast_core::operate::mirror::{MirrorReason, ReadRoot};
use holdfast_core::trust::held::{Held, TRUSTED_ROOT};
use holdfast_core::trust::keys;
use holdfast_core::trust::root::MAX_BYTES;
use holdfast_core::trust::tuf::{Grace, Refusal, State};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};

use super::super::context::Context;
use super::super::failure::{Failed, within};
use super::super::secrets;
use crate::clock;
use crate::registry::client::{self, Client};
use crate::registry::pull_secret::PullSecretError;
use crate::sources::config_map::{self, ConfigMapSource};
use crate::sources::http::{Http, Patience};
use crate::sources::import::{Imported, Unimported, import, proven};
use crate::sources::oci::{self, Fetched, OciReference};
use crate::sources::{Directory, ImportError, Source, SourceError};

/// Bytes of a bootstrap root.
const MAX_ROOT: u64 = 512 * 1024;

/// What a look at a source came to.
pub(crate) struct Looked {
    /// What is held afterwards.
    pub(crate) held: Option<Held>,
    /// What became of it.
    pub(crate) import: Import,
    /// The verified trust that is offered.
    pub(crate) offered: Option<ReadRoot>,
    /// The artifact it was read from.
    pub(crate) artifact: Option<Digest>,
}

/// Why nothing was read: for status, or because the API server did not say.
enum Unread {
    Failure(Failure),
    Failed(Failed),
}

impl From<Failed> for Unread {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<SourceError> for Unread {
    fn from(error: SourceError) -> Self {
        let reason = match &error {
            SourceError::Unavailable { .. } => MirrorReason::SourceUnavailable,
            SourceError::Unusable { .. } => MirrorReason::SourceUnusable,
            SourceError::Unacceptable { .. } => MirrorReason::SourceUnacceptable,
        };
        Self::Failure(Failure { reason, message: error.to_string() })
    }
}

fn unread(reason: MirrorReason, message: impl Into<String>) -> Unread {
    Unread::Failure(Failure { reason, message: message.into() })
}

/// What an import starts from.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// The bootstrap root.
    Bootstrap,
    /// What is held of the repository so far.
    Held(Held),
    /// A memory of which nobody knows who wrote it.
    Found(Held),
}

/// Looks at the source; `artifact` is the one that what is held came from, where it need not be read again.
///
/// # Errors
/// [`Failed`], where the API server did not say what the source is.
pub(crate) async fn look(
    context: &Context,
    mirror: &TrustRootMirror,
    start: Start,
    artifact: Option<Digest>,
    lowers_clock: bool,
) -> Result<Looked, Failed> {
    let source = &mirror.spec.source;
    let looked = match (&source.keys, &source.trusted_root, &mirror.spec.bootstrap) {
        (Some(declared), _, _) => {
            let root = keys::trust_root(&mirror.name_any(), declared);
            root.map(|root| given(ReadRoot { root, text: None }))
                .map_err(|error| unread(MirrorReason::SpecInvalid, format!("source.keys.{error}")))
        }
        (None, Some(bare), _) => bare_root(context, mirror, bare).await.map(given),
        (None, None, Some(bootstrap)) => repository(context, mirror, bootstrap, start, artifact, lowers_clock).await,
        (None, None, None) => {
            Err(unread(MirrorReason::SpecInvalid, "a TUF source needs `bootstrap` with the root to start from"))
        }
    };
    match looked {
        Ok(looked) => Ok(looked),
        Err(Unread::Failed(failed)) => Err(failed),
        // What was held before stays; one that was only started from elsewhere is not taken up for a source that cannot be read.
        Err(Unread::Failure(failure)) => {
            Ok(Looked { held: None, import: Import::Failed(failure), offered: None, artifact: None })
        }
    }
}

fn given(offered: ReadRoot) -> Looked {
    let message = format!("the trust {} is declared, without TUF", offered.root.digest);
    Looked { held: None, import: Import::Unchanged(message), offered: Some(offered), artifact: None }
}

async fn bare_root(context: &Context, mirror: &TrustRootMirror, bare: &TrustedRootSource) -> Result<ReadRoot, Unread> {
    let reference = &bare.config_map;
    let max = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = key(context, reference, TRUSTED_ROOT, max).await?;
    let (got, want) = (Digest::of(&bytes), bare.sha256.0);
    if got != want {
        let message =
            format!("ConfigMap {}/{} holds {got}, and {want} is declared", reference.namespace, reference.name);
        return Err(unread(MirrorReason::SourceUnacceptable, message));
    }
    let text = String::from_utf8(bytes).map_err(|error| unread(MirrorReason::RootUnreadable, error.to_string()))?;
    ReadRoot::from_text(&mirror.name_any(), &text)
        .map_err(|error| unread(MirrorReason::RootUnreadable, error.to_string()))
}

async fn repository(
    context: &Context,
    mirror: &TrustRootMirror,
    bootstrap: &Bootstrap,
    start: Start,
    known: Option<Digest>,
    lowers_clock: bool,
) -> Result<Looked, Unread> {
    let started = !matches!(start, Start::Held(_));
    let (held, found) = match start {
        Start::Held(held) => (held, None),
        Start::Bootstrap => (begun(context, bootstrap).await?, None),
        Start::Found(found) => (begun(context, bootstrap).await?, Some(found)),
    };
    let (source, artifact): (Box<dyn Source + Send>, _) = match open(context, mirror, known).await? {
        Opened::Source(source, artifact) => (source, artifact),
        Opened::Unchanged(digest) => {
            let import = Import::Unchanged(said(&held));
            return Ok(Looked { held: Some(held), import, offered: None, artifact: Some(digest) });
        }
    };
    let name = mirror.name_any();
    let grace = Grace::new(mirror.spec.freshness.grace.signed()).unwrap_or_default();
    let (source, held) = match found {
        None => (source, held),
        Some(found) => taken_up(source, held, found).await?,
    };
    let (before, mut held) = (held.clone(), held);
    // Sources wait for disks and networks: whoever else is served by this thread does not.
    let imported = tokio::task::spawn_blocking(move || {
        let now = clock::now();
        if lowers_clock {
            held.state.lower_clock(now);
        }
        import(&name, &held, source.as_ref(), grace, now)
    });
    let Imported { held, notes, offered } = imported.await.map_err(not_ended)?;
    for note in notes {
        tracing::debug!(mirror = mirror.name_any(), %note, "a note on the repository");
    }
    let (import, offered) = match offered {
        Ok(root) if started || held != before => (Import::Accepted(said(&held)), Some(root)),
        Ok(root) => (Import::Unchanged(said(&held)), Some(root)),
        Err(Unimported::Refused(refusal)) => (failed(refused(&refusal))?, None),
        Err(Unimported::Source(error)) => (failed(error.into())?, None),
        Err(error @ Unimported::Root(_)) => (failed(unread(MirrorReason::RootUnreadable, error.to_string()))?, None),
    };
    let artifact = artifact.filter(|_| offered.is_some());
    Ok(Looked { held: Some(held), import, offered, artifact })
}

async fn begun(context: &Context, bootstrap: &Bootstrap) -> Result<Held, Unread> {
    let root = key(context, &bootstrap.config_map, "root.json", MAX_ROOT).await?;
    let state = State::bootstrap(&root, Some(bootstrap.root_sha256.0), clock::now());
    Ok(Held { state: state.map_err(|refusal| refused(&refusal))?, trusted_root: None })
}

/// A memory that nobody saw being written, once the source leads to it.
async fn taken_up(
    source: Box<dyn Source + Send>,
    begun: Held,
    found: Held,
) -> Result<(Box<dyn Source + Send>, Held), Unread> {
    let proving = tokio::task::spawn_blocking(move || {
        let proven = proven(source.as_ref(), &begun.state, found, clock::now());
        (source, proven)
    });
    let (source, proven) = proving.await.map_err(not_ended)?;
    match proven {
        Ok(Some(held)) => Ok((source, held)),
        Ok(None) => Err(unread(MirrorReason::MemoryUnproven, MirrorReason::MemoryUnproven.meaning())),
        Err(ImportError::Refused(refusal)) => Err(refused(&refusal)),
        Err(ImportError::Source(error)) => Err(error.into()),
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn not_ended(error: tokio::task::JoinError) -> Unread {
    unread(MirrorReason::SourceUnavailable, format!("the import did not come to its end: {error}"))
}

fn failed(unread: Unread) -> Result<Import, Unread> {
    match unread {
        Unread::Failure(failure) => Ok(Import::Failed(failure)),
        Unread::Failed(failed) => Err(Unread::Failed(failed)),
    }
}

fn refused(refusal: &Refusal) -> Unread {
    let message = match refusal {
        // What it says of the clock changes with every look.
        Refusal::ClockBehind { floor, .. } => format!(
            "something was signed at {floor}, which the clock has not reached: nothing can be called fresh. Set the clock; if it is right and the authority's ran ahead, open a break-glass `lowerClockFloor`"
        ),
        other => other.to_string(),
    };
    unread(MirrorReason::Refused(refusal.kind()), message)
}

fn said(held: &Held) -> String {
    let roles = held.state.roles();
    let top = roles.iter().filter(|role| role.keys.is_some()).map(|role| format!("{} {}", role.role, role.version));
    format!("{} verified", top.collect::<Vec<_>>().join(", "))
}

enum Opened {
    Source(Box<dyn Source + Send>, Option<Digest>),
    Unchanged(Digest),
}

async fn open(context: &Context, mirror: &TrustRootMirror, known: Option<Digest>) -> Result<Opened, Unread> {
    let source = &mirror.spec.source;
    let opened: Box<dyn Source + Send> = if let Some(oci) = &source.oci {
        return artifact(context, oci, known).await;
    } else if let Some(http) = &source.http {
        Box::new(over_http(context, http).await?)
    } else if let Some(reference) = &source.config_map {
        let object = config_map(context, &reference.namespace, &reference.name).await?;
        let files = ConfigMapSource::new(&object, reference.key.as_deref());
        Box::new(files.map_err(|error| unread(MirrorReason::SourceUnacceptable, error.to_string()))?)
    } else if let Some(volume) = &source.volume {
        Box::new(Directory::open(Path::new(&volume.path), None)?)
    } else {
        return Err(unread(MirrorReason::SpecInvalid, "`source` names no place"));
    };
    Ok(Opened::Source(opened, None))
}

async fn over_http(context: &Context, declared: &HttpSource) -> Result<Http, Unread> {
    let ca = ca_bundle(context, declared.ca_bundle_ref.as_ref()).await?;
    Ok(Http::new(&declared.url, declared.targets_url.as_deref(), ca.as_deref(), Patience::default())?)
}

async fn artifact(context: &Context, declared: &OciSource, known: Option<Digest>) -> Result<Opened, Unread> {
    let of_source = |error: oci::OciError| Unread::from(SourceError::from(error));
    let reference = OciReference::parse(&declared.r#ref).map_err(of_source)?;
    let credentials = match &declared.pull_secret_ref {
        None => None,
        Some(secret) => pull_secret(context, &secret.name, &reference).await?,
    };
    let settings = client::Settings {
        host: reference.host().to_owned(),
        plain_http: declared.plain_http,
        ca_bundle: ca_bundle(context, declared.ca_bundle_ref.as_ref()).await?,
        credentials,
        token_url: declared.token_url.clone(),
        redirect_hosts: declared.redirect_hosts.clone(),
        patience: client::Patience::default(),
    };
    let registry = Client::new(settings).map_err(|error| of_source(error.into()))?;
    match oci::fetch(&registry, &reference, known).await.map_err(of_source)? {
        Fetched::Unchanged { digest } => Ok(Opened::Unchanged(digest)),
        Fetched::New { digest, tree } => Ok(Opened::Source(Box::new(tree), Some(digest))),
    }
}

async fn pull_secret(
    context: &Context,
    name: &str,
    reference: &OciReference,
) -> Result<Option<client::Credentials>, Unread> {
    let parsed = context.reader().pull_secret(&context.namespace, name).await.map_err(of_secret)?;
    let unusable = |error: PullSecretError| {
        unread(MirrorReason::SourceUnusable, format!("Secret {}/{name}: {error}", context.namespace))
    };
    parsed.credentials(reference.host(), reference.repository()).map_err(unusable)
}

async fn ca_bundle(context: &Context, reference: Option<&CaBundleRef>) -> Result<Option<Vec<u8>>, Unread> {
    match reference {
        None => Ok(None),
        Some(reference) => context.reader().ca_bundle(reference).await.map(Some).map_err(of_secret),
    }
}

fn of_secret(error: secrets::Unread) -> Unread {
    match error {
        secrets::Unread::Unusable(message) => unread(MirrorReason::SourceUnusable, message),
        secrets::Unread::Failed(failed) => failed.into(),
    }
}

async fn key(context: &Context, reference: &ConfigMapRef, default: &str, max: u64) -> Result<Vec<u8>, Unread> {
    let object = config_map(context, &reference.namespace, &reference.name).await?;
    config_map::key(&object, reference.key.as_deref().unwrap_or(default), max)
        .map_err(|error| unread(MirrorReason::SourceUnusable, error.to_string()))
}

async fn config_map(context: &Context, namespace: &str, name: &str) -> Result<ConfigMap, Unread> {
    let place = format!("ConfigMap {namespace}/{name}");
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    readable(within("read", &place, api.get_opt(name)).await, &place)?.ok_or_else(|| {
        unread(MirrorReason::SourceUnusable, format!("{place} is not there: make it, or correct `spec`"))
    })
}

/// What may not be read is declared wrongly; what the API server does not say is asked again.
fn readable<T>(answer: Result<T, Failed>, place: &str) -> Result<T, Unread> {
    match answer {
        Err(failed) if failed.category() == "forbidden" => Err(unread(
            MirrorReason::SourceUnusable,
            format!(
                "holdfast may not read {place}: put it into holdfast's own namespace, or list its namespace in the chart's `sourceNamespaces`"
            ),
        )),
        answer => Ok(answer?),
    }
}
