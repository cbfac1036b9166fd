//! Enforced namespaces that are gone: their names stay, so that one that is made again under the same name is enforced whatever its labels say, and are
//! forgotten in the end. A cluster in which namespaces come and go would otherwise have ever more names in every binding and in what is remembered.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::decide::{Input, Notes};
use super::history::Event;
use super::memory::Enforced;

/// How long the name of a namespace that is gone is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many such names are kept for so long; of more, those that are gone for longest are forgotten as soon as they are gone for [`SURELY`].
const KEPT: usize = 1000;
/// How long a namespace has to be gone at the least: one that was not seen for a moment is not gone.
const SURELY: SignedDuration = SignedDuration::from_hours(1);

/// Takes note of what is gone and of what is there again, and forgets what is gone for long. The last name stays: a policy does not cease to be enforced
/// because nothing is there that it is about.
pub(super) fn forget(input: &Input<'_>, enforced: &mut Enforced, notes: &mut Notes) {
    if !input.observed.sees_all_namespaces {
        return;
    }
    for (name, standing) in &mut enforced.namespaces {
        if input.observed.namespaces.contains_key(name) {
            standing.gone = None;
        } else {
            standing.gone.get_or_insert(notes.now);
        }
    }
    let mut gone: Vec<(Timestamp, &String)> =
        enforced.namespaces.iter().filter_map(|(name, standing)| Some((standing.gone?, name))).collect();
    gone.sort_unstable();
    let beyond = gone.len().saturating_sub(KEPT);
    let one_stays = usize::from(gone.len() == enforced.namespaces.len());
    let may_go = gone.len().saturating_sub(one_stays);
    let goes = |at: usize, since: Timestamp| {
        let for_long = notes.now.duration_since(since);
        for_long >= KEPT_FOR || at < beyond && for_long >= SURELY
    };
    let forgotten: BTreeSet<String> = gone
        .iter()
        .take(may_go)
        .enumerate()
        .filter(|(at, (since, _))| goes(*at, *since))
        .map(|(_, (_, name))| (*name).clone())
        .collect();
    if !forgotten.is_empty() {
        enforced.namespaces.retain(|name, _| !forgotten.contains(name));
        notes.record(Event::Forgotten { namespaces: forgotten });
    }
}
