//! What the fuzz targets share: one Sigstore, one policy, one instant.

use std::sync::LazyLock;

use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::pattern::IdentityPattern;
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Matcher, Outcome, Policy, PreparedRoot, Signer, judge,
};
use holdfast_testpki::Sigstore;

/// The artefact all evidence is about.
pub const ARTIFACT: &[u8] = b"artefact";

static ROOT: LazyLock<PreparedRoot> = LazyLock::new(|| {
    let document = Sigstore::new().trusted_root().to_string();
    PreparedRoot::new(TrustRoot::from_json("fuzz", document.as_bytes()).expect("a root")).expect("a root")
});

/// Judges evidence under a root that signed none of it: whatever it is, it must neither crash nor pass.
pub fn never_passes(evidence: Evidence) {
    let any = || Matcher::Pattern(IdentityPattern::any(".*").expect("a pattern"));
    let policy = Policy {
        signers: vec![Signer::Certificate { name: "anyone".to_owned(), subject: any(), issuer: any() }],
        evidence: EvidenceRequirements::DEFAULT,
        accept: Accept::Either,
        limits: Limits::default(),
    };
    let now = jiff::Timestamp::from_second(1_790_000_000).expect("an instant");
    let verdict = judge(&Artifact::of_bytes(ARTIFACT.to_vec()), &[evidence], &policy, &[&ROOT], now);
    assert_ne!(verdict.outcome(), Outcome::Covered, "{verdict:?}");
}
