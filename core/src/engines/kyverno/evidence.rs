//! What a requirement means for Kyverno's `ctlog` block.
//!
//! The requirement comes from the policy, never from what a root lacks: a root without a log does not switch the check off. What the engine then really
//! checks depends on the root as well, so each cell of (signer, `sct`, `transparencyLog`, `signedTimestamp`) × (logs, CT logs, timestamp authorities) is a
//! row of [`ROWS`]. A row says whether the engine was *run* in it. What was not run is not rendered for enforcement, however plausible it reads in the source.
//!
//! The runs: Kyverno 1.19.1, certificates, one Rekor v2 log, one timestamp authority, no signed certificate timestamp (SCT) in any certificate.

use serde::Serialize;
use serde_json::{Value, json};

use crate::trust::root::TrustRoot;
use crate::verify::EvidenceRequirements;

/// Kyverno asks for a log's address where it checks the log, and dials it only for a legacy signature that lacks its log entry. Nothing listens here, so
/// such a signature is denied; it is nobody's log.
pub const NO_LOG: &str = "http://127.0.0.1:1/unused";

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum By {
    /// The holder of a certificate.
    Certificate,
    /// The holder of a key.
    Key,
}

/// Which transparency logs a root holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Logs {
    /// None.
    None,
    /// Rekor v2 only: their entries carry no time.
    V2,
    /// Rekor v1 among them: their entries carry a time, which Kyverno takes instead of a timestamp.
    V1,
}

/// What a root holds to check evidence with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holds {
    /// Transparency logs.
    pub logs: Logs,
    /// Certificate transparency logs.
    pub ct_logs: bool,
    /// Timestamp authorities.
    pub timestamp_authorities: bool,
}

impl Holds {
    /// What this root holds. A log that is named by the digest of its key is of Rekor v1; a v2 log has the id of its note key.
    pub fn of(root: &TrustRoot) -> Self {
        let is_v1 = |log: &crate::trust::root::Log| log.log_id.as_bytes() == log.key_digest.as_bytes();
        Self {
            logs: match (root.logs.is_empty(), root.logs.iter().any(is_v1)) {
                (true, _) => Logs::None,
                (false, true) => Logs::V1,
                (false, false) => Logs::V2,
            },
            ct_logs: !root.ct_logs.is_empty(),
            timestamp_authorities: !root.timestamp_authorities.is_empty(),
        }
    }
}

/// The `ctlog` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Block {
    /// No block: log and SCT are checked.
    Absent,
    /// The log is checked, SCTs are not.
    LogOnly,
    /// SCTs are checked, the log is not.
    SctOnly,
    /// Neither is checked.
    Neither,
}

impl Block {
    /// As it stands in an attestor.
    pub fn render(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::LogOnly => Some(json!({ "url": NO_LOG, "insecureIgnoreSCT": true })),
            Self::SctOnly => Some(json!({ "insecureIgnoreTlog": true })),
            Self::Neither => Some(json!({ "insecureIgnoreTlog": true, "insecureIgnoreSCT": true })),
        }
    }
}

/// How far a cell was run on the real engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Run {
    /// What passes and what is denied was seen.
    Yes,
    /// Only a denial was seen.
    DenialOnly,
    /// Not at all.
    No,
}

/// What the engine does beside what was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// It requires a signed timestamp, though none is declared.
    RequiresTimestamp,
    /// It denies everything: the root lacks what would be checked with.
    DeniesAll,
}

/// One row: cells by their values (nothing where any will do), and what is known of them.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    by: By,
    sct: Option<bool>,
    transparency_log: bool,
    signed_timestamp: Option<bool>,
    logs: Option<Logs>,
    ct_logs: Option<bool>,
    timestamp_authorities: Option<bool>,
    /// What is rendered.
    pub block: Block,
    /// How far it was run.
    pub run: Run,
    /// What the engine does besides.
    pub beside: Beside,
    /// What the engine checks, and where that was seen.
    pub checks: &'static str,
}

const ANY: Row = Row {
    by: By::Certificate,
    sct: None,
    transparency_log: true,
    signed_timestamp: None,
    logs: None,
    ct_logs: None,
    timestamp_authorities: None,
    block: Block::Absent,
    run: Run::No,
    beside: Beside::Nothing,
    checks: "",
};
const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

/// Every cell; the first row that a cell falls into counts.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // Certificates, log required, SCT not.
    Row { sct: NO, logs: Some(Logs::V2), timestamp_authorities: NO, block: Block::LogOnly, run: Run::Yes, beside: Beside::DeniesAll, ..ANY }
        .checks("inclusion proof, checkpoint, and a timestamp that no authority of the root can have made: `threshold not met for verified signed timestamps: 0 < 1`"),
    Row { sct: NO, logs: Some(Logs::V2), signed_timestamp: YES, block: Block::LogOnly, run: Run::Yes, ..ANY }
        .checks("inclusion proof, checkpoint and a signed timestamp: passes; fails under another log key and without timestamp authorities"),
    Row { sct: NO, logs: Some(Logs::V2), block: Block::LogOnly, run: Run::Yes, beside: Beside::RequiresTimestamp, ..ANY }
        .checks("as above: entries of Rekor v2 carry no time, so a timestamp is required whether declared or not"),
    Row { sct: NO, logs: Some(Logs::V1), signed_timestamp: YES, block: Block::LogOnly, ..ANY }
        .checks("by the source, an entry of Rekor v1 brings its own time and no timestamp is asked for: wider than declared"),
    Row { sct: NO, logs: Some(Logs::V1), block: Block::LogOnly, ..ANY }
        .checks("by the source, the log entry and its time; Rekor v1 was not run"),
    Row { sct: NO, logs: Some(Logs::None), block: Block::LogOnly, beside: Beside::DeniesAll, ..ANY }
        .checks("by the source, a log entry that no log of the root can have made; run only with a repository that lacks logs, not with an inline root that does"),
    // Certificates, log and SCT required.
    Row { sct: YES, ct_logs: NO, block: Block::Absent, run: Run::DenialOnly, beside: Beside::DeniesAll, ..ANY }
        .checks("an SCT that no CT log of the root can have made; that a certificate without SCT is denied was run"),
    Row { sct: YES, block: Block::Absent, run: Run::DenialOnly, ..ANY }
        .checks("log entry and SCT; that a certificate without SCT is denied was run, a true or forged SCT was not"),
    // Certificates, log not required.
    Row { sct: NO, transparency_log: false, logs: Some(Logs::V2), timestamp_authorities: NO, block: Block::Neither, run: Run::Yes, beside: Beside::DeniesAll, ..ANY }
        .checks("a timestamp that no authority of the root can have made"),
    Row { sct: NO, transparency_log: false, logs: Some(Logs::V2), signed_timestamp: YES, block: Block::Neither, run: Run::Yes, ..ANY }
        .checks("a signed timestamp; passes under another log key: the log is not looked at. Legacy attestations fail with an ignored log, so they cannot do without"),
    Row { sct: NO, transparency_log: false, logs: Some(Logs::V2), block: Block::Neither, run: Run::Yes, beside: Beside::RequiresTimestamp, ..ANY }
        .checks("as above"),
    Row { sct: NO, transparency_log: false, block: Block::Neither, beside: Beside::RequiresTimestamp, ..ANY }
        .checks("by the source, a signed timestamp; run only with a root of one Rekor v2 log"),
    Row { sct: YES, transparency_log: false, block: Block::SctOnly, run: Run::DenialOnly, beside: Beside::RequiresTimestamp, ..ANY }
        .checks("SCT and a signed timestamp; that a certificate without SCT is denied was run, a true or forged SCT was not"),
    // Keys have no certificate, so no SCT.
    Row { by: By::Key, signed_timestamp: YES, block: Block::LogOnly, ..ANY }
        .checks("by the source, the log entry; a key asks for no timestamp: wider than declared"),
    Row { by: By::Key, block: Block::LogOnly, ..ANY }
        .checks("by the source, the signature and a log entry; keys were not run"),
    Row { by: By::Key, transparency_log: false, signed_timestamp: YES, block: Block::Neither, ..ANY }
        .checks("by the source, the signature alone; a key asks for no timestamp: wider than declared"),
    Row { by: By::Key, transparency_log: false, block: Block::Neither, ..ANY }
        .checks("by the source, the signature alone; keys were not run"),
];

impl Row {
    const fn checks(mut self, checks: &'static str) -> Self {
        self.checks = checks;
        self
    }

    fn is_of(&self, by: By, required: EvidenceRequirements, holds: Holds) -> bool {
        let is = |want: Option<bool>, got: bool| want.is_none_or(|want| want == got);
        self.by == by
            && self.transparency_log == required.transparency_log
            && is(self.sct, required.sct)
            && is(self.signed_timestamp, required.signed_timestamp)
            && self.logs.is_none_or(|logs| logs == holds.logs)
            && is(self.ct_logs, holds.ct_logs)
            && is(self.timestamp_authorities, holds.timestamp_authorities)
    }
}

/// The row a cell falls into. The rows cover every cell, which a test holds them to; what none covered would check everything and count as not run.
pub fn row(by: By, required: EvidenceRequirements, holds: Holds) -> Row {
    let mut row = ROWS.iter().find(|row| row.is_of(by, required, holds)).copied().unwrap_or(ANY);
    if row.beside == Beside::RequiresTimestamp && required.signed_timestamp {
        row.beside = Beside::Nothing;
    }
    row
}
