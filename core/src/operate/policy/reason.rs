//! The reasons a policy's conditions give: a closed set, each with what it means and what to do.

use crate::operate::reasons::reasons;

reasons! {
    /// Why a condition of a SigningIdentityPolicy is as it is.
    PolicyReason {
        AsDeclared => None, "the policy is in force as it is declared, as far as it is enforced", "nothing";
        Auditing => None, "the policy reports and denies nothing, as is declared", "nothing";
        ReportsOnly => None, "the policy denies nowhere yet", "read `status.enforcement`: it says what it waits for";
        Denies => None, "the policy denies in every namespace it was promoted in, as was observed", "nothing";
        NotObserved => Platform, "something was promoted that was not yet observed in force", "wait; after a quarter of an hour, see what the engine says of its objects";
        NotInForce => Security, "the policy was seen in force and is so no longer: an image that nobody verified was admitted, or no canary could tell", "see who changed the engine's objects; holdfast writes them anew";
        Excepted => Security, "a break-glass opens namespaces that the policy is enforced in, until its end", "close it as soon as it is not needed";
        NoEngine => Platform, "no engine is declared that could enforce it", "name one in `engines`";
        Refused => Platform, "an engine could not be given the policy for enforcement", "do what the message says, or take the engine out";
        Widens => Platform, "an engine would admit what the policy declares bad", "do what the loss says, or take the engine out";
        NotWritten => Platform, "objects of an engine are not written as they should be", "read the message: it says what the API server answered";
        EngineRendered => None, "every engine has its objects", "nothing";
        PolicyInvalid => Security, "the policy cannot be used as it is declared", "correct the field that the message names";
        LooserHeld => Security, "a change that admits more waits, and the last enforced form stays in force", "approve the digest that the message names, or take the change back";
        FormUnknown => Security, "nobody knows which form of the policy is in force, so everything is left as it is", "restore the object that says so, or approve the digest that the message names";
        ChecksHold => None, "every check holds that led to enforcement", "nothing";
        CheckFails => Platform, "a check fails while the policy is enforced; enforcement holds", "do what the check says";
        Alarmed => Security, "something is not as it was enforced", "read the message, and see who changed it";
    }
}
