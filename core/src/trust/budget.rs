//! Until when the trust that is held goes on working, and what ends first.

use jiff::Timestamp;
use serde::Serialize;

use super::diff::Kind;
use super::root::{Authority, Log, TrustRoot};
use super::tuf::RoleSummary;

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When.
    pub until: Timestamp,
    /// What.
    #[serde(flatten)]
    pub cause: Cause,
    /// The same in words.
    pub what: String,
    /// What no longer works from then on.
    pub meaning: &'static str,
}

/// What ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "cause")]
pub enum Cause {
    /// Metadata of a TUF role expires.
    TufRole {
        /// The role.
        role: String,
        /// Its version.
        version: u64,
    },
    /// A declared window closes.
    Window {
        /// Of what.
        kind: Kind,
    },
    /// A certificate expires.
    Certificate {
        /// Of what.
        kind: Kind,
        /// Its subject.
        subject: String,
    },
}

/// What ends, the earliest first.
///
/// Verdicts over signatures that exist do not decay: an authority that ends stops *new* signatures from counting. So an authority that has ended is
/// listed only where none of its kind is left to take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The ends, sorted.
    pub ends: Vec<End>,
}

impl Budget {
    /// The budget of metadata and trusted root, as seen at `now`.
    pub fn of(roles: &[RoleSummary], root: Option<&TrustRoot>, now: Timestamp) -> Self {
        let mut ends: Vec<End> = roles
            .iter()
            .map(|role| End {
                until: role.expires,
                cause: Cause::TufRole { role: role.role.clone(), version: role.version },
                what: format!("TUF {} v{}", role.role, role.version),
                meaning: "nothing newer than it can be imported, and strict clients refuse the repository",
            })
            .collect();
        if let Some(root) = root {
            ends.extend(relied_on(
                root.certificate_authorities.iter().map(|a| authority_end(Kind::CertificateAuthority, a)),
                now,
            ));
            ends.extend(relied_on(
                root.timestamp_authorities.iter().map(|a| authority_end(Kind::TimestampAuthority, a)),
                now,
            ));
            ends.extend(relied_on(root.logs.iter().map(|l| log_end(Kind::TransparencyLog, l)), now));
            ends.extend(relied_on(root.ct_logs.iter().map(|l| log_end(Kind::CtLog, l)), now));
            let keys = root.keys.iter().map(|key| key.window.end().map(|at| window_end(Kind::Key, &key.name, at)));
            ends.extend(keys.flatten());
        }
        ends.sort_by(|a, b| (a.until, &a.what).cmp(&(b.until, &b.what)));
        Self { ends }
    }

    /// What ends first.
    pub fn first(&self) -> Option<&End> {
        self.ends.first()
    }
}

/// Of one kind: the ends that lie ahead, and the last of those past where nothing of the kind goes on.
fn relied_on(ends: impl Iterator<Item = Option<End>>, now: Timestamp) -> Vec<End> {
    let ends: Vec<Option<End>> = ends.collect();
    let goes_on = ends.iter().any(|end| end.as_ref().is_none_or(|end| end.until >= now));
    let mut ahead: Vec<End> = ends.into_iter().flatten().collect();
    if goes_on {
        ahead.retain(|end| end.until >= now);
        return ahead;
    }
    ahead.sort_by_key(|end| end.until);
    ahead.pop().into_iter().collect()
}

fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::CertificateAuthority => "signatures with certificates it issues later do not count",
        Kind::TransparencyLog => "signatures logged there later do not count",
        Kind::CtLog => "certificates logged there later do not count",
        Kind::TimestampAuthority => "timestamps it issues later do not count",
        Kind::Key => "signatures it makes later do not count",
    }
}

fn window_end(kind: Kind, name: &str, until: Timestamp) -> End {
    End {
        until,
        cause: Cause::Window { kind },
        what: format!("window of the {} {name}", kind.words()),
        meaning: meaning(kind),
    }
}

fn authority_end(kind: Kind, authority: &Authority) -> Option<End> {
    let window = authority.window.end().map(|until| window_end(kind, authority.name(), until));
    let certificates = authority.chain.iter().filter_map(|certificate| {
        certificate.validity.end().map(|until| End {
            until,
            cause: Cause::Certificate { kind, subject: certificate.subject.clone() },
            what: format!("certificate {} of the {}", certificate.subject, kind.words()),
            meaning: meaning(kind),
        })
    });
    window.into_iter().chain(certificates).min_by_key(|end| end.until)
}

fn log_end(kind: Kind, log: &Log) -> Option<End> {
    log.window.end().map(|until| window_end(kind, &log.name(), until))
}
