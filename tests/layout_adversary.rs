//! Layouts, manifests and names that lie: nothing of it is read as covered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_testpki::Recipe;
use holdfast_testpki::layout::{Image, Layout};
use serde_json::{Value, json};
use support::estate::{Estate, ISSUER, SUBJECT, first};
use support::holdfast_in;

/// Plans one pod with these images against `layout`.
fn plan(estate: &Estate, layout: &Layout, images: &[&str]) -> (i32, Value) {
    estate.pod("pod.json", images);
    estate.plan(layout)
}

/// Attaches evidence of the first image to the second.
type Attach<'a> = &'a dyn Fn(&mut Layout, &Image, &Image);

#[test]
fn evidence_covers_only_what_it_is_signed_for_wherever_it_is_attached() {
    let estate = Estate::new(json!({"otherImages": "Deny"}));
    let name = "registry.corp.internal/web:1";
    let with = |attach: Attach<'_>| {
        let mut layout = Layout::new();
        let (good, evil) = (layout.image("good", "registry.corp.internal/other:1"), layout.image("evil", name));
        attach(&mut layout, &good, &evil);
        plan(&estate, &layout, &[name])
    };
    let cases: [(&str, Attach<'_>); 4] = [
        ("a referrer whose subject lies", &|layout, good, evil| {
            layout.attach(evil, &estate.bundle(good));
        }),
        ("a fallback tag with another image's bundle", &|layout, good, evil| {
            layout.attach_by_tag(evil, &estate.bundle(good));
        }),
        ("a signature tag with another image's signature", &|layout, good, evil| {
            layout.attach_legacy(
                evil,
                &estate.sigstore.legacy_signature(&good.digest, &Recipe::blob(SUBJECT, ISSUER)),
                "sig",
            );
        }),
        ("saved beside it", &|layout, good, _| {
            layout.save(name, &estate.sigstore.legacy_signature(&good.digest, &Recipe::blob(SUBJECT, ISSUER)), "sigs");
        }),
    ];
    for (what, attach) in cases {
        assert_eq!(first(&with(attach)), (1, "DigestMismatch"), "{what}");
    }
}

#[test]
fn a_signed_platform_does_not_cover_its_index_nor_the_index_its_platforms() {
    let estate = Estate::new(json!({"otherImages": "Deny"}));
    let mut layout = Layout::new();
    let child = layout.make("amd64");
    layout.attach(&child, &estate.bundle(&child));
    let index = layout.index(&[&child], "registry.corp.internal/web:1");
    let of_index = plan(&estate, &layout, &["registry.corp.internal/web:1"]);
    assert_eq!(first(&of_index), (1, "MissingBundle"));
    let mut layout = Layout::new();
    let child = layout.make("amd64");
    let index_of = layout.index(&[&child], "registry.corp.internal/web:1");
    assert_eq!(index.digest, index_of.digest);
    layout.attach(&index_of, &estate.bundle(&index_of));
    let of_child = plan(&estate, &layout, &[&format!("registry.corp.internal/web@{}", child.digest)]);
    assert_eq!(first(&of_child), (1, "MissingBundle"));
}

#[test]
fn damage_and_absence_are_never_covered() {
    let estate = Estate::new(json!({"otherImages": "Deny"}));
    for (damage, code) in [(true, 1), (false, 3)] {
        let mut layout = Layout::new();
        let image = layout.image("good", "registry.corp.internal/web:1");
        layout.attach(&image, &estate.bundle(&image));
        if damage {
            layout.damage(&image.digest);
        } else {
            layout.lose(&image.digest);
        }
        let (got, plan) = plan(&estate, &layout, &["registry.corp.internal/web:1"]);
        assert_eq!(got, code, "{plan:#}");
        assert_eq!(plan["coverage"]["totals"]["covered"], 0);
    }
}

/// A name that no engine reads in one way is in scope of every policy of its namespace, and unknown.
#[test]
fn a_name_without_one_reading_is_unknown_and_never_out_of_scope() {
    let estate = Estate::new(json!({"otherImages": "Deny"}));
    let mut layout = Layout::new();
    let image = layout.image("good", "registry.corp.internal/web:1");
    layout.attach(&image, &estate.bundle(&image));
    let upper = image.digest.replace("sha256:", "").to_uppercase();
    for name in [
        "REGISTRY/web:1",
        "Registry.Corp.Internal/Web:1",
        "[::1]:5000/web:1",
        " registry.corp.internal/web:1",
        "registry.corp.internal/web:1 ",
        "registry.corp.internal..//web:1",
        "registry.corp.internal/web:1@sha256:",
        "registry.corp.internal:0/web:1",
        "http://registry.corp.internal/web:1",
        "registry.corp.internal/web%2f..:1",
        "registry.corp.internal/\u{2024}web:1",
        "",
        &format!("registry.corp.internal/web@sha256:{upper}"),
        &format!("registry.corp.internal/web@{0}@{0}", image.digest),
    ] {
        assert_eq!(first(&plan(&estate, &layout, &[name])), (3, "DigestUnresolved"), "{name:?}");
    }
}

/// Every spelling of an image is in scope; what only looks like it is not taken for it.
#[test]
fn spellings_are_in_scope_and_look_alikes_are_others() {
    let estate = Estate::new(json!({"otherImages": "Deny"}));
    let mut layout = Layout::new();
    layout.image("evil", "registry.corp.internal/web:1");
    for name in [
        "registry.corp.internal/web:1",
        "REGISTRY.CORP.INTERNAL/web:1",
        "registry.corp.internal.:443/web:1",
        "registry.corp.internal:00443/web:1",
    ] {
        assert_eq!(first(&plan(&estate, &layout, &[name])), (1, "MissingBundle"), "{name}");
    }
    for name in [
        "registry.corp.internal.evil.example/web:1",
        "xregistry.corp.internal/web:1",
        "registry.corp.internal:5000/web:1",
        "registry-corp.internal/web:1",
        "evil.example/registry.corp.internal/web:1",
    ] {
        let (_, plan) = plan(&estate, &layout, &[name]);
        assert_eq!(plan["coverage"]["deniedAsOther"], json!([name]));
    }
}

fn verify(estate: &Estate, tag: &str) -> support::Answer {
    std::fs::write(estate.dir.path().join("root.json"), estate.sigstore.trusted_root().to_string()).unwrap();
    let who = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER];
    let args = ["verify", &format!("oci:images:{tag}"), "--trusted-root", "root.json", "--now", "2026-06-15T12:00:00Z"];
    holdfast_in(estate.dir.path(), &[&args[..], &who].concat())
}

/// A published index may call its children what it likes: names count in the layout's own index alone.
#[test]
fn what_is_inside_an_image_names_nothing() {
    const NAME: &str = "registry.corp.internal/web:1";
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    let good = layout.make("an old release");
    layout.attach(&good, &estate.bundle(&good));
    let child = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": good.digest, "size": good.manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": NAME},
    });
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [child]});
    layout.list_index(index.to_string().as_bytes(), "vendor.example/tool:1");
    // Alone, it does not make the tag; beside the tag, it does not change it.
    assert_eq!(first(&plan(&estate, &layout, &[NAME])), (3, "DigestUnresolved"));
    assert_eq!(verify(&estate, NAME).code, 2);
    layout.image("evil", NAME);
    assert_eq!(first(&plan(&estate, &layout, &[NAME])), (1, "MissingBundle"));
    assert_eq!(verify(&estate, NAME).code, 1);
}

/// Whichever of two images a tag is taken for, the other may be the one that runs.
#[test]
fn a_tag_of_two_images_is_unresolved() {
    const NAME: &str = "registry.corp.internal/web:1";
    for second in [NAME, "registry.corp.internal:443/web:1", "REGISTRY.corp.internal/web:1"] {
        let estate = Estate::new(json!({}));
        let (mut together, mut good, mut evil) = (Layout::new(), Layout::new(), Layout::new());
        estate.signed(&mut together, "good", second);
        together.image("evil", NAME);
        assert_eq!(first(&plan(&estate, &together, &[NAME])), (3, "DigestUnresolved"), "{second}");
        let answer = verify(&estate, NAME);
        assert!(answer.code == 3 && answer.err.contains("stands for 2 images"), "{second}: {answer:?}");
        estate.signed(&mut good, "good", second);
        evil.image("evil", NAME);
        good.write(&estate.dir.path().join("good")).unwrap();
        evil.write(&estate.dir.path().join("evil")).unwrap();
        for order in [["oci:good", "oci:evil"], ["oci:evil", "oci:good"]] {
            let apart = estate.plan_with(&["--images", order[0], "--images", order[1]]);
            assert_eq!(first(&apart), (3, "DigestUnresolved"), "{second}");
        }
        let twice = estate.plan_with(&["--images", "oci:good", "--images", "oci:good"]);
        assert_eq!(first(&twice), (0, "Verified"), "one image in two places is one image");
    }
}

/// Whoever may push a tag of that form anywhere cannot take a signature out of sight.
#[test]
fn a_signature_tag_of_another_repository_hides_nothing() {
    const NAME: &str = "registry.corp.internal/web:1";
    let estate = Estate::new(json!({}));
    for repository in ["!/x:", "aaa.example/x:", "zzz.example/x:", ""] {
        let mut layout = Layout::new();
        let image = layout.image("good", NAME);
        let recipe = Recipe { timestamp: false, ..Recipe::blob(SUBJECT, ISSUER) };
        layout.attach_legacy(&image, &estate.sigstore.legacy_signature(&image.digest, &recipe), "sig");
        layout.image("nothing", &format!("{repository}{}.sig", image.digest.replace(':', "-")));
        layout.image("nothing either", &format!("{repository}{}", image.digest.replace(':', "-")));
        assert_eq!(first(&plan(&estate, &layout, &[NAME])), (0, "Verified"), "{repository}");
    }
}
