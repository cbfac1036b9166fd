//! Which engines are there, and what each of them takes: as the API server says now.

mod discover;
mod served;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::engines::Version;
use holdfast_core::engines::presence::{Definition, Discovered};
use kube::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::Failed;

/// How long an answer is taken for the next question, too.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long the version of an API server counts after it was last seen: behind one address there may be several, and each answers now and then.
const SEEN: Duration = Duration::from_secs(3600);

/// Discovers engines, and remembers what it found.
pub struct Engines {
    client: Client,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    last: Option<(Instant, Arc<Discovered>)>,
    /// The versions of API servers, and when each was last seen.
    versions: BTreeMap<Version, Instant>,
    /// Definitions by name, each with the form it was read in: they are large, and change with upgrades alone.
    definitions: BTreeMap<&'static str, (String, Definition)>,
}

impl Engines {
    /// One that has seen nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, memory: Mutex::default() }
    }

    /// What is known of every engine; what it says may be a minute old. Whoever asks while somebody looks waits for what they find.
    ///
    /// # Errors
    /// [`Failed`]: then nothing is known, which is not that an engine is absent.
    pub async fn look(&self) -> Result<Arc<Discovered>, Failed> {
        let mut memory = self.memory.lock().await;
        match &memory.last {
            Some((at, known)) if at.elapsed() < REMEMBERED => Ok(known.clone()),
            _ => self.again(&mut memory).await,
        }
    }

    /// The same, seen now.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn look_now(&self) -> Result<Arc<Discovered>, Failed> {
        self.again(&mut *self.memory.lock().await).await
    }

    async fn again(&self, memory: &mut Memory) -> Result<Arc<Discovered>, Failed> {
        let found = Arc::new(discover::discover(&self.client, memory).await?);
        memory.last = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

impl Memory {
    /// The oldest version that was seen of late, this one included.
    fn oldest(&mut self, seen: Option<Version>, now: Instant) -> Option<Version> {
        if let Some(version) = seen {
            self.versions.insert(version, now);
        }
        self.versions.retain(|_, at| now.duration_since(*at) < SEEN);
        self.versions.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_api_server_counts_for_as_long_as_it_may_still_be_there() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let (old, new) = (Version::new(1, 29, 4), Version::new(1, 36, 3));
        assert_eq!(memory.oldest(None, start), None);
        assert_eq!(memory.oldest(Some(new), start), Some(new));
        assert_eq!(memory.oldest(Some(old), start), Some(old));
        assert_eq!(memory.oldest(Some(new), start + SEEN / 2), Some(old));
        assert_eq!(memory.oldest(Some(new), start + SEEN), Some(new));
        assert_eq!(memory.oldest(None, start + SEEN * 3), None);
    }
}
