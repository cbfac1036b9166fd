//! Times of signing that scans authenticated, by the trust that vouches for them: what has certainly passed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// By how much the floor of a clock has to rise to be written: a busy cluster sees newer times all day, and each is a write of the memory.
const STEP: SignedDuration = SignedDuration::from_hours(1);

/// The newest time of signing that the trust of each mirror vouches for.
#[derive(Default)]
pub(crate) struct Vouched(Mutex<BTreeMap<String, Timestamp>>);

impl Vouched {
    /// Takes note of times.
    pub(crate) fn take(&self, times: BTreeMap<String, Timestamp>) {
        let mut all = self.0.lock();
        for (mirror, at) in times {
            all.entry(mirror).and_modify(|known| *known = at.max(*known)).or_insert(at);
        }
    }

    /// The time that the floor of a mirror's clock is raised to, where that is worth a write.
    pub(crate) fn worth(&self, mirror: &str, floor: Option<Timestamp>) -> Option<Timestamp> {
        let at = *self.0.lock().get(mirror)?;
        floor.is_none_or(|floor| at.duration_since(floor) >= STEP).then_some(at)
    }

    /// A mirror is gone: another one of its name is of other trust.
    pub(crate) fn forget(&self, mirror: &str) {
        self.0.lock().remove(mirror);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_rises_to_the_newest_time_in_steps() {
        let vouched = Vouched::default();
        let noon: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let later = |minutes| noon + SignedDuration::from_mins(minutes);
        assert_eq!(vouched.worth("corp", None), None);
        vouched.take([("corp".to_owned(), later(0))].into());
        vouched.take([("corp".to_owned(), later(-5))].into());
        assert_eq!(vouched.worth("corp", None), Some(noon));
        assert_eq!((vouched.worth("corp", Some(noon)), vouched.worth("other", None)), (None, None));
        vouched.take([("corp".to_owned(), later(59))].into());
        assert_eq!(vouched.worth("corp", Some(noon)), None, "every write costs");
        vouched.take([("corp".to_owned(), later(60))].into());
        assert_eq!(vouched.worth("corp", Some(noon)), Some(later(60)));
        vouched.forget("corp");
        assert_eq!(vouched.worth("corp", None), None);
    }
}
