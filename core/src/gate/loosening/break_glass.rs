//! TrustBreakGlasses, and what bounds them.

use super::{Finder, Loosening, LooseningKind, approval_digest};
use crate::api::TrustBreakGlassSpec;
use crate::gate::break_glass::Caps;

const KIND: &str = "TrustBreakGlass";

/// In which way a break-glass is looser than the form of it that was approved. The API server lets none be changed; this is what holds if one was.
///
/// An earlier end is tighter; anything else that differs is another break-glass.
pub fn break_glass(name: &str, approved: &TrustBreakGlassSpec, declared: &TrustBreakGlassSpec) -> Vec<Loosening> {
    let mut found = Finder::new(KIND, name, approval_digest(KIND, name, declared));
    found.add_if(approved.loosen != declared.loosen, LooseningKind::BreakGlassChanged, "loosen", || {
        "it loosens something else than was approved".to_owned()
    });
    let end = |spec: &TrustBreakGlassSpec| spec.until.parse::<jiff::Timestamp>().ok();
    let later = match (end(approved), end(declared)) {
        (Some(was), Some(is)) => is > was,
        // What has no end that can be read is never active.
        (_, None) => false,
        (None, Some(_)) => true,
    };
    found.add_if(later, LooseningKind::BreakGlassChanged, "until", || {
        format!("it ends at {} where {} was approved", declared.until, approved.until)
    });
    found.finish()
}

/// In which way declared caps are looser than those in force. They are settings of the installation; `name` is what people know it by.
pub fn caps(name: &str, enforced: &Caps, declared: &Caps) -> Vec<Loosening> {
    let mut found = Finder::new(KIND, name, approval_digest("Caps", name, declared));
    let kind = LooseningKind::CapRaised;
    found.add_if(declared.longest > enforced.longest, kind, "longest", || {
        format!("a break-glass may last {:#} where it might last {:#}", declared.longest, enforced.longest)
    });
    found.add_if(declared.approvers < enforced.approvers, kind, "approvers", || {
        format!("{} approvers suffice where {} were needed", declared.approvers, enforced.approvers)
    });
    for account in declared.service_accounts.difference(&enforced.service_accounts) {
        found.add(kind, "serviceAccounts", format!("the service account `{account}` may approve"));
    }
    found.finish()
}
