//! Root chain, timestamp, snapshot, targets: the client workflow, one file at a time.

use jiff::Timestamp;
use sigstore_tuf::TrustedMetadataSet;
use sigstore_tuf::metadata::{
    MetaFile, Metadata, Role as LibraryRole, RoleKeys, Root, Snapshot, Targets, Timestamp as TimestampRole,
};

use super::grace::Grace;
use super::recount::{Note, recount};
use super::refusal::{Refusal, Role};
use super::state::State;
use super::step::{OnEquivocation, RoleSummary, Want};
use crate::Digest;
use crate::json::{self, Limits};
use crate::trust::clock::{Sanity, TOLERANCE};

/// Bytes of a root, at most; real ones have some 7 KB.
pub(super) const MAX_ROOT: u64 = 512 * 1024;
const MAX_TIMESTAMP: u64 = 16 * 1024;
const MAX_SNAPSHOT: u64 = 2 * 1024 * 1024;
pub(super) const MAX_TARGETS: u64 = 10 * 1024 * 1024;
/// New roots followed in one import.
const MAX_ROOTS: u64 = 256;
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Done,
}

/// A refresh under way.
pub struct Refresh {
    pub(super) state: State,
    pub(super) set: TrustedMetadataSet,
    phase: Phase,
    roots: u64,
    pub(super) now: Timestamp,
    grace: Grace,
    on_equivocation: OnEquivocation,
    pub(super) notes: Vec<Note>,
    changed: bool,
}

/// Expiry is judged by us, with an explicit clock; the library is asked as of the beginning of time.
pub(super) const NO_EXPIRY: Timestamp = Timestamp::UNIX_EPOCH;

impl Refresh {
    /// Begins a refresh of what is held.
    ///
    /// # Errors
    /// [`Refusal::ClockBehind`] where `now` lies behind the floor of the clock; [`Refusal::MemoryDamaged`] where the held root cannot be read.
    pub fn begin(state: &State, now: Timestamp, grace: Grace) -> Result<Self, Refusal> {
        let memory = state.memory();
        if let Sanity::Behind { floor, now } = memory.clock_floor.judge(now) {
            return Err(Refusal::ClockBehind { now, floor });
        }
        let mut refresh = Self::over(state, now, grace)?;
        if let Some(last) = memory.last_import.filter(|last| now.saturating_add(TOLERANCE).is_ok_and(|now| now < *last))
        {
            refresh.note(vec![Note::ClockWentBack { now, last }]);
        }
        Ok(refresh)
    }

    /// What is held, verified again from its root; expiry is not looked at.
    pub(super) fn of_held(state: &State) -> Result<Self, Refusal> {
        let mut refresh = Self::over(state, NO_EXPIRY, Grace::NONE)?;
        refresh.phase = Phase::Timestamp;
        let timestamp = state.bytes("timestamp");
        // The roles below are taken from what is held wherever the ones above still name them.
        refresh.give(timestamp)?;
        match refresh.want() {
            None => Ok(refresh),
            Some(want) => Err(Refusal::MissingFile { file: want.name }),
        }
    }

    fn over(state: &State, now: Timestamp, grace: Grace) -> Result<Self, Refusal> {
        let damaged = |detail: String| Refusal::MemoryDamaged { file: "root.json".to_owned(), detail };
        let root = state.bytes("root").ok_or_else(|| damaged("it is missing".to_owned()))?;
        let set = TrustedMetadataSet::from_root(root).map_err(|e| damaged(e.to_string()))?;
        Ok(Self {
            state: state.clone(),
            set,
            phase: Phase::Root,
            roots: 0,
            now,
            grace,
            on_equivocation: OnEquivocation::Refuse,
            notes: Vec::new(),
            changed: false,
        })
    }

    /// The same refresh, with another way to meet an equivocating timestamp.
    #[must_use]
    pub const fn on_equivocation(mut self, on_equivocation: OnEquivocation) -> Self {
        self.on_equivocation = on_equivocation;
        self
    }

    /// The file that is needed next; `None` once all is verified.
    pub fn want(&self) -> Option<Want> {
        let consistent = self.set.root().consistent_snapshot;
        let versioned = |role: &str, pin: Option<&MetaFile>, max| Want {
            name: match pin {
                Some(pin) if consistent => format!("{}.{role}.json", pin.version),
                _ => format!("{role}.json"),
            },
            max: pin.and_then(|pin| pin.length).map_or(max, |length| length.min(max)),
            optional: false,
        };
        match self.phase {
            Phase::Root => {
                let next = self.set.root().version.saturating_add(1);
                Some(Want { name: format!("{next}.root.json"), max: MAX_ROOT, optional: true })
            }
            Phase::Timestamp => Some(Want { name: "timestamp.json".to_owned(), max: MAX_TIMESTAMP, optional: false }),
            Phase::Snapshot => {
                Some(versioned("snapshot", self.set.timestamp().and_then(TimestampRole::snapshot_meta), MAX_SNAPSHOT))
            }
            Phase::Targets => Some(versioned("targets", self.pin("targets.json"), MAX_TARGETS)),
            Phase::Done => None,
        }
    }

    /// Takes the wanted file, or its absence.
    ///
    /// # Errors
    /// [`Refusal`]; what was accepted up to then stays accepted, see [`Self::into_state`].
    pub fn give(&mut self, bytes: Option<&[u8]>) -> Result<(), Refusal> {
        let Some(want) = self.want() else { return Ok(()) };
        match (self.phase, bytes) {
            (Phase::Root, Some(bytes)) => self.root(&want.name, bytes),
            (Phase::Root, None) => self.end_of_roots(),
            (_, None) => Err(Refusal::MissingFile { file: want.name }),
            (Phase::Timestamp, Some(bytes)) => self.timestamp(&want.name, bytes),
            (Phase::Snapshot, Some(bytes)) => self.snapshot(&want.name, bytes),
            (Phase::Targets, Some(bytes)) => self.targets(&want.name, bytes),
            (Phase::Done, Some(_)) => Ok(()),
        }
    }

    /// What is now held and remembered; after a refusal, up to the last accepted step.
    pub fn into_state(self) -> State {
        self.state
    }

    /// What is now held and remembered.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Whether anything was accepted that was not held before.
    pub const fn changed(&self) -> bool {
        self.changed
    }

    /// What a person should know of the accepted metadata.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The accepted roles.
    pub fn roles(&self) -> Vec<RoleSummary> {
        let root = self.set.root();
        let summary = |name: &str, version, expires| {
            let keys = root.role(name);
            RoleSummary {
                role: name.to_owned(),
                version,
                expires,
                keys: keys.map(|k| k.keyids.len()),
                threshold: keys.map(|k| k.threshold),
            }
        };
        let mut roles = vec![summary("root", root.version, root.expires)];
        roles.extend(self.set.timestamp().map(|r| summary("timestamp", r.version, r.expires)));
        roles.extend(self.set.snapshot().map(|r| summary("snapshot", r.version, r.expires)));
        roles.extend(self.set.targets_role("targets").map(|r| summary("targets", r.version, r.expires)));
        roles
    }

    pub(super) fn pin(&self, file: &str) -> Option<&MetaFile> {
        self.set.snapshot().and_then(|snapshot| snapshot.meta.get(file))
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    fn root(&mut self, file: &str, bytes: &[u8]) -> Result<(), Refusal> {
        if self.roots >= MAX_ROOTS {
            return Err(Refusal::TooManyRoots { max: MAX_ROOTS });
        }
        let metadata: Metadata<Root> = read(file, bytes, MAX_ROOT)?;
        // Signed by the threshold of the old root and of the new one (section 5.3.4), each counted by key.
        let mut notes = Vec::new();
        for root in [self.set.root(), metadata.signed()] {
            notes.extend(recount(&metadata, &root.keys, role_keys(root, "root", file)?, "root")?);
        }
        let mut set = self.set.clone();
        set.update_root(bytes).map_err(|e| Refusal::library(file, &e))?;
        self.set = set;
        let root = self.set.root().clone();
        self.notes.retain(
            |note| !matches!(note, Note::DuplicateKey { role, .. } | Note::KeyIdNotHash { role, .. } if role == "root"),
        );
        self.note(notes);
        self.accept("root", root.version, bytes, root.expires);
        self.state.recover(&root, self.now);
        self.roots += 1;
        Ok(())
    }

    /// No newer root: the held one has to be alive (section 5.3.10).
    fn end_of_roots(&mut self) -> Result<(), Refusal> {
        let root = self.set.root();
        if root.expires <= self.now {
            return Err(Refusal::Expired { role: "root".into(), version: root.version, at: root.expires });
        }
        self.phase = Phase::Timestamp;
        Ok(())
    }

    fn timestamp(&mut self, file: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let metadata: Metadata<TimestampRole> = read(file, bytes, MAX_TIMESTAMP)?;
        let notes = self.recount_top("timestamp", file, &metadata)?;
        let mut set = self.set.clone();
        set.update_timestamp(bytes, NO_EXPIRY).map_err(|e| Refusal::library(file, &e))?;
        let signed = metadata.signed();
        let (bytes, unchanged) = match self.against_floor("timestamp", signed.version, bytes) {
            Err(Refusal::Equivocation { .. })
                if self.on_equivocation == OnEquivocation::KeepHeld && bytes != self.held("timestamp") =>
            {
                let held = self.held("timestamp").to_vec();
                return self.timestamp("the held timestamp.json", &held);
            }
            judged => judged?,
        };
        let pin = signed.snapshot_meta().ok_or_else(|| malformed(file, "it does not name snapshot.json"))?;
        if let Some(floor) = self.state.memory().floors.get("snapshot").filter(|floor| pin.version < floor.version) {
            return Err(Refusal::Rollback { role: "snapshot".into(), had: floor.version, got: pin.version });
        }
        self.alive("timestamp", signed)?;
        self.set = set;
        self.note(notes);
        if !unchanged {
            self.accept("timestamp", signed.version, &bytes, signed.expires);
        }
        self.phase = Phase::Snapshot;
        self.resume_snapshot()
    }

    /// The held snapshot serves again where the timestamp still names it.
    fn resume_snapshot(&mut self) -> Result<(), Refusal> {
        let pin = self.set.timestamp().and_then(TimestampRole::snapshot_meta);
        let held = self.state.bytes("snapshot").filter(|bytes| pin.is_some_and(|pin| names::<Snapshot>(pin, bytes)));
        match held.map(<[u8]>::to_vec) {
            Some(bytes) => self.snapshot("the held snapshot.json", &bytes),
            None => Ok(()),
        }
    }

    fn snapshot(&mut self, file: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let metadata: Metadata<Snapshot> = read(file, bytes, MAX_SNAPSHOT)?;
        let notes = self.recount_top("snapshot", file, &metadata)?;
        let mut set = self.set.clone();
        set.update_snapshot(bytes, NO_EXPIRY).map_err(|e| Refusal::library(file, &e))?;
        let signed = metadata.signed();
        let (bytes, unchanged) = self.against_floor("snapshot", signed.version, bytes)?;
        // No targets role may go back or vanish (section 5.5.5).
        for (name, had) in &self.state.memory().pins {
            match signed.meta.get(name) {
                None => return Err(Refusal::Removed { file: name.clone() }),
                Some(meta) if meta.version < *had => {
                    let role = Role(name.strip_suffix(".json").unwrap_or(name).to_owned());
                    return Err(Refusal::Rollback { role, had: *had, got: meta.version });
                }
                Some(_) => {}
            }
        }
        self.alive("snapshot", signed)?;
        self.set = set;
        self.note(notes);
        if !unchanged {
            self.state.accept_snapshot(signed, &bytes, self.now);
            self.changed = true;
        }
        self.phase = Phase::Targets;
        self.resume_targets()
    }

    fn resume_targets(&mut self) -> Result<(), Refusal> {
        let pin = self.pin("targets.json");
        let held = self.state.bytes("targets").filter(|bytes| pin.is_some_and(|pin| names::<Targets>(pin, bytes)));
        match held.map(<[u8]>::to_vec) {
            Some(bytes) => self.targets("the held targets.json", &bytes),
            None => Ok(()),
        }
    }

    fn targets(&mut self, file: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let metadata: Metadata<Targets> = read(file, bytes, MAX_TARGETS)?;
        let notes = self.recount_top("targets", file, &metadata)?;
        let mut set = self.set.clone();
        set.update_targets(bytes, NO_EXPIRY).map_err(|e| Refusal::library(file, &e))?;
        let signed = metadata.signed();
        let (bytes, unchanged) = self.against_floor("targets", signed.version, bytes)?;
        self.alive("targets", signed)?;
        self.set = set;
        self.note(notes);
        if !unchanged {
            self.accept("targets", signed.version, &bytes, signed.expires);
        }
        self.phase = Phase::Done;
        if self.changed {
            self.state.imported(self.now);
        }
        Ok(())
    }

    fn held(&self, role: &str) -> &[u8] {
        self.state.bytes(role).unwrap_or_default()
    }

    fn recount_top<T: LibraryRole>(
        &self,
        role: &str,
        file: &str,
        metadata: &Metadata<T>,
    ) -> Result<Vec<Note>, Refusal> {
        let root = self.set.root();
        recount(metadata, &root.keys, role_keys(root, role, file)?, role)
    }

    /// Refuses what lies below the floor or is another content of the version held; says whether it is what is held.
    pub(super) fn against_floor(&self, role: &str, version: u64, bytes: &[u8]) -> Result<(Vec<u8>, bool), Refusal> {
        let Some(floor) = self.state.memory().floors.get(role) else { return Ok((bytes.to_vec(), false)) };
        let got = Digest::of(bytes);
        if version < floor.version {
            return Err(Refusal::Rollback { role: role.into(), had: floor.version, got: version });
        }
        if version == floor.version && got != floor.digest {
            return Err(Refusal::Equivocation { role: role.into(), version, had: floor.digest, got });
        }
        Ok((bytes.to_vec(), version == floor.version))
    }

    pub(super) fn alive<T: LibraryRole>(&self, role: &str, signed: &T) -> Result<(), Refusal> {
        let grace = if role == "timestamp" { self.grace } else { Grace::NONE };
        let end = signed.expires().saturating_add(grace.duration()).unwrap_or(Timestamp::MAX);
        if end <= self.now {
            return Err(Refusal::Expired { role: role.into(), version: signed.version(), at: signed.expires() });
        }
        Ok(())
    }

    pub(super) fn accept(&mut self, role: &str, version: u64, bytes: &[u8], expires: Timestamp) {
        self.state.accept(role, version, bytes, expires, self.now);
        self.changed = true;
    }

    pub(super) fn note(&mut self, notes: Vec<Note>) {
        self.notes.extend(notes);
        self.notes.sort();
        self.notes.dedup();
    }
}

fn role_keys<'a>(root: &'a Root, role: &str, file: &str) -> Result<&'a RoleKeys, Refusal> {
    root.role(role).ok_or_else(|| malformed(file, &format!("the root names no keys for {role}")))
}

fn malformed(file: &str, detail: &str) -> Refusal {
    Refusal::Malformed { file: file.to_owned(), detail: detail.to_owned() }
}

/// Whether the pin names these very bytes, as far as it says.
pub(super) fn names<T: LibraryRole>(pin: &MetaFile, bytes: &[u8]) -> bool {
    pin.length.is_none_or(|length| u64::try_from(bytes.len()) == Ok(length))
        && pin
            .hashes
            .as_ref()
            .and_then(|hashes| hashes.get("sha256"))
            .is_none_or(|hash| Digest::of(bytes).hex().eq_ignore_ascii_case(hash))
        && Metadata::<T>::from_slice(bytes).is_ok_and(|metadata| metadata.signed().version() == pin.version)
}

/// Reads metadata of one role, after a look at its size, depth and names.
pub(super) fn read<T: LibraryRole>(file: &str, bytes: &[u8], max: u64) -> Result<Metadata<T>, Refusal> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if size > max {
        return Err(Refusal::TooLarge { file: file.to_owned(), size, max });
    }
    json::check(bytes, Limits { max_len: bytes.len(), max_depth: MAX_DEPTH }).map_err(|e| Refusal::json(file, &e))?;
    Metadata::from_slice(bytes).map_err(|e| Refusal::library(file, &e))
}
