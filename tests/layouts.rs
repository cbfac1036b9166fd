//! Layouts in the forms that tools write them: what is stored is found.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_testpki::Recipe;
use holdfast_testpki::layout::{Image, Layout};
use serde_json::json;
use support::estate::{Estate, ISSUER, SUBJECT, first};

const NAME: &str = "registry.corp.internal/web";

fn plain() -> Recipe {
    Recipe { timestamp: false, ..Recipe::blob(SUBJECT, ISSUER) }
}

/// What a plan says of an image that a pod names by digest.
fn judged(estate: &Estate, layout: &Layout, image: &Image) -> (i32, String) {
    estate.pod("pod.json", &[&format!("{NAME}@{}", image.digest)]);
    let plan = estate.plan(layout);
    let (code, reason) = first(&plan);
    (code, reason.to_owned())
}

fn said(code: i32, reason: &str) -> (i32, String) {
    (code, reason.to_owned())
}

/// cosign 3 names neither the image nor what belongs to it, and writes one image a directory.
#[test]
fn what_cosign_saves_beside_an_image_is_found_without_names() {
    let estate = Estate::new(json!({}));
    let signature = |image: &Image| estate.sigstore.legacy_signature(&image.digest, &plain());
    for kind in ["image", "imageIndex"] {
        let mut layout = Layout::new();
        let image = layout.make("good");
        layout.save_image(&image, kind);
        assert_eq!(judged(&estate, &layout, &image), said(1, "MissingBundle"), "{kind}");
        layout.save_beside(&signature(&image), "sigs");
        assert_eq!(judged(&estate, &layout, &image), said(0, "Verified"), "{kind}");
    }
    // Two such directories made one: each finds its own.
    let mut layout = Layout::new();
    let (one, two, bare) = (layout.make("one"), layout.make("two"), layout.make("bare"));
    for image in [&one, &two] {
        layout.save_image(image, "image");
        layout.save_beside(&signature(image), "sigs");
    }
    layout.image_of(&bare, "registry.corp.internal/bare:1");
    assert_eq!(judged(&estate, &layout, &one), said(0, "Verified"));
    assert_eq!(judged(&estate, &layout, &two), said(0, "Verified"));
    assert_eq!(judged(&estate, &layout, &bare), said(1, "MissingBundle"), "it was not saved with them");
}

/// What is saved beside an image counts for what it is signed for.
#[test]
fn what_is_saved_beside_an_image_and_signed_for_another_does_not_cover() {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    let (evil, good) = (layout.make("evil"), layout.make("good"));
    layout.save_image(&evil, "image");
    layout.save_beside(&estate.sigstore.legacy_signature(&good.digest, &plain()), "sigs");
    assert_eq!(judged(&estate, &layout, &evil), said(1, "DigestMismatch"));
    let mut layout = Layout::new();
    let (evil, good) = (layout.make("evil"), layout.make("good"));
    layout.save_image(&evil, "image");
    layout.attach_unlisted(&evil, &estate.bundle(&good));
    assert_eq!(judged(&estate, &layout, &evil), said(1, "DigestMismatch"));
}

/// cosign 3 writes the manifests of bundles and then an index without them.
#[test]
fn bundles_that_cosign_saves_and_does_not_list_are_found() {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    let image = layout.make("good");
    layout.save_image(&image, "image");
    let manifest = layout.attach_unlisted(&image, &estate.bundle(&image));
    assert_eq!(judged(&estate, &layout, &image), said(0, "Verified"));
    // A small blob that is bent may have been the signature.
    layout.damage(&manifest);
    assert_eq!(judged(&estate, &layout, &image), said(3, "ListingTruncated"));
}

/// A digest the layout never had is not a blob gone missing from it.
#[test]
fn an_image_that_is_not_there_is_said_to_be_elsewhere() {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    layout.image("good", &format!("{NAME}:1"));
    layout.write(&estate.dir.path().join("images")).unwrap();
    std::fs::write(estate.dir.path().join("key.pub"), estate.sigstore.managed_key.pem()).unwrap();
    let absent = format!("oci:images@sha256:{}", "0".repeat(64));
    let answer =
        support::holdfast_in(estate.dir.path(), &["verify", &absent, "--key", "key.pub", "--insecure-ignore-tlog"]);
    assert!(answer.code == 3 && answer.out.contains("the layout does not hold"), "{answer:?}");
}

/// One tool brings the image, another what is signed for it.
#[test]
fn evidence_in_one_layout_counts_for_the_image_in_another() {
    let estate = Estate::new(json!({}));
    let (mut tagged, mut saved) = (Layout::new(), Layout::new());
    let image = tagged.image("good", &format!("{NAME}:1"));
    saved.make("good");
    saved.save_image(&image, "image");
    saved.save_beside(&estate.sigstore.legacy_signature(&image.digest, &plain()), "sigs");
    tagged.write(&estate.dir.path().join("tagged")).unwrap();
    saved.write(&estate.dir.path().join("saved")).unwrap();
    for name in [format!("{NAME}:1"), format!("{NAME}@{}", image.digest)] {
        estate.pod("pod.json", &[&name]);
        for order in [["oci:tagged", "oci:saved"], ["oci:saved", "oci:tagged"]] {
            let plan = estate.plan_with(&["--images", order[0], "--images", order[1]]);
            assert_eq!(first(&plan), (0, "Verified"), "{name} {order:?}");
        }
    }
}

/// A copy of what is there already does not make it more than is judged.
#[test]
fn evidence_in_two_layouts_counts_once() {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    let image = layout.image("good", &format!("{NAME}:1"));
    for number in 0..200 {
        layout.attach(&image, &json!({"number": number}));
    }
    layout.write(&estate.dir.path().join("images")).unwrap();
    estate.pod("pod.json", &[&format!("{NAME}:1")]);
    let once = estate.plan_with(&["--images", "oci:images"]);
    let twice = estate.plan_with(&["--images", "oci:images", "--images", "oci:images"]);
    assert_eq!(first(&once), (1, "Malformed"));
    assert_eq!(first(&twice), first(&once));
}

#[test]
fn a_layout_without_names_says_so() {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    let image = layout.make("good");
    layout.save_image(&image, "image");
    layout.write(&estate.dir.path().join("images")).unwrap();
    std::fs::write(estate.dir.path().join("key.pub"), estate.sigstore.managed_key.pem()).unwrap();
    let answer = support::holdfast_in(estate.dir.path(), &["verify", "oci:images:1", "--key", "key.pub"]);
    assert!(answer.code == 2 && answer.err.contains("as oci:images@sha256:<hex>"), "{answer:?}");
}
