//! What a plan knows of the gate: the file that `--as-of` reads and `--remember` writes.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_core::coverage::CompiledPolicy;
use holdfast_core::engines::native::Holding;
use holdfast_core::gate::compiled::compiled;
use holdfast_core::json;
use holdfast_core::operate::mirror::Record;
use holdfast_core::operate::policy::Remembered;
use serde::{Deserialize, Serialize};

use crate::cli::output::CliError;
use crate::sources::file;
use crate::sources::write::replace_named;

/// The largest such file, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The gate of every policy, as it stood.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GateMemory {
    pub(super) policies: BTreeMap<String, Remembered>,
    /// The trust in force, by its TrustRootMirror.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) trust: BTreeMap<String, Record>,
    /// The digests that were verified for each policy, with what their verdicts rest on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) verified: BTreeMap<String, Holding>,
}

impl GateMemory {
    /// What is remembered of a mirror, where a policy that is enforced accepts its trust.
    pub(super) fn trust_of(&self, mirror: &str) -> Option<&Record> {
        let mut enforced = self.policies.values().filter_map(|kept| kept.enforced.as_ref());
        let is_relied_on = enforced
            .any(|policy| !policy.namespaces.is_empty() && policy.spec.trust_roots.iter().any(|root| root == mirror));
        self.trust.get(mirror).filter(|_| is_relied_on)
    }

    /// The policies that are enforced, in the form that was kept.
    pub(super) fn policies(&self) -> Vec<CompiledPolicy> {
        let enforced = self.policies.iter().filter_map(|(name, kept)| Some((name, kept.enforced.as_ref()?)));
        let ready = enforced.filter_map(|(name, enforced)| {
            let (_, ready) = compiled(enforced.form(name)).ok()?;
            Some(ready.enforced_in(enforced.names()))
        });
        ready.collect()
    }

    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = file::read(path, "a gate history", MAX_FILE)?;
        let limits = json::Limits { max_len: bytes.len(), max_depth: 32 };
        json::read(&bytes, limits).map_err(|error| {
            let cure = "give a file that `holdfast plan --remember` wrote";
            CliError::usage(format!("{} is no gate history: {error}; {cure}", path.display()))
        })
    }

    /// Writes the file, as a whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), CliError> {
        let mut text = serde_json::to_string(self).map_err(std::io::Error::from)?;
        text.push('\n');
        // What could not be read again must not take the place of what can.
        if u64::try_from(text.len()).is_ok_and(|size| size > MAX_FILE) {
            return Err(CliError::usage(format!(
                "what the gate has to remember is larger than the {MAX_FILE} bytes that are read, so {} was not written: plan fewer policies at once",
                path.display()
            )));
        }
        replace_named(path, text.as_bytes())?;
        Ok(())
    }
}
