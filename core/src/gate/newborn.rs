//! Which namespaces are enforced from their start.
//!
//! Nothing may be denied without a soak where something ran before the policy was about it. So a namespace is newborn where it is proven that it was in scope
//! from the first: it was not there at the last look, and is there now, in scope, within a minute of its making. Whoever races holdfast with a pod in such a
//! namespace gains nothing by it; that is why what runs there is not asked.
//!
//! What was made while nobody looked (holdfast was down, or could write nothing down) may have been made without the labels. It is newborn where no labels
//! could have kept it out, or where everything that runs in it passes; else it soaks, which breaks nothing.

use jiff::Timestamp;

use super::decide::Input;
use super::loosening::PolicyForm;
use super::memory::Enforced;
use super::rollout::{Seen, YOUNG, waves_of};
use crate::api::SigningIdentityPolicySpec;
use crate::api::common::NamespaceSelector;
use crate::api::policy::Wave;

/// Whether a namespace that a wave in force selects was in its scope from the first.
pub(super) fn is(
    input: &Input<'_>,
    form: PolicyForm<'_>,
    name: &str,
    wave: &Wave,
    enforced: &Enforced,
    now: Timestamp,
) -> bool {
    let Some(namespace) = input.observed.namespaces.get(name) else { return false };
    let in_force = enforced.waves.get(&wave.name).and_then(|wave| wave.observed);
    let Some((created, in_force)) = namespace.created.zip(in_force) else { return false };
    created > in_force
        && match namespace.seen {
            Seen::Before => false,
            Seen::Never if now.duration_since(created) <= YOUNG => true,
            Seen::Never | Seen::Unknown => {
                is_since_last_step(input, created)
                    && (nothing_is_left_out(input, form, wave) || everything_passes(input, name))
            }
        }
}

/// When the last step was made is written down now and then, so it says of what is older that it was seen, and nothing of the rest.
fn is_since_last_step(input: &Input<'_>, created: Timestamp) -> bool {
    input.progress.is_some_and(|progress| created > progress.at)
}

/// Whether the wave takes every namespace in, whatever its labels, and did so when nobody looked.
fn nothing_is_left_out(input: &Input<'_>, form: PolicyForm<'_>, wave: &Wave) -> bool {
    let everything = NamespaceSelector::default();
    let takes_all = |spec: &SigningIdentityPolicySpec| {
        let waves = waves_of(&spec.enforcement);
        spec.namespace_selector == everything
            && waves.iter().any(|of| of.name == wave.name && of.namespace_selector == everything)
    };
    takes_all(form.spec) && input.enforced.is_some_and(|enforced| takes_all(&enforced.spec))
}

/// Whether all that is known to run in a namespace would be admitted; not, where that is not known.
fn everything_passes(input: &Input<'_>, name: &str) -> bool {
    let scan = input.observed.scan.as_ref().filter(|scan| scan.incomplete.is_none());
    scan.is_some_and(|scan| scan.would_deny(&|namespace| namespace == name).is_empty())
}
