//! A TUF repository in a ConfigMap.
//!
//! A ConfigMap holds a megabyte and its keys have no `/`. So a file may be gzipped, under its name and `.gz`; a target is found by the last part of its name;
//! and one key may be an archive of the whole repository.

use std::collections::BTreeMap;

use holdfast_core::trust::tuf::Want;
use k8s_openapi::api::core::v1::ConfigMap;

use super::archive::{Allowance, ArchiveError, Limits};
use super::tree::{Tree, TreeError};
use super::{Half, Source, SourceError};

/// Keys that are an archive of a whole repository.
const ARCHIVES: [&str; 3] = ["repository.tar", "repository.tar.gz", "repository.tgz"];
/// The file every repository has.
const MARK: &str = "timestamp.json";

/// The repository a ConfigMap holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigMapSource {
    /// Its files, each under a key of its own.
    Files(Keys),
    /// One archive of all of them.
    Tree(Tree),
}

/// Files under keys, gzipped where the key ends in `.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    name: String,
    keys: BTreeMap<String, Vec<u8>>,
}

/// Why a ConfigMap, or a key of it, was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigMapError {
    /// The key is not there.
    #[error("the ConfigMap {config_map} has no key `{key}`; it has {found}")]
    NoKey {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
        /// The keys it has.
        found: String,
    },
    /// One file under two keys.
    #[error("the ConfigMap {config_map} has both `{one}` and `{other}`, and either could be meant: remove one")]
    Twice {
        /// The ConfigMap.
        config_map: String,
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// More bytes than are read.
    #[error("the key `{key}` of the ConfigMap {config_map} has more than the {max} bytes that are read of it")]
    TooLarge {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
        /// The bound.
        max: u64,
    },
    /// An archive that cannot be unpacked.
    #[error("the key `{key}` of the ConfigMap {config_map} was not read: {error}")]
    Archive {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
        /// Why.
        error: ArchiveError,
    },
    /// No repository in the archive.
    #[error("the key `{key}` of the ConfigMap {config_map}: {error}")]
    Tree {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
        /// Why.
        error: TreeError,
    },
}

impl From<ConfigMapError> for SourceError {
    fn from(error: ConfigMapError) -> Self {
        Self::Unusable { what: "the source".to_owned(), detail: error.to_string() }
    }
}

impl ConfigMapSource {
    /// Takes the repository out of a ConfigMap: out of the archive `key` where one is given, else out of the archive or the files it has.
    ///
    /// # Errors
    /// [`ConfigMapError`].
    pub fn new(config_map: &ConfigMap, key: Option<&str>) -> Result<Self, ConfigMapError> {
        let keys = Keys::of(config_map)?;
        match key {
            Some(key) => return keys.tree(key).map(Self::Tree),
            None => keys.check()?,
        }
        match ARCHIVES.iter().find(|key| keys.keys.contains_key(**key)) {
            Some(key) => keys.tree(key).map(Self::Tree),
            None => Ok(Self::Files(keys)),
        }
    }
}

impl Source for ConfigMapSource {
    fn fetch(&self, half: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        match self {
            Self::Files(keys) => keys.file(want),
            Self::Tree(tree) => tree.fetch(half, want),
        }
    }
}

impl Keys {
    fn of(config_map: &ConfigMap) -> Result<Self, ConfigMapError> {
        let name = named(config_map);
        let mut keys: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (key, bytes) in entries(config_map) {
            if keys.insert(key.to_owned(), bytes.to_vec()).is_some() {
                let (one, other) = (format!("data.{key}"), format!("binaryData.{key}"));
                return Err(ConfigMapError::Twice { config_map: name, one, other });
            }
        }
        Ok(Self { name, keys })
    }

    /// Nothing is there under two keys: neither a file, nor the repository.
    fn check(&self) -> Result<(), ConfigMapError> {
        let twice = |one: &str, other: &str| ConfigMapError::Twice {
            config_map: self.name.clone(),
            one: one.to_owned(),
            other: other.to_owned(),
        };
        let has = |key: &str| self.keys.contains_key(key);
        for key in self.keys.keys() {
            let packed = format!("{key}.gz");
            if has(&packed) {
                return Err(twice(key, &packed));
            }
        }
        let packed_mark = format!("{MARK}.gz");
        let repositories = ARCHIVES.into_iter().chain([MARK, &packed_mark]).filter(|key| has(key));
        match repositories.collect::<Vec<_>>().as_slice() {
            [one, other, ..] => Err(twice(one, other)),
            _ => Ok(()),
        }
    }

    fn tree(&self, key: &str) -> Result<Tree, ConfigMapError> {
        let bytes = self.keys.get(key).ok_or_else(|| no_key(&self.name, key, self.keys.keys().map(String::as_str)))?;
        let (config_map, key) = (self.name.clone(), key.to_owned());
        match Allowance::new(Limits::default()).unpack(bytes) {
            Ok(files) => Tree::new(files).map_err(|error| ConfigMapError::Tree { config_map, key, error }),
            Err(error) => Err(ConfigMapError::Archive { config_map, key, error }),
        }
    }

    fn file(&self, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let key = want.name.rsplit('/').next().unwrap_or(&want.name);
        let packed = format!("{key}.gz");
        let unacceptable = |key: &str, detail: String| SourceError::Unacceptable {
            what: format!("the key `{key}` of the ConfigMap {}", self.name),
            detail,
        };
        if let Some(bytes) = self.keys.get(key) {
            if u64::try_from(bytes.len()).map_or(true, |len| len > want.max) {
                return Err(unacceptable(key, format!("it has more than the {} bytes that are read of it", want.max)));
            }
            return Ok(Some(bytes.clone()));
        }
        let Some(bytes) = self.keys.get(&packed) else { return Ok(None) };
        let unpacked = Allowance::new(Limits::default()).gunzip(bytes, want.max);
        unpacked.map(Some).map_err(|error| unacceptable(&packed, error.to_string()))
    }
}

/// The bytes under one key, as a bootstrap root or a CA bundle, at most `max` of them.
///
/// # Errors
/// [`ConfigMapError`].
pub fn key(config_map: &ConfigMap, key: &str, max: u64) -> Result<Vec<u8>, ConfigMapError> {
    let mut under = entries(config_map).filter(|(name, _)| *name == key).map(|(_, bytes)| bytes);
    let Some(bytes) = under.next() else {
        return Err(no_key(&named(config_map), key, entries(config_map).map(|(name, _)| name)));
    };
    if under.next().is_some() {
        let (one, other) = (format!("data.{key}"), format!("binaryData.{key}"));
        return Err(ConfigMapError::Twice { config_map: named(config_map), one, other });
    }
    if u64::try_from(bytes.len()).map_or(true, |len| len > max) {
        return Err(ConfigMapError::TooLarge { config_map: named(config_map), key: key.to_owned(), max });
    }
    Ok(bytes.to_vec())
}

fn entries(config_map: &ConfigMap) -> impl Iterator<Item = (&str, &[u8])> {
    let text = config_map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_bytes()));
    let binary = config_map.binary_data.iter().flatten().map(|(key, bytes)| (key.as_str(), bytes.0.as_slice()));
    text.chain(binary)
}

fn named(config_map: &ConfigMap) -> String {
    let name = config_map.metadata.name.as_deref().unwrap_or("without a name");
    match &config_map.metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn no_key<'a>(config_map: &str, key: &str, keys: impl Iterator<Item = &'a str>) -> ConfigMapError {
    const NAMED: usize = 8;
    let keys: Vec<&str> = keys.collect();
    let named: Vec<String> = keys.iter().take(NAMED).map(|key| format!("`{key}`")).collect();
    let found = match keys.len() {
        0 => "none".to_owned(),
        count if count > NAMED => format!("{} and {} more", named.join(", "), count - NAMED),
        _ => named.join(", "),
    };
    ConfigMapError::NoKey { config_map: config_map.to_owned(), key: key.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::super::archive::tests::{gzip, tar};
    use super::*;

    fn config_map(data: &[(&str, &str)], binary: &[(&str, &[u8])]) -> ConfigMap {
        let mut config_map = ConfigMap::default();
        config_map.metadata.name = Some("root".to_owned());
        config_map.metadata.namespace = Some("trust".to_owned());
        config_map.data = Some(data.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        config_map.binary_data = Some(binary.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.to_vec()))).collect());
        config_map
    }

    fn fetch(source: &ConfigMapSource, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        source.fetch(Half::Targets, &Want { name: name.to_owned(), max: 16, optional: false })
    }

    #[test]
    fn a_file_is_found_plain_or_gzipped() {
        let packed = gzip(b"packed");
        let map = config_map(&[("timestamp.json", "{}")], &[("snapshot.json.gz", &packed), ("a.tar.gz", b"as it is")]);
        let source = ConfigMapSource::new(&map, None).unwrap();
        assert_eq!(fetch(&source, "timestamp.json").unwrap().unwrap(), b"{}");
        assert_eq!(fetch(&source, "x/y/snapshot.json").unwrap().unwrap(), b"packed");
        assert_eq!(fetch(&source, "a.tar.gz").unwrap().unwrap(), b"as it is");
        assert!(fetch(&source, "targets.json").unwrap().is_none());
    }

    #[test]
    fn what_is_larger_than_wanted_is_refused_packed_or_not() {
        let bomb = gzip(&vec![0; 1 << 20]);
        let map = config_map(&[("a", "seventeen letters")], &[("b.gz", &bomb), ("c.gz", b"no gzip")]);
        let source = ConfigMapSource::new(&map, None).unwrap();
        for name in ["a", "b", "c"] {
            let error = fetch(&source, name).unwrap_err();
            assert!(matches!(&error, SourceError::Unacceptable { what, .. } if what.contains("trust/root")), "{error}");
        }
    }

    #[test]
    fn an_archive_is_the_whole_repository() {
        let archive = tar(&[("r/timestamp.json", b"{}"), ("r/targets/a", b"1")]);
        for (key, bytes) in [("repository.tar", archive.clone()), ("repository.tar.gz", gzip(&archive))] {
            let map = config_map(&[("README", "x")], &[(key, &bytes)]);
            let source = ConfigMapSource::new(&map, None).unwrap();
            assert_eq!(fetch(&source, "a").unwrap().unwrap(), b"1");
            let other = config_map(&[], &[("mine.tar.gz", &bytes)]);
            assert!(matches!(ConfigMapSource::new(&other, Some("mine.tar.gz")), Ok(ConfigMapSource::Tree(_))));
        }
        let empty = config_map(&[], &[("repository.tar", &tar(&[("a", b"1")]))]);
        let error = ConfigMapSource::new(&empty, None).unwrap_err().to_string();
        assert!(error.contains("trust/root") && error.contains("`repository.tar`") && error.contains("`a`"), "{error}");
        let broken = config_map(&[("repository.tar.gz", "text")], &[]);
        assert!(matches!(ConfigMapSource::new(&broken, None), Err(ConfigMapError::Archive { .. })));
    }

    #[test]
    fn nothing_is_there_twice() {
        let archive = tar(&[("timestamp.json", b"{}")]);
        let (plain, packed) = ("repository.tar", "repository.tar.gz");
        for map in [
            config_map(&[("a", "1")], &[("a.gz", b"1")]),
            config_map(&[("a", "1")], &[("a", b"1")]),
            config_map(&[], &[(plain, &archive), (packed, &gzip(&archive))]),
            config_map(&[("timestamp.json", "{}")], &[(plain, &archive)]),
            config_map(&[], &[(packed, &gzip(&archive)), ("timestamp.json.gz", b"")]),
        ] {
            assert!(matches!(ConfigMapSource::new(&map, None), Err(ConfigMapError::Twice { .. })), "{map:?}");
        }
    }

    #[test]
    fn one_key_is_read_up_to_its_bound() {
        let map = config_map(&[("ca.crt", "12345"), ("both", "1")], &[("root.json", b"{}"), ("both", b"2")]);
        assert_eq!(key(&map, "ca.crt", 5).unwrap(), b"12345");
        assert_eq!(key(&map, "root.json", 5).unwrap(), b"{}");
        assert!(matches!(key(&map, "ca.crt", 4), Err(ConfigMapError::TooLarge { max: 4, .. })));
        assert!(matches!(key(&map, "both", 4), Err(ConfigMapError::Twice { .. })));
        let error = key(&map, "ca.pem", 5).unwrap_err().to_string();
        assert!(error.contains("`ca.pem`") && error.contains("`ca.crt`"), "{error}");
        assert!(key(&ConfigMap::default(), "a", 1).unwrap_err().to_string().contains("it has none"));
    }
}
