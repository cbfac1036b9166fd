//! What the words of status, reports and plans mean: one source for `holdfast explain`, for messages and for the reference.

use serde::Serialize;

use crate::api::condition::ConditionType;
use crate::coverage::conflict::ConflictKind;
use crate::engines::LossKind;
use crate::gate::subjects::Power;
use crate::gate::{AlarmKind, Check};
use crate::operate::break_glass::BreakGlassReason;
use crate::operate::mirror::MirrorReason;
use crate::operate::policy::PolicyReason;
use crate::operate::report::ReportReason;
use crate::trust::tuf::RefusalKind;
use crate::verify::{Owner, Reason};

/// What sort of word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The cause of a verdict.
    Reason,
    /// Why an import of trust is refused.
    Refusal,
    /// What an engine cannot express.
    Loss,
    /// What has to hold before anything is enforced.
    Check,
    /// What somebody has to look at now.
    Alarm,
    /// What somebody may do that gets round what is enforced.
    Power,
    /// Two policies that do not go together.
    Conflict,
    /// A condition in status.
    Condition,
    /// Why a condition is as it is.
    Because,
}

/// One word, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// What sort of word it is.
    pub sort: Sort,
    /// The word.
    pub name: &'static str,
    /// What it says about an image or a policy: `uncovered`, `Wider`, `good while true`.
    pub effect: String,
    /// What it means.
    pub meaning: &'static str,
    /// Whose it is.
    pub owner: Owner,
    /// What they can do.
    pub cure: &'static str,
}

/// Every word, in the order of the reference.
pub fn terms() -> Vec<Term> {
    let reasons = Reason::ALL.iter().map(|reason| Term {
        sort: Sort::Reason,
        name: reason.as_str(),
        effect: reason.outcome().to_string(),
        meaning: reason.meaning(),
        owner: reason.owner(),
        cure: reason.cure(),
    });
    let refusals = RefusalKind::ALL.iter().map(|refusal| Term {
        sort: Sort::Refusal,
        name: refusal.as_str(),
        effect: "what was held stays in force".to_owned(),
        meaning: refusal.meaning(),
        owner: mends(*refusal),
        cure: refusal.cure(),
    });
    let losses = LossKind::ALL.iter().map(|loss| Term {
        sort: Sort::Loss,
        name: loss.as_str(),
        effect: loss.effect().to_string(),
        meaning: loss.meaning(),
        owner: Owner::Platform,
        cure: loss.cure(),
    });
    let checks = Check::ALL.iter().map(|check| Term {
        sort: Sort::Check,
        name: check.as_str(),
        effect: "holds back enforcement".to_owned(),
        meaning: check.meaning(),
        owner: check.owner(),
        cure: check.cure(),
    });
    let alarms = AlarmKind::ALL.iter().map(|alarm| Term {
        sort: Sort::Alarm,
        name: alarm.as_str(),
        effect: "enforcement holds".to_owned(),
        meaning: alarm.meaning(),
        owner: Owner::Platform,
        cure: alarm.cure(),
    });
    let powers = Power::ALL.iter().map(|power| Term {
        sort: Sort::Power,
        name: power.as_str(),
        effect: match (power.bypasses(), power.is_guarded()) {
            (true, false) => "gets round what is enforced",
            (true, true) => "gets round what is enforced once a guard is gone",
            (false, _) => "agrees to what is looser",
        }
        .to_owned(),
        meaning: power.meaning(),
        owner: Owner::Security,
        cure: power.cure(),
    });
    let conflicts = ConflictKind::ALL.iter().map(|conflict| Term {
        sort: Sort::Conflict,
        name: conflict.as_str(),
        effect: "what one policy says comes to nothing".to_owned(),
        meaning: conflict.meaning(),
        owner: Owner::Platform,
        cure: conflict.cure(),
    });
    let conditions = ConditionType::ALL.iter().map(|condition| Term {
        sort: Sort::Condition,
        name: condition.as_str(),
        effect: format!("well while {}", if condition.healthy() { "true" } else { "false" }),
        meaning: condition.meaning(),
        owner: Owner::Platform,
        cure: condition.cure(),
    });
    let verdicts = reasons.chain(refusals).chain(losses).chain(checks).chain(alarms).chain(powers);
    verdicts.chain(conflicts).chain(conditions).chain(because()).collect()
}

/// What stands beside conditions, kind by kind.
fn because() -> impl Iterator<Item = Term> {
    let term = |name: &'static str, kind: &str, (meaning, cure): (&'static str, &'static str), owner: Owner| Term {
        sort: Sort::Because,
        name,
        effect: format!("stands beside a condition of a {kind}"),
        meaning,
        owner,
        cure,
    };
    let of_mirror = MirrorReason::ALL
        .iter()
        .map(move |reason| term(reason.as_str(), "TrustRootMirror", (reason.meaning(), reason.cure()), reason.owner()));
    let of_report = ReportReason::ALL.iter().map(move |reason| {
        term(reason.as_str(), "BundleCoverageReport", (reason.meaning(), reason.cure()), reason.owner())
    });
    let of_break_glass = BreakGlassReason::ALL
        .iter()
        .map(move |reason| term(reason.as_str(), "TrustBreakGlass", (reason.meaning(), reason.cure()), reason.owner()));
    let of_policy = PolicyReason::ALL.iter().map(move |reason| {
        term(reason.as_str(), "SigningIdentityPolicy", (reason.meaning(), reason.cure()), reason.owner())
    });
    of_mirror.chain(of_report).chain(of_break_glass).chain(of_policy)
}

/// Who can mend what a refusal names.
const fn mends(refusal: RefusalKind) -> Owner {
    match refusal {
        RefusalKind::Threshold | RefusalKind::Equivocation | RefusalKind::PinMismatch => Owner::Security,
        RefusalKind::ClockBehind | RefusalKind::MemoryDamaged => Owner::Platform,
        _ => Owner::Trust,
    }
}

/// The words of this name (a check and a condition may share one), whatever their case.
///
/// # Errors
/// The nearest word there is, where there is none of this name.
pub fn explain(name: &str) -> Result<Vec<Term>, Option<&'static str>> {
    let all = terms();
    let wanted = name.to_ascii_lowercase();
    let found: Vec<Term> = all.iter().filter(|term| term.name.eq_ignore_ascii_case(name)).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let distance = |term: &&Term| strsim::damerau_levenshtein(&wanted, &term.name.to_ascii_lowercase());
    let nearest = all.iter().min_by_key(distance).filter(|term| distance(term) * 2 <= term.name.len());
    Err(nearest.map(|term| term.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_what_to_do() {
        for term in terms() {
            assert!(!term.meaning.is_empty() && !term.cure.is_empty(), "{}", term.name);
            assert!(
                !term.meaning.ends_with('.') && !term.cure.ends_with('.'),
                "{} ends a sentence it only begins",
                term.name
            );
        }
    }

    #[test]
    fn words_are_found_in_any_case_and_near_misses_are_named() {
        assert!(explain("missingbundle").is_ok_and(|found| found.iter().any(|term| term.name == "MissingBundle")));
        assert_eq!(explain("MisingBundel"), Err(Some("MissingBundle")));
        assert_eq!(explain("qqqq"), Err(None));
    }
}
