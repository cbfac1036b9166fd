//! The reasons a report's conditions give: a closed set, each with what it means and what to do.

use crate::operate::reasons::reasons;

reasons! {
    /// Why a condition of a BundleCoverageReport is as it is.
    ReportReason {
        Scanned => None, "every image in scope was looked at, and what was found is told", "nothing";
        Scanning => None, "a scan is under way, and none has ended yet", "wait: the message says how far it is";
        EverythingSeen => None, "every image in scope was looked at", "nothing";
        CouldNotLook => Platform, "some images could not be looked at, so nothing is known of them", "read the message: it names how many, why, and one of them; `holdfast why IMAGE` says more";
        InventoryIncomplete => Platform, "what runs was not, or may not have been, seen to the end", "read the message: it names the kind that cannot be watched, most often for a missing right";
        PolicyUnusable => Security, "a SigningIdentityPolicy cannot be used, so what it is about is not judged by it", "correct the policy that the message names";
        ReportInvalid => Platform, "the report declares something that cannot be used, so nothing is scanned", "correct the field that the message names";
        Recent => None, "the last complete scan is recent", "nothing";
        Overdue => Platform, "no scan was complete for longer than twice `spec.interval`", "read the condition Complete: it says what is in the way";
        NotPublished => Platform, "the details are not where the report wants them", "read the message: install the kinds of OpenReports, give the right to write them, or take `publish.openReports` out";
    }
}
