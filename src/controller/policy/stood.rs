//! The form in which each rule last stood, as it was written: what somebody changes comes back to it first, whatever is wanted meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::engines::Object;
use holdfast_core::engines::native::{Changes, Step as Change};
use parking_lot::Mutex;

use super::super::failure::Failed;
use super::live::{Kind, There};

/// Rules in the form in which each was last written, or found to be as it is wanted.
#[derive(Default)]
pub(crate) struct Stood(Mutex<BTreeMap<String, (Digest, Arc<Object>)>>);

impl Stood {
    /// Another replica may have written meanwhile.
    pub(super) fn doubt(&self) {
        self.0.lock().clear();
    }

    /// A rule was written, or nobody knows whether it was.
    pub(super) fn wrote(&self, rule: &Object, done: &Result<(), Failed>) {
        let mut stood = self.0.lock();
        match done {
            Ok(()) => _ = stood.insert(rule.name().to_owned(), (rule.digest(), Arc::new(rule.clone()))),
            Err(failed) if is_refused(failed) => {}
            Err(_) => _ = stood.remove(rule.name()),
        }
    }

    /// Adds to what closes each rule that somebody changed, in the form it had: that was in force, and nothing opens by it.
    pub(super) fn put_back(&self, there: &BTreeMap<(Kind, String), There>, changes: &mut Changes) {
        let rules: BTreeMap<&str, &There> = there
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Policy)
            .map(|((_, name), rule)| (&**name, rule))
            .collect();
        let mut stood = self.0.lock();
        let touched = [&changes.closing, &changes.opening, &changes.unused].into_iter().flatten().filter_map(rule_of);
        let touched: BTreeSet<&str> = touched.collect();
        for (name, rule) in rules.iter().filter(|(name, _)| !touched.contains(*name)) {
            stood.insert((*name).to_owned(), (rule.digest, rule.object.clone()));
        }
        let closing: BTreeSet<String> = changes.closing.iter().filter_map(rule_of).map(str::to_owned).collect();
        stood.retain(|name, _| rules.contains_key(name.as_str()));
        for (name, (digest, was)) in stood.iter().filter(|(name, _)| !closing.contains(*name)) {
            if rules.get(name.as_str()).is_some_and(|rule| rule.digest != *digest) {
                let back = Change::Write(Object::clone(was));
                changes.opening.retain(|change| *change != back);
                changes.closing.push(back);
            }
        }
    }
}

/// Whether what was there is there still.
fn is_refused(failed: &Failed) -> bool {
    failed.is_conflict() || (failed.not_taken().is_some() && !matches!(failed, Failed::Altered { .. }))
}

/// The rule that a change is about.
fn rule_of(change: &Change) -> Option<&str> {
    let (kind, name) = match change {
        Change::Write(object) => (object.kind(), object.name()),
        Change::Delete { kind, name } => (kind.as_str(), name.as_str()),
        Change::Settle => return None,
    };
    (Kind::of(kind) == Some(Kind::Policy)).then_some(name)
}

#[cfg(test)]
mod tests {
    use holdfast_core::engines::EngineKind;
    use holdfast_core::engines::native::changes;
    use serde_json::json;
    use tokio::time::Instant;

    use super::super::live::Version;
    use super::*;

    fn rule(expression: &str, intent: &str) -> Object {
        let metadata = json!({"name": "judge", "annotations": {"holdfast.dev/intent": intent}});
        let spec = json!({"validations": [{"expression": expression}]});
        let body = json!({"kind": Kind::Policy.name(), "metadata": metadata, "spec": spec});
        Object::found(EngineKind::Native, body)
    }

    fn there(rule: &Object) -> BTreeMap<(Kind, String), There> {
        let version = Version { uid: "1".to_owned(), resource_version: "1".to_owned() };
        let rule = There { version, since: Instant::now(), digest: rule.digest(), object: Arc::new(rule.clone()) };
        BTreeMap::from([((Kind::Policy, "judge".to_owned()), rule)])
    }

    #[test]
    fn a_rule_that_somebody_changed_comes_back_to_the_form_it_had() {
        let (strict, loose, open) = (rule("strict", "1"), rule("loose", "2"), rule("true", "3"));
        let write = |rule: &Object| vec![Change::Write(rule.clone())];
        let stood = Stood::default();
        let step = |now: &Object, wanted: &[&Object]| {
            let mut changes = changes([now], wanted.iter().copied());
            stood.put_back(&there(now), &mut changes);
            changes
        };
        // Where nobody knows which form it had, what may open waits.
        assert_eq!(step(&open, &[&loose]), Changes { opening: write(&loose), ..Changes::default() });
        assert!(step(&strict, &[&strict]).is_empty());
        assert_eq!(step(&open, &[&strict]), Changes { closing: write(&strict), ..Changes::default() });
        // What is wanted meanwhile waits all the same, and so does that the rule goes.
        let both = Changes { closing: write(&strict), opening: write(&loose), ..Changes::default() };
        assert_eq!(step(&open, &[&loose]), both);
        let goes = step(&open, &[]);
        assert!(goes.closing == write(&strict) && goes.unused.len() == 1);
        assert_eq!(step(&strict, &[&loose]), Changes { opening: write(&loose), ..Changes::default() });
        stood.wrote(&loose, &Ok(()));
        assert_eq!(step(&open, &[&loose]), Changes { closing: write(&loose), ..Changes::default() });
        // A write that may have been taken; the one before was not.
        stood.wrote(&loose, &Err(Failed::Altered { kind: Kind::Policy.name(), name: "judge".to_owned() }));
        assert_eq!(step(&loose, &[&strict]), Changes { opening: write(&strict), ..Changes::default() });
    }
}
