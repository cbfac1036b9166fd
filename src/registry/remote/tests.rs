mod faults;
mod polite;
mod property;
mod staged;

use super::*;
use crate::registry::client::fake::{Asked, Reply};
use holdfast_core::verify::{Evidence, EvidenceForm, Outcome as Says, Reason};

use self::staged::{Staged, remote};

const ROOMY: u64 = 1 << 30;

/// What there is to judge, by its content.
fn contents(looked: &Looked, kept: &Blobs) -> Vec<Vec<u8>> {
    let bytes = |evidence: Evidence| match evidence.form {
        EvidenceForm::Bundle(bytes)
        | EvidenceForm::LegacySignature { payload: bytes, .. }
        | EvidenceForm::LegacyAttestation { envelope: bytes, .. } => bytes,
    };
    let mut contents: Vec<Vec<u8>> =
        looked.pieces.iter().map(|piece| bytes(looked.take(kept, piece).unwrap())).collect();
    contents.sort();
    contents
}

#[tokio::test]
async fn bundles_are_found_by_the_listing_and_a_rescan_is_one_request() {
    let mut staged = Staged::new(true);
    staged.sbom(b"an sbom");
    let (one, two) = (staged.bundle(&[b"one"]), staged.bundle(&[b"two", b"three"]));
    let fake = staged.serve();
    let (remote, kept) = (remote(&fake), Blobs::in_memory(ROOMY));
    let looked = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!((looked.digest, Digest::of(&looked.manifest)), (staged.image(), staged.image()));
    assert_eq!((looked.config, looked.children.len()), (Some(staged::config()), 0));
    let places: Vec<(Digest, usize, u64)> =
        looked.pieces.iter().map(|piece| (piece.manifest, piece.layer, piece.bytes)).collect();
    assert_eq!(places, [(one, 0, 3), (two, 0, 3), (two, 1, 5)]);
    assert_eq!((&looked.incomplete, looked.evidence.len()), (&None, 0));
    assert_eq!(contents(&looked, &kept), [b"one".to_vec(), b"three".to_vec(), b"two".to_vec()]);
    // What it is called is what a layout calls it.
    let sources: Vec<String> = looked.pieces.iter().map(|piece| assemble(&kept, piece).unwrap().source).collect();
    assert_eq!(sources, [one.to_string(), format!("{two} layer 1"), format!("{two} layer 2")]);
    let before = fake.asked().len();
    let again = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!(again, looked);
    let asked: Vec<String> = fake.asked().split_off(before).into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, [format!("/v2/apps/web/referrers/{}", staged.image())]);
}

#[tokio::test]
async fn without_the_listing_the_fallback_tag_is_asked() {
    for (api, listed) in [(false, 0), (true, 0), (true, 1)] {
        let mut staged = Staged::new(api);
        staged.fall_back();
        staged.bundle(&[b"one"]);
        // What was attached after the registry learned to list.
        if listed > 0 {
            let sbom = staged.sbom(b"an sbom");
            staged.listed.push(sbom);
        }
        let (fake, kept) = (staged.serve(), Blobs::in_memory(ROOMY));
        let remote = remote(&fake);
        for requests in [5 + 2 * listed, 2] {
            let before = fake.asked().len();
            let looked = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
            assert_eq!((contents(&looked, &kept), looked.incomplete), (vec![b"one".to_vec()], None));
            assert!(fake.asked().len() - before <= requests, "{:?}", fake.asked());
        }
    }
}

#[tokio::test]
async fn legacy_evidence_is_found_by_its_tags() {
    let mut staged = Staged::new(true);
    staged.signatures(&[b"sig one", b"sig two"]);
    staged.attestations(&[b"att"]);
    let (fake, kept) = (staged.serve(), Blobs::in_memory(ROOMY));
    let remote = remote(&fake);
    let nothing = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!((nothing.pieces.len(), nothing.incomplete), (0, None));
    for requests in [5, 2] {
        let before = fake.asked().len();
        let looked = remote.look("apps/web", staged.image(), &kept, Stage::Legacy, &[]).await.unwrap();
        assert_eq!(contents(&looked, &kept), [b"att".to_vec(), b"sig one".to_vec(), b"sig two".to_vec()]);
        assert_eq!((looked.incomplete, fake.asked().len() - before), (None, requests));
        let forms = looked.pieces.iter().map(|piece| assemble(&kept, piece).unwrap().form);
        let annotated = forms.filter(|form| match form {
            EvidenceForm::LegacySignature { annotations, .. } => annotations.len() == 1,
            EvidenceForm::LegacyAttestation { .. } => true,
            EvidenceForm::Bundle(_) => false,
        });
        assert_eq!(annotated.count(), 3);
    }
}

#[tokio::test]
async fn the_parts_of_an_index_are_named() {
    let children: Vec<Digest> = (0..300_u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
    let staged = Staged::of_index(&children);
    let kept = Blobs::in_memory(ROOMY);
    let remote = remote(&staged.serve());
    let looked = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!((looked.children.as_slice(), looked.config), (&children[..256], None));
}

#[tokio::test]
async fn what_cannot_be_kept_is_judged_at_once() {
    let mut staged = Staged::new(true);
    staged.bundle(&[&[1; 4000]]);
    staged.bundle(&[b"small"]);
    let fake = staged.serve();
    for (store, along) in [(0, 2), (32_000 - 8, 1), (32_000, 0)] {
        let kept = Blobs::in_memory(store);
        let looked = remote(&fake).look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
        assert_eq!((looked.pieces.len(), looked.evidence.len(), &looked.incomplete), (2, along, &None), "{store}");
        assert_eq!(contents(&looked, &kept), [vec![1; 4000], b"small".to_vec()]);
    }
    // What the store lost is not there, and nobody takes it for something else.
    let (kept, other) = (Blobs::in_memory(ROOMY), Blobs::in_memory(ROOMY));
    let looked = remote(&fake).look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!(looked.take(&other, &looked.pieces[0]), None);
    for bent in [
        Piece { layer: 1, ..looked.pieces[0] },
        Piece { digest: Digest::of(b"x"), ..looked.pieces[0] },
        Piece { manifest: staged.image(), ..looked.pieces[0] },
    ] {
        assert_eq!(assemble(&kept, &bent), None);
    }
}

#[tokio::test]
async fn evidence_of_another_image_is_shown_as_it_is() {
    let mut staged = Staged::new(true);
    staged.subject = Digest::of(b"another image");
    staged.bundle(&[b"of another image"]);
    let kept = Blobs::in_memory(ROOMY);
    let looked = remote(&staged.serve()).look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    // The judge finds out whose it is; left out here, it would hide that somebody attached it.
    assert_eq!((looked.pieces.len(), looked.incomplete), (1, None));
}

#[tokio::test]
async fn more_than_is_judged_is_said_and_not_fetched() {
    let mut staged = Staged::new(true);
    let layers: Vec<Vec<u8>> = (0..400_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    staged.bundle(&layers);
    staged.bundle(&[b"never reached"]);
    let fake = staged.serve();
    let looked =
        remote(&fake).look("apps/web", staged.image(), &Blobs::in_memory(ROOMY), Stage::Bundles, &[]).await.unwrap();
    assert_eq!((looked.pieces.len(), looked.incomplete.unwrap().0), (257, Reason::ListingTruncated));
    assert_eq!(fake.asked().len(), 3 + 257);
    // The same large blob, again and again.
    let mut staged = Staged::new(true);
    let large = vec![b' '; 20 << 20];
    staged.bundle(&[large.as_slice(); 100]);
    let fake = staged.serve();
    let (remote, kept) = (remote(&fake), Blobs::in_memory(ROOMY));
    let looked = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap();
    assert_eq!((looked.pieces.len(), looked.incomplete.unwrap().0), (2, Reason::ListingTruncated));
    // Beside others nothing of it is fetched: it waits for its turn.
    let (before, none) = (fake.asked().len(), Blobs::in_memory(0));
    let beside = remote.look_within("apps/web", staged.image(), &none, (Stage::Bundles, Reach::Light), &[]).await;
    assert_eq!(beside.unwrap_err(), LookFailure::Heavy);
    assert!(fake.asked().iter().skip(before).all(|asked| !asked.path.contains("/blobs/")));
}

#[test]
fn a_look_may_be_taken_by_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let staged = Staged::new(true);
    let (remote, kept) = (remote(&staged.serve()), Blobs::in_memory(0));
    is_send(&remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]));
}
