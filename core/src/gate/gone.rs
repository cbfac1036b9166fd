//! Enforced namespaces that are gone: their names stay, so that one that is made again under the same name is enforced whatever its labels say, and are
//! forgotten in the end. A cluster in which namespaces come and go would otherwise have ever more names in every binding and in what is remembered.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::decide::{Input, Notes};
use super::history::Event;
use super::memory::Enforced;
use crate::trust::clock::Sanity;

/// Each time that an hour has passed since it was last counted, one is: a clock that jumps passes no more than that.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// For how many hours the name of a namespace that is gone is kept.
const KEPT_FOR: u32 = 7 * 24;
/// How many such names are kept for so long; of more, those that are gone for longest are forgotten as soon as they are gone for [`SURELY`].
const KEPT: usize = 1000;
/// For how many hours that were counted a namespace has to be gone at the least, which is one hour at least: one that was not seen for a moment is not gone.
const SURELY: u32 = 2;

/// Takes note of what is gone and of what is there again, and forgets what is gone for long. The last name stays: a policy does not cease to be enforced
/// because nothing is there that it is about.
pub(super) fn forget(input: &Input<'_>, enforced: &mut Enforced, notes: &mut Notes) {
    if !input.observed.sees_all_namespaces {
        return;
    }
    let there = |name: &String| input.observed.namespaces.contains_key(name);
    let is_sane = input.observed.clock == Some(Sanity::Sane);
    let hours = if is_sane { passed(enforced, notes.now) } else { 0 };
    for (name, standing) in &mut enforced.namespaces {
        standing.gone = (!there(name)).then(|| standing.gone.map_or(0, |gone| gone.saturating_add(hours)));
    }
    let mut gone: Vec<(u32, &String)> =
        enforced.namespaces.iter().filter_map(|(name, standing)| Some((standing.gone?, name))).collect();
    if gone.is_empty() {
        enforced.counted = None;
        return;
    }
    if is_sane {
        enforced.counted.get_or_insert(notes.now);
    }
    gone.sort_unstable_by_key(|(hours, name)| (std::cmp::Reverse(*hours), *name));
    let beyond = gone.len().saturating_sub(KEPT);
    let one_stays = usize::from(gone.len() == enforced.namespaces.len());
    let may_go = gone.len().saturating_sub(one_stays);
    let goes = |at: usize, hours: u32| hours >= KEPT_FOR || at < beyond && hours >= SURELY;
    let forgotten: BTreeSet<String> = gone
        .iter()
        .take(may_go)
        .enumerate()
        .filter(|(at, (hours, _))| goes(*at, *hours))
        .map(|(_, (_, name))| (*name).clone())
        .collect();
    if !forgotten.is_empty() {
        enforced.namespaces.retain(|name, _| !forgotten.contains(name));
        notes.record(Event::Forgotten { namespaces: forgotten });
    }
}

/// How many hours are counted now: one, or none. Where the clock went back, from here on.
fn passed(enforced: &mut Enforced, now: Timestamp) -> u32 {
    let Some(counted) = &mut enforced.counted else { return 0 };
    let since = now.duration_since(*counted);
    if since >= HOUR || since.is_negative() {
        *counted = now;
    }
    u32::from(since >= HOUR)
}
