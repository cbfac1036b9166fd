//! Whether one selector provably selects every namespace that another one selects.

use crate::api::common::{NamespaceSelector, SelectorOperator, SelectorRequirement};

/// Whether everything that `narrow` selects is provably selected by `wide`: every demand of `wide` follows from some demand of `narrow`.
pub(super) fn covers(wide: &NamespaceSelector, narrow: &NamespaceSelector) -> bool {
    let given = demands(narrow);
    demands(wide).iter().all(|wanted| given.iter().any(|demand| implies(demand, wanted)))
}

/// Every demand of a selector, in one form.
fn demands(selector: &NamespaceSelector) -> Vec<SelectorRequirement> {
    let labels = selector.match_labels.iter().map(|(key, value)| SelectorRequirement {
        key: key.clone(),
        operator: SelectorOperator::In,
        values: vec![value.clone()],
    });
    labels.chain(selector.match_expressions.iter().cloned()).collect()
}

fn implies(given: &SelectorRequirement, wanted: &SelectorRequirement) -> bool {
    use SelectorOperator::{DoesNotExist, Exists, In, NotIn};
    let all_within = |values: &[String], of: &[String]| values.iter().all(|value| of.contains(value));
    given.key == wanted.key
        && match (given.operator, wanted.operator) {
            (In, In) => all_within(&given.values, &wanted.values),
            (In | Exists, Exists) | (DoesNotExist, DoesNotExist | NotIn) => true,
            (In, NotIn) => !given.values.iter().any(|value| wanted.values.contains(value)),
            (NotIn, NotIn) => all_within(&wanted.values, &given.values),
            _ => false,
        }
}
