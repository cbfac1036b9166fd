//! Namespaces that a record of the history is about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::loosening;
use crate::Digest;

/// Names that one record lists.
const LISTED: usize = 64;

/// Namespaces, by name; or, where they are many, how many and the digest of their names. A soak that fails and starts again writes them down each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Named {
    /// Each of them.
    Each(BTreeSet<String>),
    /// Too many to list.
    Many {
        /// How many.
        count: usize,
        /// Of their names.
        digest: Digest,
    },
}

impl Named {
    /// Whether they are these, however they were written down.
    pub fn are(&self, namespaces: &BTreeSet<String>) -> bool {
        match self {
            Self::Each(names) => names == namespaces,
            Self::Many { count, digest } => *count == namespaces.len() && *digest == digest_of(namespaces),
        }
    }
}

impl From<&BTreeSet<String>> for Named {
    fn from(namespaces: &BTreeSet<String>) -> Self {
        if namespaces.len() <= LISTED {
            return Self::Each(namespaces.clone());
        }
        Self::Many { count: namespaces.len(), digest: digest_of(namespaces) }
    }
}

fn digest_of(namespaces: &BTreeSet<String>) -> Digest {
    loosening::value_digest(&json!(namespaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_known_again_by_their_digest_and_few_by_name() {
        for count in [0, 1, LISTED, LISTED + 1, 3000] {
            let names: BTreeSet<String> = (0..count).map(|number| format!("team-{number}")).collect();
            let written = Named::from(&names);
            let text = serde_json::to_string(&written).unwrap();
            assert!(text.len() < 1000, "{text}");
            assert_eq!(serde_json::from_str::<Named>(&text).unwrap(), written);
            assert!(written.are(&names) && Named::Each(names.clone()).are(&names), "{count}");
            let mut others = names.clone();
            others.insert("another".to_owned());
            assert!(!written.are(&others), "{count}");
            others.pop_last();
            assert_eq!(written.are(&others), names == others, "{count}");
        }
    }
}
