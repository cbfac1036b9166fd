//! Rendered objects on disk: one file each, stable names, the same bytes for the same plan.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_core::engines::Object;
use holdfast_core::engines::object::INTENT;
use serde_json::Value;

use super::left::LeftAlone;
use crate::cli::output::CliError;
use crate::sources::file;
use crate::sources::write::replace;

/// The largest file that is looked at, in bytes: what was rendered before.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What writing changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) created: usize,
    pub(super) changed: usize,
    pub(super) unchanged: usize,
    pub(super) removed: usize,
}

/// Writes every object into `dir`, and removes what was rendered before and is no longer: files of ours alone, told by their annotation.
pub(super) fn write(dir: &Path, objects: &[Object], left: &LeftAlone) -> Result<Written, CliError> {
    fs::create_dir_all(dir).map_err(|e| CliError::usage(format!("cannot create {}: {e}", dir.display())))?;
    let mut wanted: BTreeMap<PathBuf, String> = BTreeMap::new();
    for object in objects {
        let text = yaml(object.body())?;
        if let Some(other) = wanted.insert(dir.join(object.file_name()), text) {
            drop(other);
            return Err(CliError::usage(format!("two objects would be written to {}", object.file_name())));
        }
    }
    let mut written = Written::default();
    for (path, text) in &wanted {
        match file::read(path, "a rendered object", MAX_FILE) {
            Ok(held) if held == text.as_bytes() => {
                written.unchanged += 1;
                continue;
            }
            Ok(_) => written.changed += 1,
            Err(_) => written.created += 1,
        }
        replace(path, text.as_bytes())?;
    }
    for (path, manifest) in rendered_before(dir)? {
        if !wanted.contains_key(&path) && !left.keeps(&manifest) {
            fs::remove_file(&path).map_err(|e| CliError::usage(format!("cannot remove {}: {e}", path.display())))?;
            written.removed += 1;
        }
    }
    Ok(written)
}

/// An object as YAML.
pub(super) fn yaml(object: &Value) -> Result<String, CliError> {
    serde_saphyr::to_string(object).map_err(|e| CliError::Output(std::io::Error::other(e.to_string())))
}

fn rendered_before(dir: &Path) -> Result<Vec<(PathBuf, Value)>, CliError> {
    let io = |e: std::io::Error| CliError::usage(format!("cannot list {}: {e}", dir.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let manifest = file::read(&path, "a rendered object", MAX_FILE)
            .ok()
            .filter(|bytes| String::from_utf8_lossy(bytes).contains(INTENT))
            .and_then(|bytes| serde_saphyr::from_slice(&bytes).ok());
        if let Some(manifest) = manifest {
            found.push((path, manifest));
        }
    }
    Ok(found)
}
