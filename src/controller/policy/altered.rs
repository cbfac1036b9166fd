//! What comes back from a write as something else. Mutating admission changes what is written in holdfast's own name, so no guard tells it from holdfast's.

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::engines::Object;
use holdfast_core::engines::native::Step as Change;
use kube::api::DynamicObject;
use parking_lot::Mutex;

use super::super::failure::Failed;
use super::super::rest::Rest;
use super::live::Kind;

struct Seen {
    /// What was written.
    wanted: Digest,
    rest: Rest,
}

/// What came back as something else, by its name.
#[derive(Default)]
pub(crate) struct Altered(Mutex<BTreeMap<(Kind, String), Seen>>);

impl Altered {
    /// Compares what was written with what the API server answered. Every field it would fill in is written, so any difference is somebody's.
    ///
    /// # Errors
    /// [`Failed::Altered`], where it is something else.
    pub(super) fn compare(&self, kind: Kind, wanted: &Object, answer: &DynamicObject) -> Result<(), Failed> {
        let (key, digest) = ((kind, wanted.name().to_owned()), wanted.digest());
        let answer = serde_json::to_value(answer).map(|body| Object::found(wanted.engine(), body));
        let mut all = self.0.lock();
        if answer.is_ok_and(|answer| answer.body() == wanted.body()) {
            all.remove(&key);
            return Ok(());
        }
        let before = all.get(&key).filter(|seen| seen.wanted == digest).map(|seen| seen.rest);
        all.insert(key, Seen { wanted: digest, rest: Rest::begun(before) });
        Err(failed(kind, wanted.name()))
    }

    /// What is wrong with a change that is a write which came back as something else a moment ago; it is not tried again yet.
    pub(super) fn rests(&self, change: &Change) -> Option<Failed> {
        let Change::Write(object) = change else { return None };
        let kind = Kind::of(object.kind())?;
        let all = self.0.lock();
        let seen = all.get(&(kind, object.name().to_owned())).filter(|seen| seen.wanted == object.digest())?;
        seen.rest.lasts().then(|| failed(kind, object.name()))
    }
}

fn failed(kind: Kind, name: &str) -> Failed {
    Failed::Altered { kind: kind.name(), name: name.to_owned() }
}
