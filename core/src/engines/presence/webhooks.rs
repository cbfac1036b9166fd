//! The webhooks of an engine: which requests the API server really asks it about.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A ValidatingWebhookConfiguration, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Configuration {
    webhooks: Option<Vec<Entry>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    name: String,
    failure_policy: String,
    rules: Option<Vec<Rule>>,
    match_conditions: Option<Vec<Something>>,
    object_selector: Selector,
}

/// Of which counts that it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct Something {}

/// Which objects come before a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Something>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    operations: Vec<String>,
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    resources: Vec<String>,
    scope: Option<String>,
}

/// By what a pod comes to have images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// It is created.
    Creation,
    /// It is updated.
    Update,
    /// It gets an ephemeral container.
    EphemeralContainer,
}

impl Request {
    /// Every one.
    pub const ALL: &[Self] = &[Self::Creation, Self::Update, Self::EphemeralContainer];

    /// Operation and resource, as rules name them.
    const fn of(self) -> (&'static str, &'static str) {
        match self {
            Self::Creation => ("CREATE", "pods"),
            Self::Update => ("UPDATE", "pods"),
            Self::EphemeralContainer => ("UPDATE", "pods/ephemeralcontainers"),
        }
    }
}

/// One webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Which requests about pods it is asked about.
    pub asked: BTreeSet<Request>,
    /// Whether what it does not answer is denied.
    pub fails_closed: bool,
    /// Whether conditions or labels of objects keep some requests from it.
    pub is_conditional: bool,
}

/// Webhooks by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Webhooks(BTreeMap<String, Webhook>);

impl Webhooks {
    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Webhook> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Webhook)> {
        self.0.iter().map(|(name, webhook)| (name.as_str(), webhook))
    }
}

impl From<&Configuration> for Webhooks {
    fn from(configuration: &Configuration) -> Self {
        let entries = configuration.webhooks.iter().flatten();
        Self(
            entries
                .map(|entry| {
                    let rules = || entry.rules.iter().flatten();
                    let asked =
                        Request::ALL.iter().copied().filter(|request| rules().any(|rule| rule.is_about(*request)));
                    // The API server fills it in.
                    let fails_closed = entry.failure_policy != "Ignore";
                    let selector = &entry.object_selector;
                    let is_conditional = entry.match_conditions.iter().flatten().next().is_some()
                        || selector.match_labels.iter().flatten().next().is_some()
                        || selector.match_expressions.iter().flatten().next().is_some();
                    (entry.name.clone(), Webhook { asked: asked.collect(), fails_closed, is_conditional })
                })
                .collect(),
        )
    }
}

impl Rule {
    fn is_about(&self, request: Request) -> bool {
        let (operation, resource) = request.of();
        let has = |given: &[String], wanted: &str| given.iter().any(|one| one == "*" || one == wanted);
        has(&self.operations, operation)
            && has(&self.api_groups, "")
            && has(&self.api_versions, "v1")
            && self.scope.as_deref().is_none_or(|scope| scope != "Cluster")
            && self.resources.iter().any(|given| covers(given, resource))
    }
}

/// Here, unlike in RBAC, `*` is no subresource.
fn covers(given: &str, wanted: &str) -> bool {
    let parts = |text: &str| {
        let (resource, part) = text.split_once('/').unwrap_or((text, ""));
        (resource.to_owned(), part.to_owned())
    };
    let ((resource, part), (wanted_resource, wanted_part)) = (parts(given), parts(wanted));
    (resource == "*" || resource == wanted_resource) && (part == wanted_part || part == "*")
}
