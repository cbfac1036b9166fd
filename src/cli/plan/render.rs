//! Rendered objects on disk: one file each, stable names, the same bytes for the same plan.
//!
//! A directory of manifests is somebody's, and is often applied with pruning: a file that goes is an object that goes. So a file counts as holdfast's only
//! where it holds one object that says so, under the very name that object is written to; everything is looked at before anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use holdfast_core::engines::native::shards::counts;
use holdfast_core::engines::object::{file_name, is_rendered};
use holdfast_core::engines::{EngineKind, Object};
use serde_json::Value;

use super::left::LeftAlone;
use crate::cli::output::CliError;
use crate::inventory;
use crate::sources::file::{self, FileError};
use crate::sources::write::{Prepared, sync};

/// The largest file that is looked at, in bytes: what was rendered before.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// How many entries a directory may have.
const MAX_ENTRIES: usize = 100_000;

/// What writing changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) created: usize,
    pub(super) changed: usize,
    pub(super) unchanged: usize,
    pub(super) removed: usize,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    /// Two objects have one file.
    #[error(
        "two objects would be written to {name}, so nothing was written: rename the policy or the namespace of one"
    )]
    Twice { name: String },
    /// The directory cannot be made or listed.
    #[error("cannot {what} {}, so nothing was written: {error}", .dir.display())]
    Directory { what: &'static str, dir: PathBuf, error: io::Error },
    /// More than is looked at.
    #[error("{} has more than {MAX_ENTRIES} entries, so nothing was written: render into a directory of its own", .dir.display())]
    TooMany { dir: PathBuf },
    /// A file of somebody else is in the way.
    #[error("{} is not holdfast's, and an object would be written over it, so nothing was written: move it away, or render into another directory", .path.display())]
    Foreign { path: PathBuf },
    /// What is in the way, or may be of an earlier plan, is no plain file.
    #[error("{} is {what}, and holdfast's files are plain ones, so nothing was written: move it away, or render into another directory", .path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    /// Whose it is cannot be told.
    #[error(
        "{error}; whether it is holdfast's cannot be told, so nothing was written: move it away, or render into another directory"
    )]
    Unreadable { error: FileError },
}

impl From<RenderError> for CliError {
    fn from(error: RenderError) -> Self {
        Self::usage(error.to_string())
    }
}

/// What lies where an object is to be.
enum Held {
    Nothing,
    /// A file of ours: its bytes, and what they say.
    Ours(Vec<u8>, Value),
    Foreign,
}

/// Writes every object into `dir`, and removes what was rendered before and is no longer: files of ours alone. What is there when it is interrupted is whole
/// files, old ones or new ones.
pub(super) fn write(dir: &Path, objects: &[Object], left: &LeftAlone) -> Result<Written, CliError> {
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for object in objects {
        let name = object.file_name();
        if wanted.insert(name.clone(), yaml(object.body())?).is_some() {
            return Err(RenderError::Twice { name }.into());
        }
    }
    let failed = |what| move |error| RenderError::Directory { what, dir: dir.to_owned(), error };
    fs::create_dir_all(dir).map_err(failed("make"))?;
    let mut written = Written::default();
    let mut writes: Vec<(PathBuf, &str)> = Vec::new();
    for (name, text) in &wanted {
        let path = dir.join(name);
        match held(&path, name)? {
            Held::Ours(bytes, _) if bytes == text.as_bytes() => written.unchanged += 1,
            Held::Ours(..) => {
                written.changed += 1;
                writes.push((path, text));
            }
            Held::Nothing => {
                written.created += 1;
                writes.push((path, text));
            }
            Held::Foreign => return Err(RenderError::Foreign { path }.into()),
        }
    }
    let mut leaving = Vec::new();
    for name in names(dir)?.into_iter().filter(|name| !wanted.contains_key(name) && may_be_ours(name)) {
        let path = dir.join(&name);
        if matches!(held(&path, &name)?, Held::Ours(_, object) if !left.keeps(&object)) {
            leaving.push(path);
        }
    }
    // All are put together before the first is put in place: where room runs out, everything is as it was.
    let prepared: Vec<Prepared> =
        writes.into_iter().map(|(path, text)| Prepared::new(&path, text.as_bytes())).collect::<Result<_, _>>()?;
    prepared.into_iter().try_for_each(Prepared::put)?;
    for path in &leaving {
        fs::remove_file(path).map_err(|e| CliError::usage(format!("cannot remove {}: {e}", path.display())))?;
        written.removed += 1;
    }
    sync(dir)?;
    Ok(written)
}

/// The objects of ours that lie in `dir`; none where there is no such directory.
pub(super) fn rendered(dir: &Path) -> Result<Vec<Value>, CliError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for name in names(dir)?.into_iter().filter(|name| may_be_ours(name)) {
        if let Held::Ours(_, object) = held(&dir.join(&name), &name)? {
            found.push(object);
        }
    }
    Ok(found)
}

/// How many shards each policy has, by what lies in a directory.
pub(super) fn shards(objects: &[Value]) -> BTreeMap<String, u16> {
    let name = |object: &Value| {
        let is_shard = object.get("kind")? == "VerifiedImages" && is_rendered(object);
        object.pointer("/metadata/name")?.as_str().filter(|_| is_shard).map(str::to_owned)
    };
    let names: Vec<String> = objects.iter().filter_map(name).collect();
    counts(names.iter().map(String::as_str))
}

/// An object as YAML.
pub(super) fn yaml(object: &Value) -> Result<String, CliError> {
    serde_saphyr::to_string(object).map_err(|e| CliError::Output(std::io::Error::other(e.to_string())))
}

fn names(dir: &Path) -> Result<Vec<String>, RenderError> {
    let failed = |error| RenderError::Directory { what: "list", dir: dir.to_owned(), error };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        // Names of ours are text.
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        if names.len() > MAX_ENTRIES {
            return Err(RenderError::TooMany { dir: dir.to_owned() });
        }
    }
    names.sort();
    Ok(names)
}

/// Whether an object of ours may be written to a file of this name.
fn may_be_ours(name: &str) -> bool {
    let of = |kind: &EngineKind| name.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('-'));
    Path::new(name).extension().is_some_and(|extension| extension == "yaml") && EngineKind::ALL.iter().any(of)
}

/// What a path holds. Links are looked at, never through: what they lead to is not in the directory.
fn held(path: &Path, name: &str) -> Result<Held, RenderError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Held::Nothing),
        Err(error) => return Err(RenderError::Unreadable { error: FileError::Io { path: path.to_owned(), error } }),
    };
    if !kind.is_file() {
        let what = match kind {
            kind if kind.is_symlink() => "a link",
            kind if kind.is_dir() => "a directory",
            _ => "a device or a pipe",
        };
        return Err(RenderError::NotAFile { path: path.to_owned(), what });
    }
    let bytes = file::read(path, "a rendered object", MAX_FILE).map_err(|error| RenderError::Unreadable { error })?;
    Ok(match ours(path, name, &bytes) {
        Some(object) => Held::Ours(bytes, object),
        None => Held::Foreign,
    })
}

/// One document, marked as holdfast's, in the file such an object is written to. A copy under another name is somebody's, whatever it says.
fn ours(path: &Path, name: &str, bytes: &[u8]) -> Option<Value> {
    let [object] = <[Value; 1]>::try_from(inventory::documents(path, bytes).ok()?).ok()?;
    let is_ours = is_rendered(&object) && EngineKind::ALL.iter().any(|engine| file_name(*engine, &object) == name);
    is_ours.then_some(object)
}
