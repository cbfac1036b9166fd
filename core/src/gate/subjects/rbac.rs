//! Roles and bindings, as far as they are read, and how the API server matches a rule.

use serde::{Deserialize, Deserializer};

/// The name of an object; the rest of its metadata is never allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its namespace, where it is in one.
    pub namespace: Option<String>,
}

/// A Role, or a ClusterRole. One that is gathered from others is read as the API server has filled it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Which.
    pub metadata: Named,
    /// What it gives.
    #[serde(deserialize_with = "or_none")]
    pub rules: Vec<Rule>,
}

/// A rule about resources; what it says of paths beside them is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The verbs; `*` is every one, `approve` and `impersonate` among them.
    #[serde(deserialize_with = "or_none")]
    pub verbs: Vec<String>,
    /// The groups; `*` is every one.
    #[serde(deserialize_with = "or_none")]
    pub api_groups: Vec<String>,
    /// The resources; `*` is every one and all below it, `*/x` is `x` of every one.
    #[serde(deserialize_with = "or_none")]
    pub resources: Vec<String>,
    /// The only objects it is about, where there are any. No name is a wildcard here.
    #[serde(deserialize_with = "or_none")]
    pub resource_names: Vec<String>,
}

/// A RoleBinding, or a ClusterRoleBinding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Binding {
    /// Which.
    pub metadata: Named,
    /// The role it gives.
    pub role_ref: RoleRef,
    /// Whom it gives it to.
    #[serde(deserialize_with = "or_none")]
    pub subjects: Vec<Bound>,
}

/// The role of a binding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Whom a binding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Bound {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// The namespace of a service account.
    pub namespace: Option<String>,
}

/// The API server writes an empty list as none.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Rule {
    /// Whether it gives one of these verbs on one of these resources, whatever objects it names.
    pub(super) fn gives(&self, verbs: &[&str], group: &str, resources: &[&str]) -> bool {
        let has = |given: &[String], wanted: &str| given.iter().any(|one| one == "*" || one == wanted);
        has(&self.api_groups, group)
            && verbs.iter().any(|verb| has(&self.verbs, verb))
            && resources.iter().any(|resource| self.resources.iter().any(|given| covers(given, resource)))
    }

    /// The objects it names; nothing where it is about all of them.
    pub(super) fn names(&self) -> Option<&[String]> {
        (!self.resource_names.is_empty()).then_some(self.resource_names.as_slice())
    }
}

fn covers(given: &str, wanted: &str) -> bool {
    let of_every = given.strip_prefix("*/").zip(wanted.split_once('/'));
    given == "*" || given == wanted || of_every.is_some_and(|(given, (_, part))| given == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_matched_as_the_api_server_does() {
        for (given, wanted, is) in [
            ("*", "pods", true),
            ("*", "pods/exec", true),
            ("pods", "pods", true),
            ("pods", "pods/exec", false),
            ("pods/exec", "pods/exec", true),
            ("*/exec", "pods/exec", true),
            ("*/exec", "exec", false),
            ("*/exec", "pods/status", false),
            ("pods/*", "pods/exec", false),
            ("pod*", "pods", false),
        ] {
            assert_eq!(covers(given, wanted), is, "{given} {wanted}");
        }
    }

    #[test]
    fn lists_that_are_null_are_empty() {
        let role: Role =
            serde_json::from_str(r#"{"metadata": {"name": "a", "uid": "x"}, "rules": null, "aggregationRule": {}}"#)
                .unwrap();
        assert!(role.rules.is_empty() && role.metadata.name == "a");
        let role: Role = serde_json::from_str(r#"{"rules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}]}"#).unwrap();
        assert!(!role.rules[0].gives(&["get"], "", &["pods"]));
        let binding: Binding = serde_json::from_str(
            r#"{"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}, "subjects": null}"#,
        )
        .unwrap();
        assert!(binding.subjects.is_empty() && binding.role_ref.kind == "Role");
    }
}
