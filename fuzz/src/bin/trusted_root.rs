//! Any bytes as a trusted root: what is read can be prepared, compared and budgeted.
#![no_main]
use holdfast_core::trust::{budget::Budget, diff::RootDiff, root::TrustRoot};
use holdfast_core::verify::PreparedRoot;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(root) = TrustRoot::from_json("fuzz", data) {
        assert!(RootDiff::between(&root, &root).is_empty());
        let _ = Budget::of(&[], Some(&root), jiff::Timestamp::UNIX_EPOCH);
        PreparedRoot::new(root).expect("what is read can be used");
    }
});
