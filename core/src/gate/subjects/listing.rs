//! Everybody who has a power, as it is said.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::power::Power;
use super::who::Kind;
use crate::api::policy::BypassStatus;
use crate::text::shortened;

/// The most subjects that the status of a policy names.
pub const MAX_LISTED: usize = 32;
/// The most bytes of a subject's text, before the mark of one that is longer.
const MAX_TEXT: usize = 500;

/// Somebody who has powers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// What it is to RBAC.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The namespace of a service account.
    pub namespace: Option<String>,
    /// What it can do.
    pub can: BTreeSet<Power>,
    /// Whether it is Kubernetes' own, and nothing to be mended.
    pub is_system: bool,
    /// Whether no binding gives it that: RBAC is not asked.
    pub always: bool,
    /// The bindings that give it, the first few by name.
    pub by: BTreeSet<String>,
    /// How many bindings give it.
    pub bindings: usize,
}

/// Everybody who has a power: people and programs before Kubernetes' own, the most direct powers first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subjects {
    /// Who.
    pub all: Vec<Subject>,
    /// Mentions of subjects beyond those that are kept.
    pub beyond: usize,
}

impl Subject {
    /// Who it is.
    pub fn who(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        shortened(&format!("{} `{place}{}`", self.kind, self.name), MAX_TEXT)
    }

    /// Who it is, and what gives it its powers.
    pub fn whence(&self) -> String {
        let who = self.who();
        let whence = match (self.always, self.by.first(), self.bindings) {
            (true, _, _) => format!("{who} (always)"),
            (false, Some(by), 1) => format!("{who} ({by})"),
            (false, Some(by), more) => format!("{who} ({by} and {} more)", more.saturating_sub(1)),
            (false, None, _) => who,
        };
        shortened(&whence, MAX_TEXT)
    }

    /// Whether it can get round what is enforced.
    pub fn bypasses(&self) -> bool {
        self.can.iter().any(|power| power.bypasses())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.whence())?;
        if self.can.len() == Power::ALL.len() {
            return f.write_str("may do everything");
        }
        let can: Vec<&str> = self.can.iter().map(|power| power.phrase()).collect();
        f.write_str(&can.join(", "))
    }
}

impl Subjects {
    pub(super) fn sorted(mut all: Vec<Subject>, beyond: usize) -> Self {
        all.sort_by(|a, b| {
            let key = |of: &Subject| (of.is_system, of.can.first().copied(), of.kind);
            key(a).cmp(&key(b)).then_with(|| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)))
        });
        Self { all, beyond }
    }

    /// Those that can get round what is enforced.
    pub fn bypassing(&self) -> impl Iterator<Item = &Subject> {
        self.all.iter().filter(|subject| subject.bypasses())
    }

    /// Those that may approve: meant to be some, and worth a look at who.
    pub fn approving(&self) -> impl Iterator<Item = &Subject> {
        self.all.iter().filter(|subject| subject.can.contains(&Power::Approve))
    }

    /// Those that can get round what is enforced, as status names them, and how many there are beyond.
    pub fn status(&self) -> (Vec<BypassStatus>, u32) {
        let listed: Vec<BypassStatus> = self
            .bypassing()
            .take(MAX_LISTED)
            .map(|subject| BypassStatus {
                subject: subject.whence(),
                powers: subject.can.iter().map(|power| power.as_str().to_owned()).collect(),
            })
            .collect();
        let beyond = self.bypassing().count().saturating_add(self.beyond).saturating_sub(listed.len());
        (listed, u32::try_from(beyond).unwrap_or(u32::MAX))
    }

    /// The whole of it for a person: a line a subject that can get round what is enforced, people and programs first.
    pub fn report(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.bypassing().map(ToString::to_string).collect();
        if self.beyond > 0 {
            lines.push(format!("{} more {} not kept", self.beyond, if self.beyond == 1 { "is" } else { "are" }));
        }
        lines
    }
}
