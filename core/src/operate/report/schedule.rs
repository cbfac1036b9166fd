//! When everything is looked at again.

use jiff::Timestamp;

use super::{Asked, Facts, Finished};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A scan over everything.
    Everything,
    /// One is under way, or what is declared cannot be scanned.
    Wait,
    /// Nothing before then but what is new.
    Until(Timestamp),
}

/// Whether everything is to be looked at now: at the first look, when the report changed or asks for it, and once the interval has passed.
pub fn due(facts: &Facts<'_>, now: Timestamp) -> Due {
    if !facts.invalid.is_empty() {
        return Due::Wait;
    }
    let asked = Asked::by(facts.report);
    let has_changed = facts.scan.asked.as_ref() != Some(&asked);
    if facts.scan.running.is_some_and(|running| running.everything) && !has_changed {
        return Due::Wait;
    }
    // One that began before everything was listed says nothing of how much there is.
    let counts = |last: &Finished| !has_changed && (!last.wanting || facts.wanting.is_some());
    let Some(last) = facts.scan.last.filter(counts) else { return Due::Everything };
    let next = last.finished.checked_add(facts.report.spec.interval.signed()).unwrap_or(Timestamp::MAX);
    // A clock that was set back does not put it off.
    if next <= now || last.finished > now { Due::Everything } else { Due::Until(next) }
}
