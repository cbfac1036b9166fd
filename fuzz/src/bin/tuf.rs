//! Any bytes as each file of a repository in turn: nothing forged is accepted, and what was held stays.
#![no_main]
use std::sync::LazyLock;

use holdfast_core::trust::tuf::{Grace, Refresh, State};
use holdfast_testpki::tuf::Repository;

static FILES: LazyLock<std::collections::BTreeMap<String, Vec<u8>>> =
    LazyLock::new(|| Repository::new(jiff::Timestamp::UNIX_EPOCH).files());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let _ = State::bootstrap(data, None, now);
    let state = State::bootstrap(&FILES["1.root.json"], None, now).expect("our root");
    for bent in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let mut refresh = Refresh::begin(&state, now, Grace::NONE).expect("our state");
        while let Some(want) = refresh.want() {
            let bytes = if want.name == bent { Some(data) } else { FILES.get(&want.name).map(Vec::as_slice) };
            if refresh.give(bytes).is_err() {
                break;
            }
        }
        let held = refresh.into_state();
        assert!(
            held.held().values().all(|bytes| FILES.values().any(|genuine| genuine == bytes)),
            "{bent} was accepted"
        );
    }
});
