//! A declared registry that is asked for the evidence of images, politely: so many requests at once, none while it is down or wants a pause, and nothing
//! twice that is kept.

mod breaker;
mod failure;
mod gate;
mod look;
mod outcome;
mod piece;

use std::fmt;
use std::sync::Arc;

use holdfast_core::Digest;
use parking_lot::Mutex;

use self::gate::{Failure, Gate};
use self::look::Looking;
use super::blobs::Blobs;
use super::client::{Client, Credentials, RegistryError, Settings};

pub use self::failure::LookFailure;
pub use self::outcome::{Observe, Outcome, unobserved};
pub use self::piece::{Looked, Piece, assemble};

/// Credentials of pods that are remembered, with the tokens they brought.
const MAX_OTHERS: usize = 64;
/// Credentials of pods that are tried for one image.
const MAX_ALSO: usize = 16;

/// Where evidence is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Referrers, by the registry's listing or by the fallback tag.
    Bundles,
    /// cosign's `.sig` and `.att` tags.
    Legacy,
}

/// Bytes of one image's evidence that are looked at, and judged, beside those of other images.
pub const LIGHT: u64 = 2 * 1024 * 1024;

/// How much evidence a look takes. Anyone who may write to a registry may attach as much as they like to as many images as they like: what is heavy is looked at
/// one at a time, by whoever sees to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// No more than [`LIGHT`]; more is [`LookFailure::Heavy`].
    Light,
    /// All that is judged of one image.
    Whole,
}

/// One declared registry.
pub struct Remote {
    declared: Arc<Client>,
    /// The same registry with the credentials of pods, used last at the end.
    others: Mutex<Vec<(Credentials, Arc<Client>)>>,
    gate: Gate,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Remote {
    /// Prepares to ask a registry; nothing is dialled. `observe` is told of each request.
    ///
    /// # Errors
    /// [`RegistryError::Settings`].
    pub fn new(settings: Settings, max_in_flight: u8, observe: Observe) -> Result<Self, RegistryError> {
        let gate = Gate::new(&settings.host, max_in_flight, observe);
        Ok(Self { declared: Arc::new(Client::new(settings)?), others: Mutex::default(), gate })
    }

    /// The registry's host, as it is dialled.
    pub fn host(&self) -> &str {
        self.declared.host()
    }

    /// Looks for the evidence of an image at one stage. `also` are further credentials, tried in turn (the first 16) where the declared ones are not let in.
    ///
    /// With the referrers API, and everything it lists in `kept`, this is one request. Where nothing at all is found, the registry has to show the image
    /// itself, by one request more: an empty answer of a registry that does not know the image says nothing of it.
    ///
    /// Where the API lists no evidence, the fallback tag is asked, too: a registry that learned the API later has old bundles there alone.
    ///
    /// # Errors
    /// [`LookFailure`], where nothing can be said but that. What was remembered of an earlier look stays true then.
    pub async fn look(
        &self,
        repository: &str,
        digest: Digest,
        kept: &Blobs,
        stage: Stage,
        also: &[Credentials],
    ) -> Result<Looked, LookFailure> {
        self.look_within(repository, digest, kept, (stage, Reach::Whole), also).await
    }

    /// The same, of no more evidence than is within reach.
    ///
    /// # Errors
    /// [`LookFailure`]; [`LookFailure::Heavy`] where there is more.
    pub async fn look_within(
        &self,
        repository: &str,
        digest: Digest,
        kept: &Blobs,
        (stage, reach): (Stage, Reach),
        also: &[Credentials],
    ) -> Result<Looked, LookFailure> {
        self.declared.check(repository).map_err(LookFailure::Image)?;
        Looking::new(self, repository, digest, kept, also, reach).at(stage).await
    }

    /// Asks by whoever was let in before, and by the others in turn where they are not. `asker` says who that is: 0 is declared, then come `also`.
    async fn ask<T, F, A>(&self, also: &[Credentials], asker: &mut usize, reading: F) -> Result<T, Failure>
    where
        F: Fn(Arc<Client>) -> A,
        A: Future<Output = Result<T, RegistryError>>,
    {
        let others = (0..=also.len().min(MAX_ALSO)).filter(|other| other != asker);
        let everybody: Vec<usize> = std::iter::once(*asker).chain(others).collect();
        let mut refused = None;
        for one in everybody {
            match self.gate.ask(reading(self.client(one, also))).await {
                Err(Failure::Registry(error @ RegistryError::Unauthorized { .. })) => {
                    refused.get_or_insert(Failure::Registry(error));
                }
                answer => {
                    *asker = one;
                    return answer;
                }
            }
        }
        // Somebody was asked, so somebody was refused.
        Err(refused.unwrap_or(Failure::Refused(breaker::Refusal::Open(std::time::Duration::ZERO))))
    }

    fn client(&self, asker: usize, also: &[Credentials]) -> Arc<Client> {
        let Some(credentials) = asker.checked_sub(1).and_then(|at| also.get(at)) else { return self.declared.clone() };
        let mut others = self.others.lock();
        let known = others.iter().position(|(other, _)| other == credentials).map(|at| others.remove(at));
        let (credentials, client) =
            known.unwrap_or_else(|| (credentials.clone(), Arc::new(self.declared.asked_by(credentials.clone()))));
        if others.len() >= MAX_OTHERS {
            others.remove(0);
        }
        others.push((credentials, client.clone()));
        client
    }
}

#[cfg(test)]
mod tests;
