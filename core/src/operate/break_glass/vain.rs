//! Approvals that were given, and do not count: whoever waits has to know why.

use super::Facts;
use crate::Digest;
use crate::api::{TrustApproval, TrustBreakGlass};
use crate::gate::break_glass::{Missing, is_of};

/// Approvals that are named in a status, at most.
const MAX_VAIN: usize = 4;

/// Why an approval does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Vain {
    /// Nobody approves what they asked for.
    #[error("{by} asked for it, so that approval does not count")]
    Requester {
        /// Who.
        by: String,
    },
    /// It was made before the guards were in force as they are.
    #[error("{by} approved before the guards were in force as they are: approve again")]
    Early {
        /// Who.
        by: String,
    },
    /// It was given before the break-glass was made, to one of the same name that is gone, or to none.
    #[error("{by} approved before this break-glass was made: approve again")]
    Before {
        /// Who.
        by: String,
    },
    /// It is of something else.
    #[error("{by} approved {digest}, which is not its digest")]
    OtherDigest {
        /// Who.
        by: String,
        /// What was approved.
        digest: String,
    },
    /// Only those that are listed may.
    #[error("{by} is none of the service accounts that may approve")]
    NotListed {
        /// Who.
        by: String,
    },
}

/// The approvals of a break-glass that do not count, of people whose approval is missing.
pub(super) fn of(facts: &Facts<'_>, missing: &Missing) -> Vec<Vain> {
    let Missing::Approvals { name, there, digest, requester, .. } = missing else { return Vec::new() };
    let of_it = |approval: &&TrustApproval| {
        let of = &approval.spec.r#for;
        of.kind == "TrustBreakGlass" && of.name == *name && !there.contains(&approval.spec.approver)
    };
    let early = facts.early.iter().filter(of_it).map(|approval| (approval, true));
    let others = facts.approvals.iter().filter(of_it).map(|approval| (approval, false));
    let all = others.chain(early);
    let mut vain: Vec<Vain> =
        all.map(|(approval, is_early)| why(facts.glass, approval, is_early, (*digest, requester))).collect();
    vain.sort();
    vain.dedup();
    vain.truncate(MAX_VAIN);
    vain
}

fn why(glass: &TrustBreakGlass, approval: &TrustApproval, is_early: bool, wanted: (Digest, &str)) -> Vain {
    let (digest, requester) = wanted;
    let by = approval.spec.approver.clone();
    if by == requester {
        Vain::Requester { by }
    } else if approval.spec.r#for.digest != digest {
        Vain::OtherDigest { by, digest: approval.spec.r#for.digest.to_string() }
    } else if is_early {
        Vain::Early { by }
    } else if !is_of(glass, approval) {
        Vain::Before { by }
    } else {
        Vain::NotListed { by }
    }
}
