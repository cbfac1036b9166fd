//! Pull secrets: who asks which registry.
//!
//! Read as Kubernetes reads them ("Images", "Interpretation of config.json"), where that has one reading: a key is a host, with a port, with a path in front of
//! which the entry counts, and with `*` for a part of one label of the host. Narrower than Kubernetes: a path counts by whole segments, and one entry is
//! taken, the one with the longest path, not all in turn.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holdfast_core::Digest;
use holdfast_core::json::{self, JsonError, Limits};
use serde::Deserialize;

use super::client::Credentials;

/// Kubernetes' own bound of a Secret.
const MAX_BYTES: usize = 1024 * 1024;
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// As Docker reads it: with its padding, or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a pull secret is written, by the Secret's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `kubernetes.io/dockerconfigjson`, under `.dockerconfigjson`.
    DockerConfigJson,
    /// `kubernetes.io/dockercfg`, under `.dockercfg`.
    DockerCfg,
}

impl Format {
    /// The format that a Secret's type says, and the key it is under.
    pub fn of_type(secret_type: &str) -> Option<(Self, &'static str)> {
        match secret_type {
            "kubernetes.io/dockerconfigjson" => Some((Self::DockerConfigJson, ".dockerconfigjson")),
            "kubernetes.io/dockercfg" => Some((Self::DockerCfg, ".dockercfg")),
            _ => None,
        }
    }
}

/// Why a pull secret gives no credentials. Nothing of what it holds is repeated but hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullSecretError {
    /// It cannot be read.
    #[error("the pull secret cannot be read: {0}")]
    Json(JsonError),
    /// It is JSON of another shape.
    #[error(
        "the pull secret is not one: it has to be what `kubectl create secret docker-registry` makes, an object of registries with their credentials"
    )]
    Shape,
    /// The entry for the registry cannot be used.
    #[error("the pull secret's entry for `{registry}` cannot be used: {detail}")]
    Entry {
        /// The entry's key.
        registry: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Two entries for the same place.
    #[error("the pull secret has two entries for one place, `{one}` and `{other}`: keep the one that is meant")]
    Twice {
        /// The one's key.
        one: String,
        /// The other's.
        other: String,
    },
}

/// A pull secret that was read.
pub struct PullSecret {
    entries: Vec<(Place, RawEntry)>,
    digest: Digest,
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(place, _)| &place.key)).finish()
    }
}

#[derive(Deserialize)]
struct Config {
    auths: BTreeMap<String, RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// What a key stands for.
struct Place {
    key: String,
    host: String,
    port: Option<String>,
    path: String,
}

impl PullSecret {
    /// Reads a pull secret.
    ///
    /// # Errors
    /// [`PullSecretError`].
    pub fn read(bytes: &[u8], format: Format) -> Result<Self, PullSecretError> {
        let limits = Limits { max_len: MAX_BYTES, max_depth: 16 };
        json::check(bytes, limits).map_err(PullSecretError::Json)?;
        // What the reader met may be a password: it is not repeated.
        let entries = match format {
            Format::DockerConfigJson => json::read::<Config>(bytes, limits).map(|config| config.auths),
            Format::DockerCfg => json::read(bytes, limits),
        };
        let entries = entries.map_err(|_| PullSecretError::Shape)?;
        let entries = entries.into_iter().map(|(key, entry)| (Place::of(key), entry)).collect();
        Ok(Self { entries, digest: Digest::of(bytes) })
    }

    /// Of its bytes: another secret has another one.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The credentials for one repository of a registry, by its exact host and port; `None` where the secret has none for it. The longest path wins, and at
    /// the same length a host that is written out.
    ///
    /// # Errors
    /// [`PullSecretError`], of the entry that counts alone.
    pub fn credentials(&self, host: &str, repository: &str) -> Result<Option<Credentials>, PullSecretError> {
        let (host, port) = split_host(host);
        let mut matching: Vec<&(Place, RawEntry)> =
            self.entries.iter().filter(|(place, _)| place.holds(&host, port.as_deref(), repository)).collect();
        let rank = |place: &Place| (Reverse(place.path.len()), place.host.contains('*'));
        matching.sort_by_key(|(place, _)| rank(place));
        let mut matching = matching.into_iter();
        let Some((place, entry)) = matching.next() else { return Ok(None) };
        if let Some((other, _)) = matching.next().filter(|(other, _)| rank(other) == rank(place)) {
            return Err(PullSecretError::Twice { one: place.key.clone(), other: other.key.clone() });
        }
        let unusable = |detail| PullSecretError::Entry { registry: place.key.clone(), detail };
        entry.credentials().map(Some).map_err(unusable)
    }
}

impl Place {
    /// Docker writes a scheme and an API version, too (`https://index.docker.io/v1/`); they say nothing.
    fn of(key: String) -> Self {
        let bare = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(&key);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = ["v1/", "v2/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
        let path = path.trim_end_matches('/').to_owned();
        let (host, port) = split_host(host);
        Self { key, host, port, path }
    }

    fn holds(&self, host: &str, port: Option<&str>, repository: &str) -> bool {
        let (patterns, labels) = (self.host.split('.'), host.split('.'));
        let host_is = patterns.clone().count() == labels.clone().count()
            && patterns.zip(labels).all(|(pattern, label)| label_is(pattern, label));
        let path_is = self.path.is_empty()
            || repository.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        host_is && path_is && self.port.as_deref() == port
    }
}

impl RawEntry {
    fn credentials(&self) -> Result<Credentials, &'static str> {
        let given = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        if given(&self.identitytoken) {
            return Err(
                "it has an `identitytoken`, which is exchanged for others and is not read: make one with a user's name and a password",
            );
        }
        if given(&self.registrytoken) {
            return Err("it has a `registrytoken`, which is not read: make one with a user's name and a password");
        }
        let plain = match (&self.username, &self.password) {
            (Some(username), Some(password)) if !username.is_empty() => Some((username.clone(), password.clone())),
            _ => None,
        };
        let decoded = self.auth.as_deref().filter(|auth| !auth.is_empty()).map(decode).transpose()?;
        let (username, password) = match (decoded, plain) {
            (Some(decoded), Some(plain)) if decoded != plain => {
                return Err("its `auth` says something else than its `username` and `password`: make it anew");
            }
            (Some(pair), _) | (None, Some(pair)) => pair,
            (None, None) => return Err("it has neither `auth` nor `username` and `password`"),
        };
        Credentials::new(username, password)
    }
}

fn decode(auth: &str) -> Result<(String, String), &'static str> {
    const NOT_BASE64: &str = "its `auth` is not `user:password` in Base64";
    let bytes = BASE64.decode(auth.trim()).map_err(|_| NOT_BASE64)?;
    let text = String::from_utf8(bytes).map_err(|_| NOT_BASE64)?;
    let (username, password) = text.split_once(':').ok_or(NOT_BASE64)?;
    // Old clients fill up with zeros.
    Ok((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Host and port in one spelling: lower case, no default port, one name for Docker Hub.
fn split_host(host: &str) -> (String, Option<String>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port.to_owned())),
        _ => (host, None),
    };
    let name = name.to_ascii_lowercase();
    let name = if HUB_ALIASES.contains(&name.as_str()) { HUB.to_owned() } else { name };
    (name, port.filter(|port| port != "443"))
}

/// Whether a label is the pattern's, in which `*` stands for any part of it.
fn label_is(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| label.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `robot:hush` in Base64.
    const AUTH: &str = "cm9ib3Q6aHVzaA==";

    fn secret(keys: &[&str]) -> PullSecret {
        let entries: Vec<String> = keys
            .iter()
            .map(|key| format!(r#""{key}": {{"username": "{}", "password": "p"}}"#, key.replace(':', "|")))
            .collect();
        let text = format!(r#"{{"auths": {{{}}}, "credsStore": "x"}}"#, entries.join(","));
        PullSecret::read(text.as_bytes(), Format::DockerConfigJson).unwrap()
    }

    fn taken(keys: &[&str], host: &str, repository: &str) -> Option<String> {
        let credentials = secret(keys).credentials(host, repository).unwrap()?;
        Some(credentials.parts().0.replace('|', ":"))
    }

    fn entry(fields: &str) -> Result<Option<Credentials>, PullSecretError> {
        let text = format!(r#"{{"auths": {{"r.corp": {{{fields}}}}}}}"#);
        PullSecret::read(text.as_bytes(), Format::DockerConfigJson).unwrap().credentials("r.corp", "a")
    }

    #[test]
    fn a_registry_gets_its_own_entry_and_no_other() {
        for (key, host, repository) in [
            ("r.corp", "r.corp", "a"),
            ("R.Corp:443", "r.corp", "a"),
            ("https://r.corp/v2/", "r.corp", "a"),
            ("http://r.corp:5000", "r.corp:5000", "a"),
            ("r.corp/team", "r.corp", "team/image"),
            ("r.corp/team/", "r.corp", "team"),
            ("https://index.docker.io/v1/", "docker.io", "library/x"),
            ("*.corp", "r.corp", "a"),
            ("r-*.corp", "r-1.corp", "a"),
            ("*-r*.corp", "x-r1.corp", "a"),
            ("localhost:5000", "localhost:5000", "a"),
        ] {
            assert_eq!(taken(&[key], host, repository).as_deref(), Some(key));
        }
        for (key, host, repository) in [
            ("r.corp", "r.corp:5000", "a"),
            ("r.corp:5000", "r.corp", "a"),
            ("r.corp", "r.corp.evil.example", "a"),
            ("r.corp", "evil.r.corp", "a"),
            ("r.corp/team", "r.corp", "team-b/image"),
            ("r.corp/team", "r.corp", "other/team"),
            ("*.corp", "corp", "a"),
            ("*.corp", "a.b.corp", "a"),
            ("*", "r.corp", "a"),
            ("*.corp", "r.corp:5000", "a"),
            ("?.corp", "r.corp", "a"),
            ("[a-z].corp", "r.corp", "a"),
            ("", "r.corp", "a"),
            ("r.corp/*", "r.corp", "a"),
        ] {
            assert_eq!(taken(&[key], host, repository), None, "{key}");
        }
    }

    #[test]
    fn the_longest_path_wins_and_then_the_host_that_is_written_out() {
        let keys = ["*.corp", "r.corp", "r.corp/a", "*.corp/a/b"];
        for (repository, want) in [("x", "r.corp"), ("a", "r.corp/a"), ("a/c", "r.corp/a"), ("a/b/c", "*.corp/a/b")] {
            assert_eq!(taken(&keys, "r.corp", repository).as_deref(), Some(want), "{repository}");
        }
        let twice = secret(&["r.corp", "https://r.corp/"]).credentials("r.corp", "a");
        assert!(matches!(twice, Err(PullSecretError::Twice { .. })));
    }

    #[test]
    fn both_ways_to_write_credentials_are_read() {
        let robot = |fields: &str| entry(fields).unwrap().unwrap().parts() == ("robot", "hush");
        assert!(robot(&format!(r#""auth": "{AUTH}""#)));
        assert!(robot(&format!(r#""auth": "{}", "email": "x""#, AUTH.trim_end_matches('='))));
        assert!(robot(r#""username": "robot", "password": "hush", "auth": """#));
        assert!(robot(&format!(r#""username": "robot", "password": "hush", "auth": "{AUTH}""#)));
        let colons = BASE64.encode("robot:a:b\0\0");
        assert_eq!(entry(&format!(r#""auth": "{colons}""#)).unwrap().unwrap().parts().1, "a:b");
        let old = format!(r#"{{"r.corp": {{"auth": "{AUTH}"}}}}"#);
        let old = PullSecret::read(old.as_bytes(), Format::DockerCfg).unwrap();
        assert!(old.credentials("r.corp", "a").unwrap().is_some());
        assert_eq!(Format::of_type("kubernetes.io/dockercfg"), Some((Format::DockerCfg, ".dockercfg")));
        assert_eq!(Format::of_type("Opaque"), None);
    }

    #[test]
    fn what_cannot_be_used_is_said_and_never_shown() {
        for (fields, words) in [
            (r#""identitytoken": "hush""#.to_owned(), "`identitytoken`"),
            (format!(r#""auth": "{AUTH}", "identitytoken": "hush""#), "`identitytoken`"),
            (r#""registrytoken": "hush""#.to_owned(), "`registrytoken`"),
            (String::new(), "neither"),
            (r#""username": "hush""#.to_owned(), "neither"),
            (r#""auth": "hush!""#.to_owned(), "not `user:password`"),
            (format!(r#""auth": "{}""#, BASE64.encode("hush")), "not `user:password`"),
            (format!(r#""auth": "{AUTH}", "username": "robot", "password": "hush2""#), "something else"),
            (r#""username": "hush:", "password": "hush""#.to_owned(), "colon"),
            (r#""username": "a", "password": "hush\n""#.to_owned(), "control character"),
        ] {
            let error = entry(&fields).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("r.corp") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn what_is_no_pull_secret_is_refused_without_a_word_of_it() {
        for text in [
            r#"{"auths": "hush"}"#,
            r#"{"auths": {"r": "hush"}}"#,
            r#"{"auths": {"r": {"auth": {"hush": 1}}}}"#,
            "{}",
            r#"["hush"]"#,
            "hush",
            "",
            r#"{"auths": {"r": {"password": "hush", "password": "hush"}}}"#,
            r#"{"auths": {"#,
        ] {
            let error = PullSecret::read(text.as_bytes(), Format::DockerConfigJson).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
        let large = vec![b' '; MAX_BYTES + 1];
        let error = PullSecret::read(&large, Format::DockerCfg).unwrap_err();
        assert!(matches!(error, PullSecretError::Json(JsonError::TooLarge { .. })));
        let shown = format!("{:?}", secret(&["r.corp"]));
        assert_eq!(shown, r#"["r.corp"]"#);
        let credentials = entry(&format!(r#""auth": "{AUTH}""#)).unwrap().unwrap();
        assert!(!format!("{credentials:?}").contains("hush") && !format!("{credentials:?}").contains("robot"));
    }
}
