//! The guard over the labels by which enforced namespaces are chosen: it hangs on what is enforced, so no chart can have it.

use std::collections::BTreeSet;

use holdfast_core::api::common::{NAME_LABEL, NamespaceSelector};
use holdfast_core::engines::Object;
use holdfast_core::engines::native::{GuardSettings, guards};
use holdfast_core::operate::policy::Decided;

use super::super::context::Context;

/// Its name.
pub(super) const NAME: &str = "holdfast-guard-scope";

/// The guard; nothing where nothing is enforced, or namespaces are chosen by name alone.
pub(super) fn guard(context: &Context, decided: &Decided<'_>) -> Vec<Object> {
    let enforced = decided.steps.iter().filter(|step| !step.decision.namespaces.is_empty() && !step.lets_go());
    let (mut namespaces, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for step in enforced {
        namespaces.extend(step.decision.namespaces.iter().cloned());
        let Some(form) = &step.decision.form else { continue };
        let waves = form.spec.enforcement.waves.iter().map(|wave| &wave.namespace_selector);
        labels.extend(std::iter::once(&form.spec.namespace_selector).chain(waves).flat_map(keys));
    }
    let settings = GuardSettings {
        namespace: context.namespace.clone(),
        service_account: context.settings.service_account.clone(),
        approving_service_accounts: BTreeSet::new(),
        enforced: namespaces,
        scope_labels: labels,
        release: BTreeSet::new(),
    };
    guards(&settings).into_iter().filter(|object| object.name() == NAME).collect()
}

fn keys(selector: &NamespaceSelector) -> Vec<String> {
    let expressions = selector.match_expressions.iter().map(|requirement| &requirement.key);
    selector.match_labels.keys().chain(expressions).filter(|key| *key != NAME_LABEL).cloned().collect()
}
