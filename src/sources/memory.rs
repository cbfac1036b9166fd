//! A TUF repository whose files are at hand, as in a ConfigMap.

use std::collections::BTreeMap;

use holdfast_core::trust::tuf::Want;

use super::{Half, Source, SourceError};

/// Files by name. A ConfigMap's keys have no `/`, so a target is found by the last part of its name.
#[derive(Debug)]
pub struct Files<'a>(pub &'a BTreeMap<String, Vec<u8>>);

impl Source for Files<'_> {
    fn fetch(&self, _: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let key = want.name.rsplit('/').next().unwrap_or(&want.name);
        let Some(bytes) = self.0.get(key) else { return Ok(None) };
        if u64::try_from(bytes.len()).map_or(true, |len| len > want.max) {
            return Err(SourceError::Unacceptable {
                what: key.to_owned(),
                detail: format!("it has more than the {} bytes that are read of it", want.max),
            });
        }
        Ok(Some(bytes.clone()))
    }
}
