//! Whatever goes wrong at whatever request: less than the truth is never called all there is.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::registry::client::fake::Body;

/// One answer that is not the right one. A registry that says that something is not there is believed of listings, so that is left to other tests there.
fn fault(kind: u8, asked: &Asked) -> Option<Reply> {
    let is_listing = asked.path.contains("/referrers/") || asked.path.contains("/manifests/sha256-");
    let of = |body: Body| Reply { body, ..Reply::manifest(staged::INDEX, b"") };
    Some(match kind {
        0 => Reply::new(500, b""),
        1 => Reply::new(403, b""),
        2 => Reply::new(401, b"").with("WWW-Authenticate", "Basic"),
        3 => Reply::new(429, b"").with("Retry-After", "1"),
        4 => of(Body::CutOff(100, b"{".to_vec())),
        5 => of(Body::Whole(b"{}".to_vec())),
        6 => of(Body::Whole(b"{\"manifests\": [".to_vec())),
        7 => of(Body::CutOff(1 << 40, Vec::new())),
        8 => Reply::new(200, b"<html>"),
        9 => Reply::new(302, b"").with("Location", "http://169.254.169.254/latest/meta-data/"),
        10 => of(Body::Whole(Vec::new())),
        11 if asked.path.contains("/referrers/") => {
            Reply::manifest(staged::INDEX, staged::index(&[]).as_bytes()).with("Link", "<?n=1>; rel=next")
        }
        12 if !is_listing => Reply::new(404, b""),
        _ => return None,
    })
}

fn staged(api: bool, referrers: usize, signatures: usize) -> Staged {
    let mut staged = Staged::new(api);
    for n in 0..referrers {
        let layers = [format!("bundle {n}"), format!("second {n}")];
        let layers: Vec<&[u8]> = layers.iter().map(String::as_bytes).take(1 + n % 2).collect();
        staged.bundle(&layers);
        staged.sbom(format!("sbom {n}").as_bytes());
    }
    if signatures > 0 {
        let layers: Vec<String> = (0..signatures).map(|n| format!("signature {n}")).collect();
        staged.signatures(&layers.iter().map(String::as_bytes).collect::<Vec<_>>());
        staged.attestations(&[b"an attestation"]);
    }
    staged
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn less_than_the_truth_is_never_all_there_is(
        api in any::<bool>(),
        legacy in any::<bool>(),
        referrers in 0..4_usize,
        signatures in 0..3_usize,
        store in prop::sample::select(vec![0, 4000, ROOMY]),
        // What goes wrong at each request; most go right.
        faults in prop::collection::vec(prop_oneof![4 => Just(u8::MAX), 1 => 0..13_u8], 0..40),
    ) {
        let staged = staged(api, referrers, signatures);
        let stage = if legacy { Stage::Legacy } else { Stage::Bundles };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = staged.serve();
            let truth = remote(&whole).look("apps/web", staged.image(), &Blobs::in_memory(0), stage, &[]).await.unwrap();
            prop_assert_eq!(&truth.incomplete, &None);
            let (at, kept) = (AtomicUsize::new(0), Blobs::in_memory(store));
            let fake = staged.serve_but(move |asked| {
                let at = at.fetch_add(1, Ordering::SeqCst);
                faults.get(at).and_then(|kind| fault(*kind, asked))
            });
            // Again and again with what was kept, by somebody who remembers no pause.
            for _ in 0..4 {
                match remote(&fake).look("apps/web", staged.image(), &kept, stage, &[]).await {
                    Err(failure) => prop_assert_eq!(failure.reason().outcome(), Says::Unknown),
                    Ok(looked) => {
                        prop_assert!(looked.pieces.iter().all(|piece| truth.pieces.contains(piece)));
                        prop_assert!(looked.pieces.iter().all(|piece| looked.take(&kept, piece).is_some()));
                        if looked.incomplete.is_none() {
                            prop_assert_eq!(&looked.pieces, &truth.pieces);
                        }
                        if let Some((reason, _)) = looked.incomplete {
                            prop_assert_ne!(reason.outcome(), Says::Covered);
                            prop_assert_ne!(reason, Reason::MissingBundle);
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
