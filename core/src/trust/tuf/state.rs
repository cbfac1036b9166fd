//! The memory, and the bytes it is a memory of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sigstore_tuf::TrustedMetadataSet;
use sigstore_tuf::metadata::{Metadata, Role as LibraryRole, Root, Snapshot, Targets, Timestamp as TimestampRole};

use super::memory::TrustMemory;
use super::recount::recount;
use super::refresh::{MAX_ROOT, read};
use super::refusal::Refusal;
use super::step::RoleSummary;
use crate::Digest;
use crate::trust::clock::Observed;

/// Trust as it is held: what was accepted last, and the floors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    memory: TrustMemory,
    held: BTreeMap<String, Vec<u8>>,
}

impl State {
    /// Starts from a root that was agreed on out of band; its digest is the pin. An expired bootstrap root is normal: only the newest root counts.
    ///
    /// # Errors
    /// [`Refusal::PinMismatch`] where `pin` is another digest; [`Refusal::Threshold`], [`Refusal::UnreadKeys`] or [`Refusal::Malformed`] where it is not a root that signed itself.
    pub fn bootstrap(root: &[u8], pin: Option<Digest>, now: Timestamp) -> Result<Self, Refusal> {
        let got = Digest::of(root);
        if let Some(pinned) = pin.filter(|pinned| *pinned != got) {
            return Err(Refusal::PinMismatch { pinned, got });
        }
        let parsed: Metadata<Root> = read("the bootstrap root", root, MAX_ROOT)?;
        let signed = parsed.signed();
        // Before the library, which has one word for keys that did not sign and for keys that cannot be read.
        if let Some(keys) = signed.role("root") {
            recount(&parsed, &signed.keys, keys, "root")?;
        }
        TrustedMetadataSet::from_root(root).map_err(|e| Refusal::library("the bootstrap root", &e))?;
        let mut state = Self { memory: TrustMemory::new(got), held: BTreeMap::new() };
        state.accept("root", signed.version, root, signed.expires, now);
        Ok(state)
    }

    /// Takes up a state as it was stored, after checking that its bytes are those the memory names, and that the memory says of them what they say.
    ///
    /// # Errors
    /// [`Refusal::MemoryDamaged`], naming the file that differs.
    pub fn restore(memory: TrustMemory, held: BTreeMap<String, Vec<u8>>) -> Result<Self, Refusal> {
        let damaged = |role: &str, detail: &str| Refusal::MemoryDamaged {
            file: format!("{role}.json"),
            detail: detail.to_owned(),
        };
        if memory.schema != TrustMemory::SCHEMA {
            return Err(damaged("memory", "it was written by another version of holdfast"));
        }
        for (role, floor) in &memory.floors {
            match held.get(role) {
                None => return Err(damaged(role, "it is missing")),
                Some(bytes) if Digest::of(bytes) != floor.digest => return Err(damaged(role, "its bytes differ")),
                Some(bytes) => {
                    let (version, expires) =
                        says(role, bytes).ok_or_else(|| damaged(role, "it cannot be read as metadata of its role"))?;
                    // A floor that was lowered in the memory's file alone would let an older repository in.
                    if (version, expires) != (floor.version, floor.expires) {
                        return Err(damaged(
                            role,
                            "the memory says another version or another end of it than it says itself",
                        ));
                    }
                }
            }
        }
        if !memory.floors.contains_key("root") {
            return Err(damaged("root", "the memory has no root"));
        }
        if memory.floors.contains_key("snapshot")
            && held.get("snapshot").and_then(|bytes| pins(bytes)).as_ref() != Some(&memory.pins)
        {
            return Err(damaged("snapshot", "the memory says other versions of the roles it lists"));
        }
        let held = held.into_iter().filter(|(role, _)| memory.floors.contains_key(role)).collect();
        Ok(Self { memory, held })
    }

    /// What is remembered.
    pub const fn memory(&self) -> &TrustMemory {
        &self.memory
    }

    /// The accepted bytes, by role.
    pub const fn held(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.held
    }

    /// The accepted bytes of one role.
    pub fn bytes(&self, role: &str) -> Option<&[u8]> {
        self.held.get(role).map(Vec::as_slice)
    }

    /// What the accepted roles say of themselves, delegated ones included.
    pub fn roles(&self) -> Vec<RoleSummary> {
        let root = self.bytes("root").and_then(|bytes| Metadata::<Root>::from_slice(bytes).ok());
        let keys = |role: &str| root.as_ref().and_then(|root| root.signed().role(role));
        let rank = |role: &str| {
            ["root", "timestamp", "snapshot", "targets"].iter().position(|top| *top == role).unwrap_or(usize::MAX)
        };
        let mut roles: Vec<RoleSummary> = self
            .memory
            .floors
            .iter()
            .map(|(role, floor)| RoleSummary {
                role: role.clone(),
                version: floor.version,
                expires: floor.expires,
                keys: keys(role).map(|k| k.keyids.len()),
                threshold: keys(role).map(|k| k.threshold),
            })
            .collect();
        roles.sort_by_key(|role| (rank(&role.role), role.role.clone()));
        roles
    }

    /// Takes note of an authenticated time: the signing time of a covered verdict, from a log or timestamp authority of the adopted trust. What lies more
    /// than [`TOLERANCE`](crate::trust::clock::TOLERANCE) ahead of `now` is not taken. Nothing else raises the floor of the clock.
    pub fn observe_time(&mut self, authenticated: Timestamp, now: Timestamp) -> Observed {
        self.memory.clock_floor.observe(authenticated, now)
    }

    /// Lowers the floor of the clock and records that, for an authority whose clock ran ahead, and takes no instant of acceptance for later than `to`.
    /// Version floors stay.
    pub fn lower_clock(&mut self, to: Timestamp) {
        self.memory.lower_clock(to);
    }

    /// An import came to its end and brought something newer.
    pub(super) fn imported(&mut self, now: Timestamp) {
        self.memory.last_import = Some(now);
    }

    pub(super) fn accept(&mut self, role: &str, version: u64, bytes: &[u8], expires: Timestamp, now: Timestamp) {
        self.memory.accept(role, version, bytes, expires, now);
        self.held.insert(role.to_owned(), bytes.to_vec());
    }

    pub(super) fn accept_snapshot(&mut self, snapshot: &Snapshot, bytes: &[u8], now: Timestamp) {
        self.accept("snapshot", snapshot.version, bytes, snapshot.expires, now);
        self.memory.pins = versions(snapshot);
    }

    /// Fast-forward recovery (specification, section 5.3.11): a new root that changed the keys of timestamp or snapshot lets both floors fall, since
    /// whoever had the old keys may have driven their versions up. Old metadata that still verifies under the new root keeps its floor.
    pub(super) fn recover(&mut self, root: &Root, now: Timestamp) {
        let timestamp_stands = self.stands::<TimestampRole>("timestamp", root);
        let snapshot_stands = self.stands::<Snapshot>("snapshot", root);
        if timestamp_stands && snapshot_stands {
            return;
        }
        for role in ["timestamp", "snapshot"] {
            self.memory.recover(role, root.version, now);
            self.held.remove(role);
        }
        if !snapshot_stands {
            // The versions of all targets roles stand in the snapshot; who held its keys could drive those up as well.
            let lower: Vec<String> = self.memory.floors.keys().filter(|role| *role != "root").cloned().collect();
            for role in lower {
                self.memory.recover(&role, root.version, now);
                self.held.remove(&role);
            }
            self.memory.pins.clear();
        }
    }

    fn stands<T: LibraryRole>(&self, role: &str, root: &Root) -> bool {
        let Some(bytes) = self.held.get(role) else { return true };
        let Some(role_keys) = root.role(role) else { return false };
        Metadata::<T>::from_slice(bytes).is_ok_and(|metadata| {
            metadata.verify_threshold(&root.keys, role_keys, role).is_ok()
                && recount(&metadata, &root.keys, role_keys, role).is_ok()
        })
    }
}

fn versions(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    snapshot.meta.iter().map(|(file, meta)| (file.clone(), meta.version)).collect()
}

fn pins(snapshot: &[u8]) -> Option<BTreeMap<String, u64>> {
    Metadata::<Snapshot>::from_slice(snapshot).ok().map(|metadata| versions(metadata.signed()))
}

/// The version and the end that held metadata states.
fn says(role: &str, bytes: &[u8]) -> Option<(u64, Timestamp)> {
    fn of<T: LibraryRole>(bytes: &[u8]) -> Option<(u64, Timestamp)> {
        let metadata = Metadata::<T>::from_slice(bytes).ok()?;
        Some((metadata.signed().version(), metadata.signed().expires()))
    }
    match role {
        "root" => of::<Root>(bytes),
        "timestamp" => of::<TimestampRole>(bytes),
        "snapshot" => of::<Snapshot>(bytes),
        _ => of::<Targets>(bytes),
    }
}
