//! The registries of a report, with what they are asked with.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::api::report::Registry;
use holdfast_core::coverage::DeclaredRegistries;
use holdfast_core::verify::Reason;
use parking_lot::Mutex;

use super::super::failure::Failed;
use super::super::secrets::{Reader, Unread};
use crate::inventory::live::Snapshot;
use crate::registry::client::{Credentials, Patience, Settings};
use crate::registry::pull_secret::PullSecret;
use crate::registry::remote::{Observe, Remote};
use crate::scan::{PullCredentials, Want};

/// The registries of a report.
pub(crate) struct Registries {
    /// Which images are looked for where.
    pub(crate) declared: DeclaredRegistries,
    /// What is asked; of one that cannot be, why.
    pub(crate) remotes: Vec<Result<Arc<Remote>, (Reason, String)>>,
    /// How many requests each takes at once.
    pub(super) at_once: Vec<usize>,
    /// What they are asked with.
    secrets: Vec<Option<PullSecret>>,
    /// Of everything they are made of.
    made_of: Vec<Digest>,
}

/// Reads what the registries of a report are asked with; one of which nothing changed goes on as it was, with what it learned: its pauses, its tokens.
///
/// # Errors
/// [`Failed`], where the API server did not say.
pub(crate) async fn registries(
    reader: &Reader,
    observe: &Observe,
    report: &BundleCoverageReport,
    declared: DeclaredRegistries,
    before: Option<&Registries>,
) -> Result<Registries, Failed> {
    let mut all =
        Registries { declared, remotes: Vec::new(), at_once: Vec::new(), secrets: Vec::new(), made_of: Vec::new() };
    for (at, registry) in report.spec.registries.iter().enumerate() {
        let host = all.declared.host(at).unwrap_or_default().to_owned();
        let read = read(reader, registry, &host).await?;
        let made_of = Digest::of(&serde_json::to_vec(&(registry, &read.of)).unwrap_or_default());
        let kept = before.filter(|before| before.made_of.get(at) == Some(&made_of)).and_then(|b| b.remotes.get(at));
        let remote = match (kept, read.settings) {
            (Some(Ok(kept)), Ok(_)) => Ok(kept.clone()),
            (_, Err(why)) => Err((Reason::Unauthorized, why)),
            (_, Ok(settings)) => Remote::new(settings, registry.max_in_flight, observe.clone())
                .map(Arc::new)
                .map_err(|error| (Reason::RegistryUnavailable, error.to_string())),
        };
        all.remotes.push(remote);
        all.at_once.push(registry.max_in_flight.into());
        all.secrets.push(read.secret);
        all.made_of.push(made_of);
    }
    Ok(all)
}

struct Read {
    settings: Result<Settings, String>,
    secret: Option<PullSecret>,
    /// Digests of what was read.
    of: Vec<Digest>,
}

async fn read(reader: &Reader, registry: &Registry, host: &str) -> Result<Read, Failed> {
    let mut read = Read { settings: Err(String::new()), secret: None, of: Vec::new() };
    let (mut credentials, mut ca_bundle) = (None, None);
    if let Some(reference) = &registry.pull_secret_ref {
        match reader.pull_secret(&reader.own, &reference.name).await {
            Ok(secret) => {
                read.of.push(secret.digest());
                let path = registry.mirror.as_ref().unwrap_or(&registry.prefix).split_once('/').map_or("", |(_, p)| p);
                match secret.credentials(host, path) {
                    Ok(found) => credentials = found,
                    Err(error) => {
                        read.settings = Err(format!("Secret {}/{}: {error}", reader.own, reference.name));
                        return Ok(read);
                    }
                }
                read.secret = Some(secret);
            }
            Err(unread) => return unusable(read, unread),
        }
    }
    if let Some(reference) = &registry.ca_bundle_ref {
        match reader.ca_bundle(reference).await {
            Ok(bundle) => {
                read.of.push(Digest::of(&bundle));
                ca_bundle = Some(bundle);
            }
            Err(unread) => return unusable(read, unread),
        }
    }
    read.settings = Ok(Settings {
        host: host.to_owned(),
        plain_http: registry.plain_http,
        ca_bundle,
        credentials,
        token_url: registry.token_url.clone(),
        redirect_hosts: registry.redirect_hosts.clone(),
        patience: Patience::default(),
    });
    Ok(read)
}

fn unusable(read: Read, unread: Unread) -> Result<Read, Failed> {
    match unread {
        Unread::Unusable(why) => Ok(Read { settings: Err(why), ..read }),
        Unread::Failed(failed) => Err(failed),
    }
}

/// Pull secrets that are read for one image, and that are kept while a scan lasts: pods may name as many as they like.
const MAX_NAMED: usize = 32;
const MAX_READ: usize = 256;
/// Bytes of a pod's pull secret.
const MAX_POD_SECRET: usize = 64 * 1024;

/// Secrets by namespace and name; of one that cannot be had, nothing.
type SecretsRead = HashMap<(String, String), Option<Arc<PullSecret>>>;

/// What pods bring along, read where a registry does not let the declared credentials in.
pub(super) struct PodSecrets {
    pub(super) reader: Reader,
    pub(super) registries: Arc<Registries>,
    pub(super) snapshot: Arc<Snapshot>,
    /// Of which registries pods' own secrets may be used.
    pub(super) allowed: Vec<bool>,
    pub(super) read: Mutex<SecretsRead>,
}

impl PullCredentials for PodSecrets {
    fn of(&self, want: &Want) -> Pin<Box<dyn Future<Output = Vec<Credentials>> + Send + '_>> {
        let want = want.clone();
        Box::pin(async move {
            let Some(host) = self.registries.declared.host(want.target.registry).map(str::to_owned) else {
                return Vec::new();
            };
            let declared = self.registries.secrets.get(want.target.registry).and_then(Option::as_ref);
            let of_repository = declared.and_then(|secret| secret.credentials(&host, &want.target.repository).ok()?);
            let mut all: Vec<Credentials> = of_repository.into_iter().collect();
            if self.allowed.get(want.target.registry) == Some(&true) {
                for (namespace, name) in self.named(&want).await.into_iter().take(MAX_NAMED) {
                    let Some(secret) = self.secret(&namespace, &name).await else { continue };
                    // For the host that is dialled: what a pod has for another one goes nowhere.
                    if let Ok(Some(credentials)) = secret.credentials(&host, &want.target.repository)
                        && !all.contains(&credentials)
                    {
                        all.push(credentials);
                    }
                }
            }
            all
        })
    }
}

impl PodSecrets {
    /// The pull secrets of the pods that use an image.
    async fn named(&self, want: &Want) -> Vec<(String, String)> {
        let image = self.snapshot.inventory.images().get(want.image);
        let Some(with) = image.and_then(|image| self.snapshot.pulled_with.get(image)) else { return Vec::new() };
        let (mut named, mut asked) = (Vec::new(), 0);
        for (namespace, (secrets, accounts)) in with {
            named.extend(secrets.iter().map(|name| (namespace.clone(), name.clone())));
            for account in accounts {
                if asked >= MAX_NAMED || named.len() >= MAX_NAMED {
                    return named;
                }
                asked += 1;
                if let Ok(secrets) = self.reader.of_account(namespace, account).await {
                    named.extend(secrets.into_iter().map(|name| (namespace.clone(), name)));
                }
            }
        }
        named
    }

    async fn secret(&self, namespace: &str, name: &str) -> Option<Arc<PullSecret>> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(known) = self.read.lock().get(&key) {
            return known.clone();
        }
        let secret = match self.reader.pods_pull_secret(namespace, name, MAX_POD_SECRET).await {
            Ok(secret) => Some(Arc::new(secret)),
            Err(unread) => {
                tracing::debug!(namespace, name, ?unread, "a pod's pull secret was not read");
                None
            }
        };
        let mut read = self.read.lock();
        if read.len() < MAX_READ {
            read.insert(key, secret.clone());
        }
        drop(read);
        secret
    }
}
