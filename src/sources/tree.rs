//! A whole TUF repository in memory, as it came out of an archive or an artifact.

use holdfast_core::trust::tuf::Want;

use super::archive::Files;
use super::{Half, Source, SourceError};

/// The file that says where a repository lies: every repository has it, under this name alone.
const MARK: &str = "timestamp.json";

/// A repository whose files are all at hand. It may lie at any depth of what was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    files: Files,
    /// Where metadata and targets lie; ends with `/` unless it is the top.
    metadata: String,
    targets: String,
}

/// Why there is no repository in what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// None.
    #[error("there is no TUF repository in it, which would have a `{MARK}`; there is {found}")]
    Absent {
        /// What there is instead.
        found: String,
    },
    /// More than one, and nothing says which is meant.
    #[error(
        "there are two TUF repositories in it, around `{one}` and around `{other}`: pack the one that is meant alone"
    )]
    Several {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
}

impl Tree {
    /// Finds the repository in `files`: the metadata is where `timestamp.json` is, and the targets are in `targets/` there or, for a directory `metadata/`,
    /// beside it.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn new(files: Files) -> Result<Self, TreeError> {
        let mut marks = files.keys().filter(|path| path.rsplit('/').next() == Some(MARK));
        let Some(mark) = marks.next() else { return Err(TreeError::Absent { found: listed(&files) }) };
        if let Some(other) = marks.next() {
            return Err(TreeError::Several { one: mark.clone(), other: other.clone() });
        }
        let metadata = mark.strip_suffix(MARK).unwrap_or_default().to_owned();
        let below = format!("{metadata}targets/");
        let beside = metadata
            .strip_suffix("metadata/")
            .filter(|parent| parent.is_empty() || parent.ends_with('/'))
            .map(|parent| format!("{parent}targets/"));
        let has = |directory: &str| files.keys().any(|path| path.starts_with(directory));
        let targets = match beside {
            Some(beside) if has(&beside) || !has(&below) => beside,
            _ => below,
        };
        Ok(Self { files, metadata, targets })
    }

    /// The files, by their paths in what was packed.
    pub const fn files(&self) -> &Files {
        &self.files
    }
}

impl Source for Tree {
    fn fetch(&self, half: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let base = match half {
            Half::Metadata => &self.metadata,
            Half::Targets => &self.targets,
        };
        let path = format!("{base}{}", want.name);
        let unacceptable = |detail: String| SourceError::Unacceptable { what: path.clone(), detail };
        if want.name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(unacceptable("its name is absolute, or has an empty, `.` or `..` segment".to_owned()));
        }
        let Some(bytes) = self.files.get(&path) else { return Ok(None) };
        if u64::try_from(bytes.len()).map_or(true, |len| len > want.max) {
            return Err(unacceptable(format!("it has more than the {} bytes that are read of it", want.max)));
        }
        Ok(Some(bytes.clone()))
    }
}

/// Names a few files, for a person who asks what was packed.
fn listed(files: &Files) -> String {
    const NAMED: usize = 4;
    let named: Vec<String> =
        files.keys().take(NAMED).map(|path| format!("`{}`", path.chars().take(120).collect::<String>())).collect();
    match files.len() {
        0 => "nothing".to_owned(),
        count if count > NAMED => format!("{} and {} more", named.join(", "), count - NAMED),
        _ => named.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> Result<Tree, TreeError> {
        Tree::new(paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec())).collect())
    }

    fn fetch(tree: &Tree, half: Half, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        tree.fetch(half, &Want { name: name.to_owned(), max: 64, optional: true })
    }

    #[test]
    fn a_repository_is_found_at_any_depth() {
        for (at, metadata, targets) in [
            ("", "", "targets/"),
            ("", "metadata/", "targets/"),
            ("", "metadata/", "metadata/targets/"),
            ("a/b/", "", "targets/"),
            ("a/b/", "metadata/", "targets/"),
            ("a/other-metadata/", "", "targets/"),
        ] {
            let timestamp = format!("{at}{metadata}timestamp.json");
            let target = format!("{at}{targets}x/trusted_root.json");
            let tree = tree(&[&timestamp, &target, "README"]).unwrap();
            let got = fetch(&tree, Half::Metadata, "timestamp.json").unwrap();
            assert_eq!(got.as_deref(), Some(timestamp.as_bytes()));
            let got = fetch(&tree, Half::Targets, "x/trusted_root.json").unwrap();
            assert_eq!(got.as_deref(), Some(target.as_bytes()), "{target}");
            assert!(fetch(&tree, Half::Metadata, "2.root.json").unwrap().is_none());
        }
    }

    #[test]
    fn targets_beside_metadata_come_first() {
        let tree = tree(&["metadata/timestamp.json", "metadata/targets/a", "targets/a"]).unwrap();
        assert_eq!(fetch(&tree, Half::Targets, "a").unwrap().unwrap(), b"targets/a");
    }

    #[test]
    fn two_repositories_are_both_named() {
        let error = tree(&["a/metadata/timestamp.json", "b/timestamp.json"]).unwrap_err();
        let (one, other) = ("a/metadata/timestamp.json".to_owned(), "b/timestamp.json".to_owned());
        assert_eq!(error, TreeError::Several { one, other });
    }

    #[test]
    fn without_a_repository_it_says_what_is_there() {
        assert!(tree(&[]).unwrap_err().to_string().contains("nothing"));
        let error = tree(&["a", "b", "c", "d", "e", "not-timestamp.json"]).unwrap_err().to_string();
        assert!(error.contains("`a`, `b`, `c`, `d` and 2 more"), "{error}");
    }

    #[test]
    fn no_name_leads_out_and_nothing_is_cut() {
        let tree = tree(&["a/metadata/timestamp.json", "secret", "a/targets/big"]).unwrap();
        for name in ["../../secret", "/secret", "x//y", "./timestamp.json", ""] {
            assert!(matches!(fetch(&tree, Half::Metadata, name), Err(SourceError::Unacceptable { .. })), "{name}");
        }
        let want = Want { name: "big".to_owned(), max: 3, optional: false };
        assert!(matches!(tree.fetch(Half::Targets, &want), Err(SourceError::Unacceptable { .. })));
    }

    #[test]
    fn it_may_be_handed_to_another_thread() {
        fn is_send<T: Send + Sync + 'static>() {}
        is_send::<Tree>();
    }
}
