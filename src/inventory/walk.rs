//! Reading manifests from files and directories, bounded in count, size and depth.

use std::path::{Path, PathBuf};

use holdfast_core::json;
use serde_json::Value;

use super::manifest::{MAX_LISTS, ManifestError, take};
use super::{GitOps, Place};
use crate::sources::file::{self, FileError};

const MAX_FILES: usize = 20_000;
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Documents, and values, of one file: what a cluster's whole export has, with room.
const MAX_DOCUMENTS: usize = 100_000;
const MAX_VALUES: usize = 8_000_000;
const MAX_TOTAL: u64 = 512 * 1024 * 1024;
const MAX_DEPTH: usize = 32;

/// Why manifests cannot be read. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is not YAML or JSON.
    #[error("{}: {detail}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What was met, with line and column.
        detail: String,
    },
    /// A manifest that cannot be taken.
    #[error("{place}: {detail}")]
    Manifest {
        /// Where.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What may hold manifests and is not read, in words.
    #[error("{0}")]
    Unread(String),
    /// More than is read.
    #[error("{}: {detail}", .path.display())]
    Limit {
        /// Where the limit was met.
        path: PathBuf,
        /// Which limit.
        detail: String,
    },
}

/// Reads manifests from files and directories. Directories are walked in the order of their names, as `kubectl apply --recursive` walks them; links in them
/// are not followed, and said to be unread.
///
/// # Errors
/// Every [`ReadError`] there is: one fault does not hide the next.
pub fn read(paths: &[PathBuf]) -> Result<GitOps, Vec<ReadError>> {
    let mut found = GitOps::default();
    let mut errors = Vec::new();
    let mut files = Vec::new();
    for path in paths {
        if let Err(error) = walk(path, 0, Standing::Named, &mut files, &mut found.unread) {
            errors.push(error);
        }
    }
    let mut total = 0;
    for (path, standing) in files {
        if let Err(of_file) = read_file(&path, standing, &mut total, &mut found) {
            errors.extend(of_file);
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Every manifest in files and directories as it is written, without lists around them.
///
/// # Errors
/// Every [`ReadError`] there is; what is not read is one, since it may hold what is looked for.
pub fn manifests(path: &Path) -> Result<Vec<Value>, Vec<ReadError>> {
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    walk(path, 0, Standing::Named, &mut files, &mut unread).map_err(|error| vec![error])?;
    let mut errors: Vec<ReadError> = unread.into_iter().map(ReadError::Unread).collect();
    let (mut found, mut total) = (Vec::new(), 0);
    for (path, _) in files {
        match bounded(&path, &mut total).and_then(|bytes| documents(&path, &bytes)) {
            Ok(documents) => {
                for document in documents {
                    if let Err(detail) = without_lists(document, 0, &mut found) {
                        errors.push(ReadError::Limit { path: path.clone(), detail });
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// What has `items` is a list, as `kubectl` reads it.
fn without_lists(mut document: Value, depth: usize, found: &mut Vec<Value>) -> Result<(), String> {
    let Some(Value::Array(items)) = document.get_mut("items").filter(|items| items.is_array()).map(Value::take) else {
        found.push(document);
        return Ok(());
    };
    if depth >= MAX_LISTS {
        return Err(format!("lists nest deeper than {MAX_LISTS} levels"));
    }
    items.into_iter().try_for_each(|item| without_lists(item, depth + 1, found))
}

/// How a path came to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A person named it.
    Named,
    /// A directory holds it.
    Inside,
    /// A directory holds it, and its name or that of a directory above it begins with a dot. Tools keep their own files there, and `kubectl` reads them all
    /// the same: what is a manifest counts, and what cannot be read is said.
    Hidden,
}

/// Takes the manifests in one file whose bytes are at hand.
///
/// # Errors
/// Every [`ReadError`] there is.
pub fn take_bytes(path: &Path, bytes: &[u8], found: &mut GitOps) -> Result<(), Vec<ReadError>> {
    take_documents(path, &documents(path, bytes).map_err(|error| vec![error])?, found)
}

fn take_documents(path: &Path, documents: &[Value], found: &mut GitOps) -> Result<(), Vec<ReadError>> {
    let mut errors = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let place = Place { file: path.to_owned(), document: index + 1 };
        match take(document, &place, found) {
            Ok(()) => {}
            Err(ManifestError::Other(detail)) => errors.push(ReadError::Manifest { place: place.to_string(), detail }),
            Err(ManifestError::Ours { what, errors: faults }) => {
                errors.extend(
                    faults.iter().map(|fault| ReadError::Manifest {
                        place: format!("{place}: {what}"),
                        detail: fault.to_string(),
                    }),
                );
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn walk(
    path: &Path,
    depth: usize,
    standing: Standing,
    files: &mut Vec<(PathBuf, Standing)>,
    unread: &mut Vec<String>,
) -> Result<(), ReadError> {
    let limit = |detail: String| ReadError::Limit { path: path.to_owned(), detail };
    let io = |error| ReadError::File(FileError::Io { path: path.to_owned(), error });
    // What a person names may be a link; what a directory holds may not lead elsewhere.
    let named = standing == Standing::Named;
    let kind = if named { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }.map_err(io)?.file_type();
    if kind.is_dir() {
        if depth >= MAX_DEPTH {
            return Err(limit(format!("directories nest deeper than {MAX_DEPTH} levels")));
        }
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(io)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(io)?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // Nothing that is committed can lie in git's own directory.
            if name == ".git" {
                continue;
            }
            let hidden = standing == Standing::Hidden || name.starts_with('.');
            walk(&entry, depth + 1, if hidden { Standing::Hidden } else { Standing::Inside }, files, unread)?;
        }
        return Ok(());
    }
    let is_manifest = path
        .extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)));
    if named || kind.is_file() && is_manifest {
        files.push((path.to_owned(), standing));
    } else if kind.is_symlink() && (is_manifest || path.is_dir()) {
        unread.push(format!("{} is a link, which is not followed: name what it leads to", path.display()));
    } else if is_manifest {
        unread.push(format!("{} is no plain file", path.display()));
    }
    if files.len() > MAX_FILES {
        return Err(limit(format!("there are more than {MAX_FILES} manifests")));
    }
    Ok(())
}

/// Files of TUF repositories, trusted roots, bundles, image layouts and state directories may lie beside manifests. They are told by what they say, never by
/// their name: `kubectl` applies an `index.json` that is a Pod.
fn is_no_manifest(document: &Value) -> bool {
    const MEDIA_TYPES: [&str; 3] =
        ["application/vnd.dev.sigstore.", "application/vnd.oci.", "application/vnd.docker.distribution."];
    let has = |name: &str, is: fn(&Value) -> bool| document.get(name).is_some_and(is);
    let media_type = document.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    document.is_object()
        && document.get("kind").is_none()
        && (has("signed", Value::is_object)
            || MEDIA_TYPES.iter().any(|known| media_type.starts_with(known))
            || has("schemaVersion", Value::is_number) && has("manifests", Value::is_array)
            || has("tuf", Value::is_object))
}

fn read_file(path: &Path, standing: Standing, total: &mut u64, found: &mut GitOps) -> Result<(), Vec<ReadError>> {
    let one = |error| vec![error];
    let bytes = bounded(path, total).map_err(one)?;
    let mut documents = match (documents(path, &bytes), standing) {
        (Ok(documents), _) => documents,
        (Err(error), Standing::Hidden) => {
            found.unread.push(error.to_string());
            return Ok(());
        }
        (Err(error), _) => return Err(one(error)),
    };
    let is_manifest = |document: &Value| match standing {
        Standing::Named => true,
        Standing::Inside => !is_no_manifest(document),
        Standing::Hidden => document.get("kind").is_some(),
    };
    if !documents.iter().any(is_manifest) && !documents.is_empty() {
        return Ok(());
    }
    if standing == Standing::Hidden {
        documents.retain(is_manifest);
    }
    found.files += 1;
    take_documents(path, &documents, found)
}

fn bounded(path: &Path, total: &mut u64) -> Result<Vec<u8>, ReadError> {
    let bytes = file::read(path, "a manifest", MAX_FILE)?;
    *total += bytes.len() as u64;
    if *total > MAX_TOTAL {
        let detail = format!("the manifests have more than {MAX_TOTAL} bytes together");
        return Err(ReadError::Limit { path: path.to_owned(), detail });
    }
    Ok(bytes)
}

/// The documents of one file whose bytes are at hand.
///
/// # Errors
/// [`ReadError::Syntax`], naming the file.
pub(crate) fn documents(path: &Path, bytes: &[u8]) -> Result<Vec<Value>, ReadError> {
    let syntax = |detail: String| ReadError::Syntax { file: path.to_owned(), detail };
    let text =
        std::str::from_utf8(bytes).map_err(|e| syntax(format!("it is not UTF-8 from byte {} on", e.valid_up_to())))?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        json::check(bytes, json::Limits { max_len: bytes.len(), max_depth: 100 }).map_err(|e| syntax(e.to_string()))?;
        return serde_json::from_slice(bytes).map(|value| vec![value]).map_err(|e| syntax(e.to_string()));
    }
    yaml(text, MAX_VALUES).map_err(syntax)
}

/// The documents of a YAML stream of at most so many values, or why it is none.
pub(super) fn yaml(text: &str, max_values: usize) -> Result<Vec<Value>, String> {
    // Duplicate names and alias bombs are refused by the reader's own limits.
    let mut budget = serde_saphyr::Budget::default();
    budget.max_documents = MAX_DOCUMENTS;
    budget.max_nodes = max_values;
    budget.max_events = max_values.saturating_mul(2);
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    serde_saphyr::from_multiple_with_options::<Value>(text, options)
        .map_err(|e| if is_template(text) { TEMPLATE.to_owned() } else { in_words(&e.without_snippet().to_string()) })
}

const TEMPLATE: &str = "it is a template (`{{ … }}`): render it first, as with `helm template` or `kustomize build`";

/// Whether what is no YAML is a template of some. In YAML such lines stand as well, in the scripts of a workflow or the texts of an alert.
fn is_template(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("{{"))
}

const TOO_DEEP: &str = "it is nested deeper than is read, and than any Kubernetes object is; was another file given?";

/// The reader's text without its advice to programmers.
fn in_words(text: &str) -> String {
    let why = match text.strip_prefix("budget breached") {
        Some(limit) if limit.contains("lias") || limit.contains("nchor") => {
            "it repeats itself by aliases more than is read; write it out"
        }
        Some(limit) if limit.contains("Depth") => TOO_DEEP,
        Some(_) => "it holds more than is read of one file; split it",
        None if text.contains("recursion limit") => TOO_DEEP,
        None if text.contains("weak recursion") => "an alias in it stands for what it is part of; write it out",
        None => return text.replace(", set DuplicateKeyPolicy in Options if acceptable", ""),
    };
    let place = text.rfind(" at line").and_then(|at| text.get(at..)).unwrap_or_default().trim_end_matches(')');
    format!("{why}{place}")
}
