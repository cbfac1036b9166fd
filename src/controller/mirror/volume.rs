//! Directories that are watched: a courier's copy is read when it is there, not when it is due.
//!
//! A directory may not be there yet, may be moved into the place of another, or be behind a link that is set anew: so what it lies in is watched, too. Someone
//! who copies is let finish: a change is told of once nothing more has changed for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Nothing may have changed for so long, before it is told of.
const QUIET: Duration = Duration::from_millis(300);
/// But it is told of after so long in any case.
const AT_LAST: Duration = Duration::from_secs(3);

/// The directories, and the mirrors that are read from each.
#[derive(Clone)]
pub(crate) struct Volumes(Arc<Mutex<Watched>>);

type Paths = Arc<Mutex<BTreeMap<PathBuf, BTreeSet<String>>>>;

struct Watched {
    /// Nothing where the system offers no such service: then the interval alone decides.
    watcher: Option<RecommendedWatcher>,
    /// What is watched now, and how.
    now: BTreeMap<PathBuf, Identity>,
    paths: Paths,
}

impl Volumes {
    /// `changed` is told of each mirror below whose directory something changed.
    pub(crate) fn new(changed: impl Fn(&str) + Send + 'static) -> Self {
        let paths: Paths = Arc::default();
        let known = paths.clone();
        let (sender, coming) = mpsc::channel::<BTreeSet<String>>();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a directory is an event, too, and no change of it.
            let Some(event) = event.ok().filter(|event| !event.kind.is_access()) else { return };
            let known = known.lock();
            let concerned = known.iter().filter(|(path, _)| {
                event.need_rescan() || event.paths.iter().any(|at| at.starts_with(path) || path.starts_with(at))
            });
            let mirrors: BTreeSet<String> = concerned.flat_map(|(_, mirrors)| mirrors.iter().cloned()).collect();
            if !mirrors.is_empty() {
                // Nobody listens any more once the operator stops.
                let _ = sender.send(mirrors);
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "directories cannot be watched; they are read at each interval"),
            )
            .ok();
        // Ends with the watcher, which sends to it.
        std::thread::spawn(move || {
            while let Ok(mirrors) = coming.recv() {
                for mirror in settled(mirrors, &coming) {
                    changed(&mirror);
                }
            }
        });
        Self(Arc::new(Mutex::new(Watched { watcher, now: BTreeMap::new(), paths })))
    }

    /// Watches `path` for a mirror, and whatever it was read from before no longer. What came, went or was replaced since the last time is watched anew.
    pub(crate) fn watch(&self, mirror: &str, path: Option<&Path>) {
        let mut all = self.0.lock();
        let Watched { watcher, now, paths } = &mut *all;
        let wanted = {
            let mut paths = paths.lock();
            paths.retain(|at, mirrors| {
                if Some(at.as_path()) != path {
                    mirrors.remove(mirror);
                }
                !mirrors.is_empty()
            });
            if let Some(path) = path {
                paths.entry(path.to_owned()).or_default().insert(mirror.to_owned());
            }
            wanted(paths.keys())
        };
        let Some(system) = watcher.as_mut().filter(|_| *now != wanted) else { return };
        for (path, identity) in now.iter() {
            if wanted.get(path) != Some(identity) {
                let _ = system.unwatch(path);
            }
        }
        *now = wanted;
        // All of them: what lies below one that is no longer watched is no longer watched, either. What cannot be watched is tried again with the next pass.
        now.retain(|path, _| {
            let watched = system.watch(path, RecursiveMode::NonRecursive);
            let watched = watched.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a directory cannot be watched; it is read at each interval"));
            watched.is_ok()
        });
    }
}

/// Waits until nothing more changes, and says what did.
fn settled(mut mirrors: BTreeSet<String>, coming: &mpsc::Receiver<BTreeSet<String>>) -> BTreeSet<String> {
    let until = Instant::now() + AT_LAST;
    while let Ok(more) = coming.recv_timeout(QUIET.min(until.saturating_duration_since(Instant::now()))) {
        mirrors.extend(more);
    }
    mirrors
}

/// What tells a directory from another one in its place.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Where a repository has its files, and no deeper: a path may be declared below which there is no end of directories. And what it lies in, or will lie in.
fn wanted<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<PathBuf, Identity> {
    let mut wanted = BTreeMap::new();
    for path in paths {
        let above = path.ancestors().skip(1).find_map(|above| Some((above.to_owned(), identity(above)?)));
        wanted.extend(above);
        for directory in [path.clone(), path.join("metadata"), path.join("targets")] {
            wanted.extend(identity(&directory).map(|identity| (directory, identity)));
        }
    }
    wanted
}
