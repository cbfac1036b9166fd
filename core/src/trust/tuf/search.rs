//! The search for one target through delegations (specification, section 5.6.7).

use std::collections::BTreeSet;

use sigstore_tuf::metadata::{Metadata, TargetFile, Targets};
use sigstore_verify::crypto::{sha256, sha512};

use super::listing::Listing;
use super::recount::recount;
use super::refresh::{MAX_TARGETS, NO_EXPIRY, Refresh, names, read};
use super::refusal::Refusal;
use super::step::Want;

/// Roles visited in one search, at most.
const MAX_ROLES: usize = 32;
/// Bytes of one target, at most.
const MAX_TARGET: u64 = 64 * 1024 * 1024;

/// A target whose length and hash are those a trusted role states.
///
/// Only [`TargetSearch`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTarget {
    name: String,
    role: String,
    bytes: Vec<u8>,
}

impl VerifiedTarget {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role that lists it.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

enum Step {
    Role { role: String, delegator: String },
    Target { role: String, file: TargetFile },
    Found(VerifiedTarget),
}

/// A search under way. It begins with a finished [`Refresh`] and is driven like one.
pub struct TargetSearch<'a> {
    refresh: &'a mut Refresh,
    name: String,
    queue: Vec<(String, String)>,
    visited: BTreeSet<String>,
    step: Step,
}

impl<'a> TargetSearch<'a> {
    /// Begins the search for `name`.
    ///
    /// # Errors
    /// [`Refusal::UnsafeTargetName`], or why the target cannot be found in what is already trusted.
    pub fn begin(refresh: &'a mut Refresh, name: &str) -> Result<Self, Refusal> {
        let segment_is_safe = |segment: &str| !matches!(segment, "" | "." | "..");
        if !name.split('/').all(segment_is_safe) || name.contains(['\\', '\0']) {
            return Err(Refusal::UnsafeTargetName { name: name.to_owned() });
        }
        if !refresh.is_done() {
            return Err(Refusal::MissingFile { file: "targets.json".to_owned() });
        }
        let step = Step::Role { role: "targets".to_owned(), delegator: "root".to_owned() };
        let mut search = Self { refresh, name: name.to_owned(), queue: Vec::new(), visited: BTreeSet::new(), step };
        search.visit("targets")?;
        Ok(search)
    }

    /// The file that is needed next and whether it is metadata (`false`: a target); `None` once the target is there.
    pub fn want(&self) -> Option<(Want, bool)> {
        let consistent = self.refresh.set.root().consistent_snapshot;
        match &self.step {
            Step::Role { role, .. } => {
                let pin = self.refresh.pin(&format!("{role}.json"));
                let quoted = quote(role);
                let name = match pin {
                    Some(pin) if consistent => format!("{}.{quoted}.json", pin.version),
                    _ => format!("{quoted}.json"),
                };
                let max = pin.and_then(|pin| pin.length).map_or(MAX_TARGETS, |length| length.min(MAX_TARGETS));
                Some((Want { name, max, optional: false }, true))
            }
            Step::Target { file, .. } => {
                let name = match (consistent, preferred_hash(file)) {
                    (true, Some(hash)) => match self.name.rsplit_once('/') {
                        Some((dir, name)) => format!("{dir}/{hash}.{name}"),
                        None => format!("{hash}.{}", self.name),
                    },
                    _ => self.name.clone(),
                };
                Some((Want { name, max: file.length.min(MAX_TARGET), optional: false }, false))
            }
            Step::Found(_) => None,
        }
    }

    /// Takes the wanted file, or its absence.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn give(&mut self, bytes: Option<&[u8]>) -> Result<(), Refusal> {
        let Some((want, _)) = self.want() else { return Ok(()) };
        let bytes = bytes.ok_or_else(|| Refusal::MissingFile { file: want.name.clone() })?;
        match &self.step {
            Step::Role { role, delegator } => {
                let (role, delegator) = (role.clone(), delegator.clone());
                self.role(&want.name, &role, &delegator, bytes)?;
                self.visit(&role)
            }
            Step::Target { role, file } => {
                let target = verified(&self.name, role, file, bytes)?;
                self.step = Step::Found(target);
                Ok(())
            }
            Step::Found(_) => Ok(()),
        }
    }

    /// The target, once it was found and verified.
    pub fn found(&self) -> Option<&VerifiedTarget> {
        match &self.step {
            Step::Found(target) => Some(target),
            _ => None,
        }
    }

    /// How the target is listed, as far as the search came without any file.
    pub(super) fn listing(self) -> Result<Listing, Refusal> {
        let missing = self.want().map(|(want, _)| want.name);
        match self.step {
            Step::Target { role, file } => {
                let version = self.refresh.set.targets_role(&role).map_or(0, |targets| targets.version);
                Ok(Listing { target: self.name, role, version, file })
            }
            Step::Role { .. } | Step::Found(_) => Err(Refusal::MissingFile { file: missing.unwrap_or(self.name) }),
        }
    }

    /// Verifies a delegated role against the role that delegates to it.
    fn role(&mut self, file: &str, role: &str, delegator: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let metadata: Metadata<Targets> = read(file, bytes, MAX_TARGETS)?;
        let mut set = self.refresh.set.clone();
        let notes = match set.targets_role(delegator).and_then(|d| d.delegations.as_ref()) {
            Some(delegations) => match delegations.roles.iter().find(|d| d.name == role) {
                Some(delegated) => recount(&metadata, &delegations.keys, &delegated.role_keys(), role)?,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        set.update_delegated_targets(bytes, role, delegator, NO_EXPIRY).map_err(|e| Refusal::library(file, &e))?;
        let signed = metadata.signed();
        // The snapshot's pins already forbid going back; the same version with other bytes is left to refuse.
        let (bytes, unchanged) = self.refresh.against_floor(role, signed.version, bytes)?;
        self.refresh.alive(role, signed)?;
        self.refresh.set = set;
        self.refresh.note(notes);
        if !unchanged {
            self.refresh.accept(role, signed.version, &bytes, signed.expires);
        }
        Ok(())
    }

    /// Looks into a trusted role, then goes on to those it delegates to, depth first.
    fn visit(&mut self, role: &str) -> Result<(), Refusal> {
        self.visited.insert(role.to_owned());
        let Some(targets) = self.refresh.set.targets_role(role) else {
            return Err(Refusal::UnknownTarget { name: self.name.clone() });
        };
        if let Some(file) = targets.target(&self.name).cloned() {
            if file.length > MAX_TARGET {
                return Err(Refusal::TooLarge { file: self.name.clone(), size: file.length, max: MAX_TARGET });
            }
            self.step = Step::Target { role: role.to_owned(), file };
            return Ok(());
        }
        let mut children = Vec::new();
        for child in targets.delegations.iter().flat_map(|d| &d.roles) {
            // A delegated role of a top-level name would share its file and its floor.
            if matches!(child.name.as_str(), "root" | "timestamp" | "snapshot" | "targets") {
                continue;
            }
            if child.matches_path(&self.name).map_err(|e| Refusal::library(&format!("{role}.json"), &e))? {
                children.push((child.name.clone(), role.to_owned()));
                if child.terminating {
                    self.queue.clear();
                    break;
                }
            }
        }
        children.append(&mut self.queue);
        self.queue = children;
        self.next()
    }

    fn next(&mut self) -> Result<(), Refusal> {
        while !self.queue.is_empty() {
            let (role, delegator) = self.queue.remove(0);
            if self.visited.contains(&role) {
                continue;
            }
            if self.visited.len() > MAX_ROLES {
                return Err(Refusal::TooManyDelegations { name: self.name.clone(), max: MAX_ROLES });
            }
            // A role the snapshot does not list is not there.
            let Some(pin) = self.refresh.pin(&format!("{role}.json")) else { continue };
            let held = self.refresh.state.bytes(&role).filter(|bytes| names::<Targets>(pin, bytes)).map(<[u8]>::to_vec);
            let Some(bytes) = held else {
                self.step = Step::Role { role, delegator };
                return Ok(());
            };
            self.role(&format!("the held {role}.json"), &role, &delegator, &bytes)?;
            return self.visit(&role);
        }
        Err(Refusal::UnknownTarget { name: self.name.clone() })
    }
}

fn preferred_hash(file: &TargetFile) -> Option<&str> {
    ["sha256", "sha512"].into_iter().find_map(|algorithm| file.hashes.get(algorithm)).map(String::as_str)
}

pub(super) fn verified(name: &str, role: &str, file: &TargetFile, bytes: &[u8]) -> Result<VerifiedTarget, Refusal> {
    let mismatch = |detail: String| Err(Refusal::Mismatch { file: name.to_owned(), detail });
    if u64::try_from(bytes.len()) != Ok(file.length) {
        return mismatch(format!("{} bytes where {} are stated", bytes.len(), file.length));
    }
    let mut checked = false;
    for (algorithm, stated) in &file.hashes {
        let got = match algorithm.as_str() {
            "sha256" => sha256(bytes).to_hex(),
            "sha512" => sha512(bytes).to_hex(),
            _ => continue,
        };
        if !got.eq_ignore_ascii_case(stated) {
            return mismatch(format!("its {algorithm} is {got} where {stated} is stated"));
        }
        checked = true;
    }
    if !checked {
        return mismatch("no hash is stated that can be checked".to_owned());
    }
    Ok(VerifiedTarget { name: name.to_owned(), role: role.to_owned(), bytes: bytes.to_vec() })
}

/// A role name as a file name: everything but unreserved characters is percent-encoded (RFC 3986, section 2.3), as clients and repositories do.
pub fn quote(role: &str) -> String {
    role.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
