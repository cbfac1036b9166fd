//! The reasons a break-glass's conditions give: a closed set, each with what it means and what to do.

use crate::operate::reasons::reasons;

reasons! {
    /// Why a condition of a TrustBreakGlass is as it is.
    BreakGlassReason {
        InForce => Security, "the break-glass loosens what it names until its end", "delete it as soon as it is not needed";
        AwaitingApprovals => Security, "too few people have approved the break-glass", "read the message: it says how many approvals are missing, who may not give them, and of which digest they have to be";
        Unguarded => Security, "no break-glass counts: the admission policies that tie people to their names are absent, changed or do not answer the probe", "install the chart's admission policies as they are";
        MadeUnguarded => Security, "the break-glass was made before the admission policies were in force as they are, so nothing proves who asked for it", "delete it, make a new one, and have that one approved";
        EndTooLate => Security, "the break-glass would last longer than one may", "delete it, and make one with an earlier end";
        BreakGlassInvalid => Security, "the break-glass declares something that cannot be used, so it never counts", "delete it, and make one as the message says";
        Ended => None, "the end of the break-glass has come, and it loosens nothing any more", "nothing; make a new one where it is still needed";
        ClosedEarly => None, "the break-glass was deleted before its end, and loosens nothing any more", "nothing; what is left of it goes with its finalizers";
    }
}
